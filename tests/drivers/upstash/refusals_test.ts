// Refusals of real Redis servers: which circuits they concern, and what the error says.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { FakeClock } from "@fuse/edge/testing";
import { type RedisLike, upstash } from "@fuse/edge/upstash";
import type { StoreAnswerError } from "@fuse/edge/store";
import { isStoreAnswerError } from "../../../src/errors.ts";
import type { OpeningStore } from "../../support/drivers.ts";
import { startRedis } from "../../support/redis_server.ts";
import * as circuits from "../../support/upstash_circuit.ts";
import { type Face, startFace } from "../../support/upstash_face.ts";
import { keys, open, read, record, redis } from "./store.ts";

type Scope = "circuit" | "store";

/** Asserts that an answer refuses an operation, and that the error says so. */
async function refused(ask: () => unknown, scope: Scope, said: string): Promise<void> {
  const error: Error = await assertRejects(async () => await ask(), Error);
  assert(isStoreAnswerError(error), Deno.inspect(error));
  assertEquals((error as StoreAnswerError).scope, scope, error.message);
  assert(error.message.startsWith("Redis: "), error.message);
  assert(error.message.includes(said), error.message);
}

/** Asserts that an operation fails because Redis was unreachable. */
async function unreached(ask: () => unknown): Promise<void> {
  const error: Error = await assertRejects(async () => await ask(), Error);
  assert(!isStoreAnswerError(error), Deno.inspect(error));
}

const openOn = ({ url, token }: Face) => open({ url, token });
const check = (store: OpeningStore) => store.check!();
const write = (store: OpeningStore) => record(store, "a", { failures: 1 });

Deno.test("Redis that is out of memory refuses writes of all circuits, and continues to read", async () => {
  await using own = await startRedis({ config: { "maxmemory-policy": "noeviction" } });
  await using face = await startFace({ redis: own });
  const { store } = openOn(face);
  await write(store);
  await own.command("CONFIG", "SET", "maxmemory", "1");
  await refused(() => write(store), "store", "OOM command not allowed");
  await refused(() => check(store), "store", "OOM command not allowed");
  await refused(
    () => store.together!(() => Promise.all([write(store), write(store)])),
    "store",
    "OOM command not allowed",
  );
  assertEquals((await read(store, "a")).totals.failures, 1);
  face.manners.capacityQuota = true;
  await refused(() => write(store), "store", "ERR DB capacity quota exceeded");
  await refused(() => check(store), "store", "ERR DB capacity quota exceeded");
});

Deno.test("Redis that is a replica refuses writes of all circuits, and continues to read", async () => {
  await using own = await startRedis();
  await using face = await startFace({ redis: own });
  const { store, prefix } = openOn(face);
  await record(open({ prefix }).store, "a", { failures: 1 });
  await redis.command("CONFIG", "SET", "repl-diskless-sync-delay", "0");
  await own.command("REPLICAOF", "127.0.0.1", new URL(redis.url).port);
  while (!`${await own.command("INFO", "replication")}`.includes("master_link_status:up"));
  await refused(
    () => write(store),
    "store",
    "READONLY You can't write against a read only replica",
  );
  await refused(() => check(store), "store", "READONLY");
  assertEquals((await read(store, "a")).totals.failures, 1);
});

Deno.test("Redis that cannot save refuses writes of all circuits", async () => {
  await using own = await startRedis({ config: { save: "3600 1" } });
  await using face = await startFace({ redis: own });
  const { store } = openOn(face);
  const [, folder] = await own.command("CONFIG", "GET", "dir") as [string, string];
  // In place of the file.
  await Deno.mkdir(`${folder}/dump.rdb/full`, { recursive: true });
  await own.command("BGSAVE");
  while (!`${await own.command("INFO", "persistence")}`.includes("bgsave_status:err"));
  await refused(() => write(store), "store", "MISCONF");
  await refused(() => check(store), "store", "MISCONF");
});

