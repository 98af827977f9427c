/**
 * Finds this machine's `redis-server`, or installs it.
 *
 * @module
 */
import { findOrInstall, type Program } from "./debian.ts";

/** A program that is Redis when it is run under the name `redis-server`. */
export interface RedisBinary {
  readonly path: string;
}

/**
 * Debian's one binary is all of Redis's programs, by the name under which it runs, and is in
 * `redis-tools`. `redis-server` would add a link to it and an unwanted daemon on port 6379.
 */
const REDIS: Program = {
  title: "Redis",
  names: ["redis-server", "redis-check-rdb"],
  package: "redis-tools",
  advice: "install it with `sudo apt-get install redis-server` on Debian or Ubuntu, " +
    "with `brew install redis` on macOS",
};

/**
 * Returns why no Redis is available here, in a sentence, or `null` if one is. `path` is the
 * shell's.
 */
export async function redisMissing(path?: string): Promise<string | null> {
  try {
    await findRedis(path);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Finds Redis; installs it if permitted, on Debian and Ubuntu. Throws if it is not available. */
export async function findRedis(path?: string): Promise<RedisBinary> {
  return { path: await findOrInstall(REDIS, path) };
}
