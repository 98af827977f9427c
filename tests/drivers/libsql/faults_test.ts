// Faults between the store and its database: locks, a full disk, a server that dies.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Client, createClient } from "@libsql/client";
import { createClient as createWebClient } from "@libsql/client/web";
import { createFuse, type FuseEvent } from "@fuse/edge";
import { type LibsqlClient, localClient } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import type { Recorded } from "../../../src/contract.ts";
import { databasesForFile, fileForFile } from "../../support/databases.ts";
import { deno } from "../../tools/gate/project.ts";
import { Sqld } from "../../support/sqld.ts";
import { type DatabaseStore, libsql } from "../../support/drivers.ts";
import { scaled } from "../../support/scale.ts";

const SHAPE = { windowMs: 120_000, windowSize: 0 };
const databases = await databasesForFile();
const file = databases[0]!;

function record(store: DatabaseStore, key: string, id: string = crypto.randomUUID()) {
  return Promise.resolve(store.record(key, {
    ...{ id, at: Date.now(), shape: SHAPE, epoch: "", generation: 0, began: 0 },
    ...{ successes: 1, failures: 0, rejected: 0, slow: 0, ageMs: 0, lease: null, policyHash: "" },
  }));
}

async function totals(store: DatabaseStore, key: string) {
  return (await store.read(key, { at: 0, shape: SHAPE })).totals;
}

/** Holds the write lock of a file until released. */
async function locking(url: string): Promise<() => Promise<void>> {
  const client = createClient({ url });
  const transaction = await client.transaction("write");
  return async () => {
    await transaction.rollback();
    client.close();
  };
}

for (const { name, connect } of databases) {
  Deno.test(`record() of 50 concurrent writers is exact on ${name}`, async () => {
    const clients = Array.from({ length: 50 }, connect);
    const answers = await Promise.all(clients.map(async (client) => {
      const store = libsql({ client });
      const told: Recorded[] = [];
      for (let i = 0; i < 4; i++) told.push(await record(store, "fifty"));
      return told;
    }));
    assertEquals(answers.flat().filter(({ current }) => current).length, 200);
    const store = libsql({ client: clients[0]! });
    const snapshot = await store.read("fifty", { at: 0, shape: SHAPE });
    assertEquals(snapshot.totals.successes, 200);
    assertEquals(snapshot.window.successes, 200);
    assertEquals(snapshot.consecutiveSuccesses, 200);
    assertEquals(snapshot.generation, 1);
    for (const client of clients) client.close();
  });
}

/** In quick runs each process has a quarter of the contract. */
const EVERY = scaled(4, 1);

Deno.test("four concurrent processes on one file pass the contract suite", async () => {
  const { url, connect } = await fileForFile();
  const ended = await Promise.all(
    [["ours", "bursts"], ["ours", ""], ["theirs", ""], ["theirs", ""]].map((parts) => {
      const script = "tests/support/libsql_contract_process.ts";
      return deno(["run", "-A", "--no-check", script, url, ...parts, String(EVERY)]);
    }),
  );
  for (const { ok, stdout, stderr } of ended) {
    assert(ok, stderr);
    const { cases, broken } = JSON.parse(stdout.trim().split("\n").at(-1)!);
    assert(cases > 100 / EVERY);
    assertEquals(broken, []);
  }
  const client = connect();
  const { rows } = await client.execute("pragma integrity_check");
  assertEquals(rows[0]?.integrity_check, "ok");
  client.close();
});

const CLIENTS: Record<string, () => LibsqlClient & { close(): void }> = {
  "of @libsql/client": () => file.connect(),
  ours: () => localClient(file.url),
};

for (const [whose, connect] of Object.entries(CLIENTS)) {
  Deno.test(`a lock that is let go in time is waited for, and the client is whole afterwards (${whose})`, async () => {
    const client = connect();
    const store = libsql({ client, busyTimeoutMs: 10_000 });
    const release = await locking(file.url);
    const waiting = Array.from({ length: 5 }, () => record(store, `waits ${whose}`));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await release();
    assertEquals((await Promise.all(waiting)).length, 5);
    // Written for good: another connection sees it.
    const other = file.connect();
    assertEquals((await totals(libsql({ client: other }), `waits ${whose}`)).successes, 5);
    other.close();
    client.close();
  });

  Deno.test(`a lock that is held for too long fails the request, and the same client heals (${whose})`, async () => {
    const client = connect();
    const store = libsql({ client, busyTimeoutMs: 20 });
    const release = await locking(file.url);
    const id = crypto.randomUUID();
    await assertRejects(
      () => record(store, `locked ${whose}`, id),
      Error,
      "Cannot use the database: another writer holds its lock (SQLITE_BUSY)",
    );
    // Readers do not wait for a writer.
    assertEquals((await totals(store, `locked ${whose}`)).successes, 0);
    await release();
    await record(store, `locked ${whose}`, id);
    await record(store, `locked ${whose}`, id);
    const other = file.connect();
    assertEquals((await totals(libsql({ client: other }), `locked ${whose}`)).successes, 1);
    other.close();
    client.close();
  });

  Deno.test(`a call keeps its result while the file is locked, and is counted later (${whose})`, async () => {
    const client = connect();
    const release = await locking(file.url);
    let now = Date.now();
    const fuse = createFuse({
      storeTimeoutMs: 30_000,
      stores: { database: libsql({ client, busyTimeoutMs: 0 }) },
      clock: () => now,
    });
    const events: FuseEvent[] = [];
    fuse.on("store_error", (event) => events.push(event));
    const breaker = fuse.make(`locked-out ${whose}`, { consistency: "strong" });
    assertEquals(await breaker.call(() => "an answer"), "an answer");
    assert(events.length > 0);
    await release();
    now += 5_000;
    await fuse.flush();
    assertEquals((await breaker.getMetrics()).totalSuccesses, 1);
    await fuse[Symbol.asyncDispose]();
    client.close();
  });
}

