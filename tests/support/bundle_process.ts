/**
 * Bundles Workers in a process of its own, which takes esbuild's service with it: within a test
 * process the service would end some time after `esbuild.stop()`, in the middle of a test. The
 * argument is the JSON of a {@linkcode BundleRequest}; the output is the JSON of a `WorkerBundle`
 * for each entry point.
 *
 * @module
 */
import * as esbuild from "esbuild";
import type { WorkerBundle } from "./workerd.ts";

/** What to bundle. */
export interface BundleRequest {
  /** The folder of the project. */
  readonly folder: string;
  /** Entry points, relative to the folder. */
  readonly mains: readonly string[];
  readonly minify: boolean;
}

if (import.meta.main) {
  const { folder, mains, minify }: BundleRequest = JSON.parse(Deno.args[0]!);
  const bundles = await Promise.all(mains.map(async (main): Promise<WorkerBundle> => {
    const { outputFiles, metafile } = await esbuild.build({
      entryPoints: [main],
      absWorkingDir: folder,
      bundle: true,
      format: "esm",
      target: "es2024",
      conditions: ["workerd", "worker", "browser"],
      external: ["cloudflare:*"],
      minify,
      metafile: true,
      write: false,
      outdir: "out",
      logLevel: "error",
    });
    const { imports } = Object.values(metafile.outputs)[0]!;
    return { code: outputFiles[0]!.text, imports: [...new Set(imports.map(({ path }) => path))] };
  }));
  await esbuild.stop();
  console.log(JSON.stringify(bundles));
}
