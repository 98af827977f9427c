// An application that shares the database and uses drizzle-kit, as the page on migrations shows.
import { type Client, createClient } from "@libsql/client";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { migrate, migrations } from "@fuse/edge/migrations";
import { type NpmProject, npmProject } from "../support/npm_project.ts";
import { IN_FULL } from "../support/scale.ts";
import { root } from "../tools/gate/project.ts";
import { codeOf } from "../tools/pages/pages.ts";

const TAGS = migrations.map(({ tag }) => tag);
const SCHEMA = "schema.ts";
const CONFIG = "drizzle.config.ts";

/** The files on the page, by the names in their first lines. */
async function filesOfPage(): Promise<Record<string, string>> {
  const page = await Deno.readTextFile(new URL("migrations/README.md", root));
  const named = codeOf(page, "ts").flatMap((code) => {
    const name = /^\/\/ (\S+\.ts)\n/.exec(code)?.[1];
    return name === undefined ? [] : [[name, code]];
  });
  return Object.fromEntries(named);
}

async function drizzleKit(project: NpmProject, ...args: string[]): Promise<void> {
  const { ok, stdout, stderr } = await project.node(["node_modules/drizzle-kit/bin.cjs", ...args]);
  assert(ok, stdout + stderr);
}

/** Returns the tables of the database, and its indexes and triggers. */
async function partsOf(client: Client): Promise<string[]> {
  const { rows } = await client.execute(
    "select name from sqlite_master where name not like 'sqlite_%' order by name",
  );
  return rows.map(({ name }) => String(name));
}

Deno.test({
  ...IN_FULL,
  name: "an application that shares the database generates, migrates and pushes its own tables",
  fn: shareDatabase,
});

async function shareDatabase(t: Deno.TestContext): Promise<void> {
  await using project = await npmProject(["@libsql/client", "drizzle-kit", "drizzle-orm"]);
  const files = await filesOfPage();
  assertEquals(Object.keys(files).sort(), [CONFIG, SCHEMA]);
  for (const [name, code] of Object.entries(files)) await project.write(name, code);
  const client = createClient({ url: `file:${project.folder}/app.db` });
  await migrate(client);
  const ours = await partsOf(client);
  let all: string[] = [];

  await t.step("generate creates only the application's table, with the foreign key", async () => {
    await drizzleKit(project, "generate");
    const folder = `${project.folder}/drizzle`;
    const written = [...Deno.readDirSync(folder)].filter(({ name }) => name.endsWith(".sql"));
    assertEquals(written.length, 1);
    const sql = await Deno.readTextFile(`${folder}/${written[0]!.name}`);
    assertEquals([...sql.matchAll(/CREATE TABLE `(\w+)`/g)].map(([, name]) => name), ["upstreams"]);
    assertMatch(sql, /REFERENCES `circuit_breakers`\(`key`\)/);
  });

  await t.step("migrate adds that table to ours, with a ledger of its own", async () => {
    await drizzleKit(project, "migrate");
    all = await partsOf(client);
    assertEquals(all, [...ours, "app_migrations", "upstreams"].sort());
    assertEquals(await migrate(client), { applied: [] });
  });

  await t.step("push drops none of our tables", async () => {
    await drizzleKit(project, "push", "--force");
    assertEquals(await partsOf(client), all);
    const column = files[SCHEMA]!.replace(/^ {2}owner: .*\n/m, `$&  note: text("note"),\n`);
    await project.write(SCHEMA, column);
    await drizzleKit(project, "push", "--force");
    assertEquals(await partsOf(client), all);
    const { rows } = await client.execute("select name from pragma_table_info('upstreams')");
    assert(rows.some(({ name }) => name === "note"));
    assertEquals(await migrate(client), { applied: [] });
  });

  await t.step("the foreign key follows the removal of a circuit", async () => {
    const stores = { database: libsql({ client }) };
    await using fuse = createFuse({ stores, storeTimeoutMs: 10_000 });
    const breaker = fuse.make("payments");
    await breaker.forceOpen({ actor: "ada" });
    await client.execute("insert into upstreams (owner, circuit) values ('ada', 'payments')");
    await breaker.reset({ actor: "ada" });
    await breaker.remove({ actor: "ada" });
    const { rows } = await client.execute("select owner, circuit from upstreams");
    assertEquals(rows.map((row) => [row.owner, row.circuit]), [["ada", null]]);
  });

  await t.step(
    "push without the filter drops our tables, and migrate() creates them again",
    async () => {
      await project.write(CONFIG, files[CONFIG]!.replace(/^ {2}tablesFilter: .*\n/m, ""));
      await drizzleKit(project, "push", "--force");
      const left = await partsOf(client);
      assertEquals(left.filter((name) => name.startsWith("circuit_breaker")), []);
      assertEquals(await migrate(client), { applied: TAGS });
      assertEquals((await partsOf(client)).filter((name) => ours.includes(name)), ours);
    },
  );
  client.close();
}
