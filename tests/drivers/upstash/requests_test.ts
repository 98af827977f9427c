// The cost of operations in requests and commands.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { Redis } from "@upstash/redis";
import { LOCKING, LOCKING_SHA1, SCRIPT, SCRIPT_SHA1 } from "../../../drivers/upstash/script.ts";
import { type FaceRequest, startFace } from "../../support/upstash_face.ts";
import { face, open, read, record, redis, requestsOf, SHAPE } from "./store.ts";
import { upstash } from "../../support/drivers.ts";

/** Returns how many commands Redis ran meanwhile. */
async function commandsOf(work: () => Promise<unknown>): Promise<number> {
  const before = await redis.commandCalls();
  await work();
  return await redis.commandCalls() - before;
}

Deno.test("record() sends one request and five commands in a segment that has begun", async () => {
  const { store } = open();
  await record(store, "a", { successes: 1 });
  // The server's clock may pass into the next segment: of three, two fall into one.
  const counts = [];
  for (let i = 0; i < 3; i++) {
    let requests: readonly FaceRequest[] = [];
    counts.push(
      await commandsOf(async () => {
        requests = await requestsOf(() => record(store, "a", { successes: 3, failures: 1 }));
      }),
    );
    assertEquals(requests.map(({ route }) => route), ["command"]);
  }
  assertEquals(Math.min(...counts), 5);
});

Deno.test("read() and acquire() of a closed circuit send one request and four commands, and write nothing", async () => {
  const { store, prefix } = open();
  const { snapshot } = await record(store, "a", { failures: 1 });
  const dump = () =>
    Promise.all(["state", "metrics"].map((p) => redis.command("HGETALL", `${prefix}:a:${p}`)));
  const before = await dump();
  const request = { id: "x", at: Date.now(), shape: SHAPE };
  const trial = { token: "t", max: 1, leaseMs: 1_000 };
  for (
    const work of [
      () => read(store, "a"),
      () => Promise.resolve(store.acquire("a", { ...request, ...trial })),
    ]
  ) {
    assertEquals((await requestsOf(work)).length, 1);
    assertEquals(await commandsOf(work), 4);
  }
  assertEquals(await dump(), before);
  assertEquals((await read(store, "a")).epoch, snapshot.epoch);
});

Deno.test("record() sends the script once to a server that does not have it", async () => {
  const { store } = open();
  await redis.command("SCRIPT", "FLUSH");
  const [first, second, third] = await requestsOf(async () => {
    await record(store, "a", { successes: 1 });
    await record(store, "a", { successes: 1 });
  });
  assertEquals(first?.commands[0]?.[0], "evalsha");
  assertEquals(second?.commands[0]?.slice(0, 2), ["eval", LOCKING + SCRIPT]);
  assertEquals(third?.commands[0]?.slice(0, 2), ["evalsha", LOCKING_SHA1]);
  assertEquals((await read(store, "a")).totals.successes, 2);
});

/** Returns the commands that arrived, as far as they show which text was run. */
function textsOf(log: readonly FaceRequest[]): unknown[][] {
  const names = new Map<unknown, string>([
    [LOCKING_SHA1, "locking"],
    [SCRIPT_SHA1, "plain"],
    [LOCKING + SCRIPT, "locking"],
    [SCRIPT, "plain"],
  ]);
  return log.flatMap(({ commands }) =>
    commands.map(([name, text]) => [name, names.get(text) ?? text])
  );
}

Deno.test("read() continues with the plain script when the server refuses to lock keys", async () => {
  await using refusing = await startFace({ redis, manners: { keyLocking: "refused" } });
  await redis.command("SCRIPT", "FLUSH");
  const { store } = open({ url: refusing.url, token: refusing.token });
  for (let i = 0; i < 3; i++) await read(store, "a");
  assertEquals(textsOf(refusing.log), [
    ["evalsha", "locking"],
    ["eval", "locking"],
    ["eval", "plain"],
    ["evalsha", "plain"],
    ["evalsha", "plain"],
  ]);
  const other = open({ url: refusing.url, token: refusing.token });
  await other.store.check!();
  refusing.reset();
  await read(other.store, "a");
  assertEquals(textsOf(refusing.log), [["evalsha", "plain"]], "check() has found out, too");
});

for (const keyLocking of ["held", "refused"] as const) {
  Deno.test(`a hundred concurrent operations do not each send the script to a server that does not have it (locking ${keyLocking})`, async () => {
    await using own = await startFace({ redis, manners: { keyLocking } });
    const { store } = open({ url: own.url, token: own.token });
    await redis.command("SCRIPT", "FLUSH");
    // The longer the script takes to arrive, the more requests would be pending.
    own.delayMs = ({ commands }) => commands[0]?.[0] === "eval" ? 50 : 0;
    const keys = Array.from({ length: 100 }, (_, i) => `c${i}`);
    await Promise.all(keys.map((key) => record(store, key, { successes: 1 })));
    const sent = own.log.filter(({ commands }) => commands[0]?.[0] === "eval").length;
    assertEquals(sent, keyLocking === "held" ? 1 : 2);
    for (const key of keys) assertEquals((await read(store, key)).totals.successes, 1);
  });
}

