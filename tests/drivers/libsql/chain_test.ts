// The hash chain: its contents and its costs.
import type { FailureNote } from "@fuse/edge/store";
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { createFuse } from "@fuse/edge";
import type { LibsqlClient } from "@fuse/edge/libsql";
import { FakeClock } from "@fuse/edge/testing";
import { APPEND, type TrailAppender } from "../../../drivers/libsql/append.ts";
import { inMemory } from "../../support/databases.ts";
import {
  acquiring,
  changing,
  COOLDOWN_MS,
  EVENTS,
  eventsOf,
  laying,
  SHAPE,
  tally,
  TRAIL_KEY,
} from "../../support/trails.ts";
import { libsql } from "../../support/drivers.ts";

Deno.test("a transition event carries the head, and verifyTrail() finds that head", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client, trailKey: TRAIL_KEY });
    await using fuse = createFuse({ storeTimeoutMs: 30_000, stores: { database: store } });
    let head: string | undefined;
    fuse.on("opened", (event) => head = event.head);
    const breaker = fuse.make("api", { failureThreshold: 1, consistency: "strong" });
    await breaker.tryCall(() => Promise.reject(new Error("down")));
    assert(/^[0-9a-f]{64}$/.test(head!), head);
    const proof = await store.verifyTrail({ head });
    assertEquals([proof.ok, proof.heads], [true, { api: head! }]);
    await breaker.reset();
    assertEquals((await store.verifyTrail({ head })).ok, true);
    assertNotEquals((await store.verifyTrail()).heads.api, head);
  });
});

/** A client that counts its requests. */
function counting(client: LibsqlClient) {
  const count = { requests: 0 };
  const counted: LibsqlClient = {
    execute(statement) {
      count.requests++;
      return client.execute(statement);
    },
    batch(statements, mode) {
      count.requests++;
      return client.batch(statements, mode);
    },
  };
  return { count, counted };
}

Deno.test("a transition costs one request after the record that found it due, and two for another isolate", async () => {
  await inMemory(async (client) => {
    const { count, counted } = counting(client);
    const store = libsql({ client: counted });
    const cost = async (ask: () => unknown) => {
      count.requests = 0;
      await ask();
      return count.requests;
    };
    await store.record("a", tally({ failures: 1 }));
    assertEquals(await cost(() => store.transition("a", changing())), 1);
    assertEquals(await cost(() => store.override("a", { ...laying(), kind: "disabled" })), 1);
    const stranger = libsql({ client: counted });
    assertEquals(await cost(() => stranger.override("a", { ...laying(), kind: null })), 2);
    // Another writer was faster once.
    assertEquals(await cost(() => store.override("a", { ...laying(), kind: "disabled" })), 2);
  });
});

Deno.test("a database that is restored from a backup costs one more request, once", async () => {
  await inMemory(async (client) => {
    const { count, counted } = counting(client);
    const store = libsql({ client: counted });
    await store.record("a", tally({ failures: 1 }));
    await store.transition("a", changing());
    const tables = ["circuit_breakers", EVENTS, "circuit_breaker_trails"];
    for (const table of tables) {
      await client.execute(`create table backup_${table} as select * from ${table}`);
    }
    for (let i = 0; i < 5; i++) await store.override("a", { ...laying(), kind: "disabled" });
    for (const table of tables) {
      await client.execute(`delete from ${table}`);
      await client.execute(`insert into ${table} select * from backup_${table}`);
    }
    for (const requests of [2, 1]) {
      count.requests = 0;
      const { won } = await store.override("a", { ...laying(), kind: "disabled" });
      assertEquals([won, count.requests], [true, requests]);
    }
    const { ok, checked } = await store.verifyTrail();
    assertEquals([ok, checked], [true, 3]);
  });
});

for (const first of ["record", "transition", "override", "acquire", "append"] as const) {
  Deno.test(`${first}() adds many edits by hand to the chain, and answers stay short`, async () => {
    await inMemory(async (client) => {
      let longest = 0;
      const measured: LibsqlClient = {
        execute: (statement) => client.execute(statement),
        async batch(statements, mode) {
          const results = await client.batch(statements, mode);
          longest = Math.max(longest, JSON.stringify(results.at(-1)!.rows).length);
          return results;
        },
      };
      const clock = new FakeClock();
      const store = libsql({ client: measured, clock: clock.now, trailKey: TRAIL_KEY });
      await store.record("a", tally({ failures: 1 }));
      await store.transition("a", changing());
      const edits = "update circuit_breakers set failure_count = failure_count + 1";
      for (let i = 0; i < 350; i++) await client.execute(edits);
      clock.advance(COOLDOWN_MS);
      const next = libsql({ client: measured, clock: clock.now, trailKey: TRAIL_KEY });
      if (first === "record") {
        for (let i = 0; i < 6; i++) await next.record("a", tally({ successes: 1 }));
      }
      if (first === "transition") await next.transition("a", changing({ to: "CLOSED" }));
      if (first === "override") await next.override("a", { ...laying(), kind: "disabled" });
      if (first === "acquire") await next.acquire("a", acquiring());
      if (first === "append") {
        const row = {
          key: "a",
          epoch: "e",
          generation: 1,
          began: 1,
          at: clock.now(),
          metadata: null,
        };
        await (next as unknown as TrailAppender)[APPEND]([{ ...row, event: "opened" }]);
      }
      const { rows } = await client.execute(
        "select unsealed, sequence from circuit_breaker_trails",
      );
      assertEquals({ ...rows[0] }, {
        ...{ unsealed: 0, sequence: first === "record" ? 351 : 352 },
      });
      const proof = await next.verifyTrail();
      assertEquals([proof.ok, proof.brokenAt, proof.checked], [
        true,
        null,
        Number(rows[0]!.sequence),
      ]);
      assert(longest < 45_000, `${longest}`);
    });
  });
}

