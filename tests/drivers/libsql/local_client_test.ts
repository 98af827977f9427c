// The store's own client for a file, or for a database in memory.
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { createClient } from "@libsql/client";
import { ConnectionPool } from "@libsql/client/sqlite3";
import { createFuse } from "@fuse/edge";
import { type LibsqlClient, localClient } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { NATIVE } from "../../../drivers/libsql/local_client.ts";
import { libsql } from "../../support/drivers.ts";
import { deno, readConfig, root } from "../../tools/gate/project.ts";
import { startIsolate } from "../../support/isolate_process.ts";
import { inFolder, sql, tally } from "./store.ts";

async function rowsOf(client: LibsqlClient, text: string) {
  return Array.from((await client.execute(sql(text))).rows);
}

Deno.test("localClient() refuses what is no address of a file, and does not show it", () => {
  const nuls = ["file:hunter2%00.db", "file:hunter2\n\0"];
  for (const url of ["libsql://a.turso.io?authToken=hunter2", "", undefined, ...nuls]) {
    const { message } = assertThrows(() => localClient(url as string), TypeError);
    assertMatch(message, /^Cannot create local client: "url" must be an address that begins with/);
    assert(!message.includes("hunter2"), message);
  }
});

Deno.test("localClient() stands on the version of @libsql/client that the package asks for", async () => {
  const { imports } = readConfig();
  assertEquals(NATIVE, ["@libsql/client/sqlite3", `${imports["@libsql/client"]}/sqlite3`]);
  for (const name of NATIVE) assertEquals(typeof (await import(name)).ConnectionPool, "function");
});

Deno.test("localClient() opens no file before the first request", async () => {
  await inFolder(async (folder) => {
    const client = localClient(`file:${folder}/a.db`);
    assertEquals(Array.from(Deno.readDirSync(folder)), []);
    await client.execute(sql("create table a (n)"));
    assertEquals(Array.from(Deno.readDirSync(folder), ({ name }) => name), ["a.db"]);
    client.close();
  });
});

Deno.test("localClient() finds a file by every form of its address", async () => {
  await inFolder(async (folder) => {
    const writer = localClient(`file:${folder}/a b.db`);
    await writer.execute(sql("create table a (n)"));
    writer.close();
    for (
      const address of [`${folder}/a b.db`, `//${folder}/a%20b.db`, `//localhost${folder}/a b.db`]
    ) {
      const client = localClient(`file:${address}`);
      assertEquals(await rowsOf(client, "select * from a"), [], address);
      client.close();
    }
  });
});

Deno.test("localClient() leaves an address with a query to @libsql/client, which refuses it", async () => {
  const client = localClient("file:a.db?mode=ro");
  const error = await assertRejects(() => client.execute(sql("select 1")), Error);
  assertEquals((error as { code?: string }).code, "URL_PARAM_NOT_SUPPORTED");
});

Deno.test("localClient() says that a file cannot be used, and uses it once it can", async () => {
  await inFolder(async (folder) => {
    const client = localClient(`file:${folder}/later/a.db`);
    await assertRejects(
      async () => await libsql({ client }).record("a", tally({ successes: 1 })),
      Error,
      "Cannot use the database: its file cannot be used (SQLITE_CANTOPEN)",
    );
    await Deno.mkdir(`${folder}/later`);
    await migrate(client);
    await libsql({ client }).record("a", tally({ successes: 1 }));
    client.close();
  });
});

Deno.test("localClient() says that @libsql/client cannot be loaded", async () => {
  const program = `
    import { libsql } from "@fuse/edge/libsql";
    const store = libsql({ url: "file:a.db" });
    const message = await store.check().catch((error) => error.message);
    console.log(message);`;
  await inFolder(async (folder) => {
    const path = `${folder}/main.ts`;
    await Deno.writeTextFile(path, program);
    const config = new URL("deno.json", root).pathname;
    // Without the permission for native code.
    const { stdout, stderr } = await deno([
      ...["run", "--no-prompt", "--allow-read", "--allow-env", "--config", config, path],
    ]);
    assertEquals(
      stdout.trim(),
      "Cannot use the database: @libsql/client cannot be loaded: is it installed, and permitted to " +
        "run native code? (CLIENT_NOT_LOADED)",
      stderr,
    );
  });
});

