// Several tallies of a circuit, which are one run of the script.
import { assert, assertEquals } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { Redis } from "@upstash/redis";
import { face, open, read, record, redis, requestsOf, SHAPE } from "./store.ts";
import { upstash } from "../../support/drivers.ts";

Deno.test("together() sends the tallies of a circuit as one command, and others beside it", async () => {
  const { store } = open();
  for (const key of ["a", "b"]) await record(store, key);
  const all = (work: () => Promise<unknown>[]) =>
    requestsOf(() => store.together!(() => Promise.all(work())));
  const tallies = await all(() => [1, 2, 3].map((n) => record(store, "a", { successes: n })));
  assertEquals(tallies.map(({ commands }) => commands.length), [1]);
  const mixed = await all(() => [
    ...["a", "b", "a", "b"].map((key) => record(store, key, { failures: 1 })),
    // A policy, and the lease of a trial, go by themselves.
    record(store, "b", { failures: 1, policyHash: "x", policy: { windowMs: 7 } }),
    record(store, "b", { failures: 1 }),
    record(store, "a", { failures: 1, lease: "token" }),
    record(store, "a", { failures: 1 }),
  ]);
  assertEquals(mixed.map(({ commands }) => commands.length), [6]);
  for (const key of ["a", "b"]) assertEquals((await read(store, key)).totals.failures, 4, key);
  const many = await all(() => Array.from({ length: 250 }, () => record(store, "a")));
  assertEquals(many.map(({ commands }) => commands.length), [3]);
});

Deno.test("together() tells the end of an override and the outbox to one of several tallies", async () => {
  const clock = new FakeClock();
  const { store } = open({ clock: clock.now });
  const request = { at: clock.now(), shape: SHAPE, outbox: "hand" } as const;
  const until = clock.now() + 1_000;
  const operator = { reason: "drill", actor: null };
  await store.override("a", { ...request, id: "x", kind: "disabled", until, ...operator });
  clock.advance(2_000);
  const answers = await store.together!(() =>
    Promise.all(
      [1, 2, 3].map((n) => record(store, "a", { ...request, id: `isolate-${n}`, successes: n })),
    )
  );
  assertEquals(answers.map(({ released }) => released?.kind), [undefined, undefined, "disabled"]);
  assertEquals(
    answers.map(({ snapshot }) => snapshot.untold?.map(({ event }) => event)),
    [[], [], ["disabled", "released"]],
  );
});

Deno.test("together() keeps the order of tallies and of what comes between them", async () => {
  const { store } = open();
  const { snapshot: { epoch, generation, began } } = await record(store, "a", { failures: 1 });
  const admission = { epoch, generation, began };
  const operation = { id: "x", at: Date.now(), shape: SHAPE, reason: "test", actor: null };
  const [first, tripped, second] = await store.together!(() =>
    Promise.all([
      record(store, "a", { ...admission, failures: 1 }),
      store.transition("a", {
        ...operation,
        ...{ to: "OPEN", event: "opened", cooldownMs: 1_000, expected: admission },
      }),
      record(store, "a", { ...admission, failures: 1 }),
    ])
  );
  assertEquals([first.current, tripped.won, second.current], [true, true, false]);
  assertEquals([first.snapshot.state, second.snapshot.state], ["CLOSED", "OPEN"]);
});

Deno.test("together() counts tallies once whose answer was lost, in whatever groups they are sent again", async () => {
  const { store } = open();
  await record(store, "a");
  const tallies = [1, 2, 3, 4].map((n) => ({ id: `isolate-${n}`, failures: n }));
  const send = (...some: typeof tallies) =>
    store.together!(() => Promise.allSettled(some.map((tally) => record(store, "a", tally))));
  const [a, b, c, d] = tallies as [typeof tallies[0], ...typeof tallies];
  face.fault = () => "lose";
  try {
    const lost = await send(a, b!, c!);
    assertEquals(lost.map(({ status }) => status), Array(3).fill("rejected"));
  } finally {
    face.fault = undefined;
  }
  assertEquals((await read(store, "a")).totals.failures, 6);
  await send(c!);
  await send(b!, d!, a);
  const { totals, consecutiveFailures } = await read(store, "a");
  assertEquals([totals.failures, consecutiveFailures], [10, 10]);
});

