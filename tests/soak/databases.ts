/**
 * The grounds with a database: libSQL on a file and on a real sqld, and Redis with a trail beside it.
 *
 * @module
 */
import { type Client, createClient } from "@libsql/client";
import { createClient as createWebClient } from "@libsql/client/web";
import { libsql, tiered } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { Sqld } from "../support/sqld.ts";
import { eventsOf } from "../support/trails.ts";
import { type HttpWay, wayTo } from "../support/ways.ts";
import { type Ground, type GroundOptions, redisGround } from "./grounds.ts";
import { failing, type Passage } from "./stores.ts";

/** A database and what goes wrong on the way to it. */
interface Base extends AsyncDisposable {
  /** A client of its own, through all that goes wrong. */
  connect(): Client;
  /** Past it. */
  readonly direct: Client;
  /** Ends it as a power cut would, and answers how to bring it back. */
  cut(): Promise<() => Promise<void>>;
  /** Begins trouble of its own kind. */
  trouble(random: () => number): () => Promise<void>;
}

async function fileBase(): Promise<Base> {
  const folder = await Deno.makeTempDir({ prefix: "fuse-soak-" });
  const clients: Client[] = [];
  const connect = () => {
    const client = createClient({ url: `file:${folder}/fuse.db` });
    clients.push(client);
    return client;
  };
  const direct = connect();
  // As one would in production: readers and the writer do not wait for each other.
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
    // Somebody else has the lock, all the time.
    cut: hold,
    trouble: () => {
      let going = true;
      const running = (async () => {
        while (going) {
          await pause(100);
          // Nobody can be held up for longer than this in between.
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

async function serverBase(): Promise<Base> {
  const server = await Sqld.start();
  const way: HttpWay = await wayTo(server.url);
  return {
    connect: () => createWebClient({ url: way.url }),
    direct: createWebClient({ url: server.url }),
    async cut() {
      await server.kill();
      return () => server.restart();
    },
    trouble: (random) => {
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

/** How a request fares in bad weather. */
function drawn(random: () => number, hangs: boolean): Passage {
  const at = random();
  if (at < 0.01) return "is refused";
  if (at < 0.03) return "loses the answer";
  if (at < 0.1) return "arrives twice";
  return hangs && at > 0.999 ? "hangs" : "arrives";
}

/** libSQL, a row for each call. */
export async function libsqlGround(
  kind: "file" | "sqld",
  { clock, random, hangs }: GroundOptions,
): Promise<Ground> {
  const base = await (kind === "file" ? fileBase() : serverBase());
  await migrate(base.direct);
  const timed = { ...clock && { clock } };
  let passage = (): Passage => "arrives";
  return {
    isolate: () =>
      libsql({ client: failing(base.connect(), () => passage()), audit: "calls", ...timed }),
    observer: libsql({ client: base.direct, ...timed }),
    async weather(kind) {
      if (kind === "dead") return await base.cut();
      passage = () => drawn(random, hangs);
      const end = base.trouble(random);
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
  const { clock, random, hangs } = options;
  const timed = { ...clock && { clock } };
  const redis = await redisGround(options);
  const base = await fileBase();
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
      if (kind === "dead") ends.push(await base.cut());
      else ends.push(base.trouble(random));
      if (kind === "wire") passage = () => drawn(random, hangs);
      return async () => {
        passage = () => "arrives";
        for (const end of ends) await end();
      };
    },
    size: async () => ({ bytes: await redis.used(), of: "Redis" }),
    async check() {
      const problems = await chainOf(base.direct);
      const keys = new Map<string, number>();
      for (let cursor: string | null = null;;) {
        const shape = () => ({ windowMs: 1_000, windowSize: 0 });
        const page = await observer.list({ cursor, limit: 100, at: Date.now(), shape });
        for (const { key, snapshot } of page.records) keys.set(key, snapshot.generation);
        if ((cursor = page.cursor) === null) break;
      }
      const told = new Map<string, { rows: number; missed: number; seen: Set<number> }>();
      for (const { key, metadata } of await eventsOf(libsql({ client: base.direct }))) {
        const of = told.get(key) ?? { rows: 0, missed: 0, seen: new Set() };
        told.set(key, of);
        of.rows++;
        of.missed += Number(metadata?.["missed"] ?? 0);
        of.seen.add(Number(metadata?.["generation"]));
      }
      for (const [key, generation] of keys) {
        const { rows, missed, seen } = told.get(key) ?? { rows: 0, missed: 0, seen: new Set() };
        if (rows === seen.size && rows + missed === generation - 1) continue;
        problems.push(
          `${key} is in generation ${generation}, its trail has ${rows} rows of ${seen.size} ` +
            `changes and says that ${missed} are missing`,
        );
      }
      return problems;
    },
    async [Symbol.asyncDispose]() {
      await redis[Symbol.asyncDispose]();
      await base[Symbol.asyncDispose]();
    },
  };
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
