/**
 * Bundles code for the edge, and measures it.
 *
 * @module
 */
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";
import { root } from "../gate/project.ts";

/** A bundled program, in bytes. */
export interface Bundle {
  readonly source: number;
  readonly minified: number;
  readonly gzip: number;
  /** The files in it, heaviest first. */
  readonly files: readonly { path: string; source: number; minified: number }[];
}

/** Limits of our own code, minified and gzipped, in bytes. */
export const LIMITS = {
  /** A program that imports `createFuse` alone. */
  core: 26_176,
  /** What `./upstash` adds to the core: its driver, and the machinery of shared stores. */
  upstash: 23_744,
  /** What `./d1` adds to the core: the statements of `./libsql`, and the machinery of shared stores. */
  d1: 37_568,
  /** What `./dashboard` adds to the core: the page, its script and its looks. */
  dashboard: 15_680,
  /** What `./durable-object` adds to the core: the same, and the SQL of the tables. */
  durableObject: 38_656,
} as const;

/** The program for the limit of the core. */
export const CORE_PROGRAM = `export { createFuse } from "./mod.ts";`;

/** Bundles a program of our own code alone, without npm packages and the database's tables. */
export async function bundle(contents: string): Promise<Bundle> {
  const { outputFiles, metafile } = await esbuild.build({
    stdin: { contents, resolveDir: root.pathname, loader: "ts" },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    // Node's own modules are external: only opossum imports one.
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
      path: path.slice(path.lastIndexOf(root.pathname.slice(1)) + 1).replace(/^(\.\.\/)+/, ""),
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

const OWN_CODE_ONLY: esbuild.Plugin = {
  name: "own-code-only",
  setup(build) {
    build.onResolve(
      { filter: /^(npm:|[^./])/ },
      ({ path, kind }) => kind === "entry-point" ? undefined : { path, external: true },
    );
    // Tables are data.
    build.onResolve(
      { filter: /\/(schema|columns|relations)\.ts$/ },
      ({ path }) => ({ path, external: true }),
    );
  },
};
