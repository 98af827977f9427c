// The contents of the libSQL store's tables, and how long they stay.
import { assert, assertEquals } from "@std/assert";
import { type Client, createClient } from "@libsql/client";
import { createFuse } from "@fuse/edge";
import { migrate } from "@fuse/edge/migrations";
import { FakeClock } from "@fuse/edge/testing";
import { live } from "../../support/trails.ts";
import {
  acquiring,
  changing,
  databases,
  eventsOf,
  laying,
  request,
  SHAPE,
  tally,
  withStore,
} from "./store.ts";
import { libsql } from "../../support/drivers.ts";

for (const { name, connect } of databases) {
  Deno.test(`the database's clock decides on ${name}`, async () => {
    const client = connect();
    const store = libsql({ client });
    const { rows } = await client.execute("select unixepoch('subsec') * 1000 as now");
    // The caller's clock is two hours fast.
    const at = Date.now() + 7_200_000;
    const { snapshot } = await store.record("clocked", tally({ at, failures: 1 }));
    const off = Math.abs(snapshot.now - Number(rows[0]!.now));
    assert(off < 60_000, `${off} ms off`);
    assertEquals(Number.isInteger(snapshot.lastFailureAt), true);
    const until = at + 60_000;
    const laid = await store.override("clocked", { ...laying(), at, until, kind: "disabled" });
    const left = laid.snapshot.override!.until! - laid.snapshot.now;
    assert(left <= 60_000 && left > 59_000, `${left} ms left`);
    client.close();
  });

  Deno.test(`numbers are stored as integers on ${name}`, async () => {
    const client = connect();
    const store = libsql({ client, clock: () => 1_763_890_000_123.4 });
    const key = "integers";
    await store.record(key, tally({ failures: 1, slow: 1, ageMs: 12.7 }));
    await store.transition(key, changing());
    await store.override(key, { ...laying(), until: Date.now() + 1.5, kind: "disabled" });
    const { records } = await store.list({ cursor: null, limit: 100, at: 0, shape: () => SHAPE });
    const record = records.find((one) => one.key === key)!;
    await store.restore(key, { ...laying(), record, existing: "replace" });
    await store.record(key, tally({ successes: 1 }));
    for (const table of ["circuit_breakers", "circuit_breaker_windows", "circuit_breaker_events"]) {
      const { rows, columns } = await client.execute(`select * from ${table}`);
      assert(rows.length > 0, table);
      for (const column of columns) {
        const types = await client.execute(
          `select distinct typeof("${column}") as t from ${table}`,
        );
        assert(types.rows.every(({ t }) => t !== "real"), `${table}.${column}`);
      }
    }
    const events = await client.execute("select metadata from circuit_breaker_events");
    assert(events.rows.every(({ metadata }) => !/\d\.\d/.test(String(metadata))));
    await store.remove(key);
    client.close();
  });
}

for (const intMode of ["number", "bigint", "string"] as const) {
  Deno.test(`a client with intMode "${intMode}" works`, async () => {
    const client = createClient({ url: ":memory:", intMode });
    await migrate(client);
    // The trigger uses the database's clock.
    const clock = new FakeClock(Date.now() - 3_600_000);
    const store = libsql({ client, clock: clock.now, audit: "calls" });
    await store.record("a", tally({ successes: 3 }));
    await live(store, "a", clock.advance.bind(clock));
    await client.execute("update circuit_breakers set failure_count = 7");
    clock.advance(3_600_000);
    const { totals, sinceClosed, generation } = await store.read("a", request());
    assertEquals([totals.successes, totals.failures, sinceClosed.failures], [3, 1, 7]);
    await store.override("a", { ...laying(), kind: "disabled" });
    const { records } = await store.list({
      ...{ cursor: null, limit: 1, at: clock.now(), shape: () => SHAPE },
    });
    assertEquals(records.map(({ key, snapshot }) => [key, snapshot.override?.kind]), [
      ["a", "disabled"],
    ]);

    const events = await eventsOf(store);
    assertEquals(events.map(({ id }) => id), Array.from(events, (_, i) => `${events.length - i}`));
    const [last] = await Array.fromAsync(store.history({ limit: 1 }));
    assertEquals([last?.event, last?.metadata?.["generation"]], ["disabled", generation + 1]);
    assertEquals(last!.at, new Date(clock.now()));
    const [before] = await Array.fromAsync(store.history({ limit: 1, cursor: last!.cursor }));
    assertEquals([before?.event, before?.id], ["edited", events[1]!.id]);

    const proof = await store.verifyTrail();
    assertEquals([proof.ok, proof.checked], [true, 8]);
    clock.advance(1_000);
    const pruned = await store.prune({ olderThanMs: 500, limit: 6 });
    assertEquals(pruned, { deleted: 6, more: true });
    assertEquals((await store.verifyTrail()).ok, true);
    assertEquals((await eventsOf(store)).length, events.length - 6);
    assertEquals([await store.remove("a"), await store.remove("a")], [true, false]);
    client.close();
  });
}

Deno.test("record() deletes expired ids and segments", async () => {
  await withStore(async ({ client, store, clock }) => {
    for (let i = 0; i < 400; i++) {
      await store.record("a", tally({ successes: 1 }));
      clock.advance(1_000);
    }
    const { rows } = await client.execute(
      "select (select count(*) from circuit_breaker_requests) as requests, " +
        "(select count(*) from circuit_breaker_windows) as segments",
    );
    // The ids of a minute, ten segments, and the ids since the last purge.
    assert(Number(rows[0]!.requests) <= 60 + 16, `${rows[0]!.requests} requests`);
    assert(Number(rows[0]!.segments) <= 10 + 16, `${rows[0]!.segments} segments`);
  });
});

