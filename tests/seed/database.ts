// S35–S49: the database driver.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { createClient } from "@libsql/client";
import { createFuse } from "@fuse/edge";
import {
  circuitBreakerColumns,
  circuitBreakerEvents,
  circuitBreakers,
  createSchema,
  isHealthy,
  libsql,
} from "@fuse/edge/libsql";
import {
  circuitBreakerEventsRelations,
  circuitBreakersRelations,
} from "@fuse/edge/libsql/relations";
import { migrate, migrations } from "@fuse/edge/migrations";
import { FakeClock } from "@fuse/edge/testing";
import { desc, eq, relations } from "drizzle-orm";
import { drizzle } from "drizzle-orm/libsql";
import { migrate as migrateByDrizzle } from "drizzle-orm/libsql/migrator";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { inMemory } from "../support/databases.ts";
import { DRIZZLE_KIT, filesBelow, root } from "../tools/gate/project.ts";
import { fail, succeed } from "../support/setups.ts";
import { eventsOf } from "../support/trails.ts";
import { callable, seed, storeTimeoutMs, withClients } from "./support.ts";

const COOLDOWN_MS = 60_000;

/** A Fuse on a database, whose clock the test moves. */
function fuseOn(client: Parameters<typeof migrate>[0], clock = new FakeClock()) {
  const database = libsql({ client, clock: clock.now });
  const fuse = createFuse({
    stores: { database },
    clock: clock.now,
    defaults: { consistency: "strong", cooldownMs: COOLDOWN_MS },
    storeTimeoutMs,
  });
  return { fuse, database, clock };
}

seed("S35", "every transition and every operator action writes one row of the trail", async () => {
  await inMemory(async (client) => {
    const { fuse, database, clock } = fuseOn(client);
    const breaker = fuse.make("external-api");
    await fail(breaker, 5);
    clock.advance(COOLDOWN_MS);
    await fail(breaker);
    clock.advance(COOLDOWN_MS);
    await succeed(breaker, 2);
    await breaker.forceOpen();
    await breaker.release();
    await breaker.forceClose();
    await breaker.disable();
    await breaker.metricsOnly();
    await breaker.reset();
    await fuse.importState(await fuse.exportState());
    assertEquals((await eventsOf(database)).map(({ event }) => event).reverse(), [
      ...["opened", "half_opened", "opened", "half_opened", "closed"],
      ...["forced_open", "released", "forced_closed", "disabled", "metrics_only", "reset"],
      "imported",
    ]);
  });
});

for (
  const [what, when] of [
    ["a row", "insert on circuit_breaker_events"],
    ["a state", "update of generation on circuit_breakers"],
  ]
) {
  seed("S35", `a failing write of ${what} rolls back the rest of its transition`, async () => {
    await inMemory(async (client) => {
      const { fuse, database } = fuseOn(client);
      const breaker = fuse.make("external-api");
      await succeed(breaker);
      // As a full disk fails, amid the transaction.
      await client.execute(
        `create trigger full before ${when} begin select raise(abort, 'full'); end`,
      );
      await assertRejects(() => breaker.forceOpen());
      await client.execute("drop trigger full");
      assertEquals(await eventsOf(database), []);
      const [row] = await drizzle(client).select().from(circuitBreakers);
      assertEquals([row?.override, row?.generation], [null, 1]);
    });
  });
}

seed(
  "S36",
  "migrations, reads and writes use the given connection, and no other",
  async () => {
    await withClients(2, async (application, breakers) => {
      const { fuse } = fuseOn(application);
      await assertRejects(() => fuse.make("external-api").forceOpen());
      await migrate(breakers);
      const { fuse: own, database } = fuseOn(breakers);
      await fail(own.store("database").make("external-api"), 5);
      assertEquals((await eventsOf(database)).map(({ event }) => event), ["opened"]);
      const { rows } = await application.execute("select name from sqlite_schema");
      assertEquals(rows.length, 0);
      const db = drizzle(breakers);
      assertEquals((await db.select().from(circuitBreakers)).map(({ state }) => state), ["OPEN"]);
    });
  },
);

