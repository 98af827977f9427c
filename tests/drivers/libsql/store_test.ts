// What is true of the libSQL store alone.
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { type Client, createClient } from "@libsql/client";
import { createClient as createWebClient } from "@libsql/client/web";
import { createFuse, memory } from "@fuse/edge";
import {
  libsql,
  type LibsqlClient,
  type LibsqlOptions,
  type LibsqlStore,
  tiered,
} from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { upstash } from "@fuse/edge/upstash";
import { FakeClock } from "@fuse/edge/testing";
import type { AcquireRequest, Tally, TransitionRequest } from "../../../src/contract.ts";
import { databasesForFile, inMemory } from "../../support/databases.ts";
import { live } from "../../support/trails.ts";

const SHAPE = { windowMs: 10_000, windowSize: 10 };
const databases = await databasesForFile();

function request() {
  return { id: crypto.randomUUID(), at: Date.now(), shape: SHAPE };
}

function tally(parts: Partial<Tally> = {}): Tally {
  return {
    ...request(),
    ...{ epoch: "", generation: 0, successes: 0, failures: 0, rejected: 0, slow: 0 },
    ...{ ageMs: 0, lease: null, policyHash: "", ...parts },
  };
}

function acquiring(parts: Partial<AcquireRequest> = {}): AcquireRequest {
  const { id, ...rest } = request();
  return { id, ...rest, token: id, max: 1, leaseMs: 30_000, maxCooldownMs: 600_000, ...parts };
}

function changing(parts: Partial<TransitionRequest> = {}): TransitionRequest {
  return {
    ...request(),
    ...{ to: "OPEN", event: "opened", cooldownMs: 60_000, reason: "test", actor: null },
    ...{ expected: null, ...parts },
  };
}

const laying = () => ({ ...request(), until: null, reason: "a drill", actor: "ada" });

/** Runs `body` with a store in memory. */
async function withStore(
  body: (parts: { client: Client; store: LibsqlStore; clock: FakeClock }) => Promise<void>,
  options: Partial<LibsqlOptions> = {},
): Promise<void> {
  await inMemory(async (client) => {
    const clock = new FakeClock();
    await body({ client, store: libsql({ client, clock: clock.now, ...options }), clock });
  });
}

async function eventsOf(store: LibsqlStore, key?: string) {
  const events = [];
  for await (const event of store.history(key === undefined ? {} : { key })) events.push(event);
  return events;
}

/** What a client was asked. */
function spying(client: LibsqlClient) {
  const asked: { statements: number; mode: string | undefined }[] = [];
  const spy: LibsqlClient = {
    execute(statement) {
      asked.push({ statements: 1, mode: undefined });
      return client.execute(statement);
    },
    batch(statements, mode) {
      asked.push({ statements: statements.length, mode });
      return client.batch(statements, mode);
    },
  };
  return { spy, asked };
}

Deno.test("libsql() makes nothing but a store: it asks no client and reads no clock", () => {
  const refuse = (): never => {
    throw new Error("asked");
  };
  libsql({ client: refuse, replica: refuse, clock: refuse });
  libsql({ url: "libsql://example.turso.io", authToken: "token" });
});

const REFUSED: Record<string, [options: unknown, message: string]> = {
  "no options": [undefined, '"options" must be an object'],
  "neither client nor url": [{}, '"url" must begin with libsql:, https: or http:'],
  "a file as url": [{ url: "file:fuse.db" }, 'received "file:"'],
  "memory as url": [{ url: ":memory:" }, 'received "no scheme"'],
  "a url with a password": [{ url: "postgres://me:hunter2@db" }, 'received "postgres:"'],
  "a url that is no text": [{ url: new URL("http://a") }, "received an object"],
  "client and url": [{ client: () => {}, url: "http://a" }, '"url" must be left out'],
  "client and token": [{ client: () => {}, authToken: "a" }, '"authToken" must be left out'],
  "a token that is no text": [{ url: "http://a", authToken: 1 }, '"authToken" must be a string'],
  "a client that is none": [{ client: {} }, '"client" must be a client of @libsql/client'],
  "a replica that is none": [{ client: () => {}, replica: 1 }, '"replica" must be a client'],
  "a clock that is none": [{ client: () => {}, clock: 1 }, '"clock" must be a function'],
  "a negative time": [{ client: () => {}, busyTimeoutMs: -1 }, '"busyTimeoutMs" must be'],
  "an option that is none": [{ client: () => {}, trail: "calls" }, 'no option "trail"'],
  "an audit that is none": [{ client: () => {}, audit: "all" }, '"audit" must be one of'],
  "a trail key that is empty": [{ client: () => {}, trailKey: "" }, '"trailKey" must be a text'],
  "a trail key that is no text": [
    { client: () => {}, trailKey: { hunter2: 1 } },
    '"trailKey" must',
  ],
  "a redact that is none": [{ client: () => {}, redact: "all" }, '"redact" must be a function'],
};

