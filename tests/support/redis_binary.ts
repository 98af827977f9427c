/**
 * Where this machine's `redis-server` is, and how it gets one.
 *
 * @module
 */

/** A program that is Redis when it is run under the name `redis-server`. */
export interface RedisBinary {
  readonly path: string;
}

/** Why no Redis can be had here, in a sentence; `null` where one can be. `path` is that of the shell. */
export async function redisMissing(path?: string): Promise<string | null> {
  try {
    await findRedis(path);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Finds Redis; installs it where we may, on Debian and Ubuntu. Throws where it cannot be had. */
export async function findRedis(path = Deno.env.get("PATH") ?? ""): Promise<RedisBinary> {
  const found = await installed(path);
  if (found) return found;
  if (Deno.build.os !== "linux" || Deno.uid() !== 0 || !await search(path, "apt-get")) {
    throw new Error(
      "Cannot find Redis: install it with `sudo apt-get install redis-server` on Debian or Ubuntu, " +
        "with `brew install redis` on macOS",
    );
  }
  return await install(path);
}

/**
 * Debian's one binary is all of Redis's programs, by the name it is run under, and lies in `redis-tools`.
 * `redis-server` would add a link to it and a daemon on port 6379, which nobody here asked for.
 */
const MANY_IN_ONE = "redis-check-rdb";

async function installed(path: string): Promise<RedisBinary | undefined> {
  const found = await search(path, "redis-server") ?? await search(path, MANY_IN_ONE);
  return found === undefined ? undefined : { path: found };
}

async function install(path: string): Promise<RedisBinary> {
  // Test processes start at once: one installs, and the others find what it installed. The system
  // lets go of the lock of a process that died.
  using lock = await Deno.open(`${Deno.env.get("TMPDIR") ?? "/tmp"}/fuse-edge-redis.lock`, {
    create: true,
    write: true,
  });
  await lock.lock(true);
  const found = await installed(path);
  if (found) return found;

  await aptGet("update");
  await aptGet("install", "-y", "--no-install-recommends", "redis-tools");
  const fresh = await installed(path);
  if (fresh === undefined) throw new Error("Cannot find Redis in Debian's package redis-tools");
  return fresh;
}

async function aptGet(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("apt-get", {
    args: ["-qq", "-o", "DPkg::Lock::Timeout=120", ...args],
    env: { DEBIAN_FRONTEND: "noninteractive" },
    stdin: "null",
    stdout: "null",
  }).output();
  if (success) return;
  const said = new TextDecoder().decode(stderr).trim();
  throw new Error(`Cannot install Redis: apt-get ${args[0]} failed: ${said}`);
}

/** Finds a program in the folders of a path such as `PATH`. */
export async function search(path: string, program: string): Promise<string | undefined> {
  for (const folder of path.split(":")) {
    const file = `${folder}/${program}`;
    if (folder !== "" && await Deno.stat(file).then((s) => s.isFile, () => false)) return file;
  }
  return undefined;
}
