/**
 * A Node project that has this package from npm: packed as JSR packs it for npm clients (a .js file
 * and a .d.ts without slow types for each .ts), installed by npm, compiled by TypeScript's own
 * compiler.
 *
 * @module
 */
import { readConfig, root } from "../tools/gate/project.ts";
import { pack } from "../tools/npm/pack.ts";

/** A project with its dependencies installed. */
export interface NpmProject extends AsyncDisposable {
  /** Its folder, without a slash at the end. */
  readonly folder: string;
  /** Writes a file into it. */
  write(name: string, content: string): Promise<void>;
  /** Runs TypeScript's compiler. Returns its errors, one on each line. */
  tsc(...args: string[]): Promise<string[]>;
  /** Installs a further package, by its name and version. */
  install(name: string): Promise<void>;
  /** Runs a program, by its path in the folder or by its name. */
  run(program: string, args: readonly string[], env?: Readonly<Record<string, string>>): Promise<
    Ended
  >;
  /** Runs `node`. */
  node(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ended>;
}

/** A command that ended by itself. */
export interface Ended {
  readonly ok: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

const OLDEST_NODE = 20;
/** Packages beside those of a test, which have the versions of `deno.lock`. */
const TOOLS = { "@types/node": "^20.19.0", typescript: "7.0.2" };

/** Creates a project in a temporary folder. Throws without Node, and names what is missing. */
export async function npmProject(packages: readonly string[]): Promise<NpmProject> {
  await assertNode();
  const folder = await Deno.makeTempDir({ prefix: "fuse-npm-" });
  const write = (name: string, content: string) => Deno.writeTextFile(`${folder}/${name}`, content);
  const project: NpmProject = {
    folder,
    write,
    async tsc(...args) {
      const { stdout, stderr } = await project.node([
        ...["node_modules/typescript/bin/tsc", "--pretty", "false", ...args],
      ]);
      return (stdout + stderr).split("\n").filter((line) => line.trim() !== "");
    },
    install: (name) => install(folder, "--no-save", name),
    run: (program, args, env = {}) =>
      run(program.includes("/") ? `${folder}/${program}` : program, args, folder, env),
    node: (args, env = {}) => run("node", args, folder, env),
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
  try {
    await pack(`${folder}/fuse-edge.tgz`);
    const versions = Object.fromEntries(packages.map((name) => [name, lockedVersion(name)]));
    const dependencies = { "@fuse/edge": "file:fuse-edge.tgz", ...versions, ...TOOLS };
    await write("package.json", JSON.stringify({ private: true, type: "module", dependencies }));
    await install(folder);
    return project;
  } catch (error) {
    await project[Symbol.asyncDispose]();
    throw error;
  }
}

async function install(folder: string, ...args: string[]): Promise<void> {
  const quietly = ["--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline"];
  const all = ["install", "--ignore-scripts", ...quietly, ...args];
  const { ok, stderr } = await run("npm", all, folder);
  if (!ok) throw new Error(`npm could not install the package\n${stderr}`);
}

async function assertNode(): Promise<void> {
  const needed = `This test needs Node ${OLDEST_NODE} or newer, with npm, on the PATH`;
  const { stdout } = await run("node", ["--version"], root.pathname).catch(() => {
    throw new Error(`${needed}: there is no "node"`);
  });
  const major = Number(/^v(\d+)\./.exec(stdout)?.[1]);
  if (!(major >= OLDEST_NODE)) throw new Error(`${needed}: "node" is ${stdout.trim()}`);
}

/** The version in `deno.lock` of a package that `deno.json` names. */
function lockedVersion(name: string): string {
  const { specifiers } = JSON.parse(Deno.readTextFileSync(new URL("deno.lock", root))) as {
    specifiers: Readonly<Record<string, string>>;
  };
  const versions = Object.entries(specifiers)
    .filter(([specifier]) => specifier.startsWith(`npm:${name}@`) && !specifier.endsWith("@*"))
    .map(([, version]) => version.split("_")[0]);
  if (versions.length !== 1 || !(name in readConfig().imports)) {
    throw new Error(`deno.lock has ${versions.length} versions of ${name}, and must have one`);
  }
  return versions[0]!;
}

async function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const ended = await new Deno.Command(command, {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder();
  return {
    ok: ended.success,
    stdout: text.decode(ended.stdout),
    stderr: text.decode(ended.stderr),
  };
}