for (const [what, [options, message]] of Object.entries(REFUSED)) {
  Deno.test(`libsql() refuses ${what}`, () => {
    const error = assertThrows(() => libsql(options as LibsqlOptions), Error, message);
    assert(error.message.startsWith("Cannot create libsql store: "), error.message);
    assert(!error.message.includes("hunter2"), error.message);
  });
}

const SECRET = "libsql://a.turso.io?authToken=hunter2";
const MISPLACED: Record<string, () => unknown> = {
  "libsql(url)": () => libsql(SECRET as never),
  "libsql({ client })": () => libsql({ client: SECRET as never }),
  "libsql({ replica })": () => libsql({ client: () => null as never, replica: SECRET as never }),
  "libsql({ schema })": () => libsql({ client: () => null as never, schema: SECRET as never }),
  "migrate(url)": () => migrate(SECRET as never),
  "tiered(url)": () => tiered(SECRET as never),
  "tiered({ state })": () => tiered({ state: SECRET as never, audit: null as never }),
  "tiered({ audit })": () => tiered({ state: memory(), audit: SECRET as never }),
  "upstash(url)": () => upstash(SECRET as never),
  "upstash({ redis })": () => upstash({ redis: SECRET as never }),
  "createFuse({ stores })": () => createFuse({ stores: SECRET as never }),
  "createFuse({ stores: { a } })": () => createFuse({ stores: { a: SECRET as never } }),
};

for (const [what, make] of Object.entries(MISPLACED)) {
  Deno.test(`${what} does not show a string when an object belongs there`, async () => {
    const { message } = await assertRejects(async () => await make(), TypeError);
    assertMatch(message, /^Cannot create .*, received a string$/);
  });
}

Deno.test("libsql() says what came when a token is no string", () => {
  for (const [token, came] of [[5, "5"], [null, "null"], [{ hunter2: 1 }, "an object"]] as const) {
    assertThrows(
      () => libsql({ url: "http://a", authToken: token as never }),
      TypeError,
      `"authToken" must be a string, received ${came}`,
    );
  }
});

Deno.test("each primitive is one statement or one write batch", async () => {
  await inMemory(async (client) => {
    const { spy, asked } = spying(client);
    const store = libsql({ client: spy });
    const costs: Record<string, number> = {};
    const cost = async (name: string, ask: () => unknown) => {
      asked.length = 0;
      await ask();
      assertEquals(asked.length, 1, name);
      const [{ statements, mode }] = asked as [typeof asked[number]];
      assertEquals(mode, statements === 1 ? undefined : "write", name);
      costs[name] = statements;
    };
    await cost("first record", () => store.record("a", tally({ successes: 1 })));
    await cost("record", () => store.record("a", tally({ failures: 1 })));
    await cost("record of rejections", () => store.record("a", tally({ rejected: 1 })));
    await cost("record of a trial", () => store.record("a", tally({ successes: 1, lease: "t" })));
    await cost("read", () => store.read("a", request()));
    await cost("acquire", () => store.acquire("a", acquiring()));
    await cost("open", () => store.transition("a", changing()));
    await cost("close", () =>
      store.transition(
        "a",
        changing({ to: "CLOSED", event: "closed", expected: { epoch: "", generation: 0 } }),
      ));
    await cost("override", () => store.override("a", { ...laying(), kind: "disabled" }));
    await cost("release", () => store.override("a", { ...laying(), kind: null }));
    await cost("list", () => store.list({ cursor: null, limit: 10, at: 0, shape: () => SHAPE }));
    const { records } = await store.list({ cursor: null, limit: 10, at: 0, shape: () => SHAPE });
    await cost(
      "restore",
      () => store.restore("a", { ...laying(), record: records[0]!, existing: "replace" }),
    );
    await cost("history", () => eventsOf(store));
    await cost("remove", () => store.remove("a"));
    assertEquals(costs, {
      ...{ "first record": 7, record: 4, "record of rejections": 3, "record of a trial": 5 },
      ...{ read: 1, acquire: 3, open: 5, close: 5, override: 5, release: 5, list: 1 },
      ...{ restore: 6, history: 1, remove: 4 },
    });
  });
});

Deno.test("each primitive is one HTTP request", async () => {
  const { url } = databases[1]!;
  let requests = 0;
  const client = createWebClient({
    url,
    fetch: (request: Request) => {
      requests++;
      return fetch(request);
    },
  });
  const store = libsql({ client });
  await store.record("http", tally({ failures: 1 }));
  await store.acquire("http", acquiring());
  await store.transition("http", changing());
  await store.read("http", request());
  await store.override("http", { ...laying(), kind: "disabled" });
  assertEquals(requests, 5);
  client.close();
});

Deno.test("libsql() with url talks HTTP through a client of its own", async () => {
  const store = libsql({ url: databases[1]!.url });
  await store.record("by-url", tally({ successes: 2 }));
  assertEquals((await store.read("by-url", request())).totals.successes, 2);
});

