// Clients and proxies whose answers are misaligned: each request receives the previous one's
// answer.
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { createClient } from "@libsql/client";
import { Redis } from "@upstash/redis/cloudflare";
import { createFuse, type FuseEvent, type Store } from "@fuse/edge";
import { libsql, type LibsqlClient } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { type RedisLike, upstash } from "@fuse/edge/upstash";
import type { Driver, StoreAnswerError } from "@fuse/edge/store";
import { face, freshPrefix, redis } from "./upstash/store.ts";

/**
 * Returns answers in the order of the requests; one late while `slips` is true. Errors are late as
 * well.
 */
class Slipping {
  slips = false;
  #held: Promise<unknown> = Promise.resolve(null);

  answer<T>(now: Promise<T>): Promise<T> {
    now.catch(() => {});
    const held = this.#held as Promise<T>;
    this.#held = now;
    return this.slips ? now.then(() => held, () => held) : now;
  }
}

/** A store on a client with misaligned answers. */
interface Slippery {
  readonly name: string;
  make(): Promise<{
    readonly slipping: Slipping;
    readonly store: Store;
    /** Corrupts a circuit, so that the server answers with an error about this circuit. */
    spoil?(key: string): Promise<unknown>;
    close(): void;
  }>;
}

const STORES: readonly Slippery[] = [
  {
    name: "upstash()",
    make() {
      const slipping = new Slipping();
      const { url, token } = face;
      const real = new Redis({ url, token, retry: { retries: 0 }, enableAutoPipelining: false });
      const client: RedisLike = {
        evalsha: (sha, keys, args) => slipping.answer(real.evalsha(sha, keys, args)),
        eval: (script, keys, args) => slipping.answer(real.eval(script, keys, args)),
        scan: (cursor, options) =>
          slipping.answer(real.scan(cursor, options!) as Promise<[string, string[]]>),
        del: (...keys) => slipping.answer(real.del(...keys)),
        pipeline() {
          const pipeline = real.pipeline();
          return {
            evalsha: (sha, keys, args) => pipeline.evalsha(sha, keys, args),
            exec: () =>
              slipping.answer(pipeline.exec({ keepErrors: true }) as unknown as Promise<unknown[]>),
          };
        },
      };
      const prefix = freshPrefix();
      return Promise.resolve({
        slipping,
        store: upstash({ redis: client, prefix }),
        spoil: (key: string) => redis.command("SET", `${prefix}:${key}:state`, "not ours"),
        close() {},
      });
    },
  },
  {
    name: "libsql()",
    async make() {
      const slipping = new Slipping();
      const real = createClient({ url: ":memory:" });
      await migrate(real);
      const client: LibsqlClient = {
        execute: (statement) => slipping.answer(real.execute(statement as never)),
        batch: (statements, mode) => slipping.answer(real.batch(statements as never, mode)),
      };
      return { slipping, store: libsql({ client }), close: () => real.close() };
    },
  },
];

for (const { name, make } of STORES) {
  Deno.test(`${name} applies no override of another circuit when a client's answers are misaligned`, async () => {
    const { slipping, store, close } = await make();
    try {
      const fuse = createFuse({
        ...{ stores: { store }, storeTimeoutMs: 30_000 },
        defaults: { consistency: "strong" },
      });
      const told: FuseEvent[] = [];
      fuse.on("*", (event) => void told.push(event));
      const search = fuse.make("search");
      const payments = fuse.make("payments");
      await payments.call(() => 1);
      await search.forceOpen({ reason: "search is down" });
      await fuse.flush();
      await search.tryCall(() => 1);
      told.length = 0;
      slipping.slips = true;
      assertEquals(await payments.tryCall(() => "paid"), {
        ...{ ok: true, source: "call", value: "paid" },
      });
      await fuse.flush();
      assertEquals(payments.peek().override, null);
      const errors = told.flatMap((event) => event.type === "store_error" ? [event.error] : []);
      assertMatch(String(errors[0]), /its answer (is to another request|is invalid)/);
      slipping.slips = false;
      await payments.forceClose();
      assertEquals((await payments.snapshot()).override?.kind, "forced_closed");
      assertEquals((await search.snapshot()).override?.kind, "forced_open");
    } finally {
      close();
    }
  });

  Deno.test(`${name} refuses each answer to another request, and accepts later answers`, async () => {
    const { slipping, store, close } = await make();
    try {
      const driver = store as Driver;
      const shape = { windowMs: 1_000, windowSize: 0 };
      const change = () => ({ id: crypto.randomUUID(), at: Date.now(), shape });
      const tally = () => ({
        ...change(),
        ...{ epoch: "", generation: 0, began: 0, successes: 1, failures: 0, rejected: 0, slow: 0 },
        ...{ ageMs: 0, lease: null, policyHash: "p" },
      });
      const why = { reason: null, actor: null };
      const page = { cursor: null, limit: 10, at: Date.now(), shape: () => shape };
      const ask: Record<string, (key: string) => unknown> = {
        read: (key) => driver.read(key, { at: Date.now(), shape }),
        record: (key) => driver.record(key, tally()),
        acquire: (key) => driver.acquire(key, { ...change(), token: "t", max: 1, leaseMs: 1_000 }),
        transition: (key) =>
          driver.transition(key, {
            ...{ ...change(), ...why, to: "OPEN", event: "opened", cooldownMs: 1, expected: null },
            reason: "r",
          }),
        override: (key) =>
          driver.override(key, { ...change(), ...why, kind: "disabled", until: null }),
        remove: (key) => driver.remove(key, { ...change(), ...why }),
        list: () => driver.list(page),
        check: () => driver.check!(),
      };
      for (const [operation, asks] of Object.entries(ask)) {
        // Also for the same circuit: the answer belongs to another request.
        for (const before of ["b", "a"]) {
          slipping.slips = false;
          await driver.record("a", tally());
          await driver.read(before, { at: Date.now(), shape });
          slipping.slips = true;
          const error = await assertRejects(
            async () => await asks("a"),
            Error,
            undefined,
            operation,
          );
          assertEquals((error as StoreAnswerError).scope, undefined, `${operation}: ${error}`);
        }
      }
      slipping.slips = false;
      await driver.read("a", { at: Date.now(), shape });
      for (const asks of Object.values(ask)) await asks("a");
    } finally {
      close();
    }
  });
}

Deno.test("upstash() trusts no error while answers belong to other requests", async () => {
  const { slipping, store, spoil } = await STORES[0]!.make();
  const driver = store as Driver;
  const read = async (key: string) =>
    await driver.read(key, { at: Date.now(), shape: { windowMs: 1_000, windowSize: 0 } });
  const scopeOf = async (key: string) =>
    await read(key).then(() => "none", (error) => (error as StoreAnswerError).scope);
  await spoil!("spoilt");
  await read("a");
  assertEquals(await scopeOf("spoilt"), "circuit");
  await read("a");
  slipping.slips = true;
  assertEquals(await scopeOf("spoilt"), undefined);
  // The error reaches this request, and belongs to another.
  assertEquals(await scopeOf("a"), undefined);
  slipping.slips = false;
  assertEquals(await scopeOf("spoilt"), undefined);
  assertEquals(await scopeOf("a"), "none");
  assertEquals(await scopeOf("spoilt"), "circuit");
});
