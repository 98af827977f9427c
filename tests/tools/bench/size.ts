/**
 * The size of the code for the edge.
 *
 * @module
 */
import * as esbuild from "esbuild";
import { readConfig } from "../gate/project.ts";
import { type Bundle, bundle, CORE_PROGRAM, LIMITS } from "../size/bundle.ts";
import { installed } from "./programs.ts";
import type { Section } from "./section.ts";
import { budget, integer } from "./table.ts";

/** Section `size`. */
export const section: Section = {
  async *run() {
    try {
      const core = await bundle(CORE_PROGRAM);
      const rows = [row("createFuse", core, budget(core.gzip, LIMITS.core, " B"))];
      for (const [entry, path] of otherEntries()) {
        const both = await bundle(`${CORE_PROGRAM} export * as entry from "${path}";`);
        const added = both.gzip - core.gzip;
        const limit = entry === "./upstash" ? LIMITS.upstash : undefined;
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
        readme: ["bundle", "minified", "gzip", "budget"],
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

/** The other entry points. Testing and the command line are never deployed. */
function otherEntries(): [string, string][] {
  const apart = [".", "./cli", "./testing"];
  return Object.entries(readConfig().exports).filter(([entry]) => !apart.includes(entry));
}

function row(name: string, { source, minified, gzip }: Bundle, verdict = ""): string[] {
  return [name, integer(source), integer(minified), integer(gzip), verdict];
}