Deno.test("record() begins another life when it is repeated after a removal", async () => {
  await withStore(async ({ store, clock }) => {
    const sent = tally({ successes: 1 });
    const { snapshot: { epoch, generation } } = await store.record("a", sent);
    assert(epoch.startsWith(sent.id), epoch);
    assertEquals((await store.record("a", sent)).snapshot.epoch, epoch);
    clock.advance(1);
    await store.remove("a");
    const again = await store.record("a", sent);
    assert(again.snapshot.epoch.startsWith(sent.id) && again.snapshot.epoch !== epoch);
    // A permit of the previous life.
    const late = await store.record("a", tally({ failures: 1, epoch, generation }));
    assertEquals([late.current, late.snapshot.consecutiveFailures], [false, 0]);
  });
});

Deno.test("restore() begins another life when it is repeated after a removal", async () => {
  await withStore(async ({ store, clock }) => {
    await store.override("b", { ...laying(), kind: "disabled" });
    const { records: [record] } = await store.list({
      ...{ cursor: null, limit: 1, at: clock.now(), shape: () => SHAPE },
    });
    for (const existing of ["keep", "replace"] as const) {
      const sent = { ...laying(), record: record!, existing };
      const key = `a-${existing}`;
      const { won, snapshot: { epoch, generation } } = await store.restore(key, sent);
      assert(won && epoch.startsWith(sent.id), epoch);
      const twice = await store.restore(key, sent);
      assertEquals([twice.won, twice.snapshot.epoch], [true, epoch]);
      assertEquals((await store.restore(key, { ...sent, id: "k", existing: "keep" })).won, false);
      clock.advance(1);
      await store.remove(key);
      const again = await store.restore(key, sent);
      assertEquals([again.won, again.snapshot.generation], [true, generation]);
      assert(again.snapshot.epoch.startsWith(sent.id) && again.snapshot.epoch !== epoch);
    }
    const { ok, checked } = await store.verifyTrail();
    assertEquals([ok, checked], [true, 7]);
  });
});

/**
 * Counts the rows of the largest circuit: the ids of its requests, and the segments of its window.
 */
async function mostRows(client: Client): Promise<{ requests: number; segments: number }> {
  const most = (table: string) =>
    `(select max(n) from (select count(*) as n from ${table} group by circuit_breaker_id))`;
  const { rows } = await client.execute(
    `select ${most("circuit_breaker_requests")} as requests,
      ${most("circuit_breaker_windows")} as segments`,
  );
  return { requests: Number(rows[0]!.requests), segments: Number(rows[0]!.segments) };
}

for (const circuits of [2, 4, 16]) {
  Deno.test(`record() purges each circuit when ${circuits} take turns`, async () => {
    await withStore(async ({ client, store, clock }) => {
      for (let i = 0; i < 120; i++) {
        for (let n = 0; n < circuits; n++) await store.record(`c${n}`, tally({ successes: 1 }));
        clock.advance(1_000);
      }
      const { requests, segments } = await mostRows(client);
      assert(requests <= 60 + 16, `${requests} requests`);
      assert(segments <= 10 + 16, `${segments} segments`);
    });
  });
}

Deno.test("record() purges each circuit when two circuits of a Fuse alternate in strong mode", async () => {
  await withStore(async ({ client, store, clock }) => {
    await using fuse = createFuse({
      ...{ stores: { database: store }, clock: clock.now, storeTimeoutMs: 30_000 },
      defaults: { consistency: "strong", windowMs: 10_000 },
    });
    const breakers = [fuse.make("a"), fuse.make("b")];
    for (let i = 0; i < 120; i++) {
      for (const breaker of breakers) await breaker.call(() => 1);
      clock.advance(1_000);
    }
    const { requests, segments } = await mostRows(client);
    assert(requests <= 60 + 16, `${requests} requests`);
    assert(segments <= 10 + 16, `${segments} segments`);
  });
});

Deno.test("remove() deletes everything of a circuit except its trail", async () => {
  await withStore(async ({ client, store, clock }) => {
    await store.record("a", tally({ failures: 1 }));
    await store.transition("a", changing());
    clock.advance(60_000);
    await store.acquire("a", acquiring());
    assertEquals(await store.remove("a"), true);
    for (const table of ["s", "_windows", "_leases", "_requests"]) {
      const { rows } = await client.execute(`select * from circuit_breaker${table}`);
      assertEquals(rows.length, 0, table);
    }
    assertEquals((await eventsOf(store, "a")).map(({ event }) => event), [
      ...["removed", "half_opened", "opened"],
    ]);
  });
});

Deno.test("rows of the trail separate an operator's actions from overrides that ended by themselves", async () => {
  await withStore(async ({ store, clock }) => {
    const { now } = (await store.record("a", tally({ successes: 1 }))).snapshot;
    const at = now;
    await store.override("a", { ...laying(), at, until: at + 60_000, kind: "forced_open" });
    clock.advance(60_000);
    await store.record("a", tally({ successes: 1 }));
    const [released, forced] = (await eventsOf(store, "a")).map(({ metadata }) => {
      const { isolate: _, counters: __, after: ___, ...rest } = metadata!;
      return rest;
    });
    assertEquals(forced, {
      ...{ from: "CLOSED", to: "CLOSED", generation: 2, reason: "a drill", actor: "ada" },
      ...{ until: now + 60_000, kind: "forced_open" },
    });
    assertEquals(released, {
      ...{ from: "CLOSED", to: "CLOSED", generation: 3, reason: "expired", actor: null },
      kind: "forced_open",
    });
  });
});
