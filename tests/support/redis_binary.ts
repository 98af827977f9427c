/**
 * Where this machine's `redis-server` is, and how it gets one.
 *
 * @module
 */
import { findOrInstall, type Program } from "./debian.ts";

/** A program that is Redis when it is run under the name `redis-server`. */
export interface RedisBinary {
  readonly path: string;
}

/**
 * Debian's one binary is all of Redis's programs, by the name it is run under, and lies in `redis-tools`.
 * `redis-server` would add a link to it and a daemon on port 6379, which nobody here asked for.
 */
const REDIS: Program = {
  title: "Redis",
  names: ["redis-server", "redis-check-rdb"],
  package: "redis-tools",
  advice: "install it with `sudo apt-get install redis-server` on Debian or Ubuntu, " +
    "with `brew install redis` on macOS",
};

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
export async function findRedis(path?: string): Promise<RedisBinary> {
  return { path: await findOrInstall(REDIS, path) };
}
