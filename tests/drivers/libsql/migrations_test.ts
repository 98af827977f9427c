import { assert, assertEquals, assertRejects } from "@std/assert";
import { createClient } from "@libsql/client";
import { drizzle } from "drizzle-orm/libsql";
import { migrate as migrateByDrizzle } from "drizzle-orm/libsql/migrator";
import { createSchema, type LibsqlClient } from "@fuse/edge/libsql";
import { migrate, migrations } from "@fuse/edge/migrations";
import { databasesForFile, inMemory } from "../../support/databases.ts";
import { embedded } from "../../tools/generate/migrations.ts";
import { DRIZZLE_KIT, filesBelow, readConfig, root } from "../../tools/gate/project.ts";
import { Sqld } from "../../support/sqld.ts";
import { libsql } from "../../support/drivers.ts";

const SHAPE = { windowMs: 120_000, windowSize: 0 };
const TAGS = migrations.map(({ tag }) => tag);
const OPERATION = { id: "1", at: 0, shape: SHAPE, until: null, reason: null, actor: null };
const databases = await databasesForFile();

/** Runs drizzle-kit on a database, as the tasks do. */
async function drizzleKit(url: string, ...args: string[]): Promise<string> {
  const ended = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", DRIZZLE_KIT, ...args],
    cwd: root,
    env: { CB_DB_URL: url, NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  const printed = text.decode(ended.stdout) + text.decode(ended.stderr);
  assert(ended.success, printed);
  return printed;
}

/** The schema that the database has. */
async function schemaOf(client: LibsqlClient): Promise<unknown[]> {
  const { rows } = await client.execute({
    sql: "select type, name, sql from sqlite_master where name not like 'sqlite_%' " +
      "and name not like '%drizzle%' order by name",
    args: [],
  });
  return Array.from(rows, ({ type, name, sql }) => [type, name, sql]);
}

Deno.test("the strings of ./migrations equal the .sql files", async () => {
  const written = await Deno.readTextFile(new URL("migrations/files.ts", root));
  assertEquals(written, await embedded(), "Run `deno task db:generate`");
  assertEquals(
    filesBelow("migrations", ".sql"),
    migrations.map(({ tag }) => `migrations/${tag}.sql`),
  );
});

Deno.test("drizzle-kit finds no difference between the .sql files and the schema", async () => {
  const folder = await Deno.makeTempDir({ dir: new URL("tests/", root).pathname, prefix: ".kit-" });
  try {
    for (
      const path of [...filesBelow("migrations", ".sql"), ...filesBelow("migrations", ".json")]
    ) {
      const copy = `${folder}/${path.slice("migrations/".length)}`;
      await Deno.mkdir(copy.slice(0, copy.lastIndexOf("/")), { recursive: true });
      await Deno.copyFile(new URL(path, root), copy);
    }
    const printed = await drizzleKit(
      "file:unused",
      ...["generate", "--dialect=turso", "--schema=./drivers/libsql/schema.ts"],
      `--out=tests/${folder.slice(folder.lastIndexOf("/") + 1)}`,
    );
    assert(printed.includes("No schema changes"), `Run \`deno task db:generate\`\n${printed}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the tasks db:* run drizzle-kit", () => {
  const { tasks } = readConfig();
  for (const [task, command] of Object.entries({ generate: "generate", migrate: "migrate" })) {
    assert(tasks[`db:${task}`]?.startsWith(`deno run -A ${DRIZZLE_KIT} ${command}`), task);
  }
  assertEquals(tasks["db:studio"], `deno run -A ${DRIZZLE_KIT} studio`);
});

Deno.test("migrate() applies all migrations once", async () => {
  const client = createClient({ url: ":memory:" });
  assertEquals(await migrate(client), { applied: TAGS });
  assertEquals(await migrate(() => client), { applied: [] });
  client.close();
});

for (const name of ["a file", "sqld"] as const) {
  Deno.test(`migrate() and drizzle-kit on ${name} recognize each other's migrations`, async () => {
    const ground = name === "sqld" ? await Sqld.start() : null;
    const folder = await Deno.makeTempDir();
    try {
      const first = ground?.url ?? `file:${folder}/first.db`;
      await drizzleKit(first, "migrate");
      const client = createClient({ url: first });
      const made = await schemaOf(client);
      assertEquals(await migrate(client), { applied: [] });
      client.close();

      // In the opposite order. One server is enough: another of its databases would behave the
      // same.
      const second = createClient({ url: `file:${folder}/second.db` });
      assertEquals(await migrate(second), { applied: TAGS });
      await drizzleKit(`file:${folder}/second.db`, "migrate");
      assertEquals(await schemaOf(second), made);
      const { rows } = await second.execute("select count(*) as n from __drizzle_migrations");
      assertEquals(rows[0]?.n, TAGS.length);
      second.close();
    } finally {
      await ground?.stop();
      await Deno.remove(folder, { recursive: true });
    }
  });
}

for (const { name, connect } of databases) {
  Deno.test(`migrate() by eight concurrent isolates applies each migration once on ${name}`, async () => {
    const clients = Array.from({ length: 8 }, connect);
    const prefix = "eight_";
    const answers = await Promise.all(clients.map((client) => migrate(client, { prefix })));
    assertEquals(answers.flatMap(({ applied }) => applied), [...TAGS]);
    assertEquals(await migrate(clients[0]!, { prefix }), { applied: [] });
    for (const client of clients) client.close();
  });
}

Deno.test("migrate() applies nothing when one of its statements fails", async () => {
  const client = createClient({ url: ":memory:" });
  await client.execute("create table circuit_breakers (id integer)");
  const error = await assertRejects(() => migrate(client), Error, "Cannot use the database");
  assert(!error.message.includes("circuit_breakers"), error.message);
  assertEquals(await schemaOf(client), [
    ["table", "circuit_breakers", "CREATE TABLE circuit_breakers (id integer)"],
  ]);
  client.close();
});

/** Drops our tables, as `drizzle-kit push` does. */
async function dropAll(client: LibsqlClient, prefix = ""): Promise<void> {
  const parts = await schemaOf(client) as [string, string][];
  for (const [type, name] of parts) {
    if (type !== "table" || !name.startsWith(`${prefix}circuit_breaker`)) continue;
    await client.execute({ sql: `drop table ${name}`, args: [] });
  }
}

for (const { name, connect } of databases) {
  Deno.test(`migrate() by eight concurrent isolates recreates dropped tables on ${name}`, async () => {
    const clients = Array.from({ length: 8 }, connect);
    const prefix = "again_";
    await migrate(clients[0]!, { prefix });
    const made = await schemaOf(clients[0]!);
    await dropAll(clients[0]!, prefix);
    assert((await schemaOf(clients[0]!)).length < made.length);
    const answers = await Promise.all(clients.map((client) => migrate(client, { prefix })));
    assertEquals(answers.flatMap(({ applied }) => applied), [...TAGS]);
    assertEquals(await schemaOf(clients[0]!), made);
    const { rows } = await clients[0]!.execute(`select hash from ${prefix}__drizzle_migrations`);
    assertEquals(rows.length, TAGS.length);
    for (const client of clients) client.close();
  });
}

for (
  const [drop, missing] of [
    ["table circuit_breaker_leases", "circuit_breaker_leases"],
    ["trigger circuit_breakers_edited", "circuit_breakers_edited"],
    ["index circuit_breaker_events_key", "circuit_breaker_events_key"],
  ] as const
) {
  Deno.test(`migrate() reports that ${missing} is missing, and changes nothing`, async () => {
    await inMemory(async (client) => {
      await client.execute(`drop ${drop}`);
      const before = await schemaOf(client);
      await assertRejects(() => migrate(client), Error, missing);
      assertEquals(await schemaOf(client), before);
    });
  });
}

Deno.test("migrate() checks every part that the migrations create", async () => {
  let parts: [string, string][] = [];
  await inMemory(async (client) => {
    parts = await schemaOf(client) as [string, string][];
  });
  assert(parts.length > 15);
  for (const [type, name] of parts) {
    await inMemory(async (client) => {
      await client.execute(`drop ${type} ${name}`);
      await assertRejects(() => migrate(client), Error, name);
    });
  }
});

Deno.test("migrate() adds to a ledger that contains other migrations", async () => {
  const client = createClient({ url: ":memory:" });
  await client.execute(
    "create table __drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric)",
  );
  await client.execute("insert into __drizzle_migrations (hash, created_at) values ('a', 9e15)");
  assertEquals(await migrate(client), { applied: TAGS });
  assertEquals(await migrate(client), { applied: [] });
  client.close();
});

/** Applies the migrations as `wrangler d1 migrations apply` does. */
async function applyByWrangler(client: LibsqlClient): Promise<void> {
  const run = (sql: string) => client.execute({ sql, args: [] });
  await run("create table d1_migrations (id integer primary key autoincrement, name text unique)");
  for (const { tag, sql } of migrations) {
    for (const statement of sql.split("--> statement-breakpoint")) await run(statement);
    await run(`insert into d1_migrations (name) values ('${tag}.sql')`);
  }
}

Deno.test("migrate() finds nothing to do after wrangler, and recreates dropped tables", async () => {
  const client = createClient({ url: ":memory:" });
  await applyByWrangler(client);
  const made = await schemaOf(client);
  assertEquals(await migrate(client), { applied: [] });
  await client.execute("drop trigger circuit_breakers_edited");
  await assertRejects(() => migrate(client), Error, "circuit_breakers_edited");
  await dropAll(client);
  assertEquals(await migrate(client), { applied: TAGS });
  assertEquals(await migrate(client), { applied: [] });
  assertEquals(await schemaOf(client), made);
  client.close();
});

Deno.test("migrate() with a prefix does not read wrangler's ledger, which has no prefixes", async () => {
  const client = createClient({ url: ":memory:" });
  await applyByWrangler(client);
  assertEquals(await migrate(client, { prefix: "app_" }), { applied: TAGS });
  client.close();
});

Deno.test("migrate() creates its tables beside the tables of an application that uses wrangler", async () => {
  const client = createClient({ url: ":memory:" });
  await client.execute("create table d1_migrations (id integer primary key, name text unique)");
  await client.execute("insert into d1_migrations (name) values ('0000_orders.sql')");
  assertEquals(await migrate(client), { applied: TAGS });
  client.close();
});

Deno.test("migrate() creates tables under a prefix, which a store with that schema uses", async () => {
  await inMemory(async (client) => {
    assertEquals(await migrate(client, { prefix: "app_" }), { applied: TAGS });
    const plain = libsql({ client });
    const store = libsql({ client, schema: createSchema({ prefix: "app_" }) });
    await store.override("a", { ...OPERATION, kind: "forced_open" });
    assertEquals((await store.read("a", OPERATION)).override?.kind, "forced_open");
    assertEquals((await plain.read("a", OPERATION)).override, null);
    await client.execute("update app_circuit_breakers set override = null");
    const events = [];
    for await (const { event } of store.history({ key: "a" })) events.push(event);
    assertEquals(events, ["edited", "forced_open"]);
  });
});

Deno.test("migrate() refuses an invalid client and an invalid prefix", async () => {
  await assertRejects(
    () => migrate({} as never),
    TypeError,
    'Cannot create schema: "client" must be a client of @libsql/client',
  );
  await inMemory(async (client) => {
    await assertRejects(
      () => migrate(client, { prefix: "a`; drop table b" }),
      RangeError,
      '"prefix" must be letters, digits and underscores',
    );
    await assertRejects(() => migrate(client, { folder: "x" } as never), TypeError, "folder");
  });
});

Deno.test("a store names the command to run when its schema is missing or older", async () => {
  const client = createClient({ url: ":memory:" });
  const store = libsql({ client });
  const read = () => store.read("a", { at: 0, shape: SHAPE });
  const message = "its schema is missing or older than this version of @fuse/edge; run " +
    "`migrate` of @fuse/edge/cli, or migrate(client) of @fuse/edge/migrations";
  await assertRejects(read, Error, message);
  await migrate(client);
  await read();
  await client.execute("alter table circuit_breakers drop column released_by");
  await assertRejects(read, Error, message);
  await client.execute("drop table circuit_breaker_requests");
  await assertRejects(
    () => store.override("a", { ...OPERATION, kind: "disabled" }),
    Error,
    message,
  );
  client.close();
});

Deno.test("migrate() leaves an application's older migrations to drizzle when the application has a ledger of its own", async () => {
  const folder = await Deno.makeTempDir();
  await Deno.mkdir(`${folder}/meta`);
  const entry = { idx: 0, version: "6", when: 1, tag: "0000_app", breakpoints: true };
  const journal = { version: "7", dialect: "sqlite", entries: [entry] };
  await Deno.writeTextFile(`${folder}/meta/_journal.json`, JSON.stringify(journal));
  await Deno.writeTextFile(`${folder}/0000_app.sql`, "create table app (id integer)");
  const ways = [
    { what: "one ledger for both, which migrations/README.md warns of", prefix: "", tables: 0 },
    {
      what: "a ledger of the application's",
      prefix: "",
      migrationsTable: "app_migrations",
      tables: 1,
    },
    { what: "a prefix", prefix: "fuse_", tables: 1 },
  ];
  for (const { what, prefix, tables, migrationsTable } of ways) {
    const client = createClient({ url: ":memory:" });
    await migrate(client, { prefix });
    await migrateByDrizzle(drizzle(client), {
      migrationsFolder: folder,
      ...migrationsTable === undefined ? null : { migrationsTable },
    });
    const { rows } = await client.execute("select name from sqlite_schema where name = 'app'");
    assertEquals(rows.length, tables, what);
    assertEquals((await migrate(client, { prefix })).applied, [], what);
    client.close();
  }
  await Deno.remove(folder, { recursive: true });
});