Deno.test("a full disk fails the whole request, and the next one succeeds when there is room again", async () => {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  const store = libsql({ client });
  await record(store, "full");
  const before = await client.execute("pragma page_count");
  await client.execute(`pragma max_page_count = ${before.rows[0]!.page_count}`);
  let stored = 1;
  const failure = await assertRejects(async () => {
    for (let i = 0; i < 10_000; i++) {
      await record(store, `full-${i % 100}`);
      stored++;
    }
  }, Error);
  assertEquals(failure.message, "Cannot use the database: its disk is full (SQLITE_FULL)");
  await client.execute("pragma max_page_count = 100000");
  const { rows } = await client.execute(
    "select sum(total_successes) as told, sum(success_count) as counted, " +
      "(select count(*) from circuit_breaker_requests) as requests, " +
      "(select sum(successes) from circuit_breaker_windows) as windowed from circuit_breakers",
  );
  assertEquals({ ...rows[0] }, {
    told: stored,
    counted: stored,
    requests: stored,
    windowed: stored,
  });
  await record(store, "full");
  client.close();
});

Deno.test("no acknowledged change is lost when sqld is killed and restarted under load", async () => {
  const server = await Sqld.start();
  try {
    const first = createWebClient({ url: server.url });
    await migrate(first);
    let acknowledged = 0;
    let failed = 0;
    const writers = Array.from({ length: 4 }, async () => {
      const client = createWebClient({ url: server.url });
      const store = libsql({ client });
      for (let i = 0; i < 50; i++) {
        const id = crypto.randomUUID();
        for (;;) {
          try {
            await record(store, "survivor", id);
            acknowledged++;
            break;
          } catch (error) {
            failed++;
            const { message } = error as Error;
            assert(message.startsWith("Cannot use the database: "), message);
            assert(!message.includes(server.url), message);
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
        }
      }
      client.close();
    });
    for (const after of [40, 120]) {
      while (acknowledged < after) await new Promise((resolve) => setTimeout(resolve, 1));
      await server.kill();
      const before = acknowledged;
      await server.restart();
      const { successes } = await totals(libsql({ client: first }), "survivor");
      assert(successes >= before, `${successes} counted of ${before} acknowledged`);
    }
    await Promise.all(writers);
    assert(failed > 0, "The server was killed while nobody wrote");
    const store = libsql({ client: first });
    assertEquals(acknowledged, 200);
    assertEquals((await totals(store, "survivor")).successes, 200);
    first.close();
  } finally {
    await server.stop();
  }
});

Deno.test("an operator's change writes state and trail together or not at all", async () => {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  // The trail cannot be appended to, so the state must not change either.
  await client.execute(
    "create trigger full before insert on circuit_breaker_events begin select raise(abort, 'no'); end",
  );
  const store = libsql({ client });
  await record(store, "both");
  const operation = { id: "1", at: 0, shape: SHAPE, until: null, reason: null, actor: null };
  await assertRejects(
    async () => await store.override("both", { ...operation, kind: "forced_open" }),
    Error,
    "Cannot use the database: it refused a statement (SQLITE_CONSTRAINT)",
  );
  const snapshot = await store.read("both", operation);
  assertEquals([snapshot.override, snapshot.generation], [null, 1]);
  client.close();
});

/** An error of a driver, with everything in it that must not be shown. */
const SECRETS = ["hunter2", "db.example.com", "payload", "insert into"];
const LEAKS: Record<string, () => Error> = {
  "an HTTP error": () =>
    Object.assign(
      new Error("Server returned HTTP status 401 for https://me:hunter2@db.example.com"),
      {
        code: "SERVER_ERROR",
        cause: Object.assign(new Error("hunter2"), { status: 401 }),
      },
    ),
  "a constraint": () =>
    Object.assign(new Error("SQLITE_CONSTRAINT: insert into a values ('payload')"), {
      code: "SQLITE_CONSTRAINT_UNIQUE",
    }),
  "a code that is none": () => Object.assign(new Error("payload"), { code: "hunter2 payload" }),
  "no error": () => "hunter2" as unknown as Error,
};

for (const [what, make] of Object.entries(LEAKS)) {
  Deno.test(`errors explain in our own words what went wrong, and show no part of ${what}`, async () => {
    const broken: LibsqlClient = {
      execute: () => Promise.reject(make()),
      batch: () => Promise.reject(make()),
    };
    const error = await assertRejects(() => record(libsql({ client: broken }), "a"), Error);
    assert(error.message.startsWith("Cannot use the database: "), error.message);
    assertEquals(SECRETS.filter((secret) => Deno.inspect(error).includes(secret)), []);
    assertEquals(error.cause, undefined);
  });
}

Deno.test("a closed client is not opened again", async () => {
  const client: Client = file.connect();
  client.close();
  await assertRejects(
    () => record(libsql({ client }), "closed"),
    Error,
    "Cannot use the database: its client is closed (CLIENT_CLOSED)",
  );
});

Deno.test("a request to an unreachable server fails without showing its address", async () => {
  const store = libsql({ url: "http://me:hunter2@127.0.0.1:9", authToken: "hunter2" });
  const error = await assertRejects(() => record(store, "a"), Error, "Cannot use the database: ");
  assert(!/hunter2|127/.test(Deno.inspect(error)), error.message);
});

Deno.test("the chain is intact after sqld is killed and restarted under load", async () => {
  const server = await Sqld.start();
  try {
    const first = createWebClient({ url: server.url });
    await migrate(first);
    const won = new Map<string, number>();
    let calls = 0;
    let failed = 0;
    let done = 0;
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      const client = createWebClient({ url: server.url });
      const store = libsql({ client, audit: "calls", trailKey: "a key" });
      const insist = async <T>(ask: () => T | Promise<T>): Promise<T> => {
        for (;;) {
          try {
            return await ask();
          } catch (error) {
            failed++;
            assert((error as Error).message.startsWith("Cannot use the database: "));
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
        }
      };
      for (let i = 0; i < 25; i++) {
        // Two circuits, shared by two writers each.
        const key = `chained-${writer % 2}`;
        const id = crypto.randomUUID();
        await insist(() => record(store, key, id));
        calls++;
        const operation = { id: crypto.randomUUID(), at: 0, shape: SHAPE, until: null };
        const asked = { ...operation, reason: null, actor: null, kind: "disabled" as const };
        const answer = await insist(() => store.override(key, asked));
        if (answer.won) won.set(key, (won.get(key) ?? 0) + 1);
        done++;
      }
      client.close();
    });
    for (const after of [20, 60]) {
      while (done < after) await new Promise((resolve) => setTimeout(resolve, 1));
      await server.kill();
      await server.restart();
      const proof = await libsql({ client: first, trailKey: "a key" }).verifyTrail();
      assertEquals([proof.ok, proof.brokenAt], [true, null]);
    }
    await Promise.all(writers);
    assert(failed > 0, "The server was killed while nobody wrote");
    const store = libsql({ client: first, trailKey: "a key" });
    const proof = await store.verifyTrail();
    assertEquals([proof.ok, proof.checked, [...won.values()]], [true, 100, [50, 50]]);
    const { rows } = await first.execute(
      "select count(*) as n from circuit_breaker_events where event = 'success'",
    );
    assertEquals([rows[0]!.n, calls], [100, 100]);
    first.close();
  } finally {
    await server.stop();
  }
});

