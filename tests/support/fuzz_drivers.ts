/**
 * All kinds of stores, for properties that must hold on each of them.
 *
 * @module
 */
import { type Client, createClient } from "@libsql/client";
import type { Clock } from "@fuse/edge";
import type { LibsqlStore } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { sharedRedis } from "./redis_server.ts";
import { Sqld } from "./sqld.ts";
import { startFace } from "./upstash_face.ts";
import { libsql, memory, type OpeningStore, tiered, upstash } from "./drivers.ts";

/** A store of a kind, without circuits of other tests. */
export interface Opened extends AsyncDisposable {
  readonly store: OpeningStore;
  /** Reads the trail, where there is one. */
  readonly trail: LibsqlStore | null;
  /** The prefix of the keys in Redis. */
  readonly prefix: string | null;
  /** The client of the database with the tables. */
  readonly client: Client | null;
}

/** Opens stores of a kind. */
export interface Driver {
  readonly name: "memory" | "upstash" | "libsql" | "tiered" | "sqld";
  /** The share of runs for this kind: a request over HTTP costs more than a call. */
  readonly share: number;
  open(options?: { clock?: Clock; trailKey?: string }): Promise<Opened>;
}

export const redis = await sharedRedis();
export const face = await startFace({ redis });
addEventListener("unload", () => void face.stop());

let opened = 0;
const nothing = { trail: null, prefix: null, client: null, async [Symbol.asyncDispose]() {} };

function redisStore(clock: Clock | undefined): { store: OpeningStore; prefix: string } {
  const prefix = `fuzz*-${opened++}`;
  const { url, token } = face;
  return { prefix, store: upstash({ url, token, prefix, ...clock && { clock } }) };
}

async function database(url: string): Promise<Client> {
  const client = createClient({ url });
  await migrate(client);
  return client;
}

/** All kinds. */
export const DRIVERS: readonly Driver[] = [
  {
    name: "memory",
    share: 1,
    open: ({ clock } = {}) =>
      Promise.resolve({ ...nothing, store: memory({ ...clock && { clock } }) }),
  },
  {
    name: "upstash",
    share: 0.5,
    open: ({ clock } = {}) => Promise.resolve({ ...nothing, ...redisStore(clock) }),
  },
  {
    name: "libsql",
    share: 0.25,
    async open({ clock, trailKey } = {}) {
      const client = await database(":memory:");
      const store = libsql({ client, ...clock && { clock }, ...trailKey && { trailKey } });
      return { ...nothing, store, trail: store, client, [Symbol.asyncDispose]: closing(client) };
    },
  },
  {
    name: "tiered",
    share: 0.2,
    async open({ clock, trailKey } = {}) {
      const client = await database(":memory:");
      const { store: state, prefix } = redisStore(clock);
      const audit = libsql({ client, ...clock && { clock }, ...trailKey && { trailKey } });
      const store = tiered({ state, audit, auditTimeoutMs: 20_000 });
      const dispose = closing(client);
      return { store, trail: store, prefix, client, [Symbol.asyncDispose]: dispose };
    },
  },
  {
    name: "sqld",
    share: 0.05,
    async open({ clock, trailKey } = {}) {
      const server = await Sqld.start();
      const client = await database(server.url);
      const store = libsql({ client, ...clock && { clock }, ...trailKey && { trailKey } });
      return {
        ...{ store, trail: store, prefix: null, client },
        async [Symbol.asyncDispose]() {
          client.close();
          await server.stop();
        },
      };
    },
  },
];

function closing(client: Client): () => Promise<void> {
  return () => Promise.resolve(client.close());
}

/** Removes all circuits from a store, so that the next run begins empty. */
export async function clear(store: OpeningStore): Promise<void> {
  const shape = () => ({ windowMs: 1, windowSize: 0 });
  let cursor: string | null = null;
  do {
    const page = await store.list({ cursor, limit: 100, at: Date.now(), shape });
    for (const { key } of page.records) await store.remove(key);
    cursor = page.cursor;
  } while (cursor !== null);
}
