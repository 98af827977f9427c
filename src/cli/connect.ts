/**
 * Opens the stores of the command line: from environment variables, a module, or a dashboard.
 *
 * @module
 */

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { fuseFromEnv } from "../env.ts";
import type { Fuse } from "../fuse.ts";
import { storesOf } from "../known.ts";
import { ApiFleet } from "./api.ts";
import { type Fleet, OwnFleet } from "./fleet.ts";
import { CliError, type Terminal } from "./terminal.ts";

/** Options that every command has. */
export interface GlobalOptions {
  readonly json?: boolean;
  readonly store?: string;
  readonly config?: string;
  readonly api?: URL;
  readonly header?: Headers;
}

/** The deadline of a store, in ms. An operator can wait longer than a call can. */
const STORE_TIMEOUT_MS = 10_000;

/** Opens the stores. With `--api` they are those of a dashboard. */
export async function connect(terminal: Terminal, options: GlobalOptions): Promise<Fleet> {
  const { api, header, config } = options;
  if (api === undefined) {
    if (header !== undefined) throw new CliError("--header goes with --api");
    return await connectOwn(terminal, options);
  }
  if (config !== undefined) throw new CliError("--api and --config exclude each other");
  return new ApiFleet(api, header);
}

/** Opens the stores for a command that a dashboard cannot do. */
export async function connectOwn(
  { process }: Terminal,
  { api, config, store }: GlobalOptions,
): Promise<OwnFleet> {
  if (api !== undefined) {
    throw new CliError(
      "--api is for status, show and actions; this command needs the store itself",
    );
  }
  if (config === undefined && store === "array") {
    throw new CliError("Store array is the memory of this process, which no other process shares");
  }
  const fuse = config === undefined
    ? fuseFromEnv(process.env, { storeTimeoutMs: STORE_TIMEOUT_MS })
    : await load(config);
  // Commands report failures themselves, without secrets, and the Fuse would do so a second time.
  fuse.on("store_error", () => {});
  const audited = (store: string) => storesOf(fuse).get(store)?.traits.audited ?? false;
  return new OwnFleet(fuse, config === undefined ? reachable(fuse) : fuse.stores, audited);
}

/** The stores of the environment that hold more than this process. */
function reachable({ stores }: Fuse): readonly string[] {
  // The tiered store consists of the cache and the database, so each circuit would be listed three times.
  if (stores[0] === "tiered") return ["tiered"];
  const shared = stores.filter((store) => store !== "array");
  if (shared.length > 0) return shared;
  throw new CliError(
    "No store to look at: set UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN, or " +
      "TURSO_DATABASE_URL and TURSO_AUTH_TOKEN, or give --config or --api",
  );
}

async function load(path: string): Promise<Fuse> {
  const url = path.startsWith("file:") ? path : pathToFileURL(resolve(path)).href;
  const module = await import(url) as Record<string, unknown>;
  const fuse = [module.default, module.fuse].find(isFuse);
  if (fuse !== undefined) return fuse;
  throw new CliError(
    `--config must name a module that exports a Fuse, as default or as "fuse"; ${path} exports ${
      Object.keys(module).join(", ") || "nothing"
    }`,
  );
}

function isFuse(value: unknown): value is Fuse {
  const { circuit, list, stores } = Object(value) as Partial<Fuse>;
  return typeof circuit === "function" && typeof list === "function" && Array.isArray(stores);
}

/**
 * Returns the store of `--store`, or all stores without it.
 *
 * @throws {CliError} If no store has that name.
 */
export async function chosen(fleet: Fleet, { store }: GlobalOptions): Promise<readonly string[]> {
  const stores = await fleet.stores();
  if (store === undefined) return stores;
  const all = fleet instanceof OwnFleet ? fleet.fuse.stores : stores;
  if (all.includes(store)) return [store];
  throw new CliError(`There is no store ${JSON.stringify(store)}, only ${all.join(", ")}`);
}
