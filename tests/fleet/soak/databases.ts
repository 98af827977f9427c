/**
 * The grounds with a database: libSQL on a file and on a real sqld, and Redis with a trail beside it.
 *
 * @module
 */
import { type Client, createClient } from "@libsql/client";
import { createClient as createWebClient } from "@libsql/client/web";
import { migrate } from "@fuse/edge/migrations";
import type { ListPage } from "../../../src/contract.ts";
import { Sqld } from "../../support/sqld.ts";
import { eventsOf, request, SHAPE } from "../../support/trails.ts";
import { type HttpWay, wayTo } from "../../support/ways.ts";
import { type Ground, type GroundOptions, redisGround } from "./grounds.ts";
import { failing, type Passage } from "./stores.ts";
import { libsql, type OpeningStore, tiered } from "../../support/drivers.ts";

/** A database, and its faults. */
interface Base extends AsyncDisposable {
  /** A client of its own, with all faults. */
  connect(): Client;
  /** A client without faults. */
  readonly direct: Client;
  /** Makes it unusable, and returns a function that ends this. Without it, requests are refused. */
  cut?(): Promise<() => Promise<void>>;
  /** Begins a fault of its own kind, and returns a function that ends it. */
  trouble(): () => Promise<void>;
}

async function fileBase({ slow }: GroundOptions): Promise<Base> {
  const folder = await Deno.makeTempDir({ prefix: "fuse-soak-" });
  const clients: Client[] = [];
  const connect = () => {
    const client = createClient({ url: `file:${folder}/fuse.db` });
    clients.push(client);
    return client;
  };
  const direct = connect();
  // As in production: readers and the writer do not wait for each other.
  await direct.execute("pragma journal_mode = wal");
  const hold = async () => {
    const client = createClient({ url: `file:${folder}/fuse.db`, timeout: 2_000 });
    const transaction = await client.transaction("write");
    return async () => {
      await transaction.rollback();
      client.close();
    };
  };
  return {
    connect,
    direct,
    // Another connection holds the lock, all the time.
    ...slow && { cut: hold },
    trouble: () => {
      let going = slow;
      const running = (async () => {
        while (going) {
          await pause(100);
          // No request can be delayed for longer than this in between.
          const release = await hold().catch(() => null);
          await pause(30);
          await release?.();
        }
      })();
      return async () => {
        going = false;
        await running;
      };
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

async function serverBase({ random }: GroundOptions): Promise<Base> {
  const server = await Sqld.start();
  const way: HttpWay = await wayTo(server.url);
  return {
    connect: () => createWebClient({ url: way.url }),
    direct: createWebClient({ url: server.url }),
    async cut() {
      await server.kill();
      return () => server.restart();
    },
    trouble() {
      way.fault = () => {
        const at = random();
        return at < 0.02 ? "refuse" : at < 0.04 ? "lose" : undefined;
      };
      return () => {
        way.fault = undefined;
        return Promise.resolve();
      };
    },
    async [Symbol.asyncDispose]() {
      await way[Symbol.asyncDispose]();
      await server.stop();
    },
  };
}

/** The fate of a request during faults. */
function drawn(random: () => number, slow: boolean): Passage {
  const at = random();
  if (at < 0.01) return "is refused";
  if (at < 0.03) return "loses the answer";
  if (at < 0.1) return "arrives twice";
  return slow && at > 0.999 ? "hangs" : "arrives";
}

/** libSQL, a row for each call. */
export async function libsqlGround(
  kind: "file" | "sqld",
  options: GroundOptions,
): Promise<Ground> {
  const { clock, random, slow } = options;
  const base = await (kind === "file" ? fileBase(options) : serverBase(options));
  await migrate(base.direct);
  const timed = { ...clock && { clock } };
  let passage = (): Passage => "arrives";
  return {
    isolate: () =>
      libsql({ client: failing(base.connect(), () => passage()), audit: "calls", ...timed }),
    observer: libsql({ client: base.direct, ...timed }),
    async weather(kind) {
      if (kind === "dead" && base.cut) return await base.cut();
      passage = kind === "dead" ? () => "is refused" : () => drawn(random, slow);
      const end = kind === "dead" ? async () => {} : base.trouble();
      return async () => {
        passage = () => "arrives";
        await end();
      };
    },
    size: async () => ({ bytes: await sizeOf(base.direct), of: "database" }),
    async check() {
      const { rows } = await base.direct.execute(
        `select b.key, b.total_successes as s, b.total_failures as f,
          coalesce(sum(e.event = 'success'), 0) as rs, coalesce(sum(e.event = 'failure'), 0) as rf
          from circuit_breakers b left join circuit_breaker_events e
          on e.circuit_breaker_id = b.id group by b.id having s <> rs or f <> rf`,
      );
      const problems = rows.map(({ key, s, f, rs, rf }) =>
        `${key} counts ${s} successes and ${f} failures, its trail has rows of ${rs} and ${rf}`
      );
      return [...problems, ...await chainOf(base.direct)];
    },
    [Symbol.asyncDispose]: () => base[Symbol.asyncDispose](),
  };
}

/** Redis decides, a file keeps the trail. */
export async function tieredGround(options: GroundOptions): Promise<Ground> {
  const { clock, random, slow } = options;
  const timed = { ...clock && { clock } };
  const redis = await redisGround(options);
  const base = await fileBase(options);
  await migrate(base.direct);
  let passage = (): Passage => "arrives";
  const isolate = () => {
    const audit = libsql({ client: failing(base.connect(), () => passage()), ...timed });
    return tiered({ state: redis.store(), audit });
  };
  const observer = isolate();
  return {
    isolate,
    observer,
    async weather(kind) {
      const ends = [await redis.weather(kind)];
      if (kind === "dead" && base.cut) ends.push(await base.cut());
      else passage = kind === "dead" ? () => "is refused" : () => drawn(random, slow);
      if (kind === "wire") ends.push(base.trouble());
      return async () => {
        passage = () => "arrives";
        for (const end of ends) await end();
      };
    },
    size: async () => ({ bytes: await redis.used(), of: "Redis" }),
    async check(now, wait) {
      // A row that no isolate knows of waits in Redis for the next operation on its circuit; and an
      // expired override reads as ended, which the next writer writes, with its row.
      for (let left = 20;; left--) {
        const differing = await differingTrails(observer, base.direct, now());
        if (differing.size === 0 || left === 0) {
          return [...differing.values(), ...await chainOf(base.direct)];
        }
        await wait();
        for (const key of differing.keys()) {
          await observer.override(key, { ...request(), at: now(), ...RELEASE });
        }
        await observer.flush?.({ at: now() });
      }
    },
    async [Symbol.asyncDispose]() {
      await redis[Symbol.asyncDispose]();
      await base[Symbol.asyncDispose]();
    },
  };
}

const RELEASE = { kind: null, until: null, reason: null, actor: null };

/**
 * Returns the circuits whose trail is not one row for each generation after the first, with their
 * rows.
 */
async function differingTrails(state: OpeningStore, client: Client, at: number) {
  const told = new Map<string, { rows: number; missed: number; seen: Set<number> }>();
  for (const { key, metadata } of await eventsOf(libsql({ client }))) {
    const of = told.get(key) ?? { rows: 0, missed: 0, seen: new Set() };
    told.set(key, of);
    of.rows++;
    of.missed += Number(metadata?.["missed"] ?? 0);
    of.seen.add(Number(metadata?.["generation"]));
  }
  const differing = new Map<string, string>();
  let cursor: string | null = null;
  do {
    const page: ListPage = await state.list({ cursor, limit: 100, at, shape: () => SHAPE });
    for (const { key, snapshot: { generation } } of page.records) {
      const { rows, missed, seen } = told.get(key) ?? { rows: 0, missed: 0, seen: new Set() };
      if (rows === seen.size && rows + missed === generation - 1) continue;
      differing.set(
        key,
        `${key} is in generation ${generation}, its trail has ${rows} rows of ${seen.size} ` +
          `changes and says that ${missed} are missing`,
      );
    }
    cursor = page.cursor;
  } while (cursor !== null);
  return differing;
}

async function sizeOf(client: Client): Promise<number> {
  const { rows } = await client.execute(
    "select page_count * page_size as bytes from pragma_page_count, pragma_page_size",
  );
  return Number(rows[0]!["bytes"]);
}

async function chainOf(client: Client): Promise<string[]> {
  const { ok, brokenAt } = await libsql({ client }).verifyTrail();
  return ok ? [] : [`The trail of ${brokenAt?.circuit} is broken: ${brokenAt?.problem}`];
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