Deno.test("localClient() keeps a database in memory, and migrate() makes its schema", async () => {
  const client = localClient(":memory:");
  assert((await migrate(client)).applied.length > 0);
  assertEquals((await migrate(client)).applied, []);
  await using fuse = createFuse({ stores: { database: libsql({ client }) } });
  const breaker = fuse.make("api", { failureThreshold: 1, consistency: "strong" });
  await breaker.tryCall(() => Promise.reject(new Error("down")));
  assertEquals(await breaker.getState(), "OPEN");
  await fuse.flush();
  client.close();
});

Deno.test("localClient() gives values as they were put in: huge integers, blobs, nulls", async () => {
  const client = localClient(":memory:");
  await client.execute(sql("create table a (id integer primary key, v)"));
  const values = [2 ** 53 - 1, 2n ** 53n, -(2n ** 63n), 2n ** 63n - 1n, 1.5, "é", "", null];
  const blob = new Uint8Array([0, 255, 7]).buffer;
  for (const value of [...values, blob]) {
    await client.execute(sql("insert into a (v) values (?)", value));
  }
  const rows = await rowsOf(client, "select v from a order by id");
  assertEquals(rows.map(({ v }) => v), [...values, blob]);
  assert(rows.at(-1)!.v instanceof ArrayBuffer);
  const types = await rowsOf(client, "select typeof(v) as t from a where id in (1, 2) order by id");
  assertEquals(types.map(({ t }) => t), ["real", "integer"]);
  client.close();
});

const UNBINDABLE: Record<string, unknown> = {
  ...{ "a boolean": true, "no value": undefined, "not a number": NaN, "an object": { hunter2: 1 } },
  "an integer of 65 bits": 2n ** 63n,
};

for (const [what, value] of Object.entries(UNBINDABLE)) {
  Deno.test(`localClient() refuses ${what}, and does not show it`, async () => {
    const client = localClient(":memory:");
    const { message } = await assertRejects(
      () => client.execute({ sql: "select ?", args: [value as never] }),
      TypeError,
    );
    assertEquals(message, "A value is no text, no blob, and no number that SQLite can hold");
    assertEquals(await rowsOf(client, "select 1 as n"), [{ n: 1 }]);
    client.close();
  });
}

Deno.test("an error of localClient() has SQLite's base code, and the store's shows no value", async () => {
  const client = localClient(":memory:");
  await migrate(client);
  await client.execute(sql("create table a (n primary key)"));
  const insert = sql("insert into a values (?)", "hunter2");
  await client.execute(insert);
  const error = await assertRejects(() => client.execute(insert), Error);
  assertEquals((error as { code?: string }).code, "SQLITE_CONSTRAINT");
  await client.execute(sql(
    "create trigger t before insert on circuit_breakers begin select raise(abort, 'hunter2'); end",
  ));
  const { message } = await assertRejects(
    async () => await libsql({ client }).record("hunter2", tally({ successes: 1 })),
    Error,
  );
  assertEquals(message, "Cannot use the database: it refused a statement (SQLITE_CONSTRAINT)");
  client.close();
});

Deno.test("batch() of localClient() applies all or nothing, and leaves its client whole", async () => {
  const client = localClient(":memory:");
  await client.execute(sql("create table a (n not null)"));
  const batch = [sql("insert into a values (1)"), sql("insert into a values (null)")];
  await assertRejects(() => client.batch(batch, "write"), Error, "NOT NULL");
  assertEquals(await rowsOf(client, "select * from a"), []);
  for (const mode of ["write", "deferred"] as const) await client.batch(batch.slice(0, 1), mode);
  const [result] = await client.batch([sql("select count(*) as n from a")], "read");
  assertEquals(Array.from(result!.rows), [{ n: 2 }]);
  client.close();
});

Deno.test("localClient() sees the schema that another client has changed", async () => {
  await inFolder(async (folder) => {
    const url = `file:${folder}/a.db`;
    const [ours, theirs] = [localClient(url), createClient({ url })];
    await ours.execute(sql("create table a (n)"));
    await ours.execute(sql("insert into a values (1)"));
    const select = () => rowsOf(ours, "select * from a");
    assertEquals(await select(), [{ n: 1 }]);
    await theirs.execute("alter table a add column more text default 'more'");
    assertEquals(await select(), [{ n: 1, more: "more" }]);
    await theirs.execute("alter table a rename column n to m");
    assertEquals(await select(), [{ m: 1, more: "more" }]);
    await theirs.execute("drop table a");
    await assertRejects(select, Error, "no such table: a");
    await theirs.execute("create table a (x)");
    await theirs.execute("insert into a values (2)");
    assertEquals(await select(), [{ x: 2 }]);
    ours.close();
    theirs.close();
  });
});