Deno.test("no row of a strong call is missing when sqld is back, whatever was lost meanwhile", async () => {
  const server = await Sqld.start();
  try {
    const client = createWebClient({ url: server.url });
    await migrate(client);
    let ahead = 0;
    const fuse = createFuse({
      storeTimeoutMs: 30_000,
      stores: { database: libsql({ client, audit: "calls" }) },
      clock: () => Date.now() + ahead,
      defaults: { consistency: "strong", failureThreshold: 1_000 },
    });
    let unconfirmed = 0;
    let failures = 0;
    fuse.on("unconfirmed", () => unconfirmed++);
    fuse.on("store_error", () => failures++);
    const breaker = fuse.make("api");
    const rows = async () =>
      Number(
        (await client.execute("select count(*) as n from circuit_breaker_events")).rows[0]!.n,
      );
    const call = async (times: number) => {
      for (let i = 0; i < times; i++) assertEquals(await breaker.call(() => i), i);
    };
    await call(20);
    assertEquals(await rows(), 20);
    // The circuit is removed during a call: the call was admitted, and its record finds no circuit.
    await breaker.call(() => server.kill());
    await call(20);
    assert(failures > 0);
    await server.restart();
    ahead += 5_000;
    await call(20);
    await fuse.flush();
    assertEquals([await rows(), unconfirmed], [61, 0]);
    assertEquals((await breaker.getMetrics()).totalSuccesses, 61);
    await fuse[Symbol.asyncDispose]();
    client.close();
  } finally {
    await server.stop();
  }
});