Deno.test("libsql() asks a client function for each unit of work", async () => {
  await inMemory(async (client) => {
    let asked = 0;
    const store = libsql({
      client: () => {
        asked++;
        return client;
      },
    });
    await store.record("a", tally({ successes: 1 }));
    await store.read("a", request());
    assertEquals(asked, 2);
  });
});

Deno.test("history() reads from the replica, decisions never do", async () => {
  await inMemory(async (client) => {
    const main = spying(client);
    const replica = spying(client);
    const store = libsql({ client: main.spy, replica: replica.spy });
    await store.read("a", request());
    await store.record("a", tally({ successes: 1 }));
    await store.override("a", { ...laying(), kind: "disabled" });
    assertEquals([main.asked.length, replica.asked.length], [3, 0]);
    assertEquals((await eventsOf(store)).length, 1);
    assertEquals([main.asked.length, replica.asked.length], [3, 1]);
  });
});

for (const { name, connect } of databases) {
  Deno.test(`the clock of the database decides on ${name}`, async () => {
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
  Deno.test(`a client with intMode "${intMode}" serves as well`, async () => {
    const client = createClient({ url: ":memory:", intMode });
    await migrate(client);
    // The trigger goes by the database's clock.
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

Deno.test("ids and segments are purged once they have had their time", async () => {
  await withStore(async ({ client, store, clock }) => {
    for (let i = 0; i < 400; i++) {
      await store.record("a", tally({ successes: 1 }));
      clock.advance(1_000);
    }
    const { rows } = await client.execute(
      "select (select count(*) from circuit_breaker_requests) as requests, " +
        "(select count(*) from circuit_breaker_windows) as segments",
    );
    // A minute's worth, ten segments, and what came since the last purge.
    assert(Number(rows[0]!.requests) <= 60 + 16, `${rows[0]!.requests} requests`);
    assert(Number(rows[0]!.segments) <= 10 + 16, `${rows[0]!.segments} segments`);
  });
});

Deno.test("record() begins another life when it is sent again after a removal", async () => {
  await withStore(async ({ store, clock }) => {
    const sent = tally({ successes: 1 });
    const { snapshot: { epoch, generation } } = await store.record("a", sent);
    assert(epoch.startsWith(sent.id), epoch);
    assertEquals((await store.record("a", sent)).snapshot.epoch, epoch);
    clock.advance(1);
    await store.remove("a");
    const again = await store.record("a", sent);
    assert(again.snapshot.epoch.startsWith(sent.id) && again.snapshot.epoch !== epoch);
    // A permit of the life before.
    const late = await store.record("a", tally({ failures: 1, epoch, generation }));
    assertEquals([late.current, late.snapshot.consecutiveFailures], [false, 0]);
  });
});

Deno.test("restore() begins another life when it is sent again after a removal", async () => {
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
    assertEquals([ok, checked], [true, 5]);
  });
});

/** Of the circuit that has most: rows that say which requests came, and segments of its window. */
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

Deno.test("record() purges each circuit when two of a Fuse take turns in strong mode", async () => {
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

Deno.test("remove() leaves nothing of a circuit but its trail", async () => {
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
    assertEquals((await eventsOf(store, "a")).map(({ event }) => event), ["half_opened", "opened"]);
  });
});

Deno.test("history() goes on past a page, and ends at the limit", async () => {
  await withStore(async ({ store }) => {
    for (let i = 0; i < 250; i++) await store.override("a", { ...laying(), kind: "disabled" });
    const ids = (await eventsOf(store)).map(({ id }) => Number(id));
    assertEquals(ids, Array.from({ length: 250 }, (_, i) => 250 - i));
    const some = [];
    for await (const { id } of store.history({ limit: 120 })) some.push(id);
    assertEquals(some.length, 120);
  });
});

Deno.test("history() refuses a limit and a cursor that are none", async () => {
  await withStore(async ({ store }) => {
    const first = (query: object) => store.history(query).next();
    await assertRejects(
      () => first({ limit: -1 }),
      RangeError,
      'Cannot read history: "limit" must be',
    );
    await assertRejects(
      () => first({ cursor: "'; drop table a" }),
      RangeError,
      'Cannot read history: "cursor" must be',
    );
  });
});

Deno.test("rows of the trail say what an operator wanted, and what ended by itself", async () => {
  await withStore(async ({ store, clock }) => {
    const { now } = (await store.record("a", tally({ successes: 1 }))).snapshot;
    const at = now;
    await store.override("a", { ...laying(), at, until: at + 60_000, kind: "forced_open" });
    clock.advance(60_000);
    await store.record("a", tally({ successes: 1 }));
    const [released, forced] = (await eventsOf(store, "a")).map(({ metadata }) => {
      const { isolate: _, counters: __, ...rest } = metadata!;
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
