// Refusals of real databases: which circuits they concern, and what the error says.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Client, createClient } from "@libsql/client";
import { createClient as createWebClient } from "@libsql/client/web";
import type { LibsqlClient } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import type { StoreAnswerError } from "@fuse/edge/store";
import { isStoreAnswerError } from "../../../src/errors.ts";
import { inMemory } from "../../support/databases.ts";
import { type DatabaseStore, libsql } from "../../support/drivers.ts";
import { Sqld, sqldForFile } from "../../support/sqld.ts";
import { changing, eventsOf, request, SHAPE, tally } from "./store.ts";

const server = await sqldForFile();
{
  const client = createWebClient({ url: server.url });
  await migrate(client);
  client.close();
}

const SCHEMA = "Cannot use the database: its schema is missing or older than this version of " +
  "@fuse/edge; run `migrate` of @fuse/edge/cli, or migrate(client) of @fuse/edge/migrations";

/** Every operation of a circuit, and check(). */
const OPERATIONS: Record<string, (store: DatabaseStore) => unknown> = {
  read: (store) => store.read("a", request()),
  record: (store) => store.record("a", tally({ failures: 1 })),
  transition: (store) => store.transition("a", changing()),
  list: (store) => store.list({ cursor: null, limit: 10, at: 0, shape: () => SHAPE }),
  history: (store) => eventsOf(store),
  check: (store) => store.check!(),
};

/** Asserts that an answer refuses an operation, and checks its text. */
async function refused(ask: () => unknown, scope: "circuit" | "store", message: string) {
  const error: Error = await assertRejects(async () => await ask(), Error);
  assert(isStoreAnswerError(error), Deno.inspect(error));
  assertEquals([(error as StoreAnswerError).scope, error.message], [scope, message]);
}

/** Asserts that an operation fails because the database was unreachable. */
async function unreached(ask: () => unknown, message: string) {
  const error: Error = await assertRejects(async () => await ask(), Error, message);
  assert(!isStoreAnswerError(error), Deno.inspect(error));
}

for (const [name, ask] of Object.entries(OPERATIONS)) {
  Deno.test(`${name}() reports missing tables as a failure of all circuits`, async () => {
    const client = createClient({ url: ":memory:" });
    await refused(() => ask(libsql({ client })), "store", `${SCHEMA} (SQLITE_ERROR)`);
    client.close();
  });
}

Deno.test("read() reports missing tables on sqld, which uses other codes", async () => {
  const empty = await Sqld.start();
  const client = createWebClient({ url: empty.url });
  await refused(() => OPERATIONS.read!(libsql({ client })), "store", `${SCHEMA} (SQLITE_UNKNOWN)`);
  client.close();
  await empty.stop();
});

Deno.test("read() reports a missing column of an older schema", async () => {
  await inMemory(async (client) => {
    await client.execute("alter table circuit_breakers rename column outcomes to outcomes_of_old");
    await refused(
      () => OPERATIONS.read!(libsql({ client })),
      "store",
      `${SCHEMA} (SQLITE_ERROR)`,
    );
  });
});

Deno.test("record() does not ask for a migration when the table of a user's trigger is missing", async () => {
  await inMemory(async (client) => {
    await client.execute(
      "create trigger yours after update on circuit_breakers begin insert into gone values (1); end",
    );
    await refused(
      () => OPERATIONS.record!(libsql({ client })),
      "circuit",
      "Cannot use the database: it refused a statement (SQLITE_ERROR)",
    );
  });
});

Deno.test("refused writes of a database concern all circuits, and reads continue", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client });
    await OPERATIONS.record!(store);
    await client.execute("pragma query_only = 1");
    const message = "Cannot use the database: it refuses writes (SQLITE_READONLY)";
    for (const name of ["record", "transition", "check"]) {
      await refused(() => OPERATIONS[name]!(store), "store", message);
    }
    assertEquals((await store.read("a", request())).totals.failures, 1);
  });
});