Deno.test("Redis that is busy with a script refuses requests of all circuits", async () => {
  await using own = await startRedis({ config: { "busy-reply-threshold": "1" } });
  await using face = await startFace({ redis: own });
  const { store } = openOn(face);
  const endless = assertRejects(() => own.command("EVAL", "while true do end", "0"));
  while (await own.command("PING").then(() => true, () => false));
  await refused(() => write(store), "store", "BUSY Redis is busy running a script");
  await refused(() => check(store), "store", "BUSY");
  await own.command("SCRIPT", "KILL");
  await endless;
});

for (
  const [may, said] of Object.entries({
    "+get": "NOPERM this user has no permissions to run the 'evalsha' command",
    "+@scripting +@read": "The user executing the script can't run this command",
  })
) {
  Deno.test(`a Redis user with the permissions ${may} is refused all circuits`, async () => {
    await using own = await startRedis();
    const rights = ["on", ">pass", "~*", "-@all", "+@connection", ...may.split(" ")];
    await own.command("ACL", "SETUSER", "reader", ...rights);
    const url = own.url.replace("//", "//reader:pass@");
    await using face = await startFace({ redis: { url } });
    const { store } = openOn(face);
    await refused(() => write(store), "store", said);
    await refused(() => check(store), "store", said.replace("evalsha", "eval"));
  });
}

for (
  const [what, manners, said] of [
    ["a wrong token", { wrongToken: "WRONGPASS" }, "WRONGPASS invalid or missing auth token"],
    ["a wrong token, of old", { wrongToken: "Unauthorized" }, "Unauthorized"],
    ["a token that only reads", { readOnlyToken: "reader" }, "NOPERM"],
  ] as const
) {
  Deno.test(`${what} is refused all circuits`, async () => {
    await using face = await startFace({ redis, manners });
    const { store } = open({ url: face.url, token: "reader" });
    for (const ask of [write, check, (store: OpeningStore) => read(store, "a")]) {
      await refused(() => ask(store), "store", said);
    }
    await refused(
      () => store.list({ cursor: null, limit: 1, at: 0, shape: () => circuits.request().shape }),
      "store",
      said,
    );
  });
}

Deno.test("an exhausted quota of Upstash concerns all circuits", async () => {
  await using face = await startFace({ redis, manners: { requestsLeft: 0 } });
  const { store } = openOn(face);
  await refused(() => write(store), "store", "ERR max requests limit exceeded. Limit: 500000");
  delete face.manners.requestsLeft;
  face.manners.maxRequestBytes = 100;
  await refused(() => write(store), "store", "ERR max request size exceeded");
  delete face.manners.maxRequestBytes;
  face.fault = () => 429;
  await refused(() => write(store), "store", "ERR max daily request limit exceeded");
});

for (const part of ["state", "metrics", "failures", "successes"]) {
  Deno.test(`a key of another type in place of ${part} concerns its circuit alone`, async () => {
    const clock = new FakeClock();
    const { store, prefix } = circuits.open(clock);
    await circuits.redis.command("SET", `${prefix}:a:${part}`, "not ours");
    const work = async () => {
      for (let i = 0; i < 4; i++) {
        await circuits.record(store, { successes: 1, failures: 1 });
        clock.advance(circuits.SEGMENT_MS);
      }
    };
    await refused(work, "circuit", "WRONGTYPE");
    const { current } = await record(store, "b", { failures: 1 });
    assertEquals(current, true);
    await check(store);
  });
}

Deno.test("a circuit under another prefix concerns itself alone", async () => {
  const [outer, inner] = [open({ prefix: "outer" }), open({ prefix: "outer:in" })];
  await record(outer.store, "in:a");
  await refused(() => record(inner.store, "a"), "circuit", "another prefix");
  await record(inner.store, "b");
});

Deno.test("an invalid answer, or a missing one, is no answer of Redis", async () => {
  await using face = await startFace({ redis });
  const { store } = openOn(face);
  for (const fault of ["refuse", "lose", "garbage", "truncated", "wrong_shape", 502] as const) {
    face.fault = () => fault;
    await unreached(() => write(store));
    await unreached(() => check(store));
  }
});

Deno.test("check() sends one request, and leaves no key behind", async () => {
  await using face = await startFace({ redis });
  const { store, prefix } = openOn(face);
  await write(store);
  const before = await keys(`${prefix}*`);
  face.reset();
  await check(store);
  assertEquals([face.requests, await keys(`${prefix}*`)], [1, before]);
});

