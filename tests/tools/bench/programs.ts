/**
 * Programs that are measured in processes of their own: bundled once, run on Deno and on Node.
 *
 * @module
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as esbuild from "esbuild";
// Makes Deno install them where esbuild looks.
import "cockatiel";
import "opossum";
import { root } from "../gate/project.ts";
import type { FamilyRequest } from "./families.ts";
import { effort, type Measured } from "./harness.ts";
import { STD_FILES } from "./peer_std.ts";
import type { SectionOptions } from "./section.ts";

/** The runtime of a program. */
export type Runtime = "Deno" | "Node";

const COMMANDS: Readonly<Record<Runtime, readonly string[]>> = {
  // Without the code cache of an earlier run: an isolate at the edge has none.
  Deno: [Deno.execPath(), "run", "-A", "--no-check", "--no-code-cache", "--v8-flags=--expose-gc"],
  Node: ["node", "--expose-gc"],
};

/** A folder for bundled programs, which is removed in the end. */
export class Programs implements AsyncDisposable {
  readonly #folder: string;
  readonly #options: SectionOptions;
  /** The address of std's module, or `null`. */
  readonly #std: string | null;

  private constructor(folder: string, options: SectionOptions, std: string | null) {
    this.#folder = folder;
    this.#options = options;
    this.#std = std;
  }

  /** Creates the folder, with the breaker of a checkout of denoland/std if one was given. */
  static async open(options: SectionOptions): Promise<Programs> {
    const folder = await Deno.makeTempDir({ prefix: "fuse-bench-" });
    const bare = new Programs(folder, options, null);
    if (options.std === undefined) return bare;
    const { main, imported } = STD_FILES;
    const alias = Object.fromEntries(
      Object.entries(imported).map(([name, path]) => [name, join(options.std!, path)]),
    );
    const path = await bare.bundle("std", { entryPoints: [join(options.std, main)], alias });
    return new Programs(folder, options, pathToFileURL(path).href);
  }

  /** The name of std in tables. */
  get note(): string[] {
    return this.#std === null ? ["std was absent: --std says where a checkout of it is."] : [];
  }

  /** Bundles a program, npm packages included, and returns its path. */
  async bundle(name: string, options: esbuild.BuildOptions): Promise<string> {
    const outfile = join(this.#folder, `${name}.mjs`);
    const { alias, ...rest } = options;
    await esbuild.build({
      absWorkingDir: fileURLToPath(root),
      outfile,
      bundle: true,
      format: "esm",
      target: "es2022",
      platform: "node",
      alias: { ...OWN_ALIASES, ...alias },
      logLevel: "error",
      ...rest,
    });
    return outfile;
  }

  /** Races a family in a process of its own. */
  async race(family: string, runtime: Runtime): Promise<Measured[]> {
    const path = join(this.#folder, "families.mjs");
    if (!await exists(path)) {
      const contents = `import { raceFamily } from "./families.ts"; await raceFamily();`;
      const resolveDir = fileURLToPath(new URL(".", import.meta.url));
      await this.bundle("families", { stdin: { contents, resolveDir }, banner: { js: REQUIRE } });
    }
    const request: FamilyRequest = {
      family,
      effort: effort(this.#options.quick),
      std: this.#std,
    };
    return JSON.parse(await this.run(runtime, path, JSON.stringify(request)));
  }

  /** Runs a program, and returns the last line of its output. */
  async run(runtime: Runtime, path: string, argument: string): Promise<string> {
    const [command, ...args] = COMMANDS[runtime];
    const { success, stdout } = await new Deno.Command(command!, {
      args: [...args, path, argument],
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).output();
    if (!success) throw new Error(`${path} has failed on ${runtime}`);
    return new TextDecoder().decode(stdout).trimEnd().split("\n").at(-1)!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await esbuild.stop();
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Returns the path of an npm package's entry point that Deno has installed. */
export function installed(name: string): string {
  return createRequire(import.meta.url).resolve(name);
}

const OWN_ALIASES: Readonly<Record<string, string>> = {
  "@fuse/edge": fileURLToPath(new URL("mod.ts", root)),
  cockatiel: installed("cockatiel"),
  opossum: installed("opossum"),
};

/** The `require` of CommonJS modules in a bundle. Loading it costs 20 ms on Deno. */
export const REQUIRE =
  'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);';

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
