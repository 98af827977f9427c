/**
 * What is sent to the edge.
 *
 * @module
 */
import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";
// So that Deno has them where esbuild looks.
import "cockatiel";
import "opossum";
import type { Section } from "./section.ts";
import { budget, integer } from "./table.ts";

const ROOT = new URL("../../../", import.meta.url);
const CORE_LIMIT = 8 * 1024;
/** What an entry point may add to the core, in bytes of our own code, gzipped; tables apart. */
const ADDED_LIMITS: Record<string, number> = { "./upstash": 3 * 1024, "./libsql": 5 * 1024 };

/** Section `size`. */
export const section: Section = {
  async *run() {
    try {
      const core = await bundle(`export * from "./mod.ts";`);
      const rows = [row("@fuse/edge", core, budget(core.gzip, CORE_LIMIT, " B"))];
      for (const [entry, path] of await otherEntries()) {
        const both = await bundle(`export * from "./mod.ts"; export * as entry from "${path}";`);
        const added = both.gzip - core.gzip;
        const limit = ADDED_LIMITS[entry];
        rows.push(row(
          `with ${entry}, npm packages and tables apart`,
          both,
          `+${integer(added)} ${limit === undefined ? "" : budget(added, limit, " B")}`,
        ));
      }
      const breaker = "circuitBreaker, ConsecutiveBreaker, SamplingBreaker, handleAll";
      rows.push(row(
        "cockatiel, a breaker only",
        await bundle(`export { ${breaker} } from "${await installed("cockatiel")}";`),
      ));
      rows.push(row(
        "cockatiel, all",
        await bundle(`export * from "${await installed("cockatiel")}";`),
      ));
      rows.push(row(
        "opossum, node:events apart",
        await bundle(`export { default } from "${await installed("opossum")}";`),
      ));
      yield {
        name: "size",
        title: "Size: bundled by esbuild as ESM, in bytes",
        columns: ["bundle", "source", "minified", "gzip", "budget"],
        rows,
        readme: ["bundle", "minified", "gzip"],
      };
      yield {
        name: "size-files",
        title: "Size: where the core's bytes are",
        columns: ["file", "source", "minified", "% of minified"],
        rows: core.files.map(({ path, source, minified }) => [
          path,
          integer(source),
          integer(minified),
          ((100 * minified) / core.minified).toFixed(1),
        ]),
      };
    } finally {
      await esbuild.stop();
    }
  },
};

interface Bundle {
  readonly source: number;
  readonly minified: number;
  readonly gzip: number;
  /** Heaviest first. */
  readonly files: readonly { path: string; source: number; minified: number }[];
}

async function bundle(contents: string): Promise<Bundle> {
  const { outputFiles, metafile } = await esbuild.build({
    stdin: { contents, resolveDir: ROOT.pathname, loader: "ts" },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    // Node's own modules stay outside: only opossum asks for one.
    platform: "node",
    plugins: [OWN_CODE_ONLY],
    write: false,
    metafile: true,
    logLevel: "error",
  });
  const code = outputFiles[0]!.contents;
  const shares = Object.values(metafile.outputs)[0]!.inputs;
  const files = Object.entries(shares)
    .map(([path, { bytesInOutput }]) => ({
      path: path.slice(path.lastIndexOf(ROOT.pathname.slice(1)) + 1).replace(/^(\.\.\/)+/, ""),
      source: metafile.inputs[path]!.bytes,
      minified: bytesInOutput,
    }))
    .filter(({ minified }) => minified > 0)
    .toSorted((a, b) => b.minified - a.minified);
  return {
    source: files.reduce((sum, { source }) => sum + source, 0),
    minified: code.byteLength,
    gzip: gzipSync(code, { level: 9 }).byteLength,
    files,
  };
}

/** Our own entry points by relative path; whatever has a bare name is an npm package. Tables are data. */
const OWN_CODE_ONLY: esbuild.Plugin = {
  name: "own-code-only",
  setup(build) {
    build.onResolve(
      { filter: /^(npm:|[^./])/ },
      ({ path, kind }) => kind === "entry-point" ? undefined : { path, external: true },
    );
    build.onResolve({ filter: /_schema\.ts$/ }, ({ path }) => ({ path, external: true }));
  },
};

/** The other entry points of deno.json that exist yet. Testing is never deployed. */
async function otherEntries(): Promise<[string, string][]> {
  const { exports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT))) as {
    exports: Record<string, string>;
  };
  const others = Object.entries(exports).filter(([entry]) =>
    entry !== "." && entry !== "./testing"
  );
  const exist = await Promise.all(others.map(([, path]) => exists(new URL(path, ROOT))));
  return others.filter((_, i) => exist[i]);
}

function exists(url: URL): Promise<boolean> {
  return Deno.stat(url).then(() => true, () => false);
}

function installed(name: string): string {
  return createRequire(import.meta.url).resolve(name);
}

function row(name: string, { source, minified, gzip }: Bundle, verdict = ""): string[] {
  return [name, integer(source), integer(minified), integer(gzip), verdict];
}
