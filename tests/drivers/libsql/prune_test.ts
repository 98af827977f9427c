// Pruning the trail.
import { assertEquals, assertRejects } from "@std/assert";
import { FakeClock } from "@fuse/edge/testing";
import { inMemory } from "../../support/databases.ts";
import { changing, EVENTS, eventsOf, laying, live, tally } from "../../support/trails.ts";
import { libsql } from "../../support/drivers.ts";

Deno.test("prune() keeps transitions when asked to, and keeps recent rows", async () => {
  await inMemory(async (client) => {
    const clock = new FakeClock();
    const store = libsql({ client, clock: clock.now, audit: "calls" });
    await live(store, "a", clock.advance.bind(clock));
    await store.record("a", tally({ successes: 50 }));
    clock.advance(1_000);
    await store.record("a", tally({ successes: 5 }));
    const options = { olderThanMs: 500, keepTransitions: true, limit: 30 };
    assertEquals(await store.prune(options), { deleted: 30, more: true });
    assertEquals(await store.prune(options), { deleted: 21, more: false });
    assertEquals(await store.prune(options), { deleted: 0, more: false });
    const left = (await eventsOf(store)).map(({ event }) => event);
    assertEquals(left.filter((event) => event === "success").length, 5);
    assertEquals(left.length, 11);
    assertEquals((await store.prune({ olderThanMs: 1_000 })).deleted, 1);
    clock.advance(1);
    assertEquals((await store.prune({ olderThanMs: 0 })).deleted, 9);
    const proof = await store.verifyTrail();
    // The newest row of a chain stays.
    assertEquals([proof.ok, proof.checked], [true, 1]);
    await store.transition("a", changing());
    assertEquals((await store.verifyTrail()).checked, 2);
  });
});

for (const trailKey of ["a key", null]) {
  Deno.test(`prune() keeps rows that were altered and backdated, ${trailKey ? "with a" : "without"} key`, async () => {
    await inMemory(async (client) => {
      const clock = new FakeClock();
      const store = libsql({ client, clock: clock.now, trailKey: trailKey ?? undefined });
      await live(store, "a", clock.advance.bind(clock));
      await live(store, "b", clock.advance.bind(clock));
      await client.execute(`update ${EVENTS} set created_at = created_at - 7200000,
        metadata = json_set(metadata, '$.actor', 'mallory') where key = 'a' and sequence in (1, 2, 3)`);
      const found = await store.verifyTrail();
      const changed = found.brokenAt!;
      assertEquals([changed.circuit, changed.problem], ["a", "changed"]);
      assertEquals(await store.prune({ olderThanMs: 3_600_000 }), { deleted: 0, more: false });
      assertEquals((await store.verifyTrail()).brokenAt, changed);
      // Time does not repair the chain, and rows of other chains are deleted.
      clock.advance(3_600_001);
      assertEquals((await store.prune({ olderThanMs: 3_600_000 })).deleted, 5);
      assertEquals((await eventsOf(store, { key: "a" })).length, 6);
      assertEquals((await store.verifyTrail()).brokenAt, changed);
    });
  });
}

Deno.test("prune() stops at a broken row, and keeps a row that was inserted beside another", async () => {
  const broken: [sql: string, gone: number, problem: string][] = [
    ["update circuit_breaker_events set event = 'reset' where sequence = 4", 3, "changed"],
    ["delete from circuit_breaker_events where sequence = 4", 3, "removed"],
    [
      "insert into circuit_breaker_events (circuit_breaker_id, event, metadata, created_at, key, " +
      "epoch, generation, sequence, hash) select circuit_breaker_id, event, '{}', created_at, key, " +
      "epoch, generation, sequence, hash from circuit_breaker_events where sequence = 4",
      3,
      "inserted",
    ],
    [
      "update circuit_breaker_trails set anchor_hash = (select hash from circuit_breaker_events " +
      "where sequence = 2), anchor_sequence = 2, anchor_id = 2, anchor_seal = 'forged'",
      0,
      "changed",
    ],
  ];
  for (const [sql, gone, problem] of broken) {
    await inMemory(async (client) => {
      const clock = new FakeClock();
      const store = libsql({ client, clock: clock.now, trailKey: "a key" });
      await live(store, "a", clock.advance.bind(clock));
      await client.execute(sql);
      clock.advance(1);
      assertEquals(await store.prune({ olderThanMs: 0 }), { deleted: gone, more: false });
      assertEquals(await store.prune({ olderThanMs: 0 }), { deleted: 0, more: false });
      assertEquals((await store.verifyTrail()).brokenAt?.problem, problem);
    });
  }
});