Deno.test("the script is sent to a server that puts words before NOSCRIPT", async () => {
  await using own = await startRedis();
  await using face = await startFace({ redis: own, manners: { beforeNoscript: "ERR upstream: " } });
  const { store } = openOn(face);
  await write(store);
  await own.command("SCRIPT", "FLUSH");
  await store.together!(() => Promise.all([write(store), write(store)]));
  assertEquals((await read(store, "a")).totals.failures, 3);
});

Deno.test("list() follows cursors beyond 2^53", async () => {
  await using own = await startRedis();
  await using face = await startFace({ redis: own, manners: { hugeCursors: true } });
  const { store } = openOn(face);
  const names = Array.from({ length: 50 }, (_, i) => `huge-${i}`);
  await Promise.all(names.map((name) => record(store, name)));
  const found: string[] = [];
  let pages = 0;
  for (let cursor: string | null = null; pages === 0 || cursor !== null; pages++) {
    const shape = () => circuits.request().shape;
    const page = await store.list({ cursor, limit: 10, at: 0, shape });
    found.push(...page.records.map(({ key }) => key));
    cursor = page.cursor;
  }
  assert(pages > 2);
  assertEquals([...new Set(found)].toSorted(), names.toSorted());
});

/** The error that a client throws, and the circuits it concerns; none if Redis was unreachable. */
const THROWN: readonly [name: string, message: string, scope: Scope | null][] = [
  [
    "Error",
    "ERR ACL failure in script: User a has no permissions to run the 'set' command",
    "store",
  ],
  ["UpstashError", "LOADING Redis is loading the dataset in memory", "store"],
  ["Error", "NOAUTH Authentication required.", "store"],
  ["ReplyError", "NOSCRIPT No matching script. Please use EVAL.", "store"],
  ["ReplyError", "CLUSTERDOWN The cluster is down", "store"],
  [
    "UpstashError",
    "ERR Error running script (call to f_1): @user_script: 1: -OOM command not allowed",
    "store",
  ],
  ["UpstashError", "Command failed: WRONGTYPE Operation against a key", "circuit"],
  ["UpstashError", `WRONGTYPE Operation, command was: ["evalsha","OOM quota exceeded"]`, "circuit"],
  ["UpstashError", "something that nobody has heard of", "circuit"],
  ["UpstashError", "ERR max single record size exceeded", "circuit"],
  ["UpstashError", "undefined, command was: []", null],
  ["UpstashError", "[object Object], command was: []", null],
  ["UpstashJSONParseError", "Unable to parse response body: OOM", null],
  ["TypeError", "fetch failed", null],
  ["TimeoutError", "Signal timed out.", null],
  ["Error", "Unauthorized: a token", null],
];

for (const [name, message, scope] of THROWN) {
  Deno.test(`${name} "${message}" concerns ${scope === null ? "no circuit" : `the ${scope}`}`, async () => {
    const fail = () => Promise.reject(Object.assign(new Error(message), { name }));
    const client = { evalsha: fail, eval: fail, scan: fail, del: fail, pipeline: fail };
    const store = upstash({ redis: client as unknown as RedisLike }) as OpeningStore;
    const ask = () => read(store, "a");
    if (scope === null) await unreached(ask);
    else await refused(ask, scope, message.split(/,| script: /)[0]!);
  });
}

Deno.test("a long error text is cut before it is examined, and no part of a token is shown", async () => {
  const token = "t0ken".repeat(20);
  const body = { error: "" };
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    () => Response.json(body, { status: 400 }),
  );
  const { store } = open({ url: `http://127.0.0.1:${server.addr.port}`, token });
  body.error = `ERR ${"a.".repeat(1_000_000)}`;
  await refused(() => write(store), "circuit", "ERR a.a.");
  // The text before it is dropped, which could move a token's beginning into the part that is
  // shown.
  body.error = `ERR ${`http://${"a".repeat(464)} `}${token}`;
  const error = await assertRejects(async () => await write(store), Error);
  assert(!error.message.includes("t0k"), error.message);
  await server.shutdown();
});
