/**
 * A folder with `node_modules` from Deno's cache, and the sources of `@fuse/edge` in there: for bundlers.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { deno, readConfig, root } from "../tools/gate/project.ts";

/** A folder on disk, to be removed. */
export interface CachedProject extends AsyncDisposable {
  /** Its path, without a slash at the end. */
  readonly folder: string;
}

/**
 * Creates a project. Its packages come from Deno's cache, in the versions of `deno.lock`; of
 * `@fuse/edge` it has the published files.
 *
 * @param packages Names in `deno.json` of the packages that the project and the library import.
 */
export async function cachedProject(packages: readonly string[]): Promise<CachedProject> {
  const folder = await Deno.makeTempDir({ prefix: "fuse-edge-npm-" });
  const { exports, imports } = readConfig();
  const dependencies = Object.fromEntries(packages.map((name) => {
    const version = /^npm:(?:@[^/]+\/)?[^@]+@([^/]+)/.exec(imports[name] ?? "")?.[1];
    if (version === undefined) throw new Error(`Cannot find "${name}" in deno.json`);
    return [name, version];
  }));
  await Deno.writeTextFile(
    join(folder, "package.json"),
    JSON.stringify({ private: true, type: "module", dependencies }),
  );
  await Deno.writeTextFile(join(folder, "deno.json"), `{ "nodeModulesDir": "auto" }`);
  await Deno.copyFile(new URL("deno.lock", root), join(folder, "deno.lock"));
  const { ok, stdout, stderr } = await deno(["install", "--quiet"], { cwd: folder });
  if (!ok) throw new Error(`Cannot install packages: ${stdout}${stderr}`);

  const library = join(folder, "node_modules", "@fuse", "edge");
  for (const path of ["mod.ts", "src", "drivers", "migrations"]) {
    await copy(fileURLToPath(new URL(path, root)), join(library, path));
  }
  await Deno.writeTextFile(
    join(library, "package.json"),
    JSON.stringify({ name: "@fuse/edge", type: "module", exports }),
  );
  return { folder, [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
}

/** Copies a file, or a folder with its contents. */
export async function copy(from: string, to: string): Promise<void> {
  await Deno.mkdir(dirname(to), { recursive: true });
  if ((await Deno.stat(from)).isFile) return await Deno.copyFile(from, to);
  for await (const { name } of Deno.readDir(from)) await copy(join(from, name), join(to, name));
}