Deno.test("CircuitBreaker() counts every call once when answers to its tallies are lost", async () => {
  const { store } = open();
  await using fuse = createFuse({ stores: { cache: store }, storeTimeoutMs: 30_000 });
  const breaker = fuse.make("a", { failureThreshold: 1_000 });
  fuse.on("store_error", () => {});
  let requests = 0;
  face.fault = () => requests++ % 3 === 1 ? "lose" : undefined;
  try {
    for (let i = 0; i < 300; i++) {
      await breaker.tryCall(() => i % 3 === 0 ? Promise.reject(new Error("down")) : 1);
      if (i % 40 === 0) await fuse.flush();
    }
    for (let i = 0; i < 10; i++) await fuse.flush();
  } finally {
    face.fault = undefined;
  }
  const { totals } = await read(store, "a");
  assertEquals([totals.successes, totals.failures], [200, 100]);
});

Deno.test("together() counts none of several tallies if a field of the circuit is invalid", async () => {
  const { store, prefix } = open();
  await record(store, "a", { failures: 1 });
  await redis.command("HSET", `${prefix}:a:metrics`, "older.slow", "x");
  const dump = () => redis.command("HGETALL", `${prefix}:a:metrics`);
  const before = await dump();
  const answers = await store.together!(() =>
    Promise.allSettled([1, 2, 3].map((n) => record(store, "a", { failures: n })))
  );
  for (const answer of answers) {
    assert(answer.status === "rejected" && /"older.slow".*invalid/.test(String(answer.reason)));
  }
  assertEquals(await dump(), before);
});

Deno.test("record() says that a circuit is invalid if somebody has written spaces into its metrics", async () => {
  const { store, prefix } = open();
  const count = { shape: { windowMs: 1_000, windowSize: 3 } };
  for (
    const [field, text, named] of [["outcomes", "S ;F", "metrics"], ["outcomes", "x", "outcomes"]]
  ) {
    await record(store, "a", { failures: 1, ...count });
    await redis.command("HSET", `${prefix}:a:metrics`, field!, text!);
    for (const tallies of [1, 2]) {
      const answers = await store.together!(() =>
        Promise.allSettled(Array.from({ length: tallies }, () => record(store, "a", count)))
      );
      for (const answer of answers) {
        const { reason } = answer as PromiseRejectedResult;
        assert(String(reason).includes(`"${named}"`));
        assertEquals(reason.scope, "circuit");
      }
    }
    await store.remove("a");
  }
});

Deno.test("together() refuses an answer that has not each tally in it", async () => {
  const { store, prefix } = open();
  await record(store, "a");
  for (const spoil of [(text: string) => text.replace(/;.*/, ""), () => "=", () => "=1;1"]) {
    const client = new Redis({ url: face.url, token: face.token, enableAutoPipelining: false });
    const spoilt = upstash({
      prefix,
      redis: Object.assign(Object.create(client), {
        async evalsha(...args: [string, string[], string[]]) {
          const answer = await client.evalsha(...args) as unknown[];
          return answer.map((part, i) => i === 5 ? spoil(String(part)) : part);
        },
      }),
    });
    const answers = await spoilt.together!(() =>
      Promise.allSettled([1, 2].map((n) => record(spoilt, "a", { failures: n })))
    );
    assertEquals(answers.at(-1)!.status, "rejected", String(spoil));
  }
});

Deno.test("together() shows counts of no earlier generation after a tally that is sent again", async () => {
  const clock = new FakeClock();
  const { store } = open({ clock: clock.now });
  await record(store, "a");
  const until = clock.now() + 1_000;
  const { snapshot } = await store.override("a", {
    ...{ id: "override", at: clock.now(), shape: SHAPE },
    ...{ kind: "metrics_only", until, reason: "drill", actor: null },
  });
  const { epoch, generation, began } = snapshot;
  const first = { id: "isolate-1", failures: 5, epoch, generation, began };
  await record(store, "a", first);
  clock.advance(2_000);
  const answers = await store.together!(() =>
    Promise.all([first, { ...first, id: "isolate-2" }].map((tally) => record(store, "a", tally)))
  );
  assertEquals(
    answers.map(({ current, snapshot }) => [
      ...[current, snapshot.generation, snapshot.consecutiveFailures, snapshot.window.failures],
    ]),
    [[true, generation + 1, 0, 0], [false, generation + 1, 0, 0]],
  );
});