/** Runs drizzle-kit as the tasks do. */
async function drizzleKit(url: string, ...args: string[]): Promise<string> {
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", DRIZZLE_KIT, ...args],
    cwd: root,
    env: { CB_DB_URL: url, NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const printed = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert(success, printed);
  return printed;
}

seed(
  "S37",
  "drizzle-kit migrate and migrate() have the same effect, and either may run first",
  async () => {
    const folder = await Deno.makeTempDir();
    const [first, second] = ["first", "second"].map((name) => {
      const url = `file:${folder}/${name}.db`;
      return { url, client: createClient({ url }) };
    }) as [
      { url: string; client: ReturnType<typeof createClient> },
      { client: typeof first.client },
    ];
    try {
      await drizzleKit(first.url, "migrate");
      assertEquals(await migrate(first.client), { applied: [] });

      assertEquals(await migrate(second.client), { applied: migrations.map(({ tag }) => tag) });
      // The command that drizzle-kit migrate runs.
      await migrateByDrizzle(drizzle(second.client), {
        migrationsFolder: new URL("migrations", root).pathname,
      });
      const ledger = await second.client.execute("select count(*) as n from __drizzle_migrations");
      assertEquals(ledger.rows[0]?.n, migrations.length);

      const schemas = [first.client, second.client].map(async (client) => {
        const { rows } = await client.execute(
          "select name, sql from sqlite_schema where name like 'circuit%' order by name",
        );
        return rows.map(({ name, sql }) => [name, sql]);
      });
      const [one, other] = await Promise.all(schemas);
      assert(one!.length > 10);
      assertEquals(one, other);
    } finally {
      for (const { client } of [first, second]) client.close();
      await Deno.remove(folder, { recursive: true });
    }
  },
);

seed("S37", "drizzle-kit generate finds the complete schema in migrations/", async () => {
  const folder = await Deno.makeTempDir({ dir: new URL("tests/", root).pathname, prefix: ".kit-" });
  try {
    await Deno.mkdir(`${folder}/meta`);
    for (const path of [".sql", ".json"].flatMap((end) => filesBelow("migrations", end))) {
      await Deno.copyFile(new URL(path, root), `${folder}/${path.slice("migrations/".length)}`);
    }
    const printed = await drizzleKit(
      "file:unused",
      ...["generate", "--dialect=turso", "--schema=./drivers/libsql/schema.ts"],
      `--out=tests/${folder.slice(folder.lastIndexOf("/") + 1)}`,
    );
    assert(printed.includes("No schema changes"), printed);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

seed(
  "S38–S40",
  "circuit_breakers and circuit_breaker_events have every column of the seed",
  async () => {
    await inMemory(async (client) => {
      const columnsOf = async (table: string) => {
        const { rows } = await client.execute(`select name from pragma_table_info('${table}')`);
        return rows.map(({ name }) => name);
      };
      const promised = {
        circuit_breakers: [
          ...["id", "name", "state", "failure_count", "success_count", "last_failure_at"],
          ...["opened_at", "closed_at", "created_at", "updated_at"],
        ],
        circuit_breaker_events: ["id", "circuit_breaker_id", "event", "metadata", "created_at"],
      };
      for (const [table, names] of Object.entries(promised)) {
        const columns = await columnsOf(table);
        assertEquals(names.filter((name) => !columns.includes(name)), [], table);
      }
    });
  },
);

seed("S38–S40", "the columns record the history of the circuit", async () => {
  await inMemory(async (client) => {
    const { fuse, clock } = fuseOn(client);
    const begun = new Date(clock.now());
    const breaker = fuse.make("external-api", { successThreshold: 1 });
    await fail(breaker, 5);
    clock.advance(COOLDOWN_MS);
    const ended = new Date(clock.now());
    await succeed(breaker);
    await succeed(breaker, 2);
    await fail(breaker);
    const [row] = await drizzle(client).select().from(circuitBreakers);
    const { name, state, failureCount, successCount } = row!;
    assertEquals({ name, state, failureCount, successCount }, {
      ...{ name: "external-api", state: "CLOSED", failureCount: 1, successCount: 2 },
    });
    assertEquals(
      [row?.createdAt, row?.openedAt, row?.closedAt, row?.lastFailureAt, row?.updatedAt],
      [begun, begun, ended, ended, ended],
    );
    const [event] = await drizzle(client).select().from(circuitBreakerEvents);
    assertEquals([event?.circuitBreakerId, event?.event, event?.createdAt], [
      ...[row!.id, "opened", begun],
    ]);
    assertEquals([event?.metadata?.["from"], event?.metadata?.["to"]], ["CLOSED", "OPEN"]);
  });
});

seed("S41–S43", 'store("database").make("external-api").call(), then history()', async () => {
  await inMemory(async (client) => {
    const { fuse } = fuseOn(client);
    // Use database driver
    const breaker = fuse.store("database").make("external-api");
    assertEquals(await breaker.call(callable), "an answer");

    await fuse.store("database").make("another-api").forceOpen();
    await fail(breaker, 5);
    await breaker.reset({ reason: "mended", actor: "ada" });
    const told = (await Array.fromAsync(breaker.history())).map(({ event, name, metadata }) => [
      ...[event, name, metadata?.["reason"], metadata?.["actor"]],
    ]);
    assertEquals(told, [
      ["reset", "external-api", "mended", "ada"],
      ["opened", "external-api", "consecutive_failures", null],
    ]);
  });
});

const relational = {
  circuitBreakers,
  circuitBreakerEvents,
  circuitBreakersRelations,
  circuitBreakerEventsRelations,
};

seed("S44–S45", "Drizzle finds when a circuit opened, and its events, latest first", async () => {
  await inMemory(async (client) => {
    const { fuse, clock } = fuseOn(client);
    await fail(fuse.make("another-api"), 5);
    const openedAt = new Date(clock.now());
    await fail(fuse.make("external-api"), 5);
    clock.advance(COOLDOWN_MS);
    await succeed(fuse.make("external-api"), 2);

    const db = drizzle(client, { schema: relational });
    // Query historical state
    const breaker = await db.query.circuitBreakers.findFirst({
      where: eq(circuitBreakers.name, "external-api"),
      // View event history
      with: { events: { orderBy: desc(circuitBreakerEvents.id) } },
    });
    assertEquals(`Circuit opened at: ${breaker?.openedAt}`, `Circuit opened at: ${openedAt}`);
    assertEquals(breaker?.events.map(({ event }) => event), ["closed", "half_opened", "opened"]);
    const event = await db.query.circuitBreakerEvents.findFirst({
      orderBy: desc(circuitBreakerEvents.id),
      with: { circuitBreaker: true },
    });
    assertEquals(event?.circuitBreaker?.name, "external-api");
  });
});

seed(
  "S47–S49",
  "isHealthy() of the rows is true when CLOSED with fewer than three failures",
  async () => {
    await inMemory(async (client) => {
      const { fuse } = fuseOn(client);
      for (const [name, failures] of [["two", 2], ["three", 3], ["open", 5]] as const) {
        await fail(fuse.make(name), failures);
      }
      const rows = await drizzle(client).select().from(circuitBreakers);
      assertEquals(rows.map((row) => [row.name, isHealthy(row)]), [
        ...[["two", true], ["three", false], ["open", false]],
      ]);
    });
  },
);

seed(
  "S47–S49",
  "the user's own table, with columns and relations, replaces ours",
  async () => {
    // Extend the model, and register it
    const mine = sqliteTable("my_circuit_breakers", {
      ...circuitBreakerColumns(),
      team: text("team").notNull().default("nobody"),
    });
    const alerts = sqliteTable("alerts", {
      id: integer("id").primaryKey(),
      circuitBreakerId: integer("circuit_breaker_id").notNull(),
      text: text("text").notNull(),
    });
    // Add relationships
    const mineRelations = relations(mine, ({ many }) => ({ alerts: many(alerts) }));
    const alertsRelations = relations(alerts, ({ one }) => ({
      circuit: one(mine, { fields: [alerts.circuitBreakerId], references: [mine.id] }),
    }));
    await inMemory(async (client) => {
      await migrate(client, { prefix: "my_" });
      await client.batch([
        "alter table my_circuit_breakers add column team text not null default 'nobody'",
        "create table alerts (id integer primary key, circuit_breaker_id integer, text text)",
      ], "write");
      const schema = createSchema({ prefix: "my_", tables: { circuitBreakers: mine } });
      await using fuse = createFuse({
        stores: { database: libsql({ client, schema }) },
        storeTimeoutMs,
      });
      await fail(fuse.make("external-api", { consistency: "strong" }), 5);
      const db = drizzle(client, { schema: { mine, alerts, mineRelations, alertsRelations } });
      await db.insert(alerts).values({ circuitBreakerId: 1, text: "called ada" });
      const row = await db.query.mine.findFirst({ with: { alerts: true } });
      assertEquals([row?.state, row?.team, isHealthy(row!)], ["OPEN", "nobody", false]);
      assertEquals(row?.alerts.map(({ text }) => text), ["called ada"]);
      assertEquals(schema.circuitBreakers, mine);
    });
  },
);