Deno.test("a lock that is held for too long concerns all circuits", async () => {
  const folder = await Deno.makeTempDir();
  const [ours, theirs] = [0, 1].map(() => createClient({ url: `file:${folder}/a.db` })) as [
    Client,
    Client,
  ];
  await migrate(ours);
  const transaction = await theirs.transaction("write");
  await refused(
    () => OPERATIONS.record!(libsql({ client: ours, busyTimeoutMs: 0 })),
    "store",
    "Cannot use the database: another writer holds its lock (SQLITE_BUSY)",
  );
  await transaction.rollback();
  ours.close();
  theirs.close();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("text that is not UTF-8 concerns its circuit alone, though sqld answers 500", async () => {
  const client = createWebClient({ url: server.url });
  const store = libsql({ client });
  await store.record("spoilt", tally({ successes: 1 }));
  await store.record("sound", tally({ successes: 1 }));
  await client.execute(
    "update circuit_breakers set epoch = cast(x'ff' as text) where key = 'spoilt'",
  );
  const error = await assertRejects(async () => await store.read("spoilt", request()), Error);
  assert(isStoreAnswerError(error) && error.scope === "circuit", Deno.inspect(error));
  assertEquals((await store.read("sound", request())).totals.successes, 1);
  client.close();
});

Deno.test("check() sends one request, leaves nothing behind and uses a table without triggers", async () => {
  await inMemory(async (client) => {
    let requests = 0;
    const counted: LibsqlClient = {
      execute: (statement) => (requests++, client.execute(statement)),
      batch: (statements, mode) => (requests++, client.batch(statements, mode)),
    };
    const dump = async () => {
      const { rows } = await client.execute("select name from sqlite_master where type = 'table'");
      const tables = rows.map(({ name }) => client.execute(`select * from "${name}"`));
      return (await Promise.all(tables)).map(({ rows }) => rows.map((row) => ({ ...row })));
    };
    const store = libsql({ client: counted });
    await OPERATIONS.record!(store);
    const before = await dump();
    requests = 0;
    await store.check!();
    assertEquals([requests, await dump()], [1, before]);
  });
});

/** A proxy in front of sqld that answers in its place. */
function proxy(answer: () => Response) {
  let requests = 0;
  const listening = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (asked) => {
    await asked.body?.cancel();
    requests++;
    return answer();
  });
  const client = createWebClient({ url: `http://127.0.0.1:${listening.addr.port}` });
  return {
    store: libsql({ client }),
    requests: () => requests,
    async [Symbol.asyncDispose]() {
      client.close();
      await listening.shutdown();
    },
  };
}

const json = (status: number, body: unknown) => () => Response.json(body, { status });
const text = (status: number, body: string) => () => new Response(body, { status });
const QUOTA = "it is blocked, as it is when a quota is used up";
const CREDENTIALS = "it does not accept the credentials";
const REFUSED: readonly [answer: () => Response, words: string, scope?: "circuit"][] = [
  [json(403, { message: "Operation was blocked", code: "BLOCKED" }), `${QUOTA} (BLOCKED)`],
  [text(402, "payment required"), `${QUOTA} (SERVER_ERROR, HTTP 402)`],
  [json(401, { error: "Unauthorized" }), `${CREDENTIALS} (SERVER_ERROR, HTTP 401)`],
  [json(401, { message: "no", code: "AUTH_JWT_INVALID" }), `${CREDENTIALS} (AUTH_JWT_INVALID)`],
  [text(404, "no such namespace"), "there is no such database (SERVER_ERROR, HTTP 404)"],
  [text(429, "slow down"), "it takes no more requests for now (SERVER_ERROR, HTTP 429)"],
  [text(500, "boom"), "it refused a request (SERVER_ERROR, HTTP 500)", "circuit"],
  [json(400, { message: "no", code: "WHATEVER" }), "it refused a request (WHATEVER)", "circuit"],
];

for (const [answer, words, scope = "store"] of REFUSED) {
  Deno.test(`an answer of a server concerns the ${scope}: ${words}`, async () => {
    await using faulty = proxy(answer);
    await refused(
      () => OPERATIONS.record!(faulty.store),
      scope,
      `Cannot use the database: ${words}`,
    );
  });
}

for (const status of [502, 503, 504]) {
  Deno.test(`a database behind a proxy that answers ${status} counts as unreachable`, async () => {
    await using faulty = proxy(text(status, "<html>"));
    await unreached(() => OPERATIONS.record!(faulty.store), `it did not answer`);
  });
}

Deno.test("an answer that is not JSON, and a port without a listener, count as unreachable", async () => {
  await using faulty = proxy(text(200, "<html>"));
  await unreached(() => OPERATIONS.record!(faulty.store), "it did not answer");
  const client = createWebClient({ url: "http://127.0.0.1:9" });
  await unreached(() => OPERATIONS.record!(libsql({ client })), "it did not answer");
  client.close();
});

for (
  const [what, make] of Object.entries({
    "@libsql/client": () =>
      Object.assign(new Error("x"), { code: "SERVER_ERROR", cause: { status: 429 } }),
    "@tursodatabase/serverless": () =>
      Object.assign(new Error("HTTP error! status: 429"), { code: "BATCH_ERROR" }),
  })
) {
  Deno.test(`a request that ${what} reports as throttled is sent at most three times`, async () => {
    const sent: number[] = [];
    const fail = () => (sent.push(performance.now()), Promise.reject(make()));
    const store = libsql({ client: { execute: fail, batch: fail } });
    const error = await assertRejects(async () => await store.read("a", request()), Error);
    assert(isStoreAnswerError(error) && error.scope === "store", Deno.inspect(error));
    assertEquals(sent.length, 3);
    const [first, second, third] = sent as [number, number, number];
    assert(second - first >= 49 && third - second >= 99, `${sent}`);
  });
}

Deno.test("a throttled request succeeds when the server accepts it again", async () => {
  let sent = 0;
  await inMemory(async (client) => {
    const store = libsql({
      client: {
        execute: (statement) =>
          ++sent < 3
            ? Promise.reject(Object.assign(new Error("x"), { cause: { status: 429 } }))
            : client.execute(statement),
        batch: client.batch.bind(client),
      },
    });
    assertEquals((await store.read("a", request())).generation, 0);
  });
  assertEquals(sent, 3);
});

for (
  const message of [
    "SQLITE_ERROR: Parse error: no such column: r.at",
    "SQLITE_ERROR: no such column: new.key",
    "SQLITE_ERROR: no such table: users",
  ]
) {
  Deno.test(`no error asks for a migration because of ${message}`, async () => {
    const fail = () => Promise.reject(Object.assign(new Error(message), { code: "SQLITE_ERROR" }));
    await refused(
      () => libsql({ client: { execute: fail, batch: fail } }).read("a", request()),
      "circuit",
      "Cannot use the database: it refused a statement (SQLITE_ERROR)",
    );
  });
}

Deno.test("a long error text is cut before it is examined", async () => {
  const message = `${"a.".repeat(1_000_000)} no such table: circuit_breakers`;
  const fail = () => Promise.reject(Object.assign(new Error(message), { code: "SQLITE_ERROR" }));
  await refused(
    () => libsql({ client: { execute: fail, batch: fail } }).read("a", request()),
    "circuit",
    "Cannot use the database: it refused a statement (SQLITE_ERROR)",
  );
});
