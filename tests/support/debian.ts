/**
 * Finds programs of Debian's packages, and installs them if permitted.
 *
 * @module
 */

/** A program that tests need. */
export interface Program {
  /** Its usual name. */
  readonly title: string;
  /** Its possible names on the path, best first. */
  readonly names: readonly string[];
  /** The Debian package that contains it. */
  readonly package: string;
  /** The instructions for installing it by hand. */
  readonly advice: string;
}

/**
 * Finds a program; installs it if permitted, on Debian and Ubuntu. Throws if it is not available.
 */
export async function findOrInstall(
  program: Program,
  path = Deno.env.get("PATH") ?? "",
): Promise<string> {
  const found = await find(program, path);
  if (found !== undefined) return found;
  if (Deno.build.os !== "linux" || Deno.uid() !== 0 || !await search(path, "apt-get")) {
    throw new Error(`Cannot find ${program.title}: ${program.advice}`);
  }
  return await install(program, path);
}

/** Finds a program in the folders of a path such as `PATH`. */
export async function search(path: string, program: string): Promise<string | undefined> {
  for (const folder of path.split(":")) {
    const file = `${folder}/${program}`;
    if (folder !== "" && await Deno.stat(file).then((s) => s.isFile, () => false)) return file;
  }
  return undefined;
}

async function find({ names }: Program, path: string): Promise<string | undefined> {
  for (const name of names) {
    const file = await search(path, name);
    if (file !== undefined) return file;
  }
  return undefined;
}

async function install(program: Program, path: string): Promise<string> {
  // Test processes start at once: one installs, and the others use its result. The system releases
  // the lock of a dead process.
  using lock = await Deno.open(`${Deno.env.get("TMPDIR") ?? "/tmp"}/fuse-edge-apt.lock`, {
    create: true,
    write: true,
  });
  await lock.lock(true);
  const found = await find(program, path);
  if (found !== undefined) return found;

  await aptGet(program.title, "update");
  await aptGet(program.title, "install", "-y", "--no-install-recommends", program.package);
  const fresh = await find(program, path);
  if (fresh !== undefined) return fresh;
  throw new Error(`Cannot find ${program.title} in Debian's package ${program.package}`);
}

async function aptGet(title: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("apt-get", {
    args: ["-qq", "-o", "DPkg::Lock::Timeout=120", ...args],
    env: { DEBIAN_FRONTEND: "noninteractive" },
    stdin: "null",
    stdout: "null",
  }).output();
  if (success) return;
  const said = new TextDecoder().decode(stderr).trim();
  throw new Error(`Cannot install ${title}: apt-get ${args[0]} failed: ${said}`);
}