Deno.test("localClient() keeps no lock after a read that met the lock of a writer", async () => {
  await inFolder(async (folder) => {
    const client = localClient(`file:${folder}/a.db`);
    await client.execute(sql("create table a (n)"));
    const select = () => rowsOf(client, "select * from a");
    assertEquals(await select(), []);
    const writer = new ConnectionPool(`${folder}/a.db`, {}, 1).acquireSync();
    writer.exec("begin exclusive");
    const error = await assertRejects(select, Error);
    assertEquals((error as { code?: string }).code, "SQLITE_BUSY");
    writer.exec("commit");
    // Not the statement that met the lock: that one would be reset.
    await client.batch([sql("insert into a values (1)")], "write");
    writer.exec("begin exclusive");
    writer.exec("commit");
    writer.close();
    assertEquals(await select(), [{ n: 1 }]);
    client.close();
  });
});

Deno.test("localClient() finds the file in place of a deleted one once a write was refused, else as @libsql/client", async () => {
  for (const mode of ["delete", "wal"]) {
    const outcomes = await Promise.all(
      [localClient, (url: string) => createClient({ url })].map(async (make) => {
        const outcome: unknown[] = [];
        await inFolder(async (folder) => {
          const url = `file:${folder}/a.db`;
          const client = make(url);
          await client.execute(sql(`pragma journal_mode = ${mode}`));
          await client.execute(sql("create table a (n)"));
          for (const { name } of Deno.readDirSync(folder)) Deno.removeSync(`${folder}/${name}`);
          await client.batch([sql("insert into a values (1)")], "write").then(
            () => outcome.push("written"),
            (error) => outcome.push(error.code),
          );
          // Another one in its place.
          const other = createClient({ url });
          await other.execute("create table if not exists b (n)");
          other.close();
          await client.execute(sql("select name from sqlite_master")).then(
            ({ rows }) => outcome.push(Array.from(rows, ({ name }) => name)),
            (error) => outcome.push(error.code),
          );
          client.close();
        });
        return outcome;
      }),
    );
    if (mode === "wal") assertEquals(outcomes[0], outcomes[1]);
    else {
      assertEquals(outcomes[0], ["SQLITE_READONLY", ["b"]]);
      assertEquals(outcomes[1], ["SQLITE_READONLY", ["a"]]);
    }
  }
});

Deno.test("a closed localClient() fails every request", async () => {
  await inFolder(async (folder) => {
    const url = `file:${folder}/a.db`;
    const client = localClient(url);
    await client.execute(sql("pragma journal_mode = wal"));
    await client.execute(sql("create table a (n)"));
    assertEquals(client.closed, false);
    const under = client.batch([sql("insert into a values (1)")], "write");
    client.close();
    client.close();
    assertEquals(client.closed, true);
    for (const request of [() => under, () => client.execute(sql("select 1"))]) {
      const error = await assertRejects(request, Error, "The client is closed");
      assertEquals((error as { code?: string }).code, "CLIENT_CLOSED");
    }
    const unused = localClient(url);
    unused.close();
    await assertRejects(() => unused.execute(sql("select 1")), Error, "The client is closed");
  });
});

for (const mode of ["wal", "delete"]) {
  Deno.test(`8 processes on one file count every call, with journal_mode = ${mode}`, async () => {
    await inFolder(async (folder) => {
      const url = `file:${folder}/a.db`;
      const client = localClient(url);
      await client.execute(sql(`pragma journal_mode = ${mode}`));
      await migrate(client);
      await using stack = new AsyncDisposableStack();
      const isolates = Array.from({ length: 8 }, () => stack.use(startIsolate("libsql", url)));
      const options = { consistency: "strong", failureThreshold: 1_000 } as const;
      await Promise.all(isolates.map((isolate) => isolate.ask("make", { name: "api", options })));
      await Promise.all(isolates.map(async (isolate) => {
        await isolate.ask("call", { calls: 10, failures: 5 });
        await isolate.ask("call", { calls: 10, failures: 0 });
        await isolate.ask("flush", {});
      }));
      await using fuse = createFuse({ stores: { database: libsql({ client }) } });
      const { totalSuccesses, totalFailures } = await fuse.make("api").getMetrics();
      assertEquals([totalSuccesses, totalFailures], [120, 40]);
      client.close();
    });
  });
}