Deno.test("record() sends the script itself when the request that should load it hangs", async () => {
  await using own = await startFace({ redis });
  const { store } = open({ url: own.url, token: own.token });
  await redis.command("SCRIPT", "FLUSH");
  let evals = 0;
  const hangs = Promise.withResolvers<void>();
  own.fault = ({ commands }) => {
    if (commands[0]?.[0] !== "eval" || evals++ > 0) return undefined;
    hangs.resolve();
    return "hang";
  };
  const hanging = assertRejects(() => record(store, "a", { successes: 1 }));
  await hangs.promise;
  await record(store, "b", { successes: 1 });
  assertEquals([evals, (await read(store, "b")).totals.successes], [2, 1]);
  await own.stopListening();
  await hanging;
});

Deno.test("flush() sends the pending tallies of several circuits as one pipeline", async () => {
  const { store } = open();
  const fuse = createFuse({ stores: { cache: store }, storeTimeoutMs: 30_000 });
  const names = ["a", "b", "c", "d", "e"];
  for (const name of names) await fuse.make(name).call(() => 1);
  // The first call of each made the script known.
  for (const name of names) await fuse.make(name).call(() => 1);
  await fuse.flush();
  for (const name of names) await fuse.make(name).call(() => 1);
  const asked = await requestsOf(() => fuse.flush());
  assertEquals(asked.map(({ route }) => route), ["pipeline"]);
  assertEquals(asked[0]?.commands.map(([name]) => name), names.map(() => "evalsha"));
  for (const name of names) assertEquals((await read(store, name)).totals.successes, 3, name);
});

Deno.test("together() sends at most a hundred operations in one request", async () => {
  const { store } = open();
  const circuits = Array.from({ length: 250 }, (_, i) => `c${i}`);
  await record(store, "c0");
  const asked = await requestsOf(() =>
    store.together!(() => Promise.all(circuits.map((key) => record(store, key, { successes: 1 }))))
  );
  // New circuits also declare the keys of the indexes.
  const rest = asked.map(({ commands }) => commands.length).toSorted((a, b) => b - a);
  assertEquals(rest, [100, 100, 100, 99, 50, 50]);
  assertEquals((await read(store, "c249")).totals.successes, 1);
  const again = await requestsOf(() =>
    store.together!(() => Promise.all(circuits.map((key) => record(store, key, { successes: 1 }))))
  );
  assertEquals(again.map(({ commands }) => commands.length), [100, 100, 50]);
});

Deno.test("together() isolates the failure of one operation from the others", async () => {
  const { store, prefix } = open();
  await redis.command("SET", `${prefix}:b:state`, "not ours");
  const [a, b, c] = await store.together!(() =>
    Promise.allSettled(["a", "b", "c"].map((key) => record(store, key, { successes: 1 })))
  );
  assertEquals([a!.status, b!.status, c!.status], ["fulfilled", "rejected", "fulfilled"]);
  assert(String((b as PromiseRejectedResult).reason).includes("WRONGTYPE"));
  assertEquals(await redis.command("GET", `${prefix}:b:state`), "not ours");
});

Deno.test("together() sends the script once to a server that does not have it", async () => {
  const { store } = open();
  for (const key of ["a", "b", "c"]) await read(store, key);
  await redis.command("SCRIPT", "FLUSH");
  const asked = await requestsOf(() =>
    store.together!(() =>
      Promise.all(["a", "b", "c"].map((key) => record(store, key, { successes: 1 })))
    )
  );
  assertEquals(
    asked.map(({ commands }) => commands.map(([name]) => name)),
    [["evalsha", "evalsha", "evalsha"], ["evalsha"], ["eval"], ["evalsha", "evalsha"]],
  );
  for (const key of ["a", "b", "c"]) assertEquals((await read(store, key)).totals.successes, 1);
});

Deno.test("record() does not resend the script because of a circuit's name", async () => {
  const { store, prefix } = open();
  await redis.command("SET", `${prefix}:NOSCRIPT:state`, "not ours");
  const client = new Redis({ url: face.url, token: face.token, enableAutoPipelining: false });
  const named = upstash({ redis: client, prefix });
  const asked = await requestsOf(() =>
    assertRejects(() => record(named, "NOSCRIPT"), Error, "WRONGTYPE")
  );
  assertEquals(asked.map(({ commands }) => commands[0]?.[0]), ["evalsha"]);
  await store.remove("NOSCRIPT");
});
