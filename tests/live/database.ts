/**
 * Checks of a database over HTTP, mostly of behavior of Turso that we know only from its
 * documentation.
 *
 * @module
 */
import { createClient } from "@libsql/client/web";
import { createFuse } from "@fuse/edge";
import { createSchema } from "@fuse/edge/libsql";
import { migrate, migrations } from "@fuse/edge/migrations";
import { storeContract } from "@fuse/edge/testing";
import { type DatabaseStore, libsql, tiered, upstash } from "../support/drivers.ts";
import { type Check, expect, inTime, refusal, type Run, runContract, Skipped } from "./check.ts";
import type { RedisSetting } from "./redis.ts";
import { laying, opening, request, tally } from "./requests.ts";

/** The address of the database, and the names of its tables. */
export interface DatabaseSetting {
  readonly url: string;
  readonly authToken: string;
  /** The prefix of every table. */
  readonly prefix: string;
  readonly storeTimeoutMs: number;
}

/** Runs the contract on the database, which has the tables. */
export async function databaseContract(run: Run, setting: DatabaseSetting): Promise<void> {
  const cases = storeContract(({ clock }) => storeOf(setting, { clock }));
  await runContract(run, "Turso", { ...storeOf(setting).traits }, cases);
}

function storeOf(
  { url, authToken, prefix }: DatabaseSetting,
  options: { clock?: () => number } = {},
): DatabaseStore {
  return libsql({ url, authToken, schema: createSchema({ prefix }), ...options });
}

/** Returns the check that creates the tables. All others need them. */
export function migrating(setting: DatabaseSetting): Check {
  return {
    name: "Turso: migrate() makes the tables once",
    async run() {
      const { prefix } = setting;
      await using client = connect(setting);
      const { applied } = await migrate(client, { prefix });
      expect(applied.length === migrations.length, `applied ${applied}`);
      const again = await migrate(client, { prefix });
      expect(again.applied.length === 0, `applied ${again.applied} again`);
    },
  };
}

function connect({ url, authToken }: DatabaseSetting) {
  const client = createClient({ url, authToken });
  return Object.assign(client, { [Symbol.asyncDispose]: () => Promise.resolve(client.close()) });
}