Deno.test("one row releases an expired override, whichever caller comes first", async () => {
  for (const first of ["record", "acquire", "transition", "override"] as const) {
    for (const knows of [true, false]) {
      await inMemory(async (client) => {
        const clock = new FakeClock();
        const store = libsql({ client, clock: clock.now, trailKey: TRAIL_KEY });
        await store.record("a", tally({ failures: 1 }));
        const until = clock.now() + 1_000;
        await store.override("a", { ...laying(), at: clock.now(), until, kind: "forced_open" });
        clock.advance(1_000);
        const next = knows ? store : libsql({ client, clock: clock.now, trailKey: TRAIL_KEY });
        if (first === "record") await next.record("a", tally({ successes: 1 }));
        if (first === "acquire") await next.acquire("a", acquiring());
        if (first === "transition") await next.transition("a", changing());
        if (first === "override") await next.override("a", { ...laying(), kind: "disabled" });
        const events = (await eventsOf(store, { key: "a" })).map(({ event }) => event);
        const more = { record: [], acquire: [], transition: ["opened"], override: ["disabled"] };
        assertEquals(events, [...more[first], "released", "forced_open"]);
        const proof = await next.verifyTrail();
        assertEquals([proof.ok, proof.checked], [true, events.length]);
      });
    }
  }
});

Deno.test("metadata contains the counts, their period and the isolate that decided", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client });
    const stores = { database: store };
    await using fuse = createFuse({ storeTimeoutMs: 30_000, stores, instance: "fra1" });
    const breaker = fuse.make("api", { failureThreshold: 2, cooldownMs: 5_000 });
    for (let i = 0; i < 2; i++) await breaker.tryCall(() => Promise.reject(new Error("down")));
    await fuse.flush();
    const [opened] = await eventsOf(store);
    const { isolate, lastFailure, after, ...metadata } = opened!.metadata!;
    const openUntil = (await breaker.snapshot()).openUntil!.getTime();
    assertEquals(after, {
      ...{ state: "OPEN", openUntil, cooldownMs: 5_000, reason: "consecutive_failures" },
      override: null,
    });
    assert(typeof isolate === "string" && isolate.length > 5);
    assertEquals({ ...lastFailure as FailureNote, at: 0 }, {
      ...{ at: 0, kind: "Error", status: null, instance: "fra1" },
    });
    assertEquals(metadata, {
      ...{ from: "CLOSED", to: "OPEN", generation: 2, reason: "consecutive_failures", actor: null },
      ...{ cooldownMs: 5_000, instance: "fra1" },
      counters: {
        ...{ consecutiveFailures: 2, consecutiveSuccesses: 0, failures: 2, successes: 0, slow: 0 },
        ...{ totalFailures: 2, totalSuccesses: 0, totalRejected: 0, totalSlow: 0 },
      },
    });
  });
});

Deno.test("a row has the time of the database's clock, however wrong the caller's clock is", async () => {
  await inMemory(async (client) => {
    const original = Date.now;
    const store = libsql({ client });
    await store.record("a", tally({ failures: 1 }));
    try {
      // The caller's clock is two hours ahead, the database's is within the same second.
      Date.now = () => original() + 7_200_000;
      await store.transition("a", changing());
      Date.now = () => original() - 7_200_000;
      await store.override("a", { ...laying(), kind: "disabled" });
    } finally {
      Date.now = original;
    }
    for (const { at } of await eventsOf(store)) {
      const off = Math.abs(at.getTime() - original());
      assert(off < 60_000, `${off} ms off`);
    }
    assertEquals((await store.verifyTrail()).ok, true);
  });
});

Deno.test("verifyTrail() refuses an invalid option", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client });
    const error = await store.verifyTrail({ key: "a" } as never).catch((error: Error) => error);
    assert(error instanceof TypeError);
    assertEquals(await store.verifyTrail(), { ok: true, checked: 0, brokenAt: null, heads: {} });
    await store.read("a", { at: 0, shape: SHAPE });
  });
});

Deno.test("verifyTrail() reports its progress after each circuit", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client });
    await using fuse = createFuse({ storeTimeoutMs: 30_000, stores: { database: store } });
    for (const name of ["a", "b"]) await fuse.make(name).forceOpen();
    const heard: number[] = [];
    await store.verifyTrail({ onProgress: (checked) => heard.push(checked) });
    assertEquals(heard, [1, 2]);
    const error = await store.verifyTrail({ onProgress: true as never })
      .catch((error: Error) => error);
    assert(error instanceof TypeError);
  });
});
