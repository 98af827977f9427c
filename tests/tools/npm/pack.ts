/**
 * `deno task pack [path]`: the package as npm has it, in a file, `fuse-edge.tgz` by default.
 *
 * `deno pack` makes it, a .js and a .d.ts file of each module. It lists every package that any
 * entry point imports as a dependency, so that a user of the core alone gets all of them. Here they
 * become optional peers: npm installs none of them by itself, and refuses incompatible versions.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { deno, root } from "../gate/project.ts";

/** Versions beside those of `deno.json` that the package works with. */
const MORE_VERSIONS: Readonly<Record<string, string>> = {
  // `tests/drivers/libsql/drizzle_1_test.ts`
  "drizzle-orm": "^1.0.0-rc.5",
};

if (import.meta.main) {
  const [path = "fuse-edge.tgz"] = Deno.args;
  await pack(path);
  console.log(`Written to ${path}`);
}

/**
 * Writes the package to a file, by its path from the root of the project.
 *
 * @throws {Error} If it cannot be packed: the message says why.
 */
export async function pack(path: string): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "fuse-pack-" });
  try {
    const packed = join(folder, "packed.tgz");
    // It makes .js and .d.ts files with the code that JSR uses.
    const { ok, stdout, stderr } = await deno(["pack", "--allow-dirty", "--output", packed]);
    if (!ok) throw new Error(`The package could not be packed\n${stdout}${stderr}`);
    await tar("-xzf", packed, "-C", folder);
    const manifest = join(folder, "package", "package.json");
    const content = JSON.parse(await Deno.readTextFile(manifest));
    await Deno.writeTextFile(manifest, `${JSON.stringify(withOptionalPeers(content), null, 2)}\n`);
    await tar("-czf", resolve(root.pathname, path), "-C", folder, "package");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A package.json, as far as it is changed. */
interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
}

function withOptionalPeers({ dependencies = {}, ...rest }: Manifest): object {
  const names = Object.keys(dependencies);
  const versionsOf = (name: string) => [dependencies[name], MORE_VERSIONS[name]].filter(Boolean);
  return {
    ...rest,
    peerDependencies: Object.fromEntries(
      names.map((name) => [name, versionsOf(name).join(" || ")]),
    ),
    peerDependenciesMeta: Object.fromEntries(names.map((name) => [name, { optional: true }])),
  };
}

async function tar(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("tar", { args }).output();
  if (!success) throw new Error(`tar has failed\n${new TextDecoder().decode(stderr)}`);
}