/** Returns the checks of the database; with Redis, also of both as one store. */
export function databaseChecks(
  setting: DatabaseSetting,
  redis: RedisSetting | undefined,
): Check[] {
  const { prefix, storeTimeoutMs } = setting;
  const table = `${prefix}circuit_breakers`;
  const isTurso = new URL(setting.url).hostname.endsWith(".turso.io");

  const checks: Record<string, () => Promise<string | void>> = {
    async "fuse.check() reads and writes"() {
      const database = storeOf(setting);
      await using fuse = createFuse({ stores: { database }, storeTimeoutMs: 10_000 });
      const health = JSON.stringify(await fuse.check());
      expect(!/error/i.test(health), health);
    },

    async "unixepoch('subsec') is exact to the ms, and stands within a statement"() {
      await using client = connect(setting);
      const now = "cast(unixepoch('subsec') * 1000 as integer)";
      const ms: number[] = [];
      for (let i = 0; i < 8; i++) {
        const { rows: [row] } = await client.execute(`select ${now} as a, ${now} as b`);
        expect(row?.a === row?.b, `${row?.a} and ${row?.b} in one statement`);
        ms.push(Number(row?.a));
      }
      const offset = ms.at(-1)! - Date.now();
      expect(Math.abs(offset) < 300_000, `its clock is off by ${offset} ms`);
      expect(ms.some((value) => value % 1000 !== 0), "every answer is a whole second");
      return `${offset} ms from ours`;
    },

    async "triggers take an edit by hand into the trail"() {
      const store = storeOf(setting);
      await store.record("edited", tally({ failures: 1 }));
      await store.override("edited", laying("forced_open", null));
      await using client = connect(setting);
      await client.execute(`update ${table} set failure_count = 3 where key = 'edited'`);
      await store.override("edited", laying("disabled", null));
      const rows = await Array.fromAsync(store.history({ key: "edited" }));
      const events = rows.map(({ event }) => event).join(", ");
      expect(events === "disabled, edited, forced_open", events);
      const { ok, brokenAt } = await store.verifyTrail({ circuit: "edited" });
      expect(ok, `the trail is broken: ${brokenAt?.problem}`);
    },

    async "20 batches at once are counted exactly"() {
      const stores = Array.from({ length: 20 }, () => storeOf(setting));
      await Promise.all(
        stores.map((store) => store.record("parallel", tally({ successes: 1, failures: 1 }))),
      );
      const { totals } = await stores[0]!.read("parallel", request());
      const { successes, failures } = totals;
      expect(successes === 20 && failures === 20, `${successes} successes, ${failures} failures`);
    },

    async "a batch is applied whole or not at all"() {
      await using client = connect(setting);
      await storeOf(setting).record("whole", tally({ failures: 1 }));
      const { message } = await refusal(() =>
        client.batch([`delete from ${table} where key = 'whole'`, "select no_such_function()"])
      );
      const { totals } = await storeOf(setting).read("whole", request());
      expect(totals.failures === 1, "the first statement of a failed batch was applied");
      return message;
    },

    async "what another client has written is read at once"() {
      const [writer, reader] = [storeOf(setting), storeOf(setting)];
      for (let i = 1; i <= 20; i++) {
        await writer.record("stale", tally({ failures: 1 }));
        const { totals } = await reader.read("stale", request());
        expect(totals.failures === i, `${totals.failures} of ${i} records were seen`);
      }
      return "20 of 20; by an address of a replica they would not be";
    },

    async "a trail is verified and pruned"() {
      const store = storeOf(setting);
      await store.transition("proof", opening(60_000));
      for (const kind of ["disabled", null] as const) {
        await store.override("proof", laying(kind, null));
      }
      const { checked, ok } = await store.verifyTrail({ circuit: "proof" });
      expect(ok && checked === 3, `${checked} rows, ok: ${ok}`);
      const { deleted } = await store.prune({ olderThanMs: 0 });
      const rest = await store.verifyTrail();
      expect(deleted >= 2 && rest.ok, `${deleted} deleted, then ${rest.brokenAt?.detail}`);
    },

    async "a wrong token concerns the whole store"() {
      const other = storeOf({ ...setting, authToken: "wrong" });
      const error = await refusal(() => other.read("a", request())).catch(() => undefined);
      if (error === undefined && !isTurso) throw new Skipped("this server asks for no token");
      const { scope, message = "it was not refused" } = error ?? {};
      expect(scope === "store", `scope ${scope}: ${message}`);
      return message;
    },

    "a record is in time": () => {
      const store = storeOf(setting);
      return inTime(storeTimeoutMs, () => store.record("latency", tally({ successes: 1 })));
    },

    async "tiered() puts a change in Redis into the trail, once"() {
      if (redis === undefined) throw new Skipped("there is no Redis");
      const { url, token } = redis;
      const state = upstash({ url, token, prefix: `${redis.prefix}:tiered` });
      const store = tiered({ state, audit: storeOf(setting) });
      await using fuse = createFuse({ stores: { state: store }, storeTimeoutMs: 10_000 });
      const breaker = fuse.make("tiered");
      await breaker.forceOpen({ actor: "live" });
      await breaker.reset({ actor: "live" });
      await fuse.flush();
      const rows = await Array.fromAsync(breaker.history());
      const events = rows.map(({ event }) => event).join(", ");
      expect(events === "reset, forced_open", events || "no row");
    },
  };
  return Object.entries(checks).map(([name, run]) => ({ name: `Turso: ${name}`, run }));
}

/** Drops every table of the prefix, and checks that nothing is left. */
export async function removeFromDatabase(setting: DatabaseSetting): Promise<string> {
  await using client = connect(setting);
  const named = {
    sql: "select type, name from sqlite_master where substr(name, 1, ?) = ?",
    args: [setting.prefix.length, setting.prefix],
  };
  const before = (await client.execute(named)).rows;
  const tables = before.filter(({ type }) => type === "table").map(({ name }) => name);
  if (tables.length > 0) {
    await client.batch(tables.map((name) => `drop table "${name}"`), "write");
  }
  const { rows } = await client.execute(named);
  expect(rows.length === 0, `${rows.length} parts are left: ${rows.map(({ name }) => name)}`);
  return `${tables.length} tables dropped, nothing is left`;
}