Deno.test("prune() continues past a chain that cannot be pruned, broken or with a clock set back", async () => {
  await inMemory(async (client) => {
    const clock = new FakeClock();
    const store = libsql({ client, clock: clock.now });
    // The oldest rows of all, more than one step deletes.
    for (let i = 0; i < 3; i++) await live(store, "broken", clock.advance.bind(clock));
    await client.execute(`update ${EVENTS} set metadata = '{}' where sequence = 1`);
    const ahead = libsql({ client, clock: () => clock.now() + 7_200_000 });
    await ahead.transition("went back", changing());
    for (let i = 0; i < 3; i++) await live(store, "went back", clock.advance.bind(clock));
    for (const key of ["a", "well"]) await live(store, key, clock.advance.bind(clock));
    clock.advance(1_001);
    const steps = [];
    do steps.push(await store.prune({ olderThanMs: 1_000, limit: 5 })); while (steps.at(-1)!.more);
    assertEquals(steps.map(({ deleted }) => deleted), [5, 5, 0]);
    const left = await eventsOf(store);
    assertEquals(
      new Set(left.map(({ key }) => key)),
      new Set(["broken", "went back", "a", "well"]),
    );
    assertEquals(left.filter(({ key }) => key === "a" || key === "well").length, 2);
  });
});

Deno.test("prune() deletes a long chain and many circuits one page at a time", async () => {
  await inMemory(async (client) => {
    const clock = new FakeClock();
    const store = libsql({ client, clock: clock.now });
    for (let i = 0; i < 120; i++) {
      await store.transition(`circuit-${String(i).padStart(3, "0")}`, changing());
    }
    for (let i = 0; i < 1_100; i++) {
      await store.override("circuit-050", { ...laying(), kind: "disabled" });
    }
    clock.advance(1);
    assertEquals(await store.prune({ olderThanMs: 0, limit: 5_000 }), {
      ...{ deleted: 1_100, more: false },
    });
    const proof = await store.verifyTrail();
    assertEquals([proof.ok, proof.checked, Object.keys(proof.heads).length], [true, 120, 120]);
  });
});

Deno.test("prune() uses the database's clock when no time is given", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client });
    const late = libsql({ client, clock: () => Date.now() - 120_000 });
    for (let i = 0; i < 2; i++) await late.override("a", { ...laying(), kind: "disabled" });
    await store.override("b", { ...laying(), kind: "disabled" });
    assertEquals((await store.prune({ olderThanMs: 600_000 })).deleted, 0);
    assertEquals((await store.prune({ olderThanMs: 60_000 })).deleted, 1);
  });
});

Deno.test("prune() refuses invalid options", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client });
    for (
      const [options, message] of [
        [{}, '"olderThanMs" must be'],
        [{ olderThanMs: -1 }, '"olderThanMs" must be an integer of at least 0'],
        [{ olderThanMs: 1, limit: 0 }, '"limit" must be a positive integer'],
        [{ olderThanMs: 1, keep: true }, 'no option "keep"'],
        [undefined, '"options" must be an object'],
      ] as const
    ) await assertRejects(() => store.prune(options as never), Error, message);
  });
});
