// `wrangler d1 migrations` on the published files, in a local D1, beside our own migrate().
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { createClient } from "@libsql/client";
import { createFuse } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { migrate, migrations } from "@fuse/edge/migrations";
import { copy } from "../support/cached_project.ts";
import { IN_FULL } from "../support/scale.ts";
import { filesBelow, root } from "../tools/gate/project.ts";

/** Wrangler needs a newer Node than ours: npm installs both. */
const PACKAGES = ["node@22.23.3", "wrangler@4.164.0"];
const DATABASE = "fuse";
const DEADLINE_MS = 180_000;

/** As the page on D1 says of a package from npm. */
const CONFIG = {
  name: "wrangler-test",
  compatibility_date: "2025-09-01",
  d1_databases: [{
    ...{ binding: "DB", database_name: DATABASE, database_id: crypto.randomUUID() },
    migrations_dir: "node_modules/@fuse/edge/migrations",
  }],
};

/** Runs `wrangler d1 …` in a folder, on the database there. */
async function wrangler(
  folder: string,
  ...args: string[]
): Promise<{ ok: boolean; printed: string }> {
  const packages = PACKAGES.flatMap((name) => ["-p", name]);
  const { success, stdout, stderr } = await new Deno.Command("npx", {
    args: ["-y", ...packages, "wrangler", "d1", ...args, "--local"],
    cwd: folder,
    // Without questions, reports and traces.
    env: { CI: "1", NO_COLOR: "1", WRANGLER_SEND_METRICS: "false", XDG_CONFIG_HOME: folder },
    stdin: "null",
    signal: AbortSignal.timeout(DEADLINE_MS),
  }).output();
  const text = new TextDecoder();
  return { ok: success, printed: text.decode(stdout) + text.decode(stderr) };
}

/** The file of the local database. */
function databaseIn(folder: string): string {
  const objects = `${folder}/.wrangler/state/v3/d1/miniflare-D1DatabaseObject`;
  const files = [...Deno.readDirSync(objects)].map(({ name }) => name)
    .filter((name) => name.endsWith(".sqlite") && name !== "metadata.sqlite");
  assertEquals(files.length, 1, files.join());
  return `file:${objects}/${files[0]}`;
}

Deno.test({
  ...IN_FULL,
  name: "wrangler d1 migrations applies the published files, also beside migrate()",
  async fn(t) {
    const folder = await Deno.makeTempDir({ prefix: "fuse-wrangler-" });
    try {
      await Deno.writeTextFile(`${folder}/wrangler.json`, JSON.stringify(CONFIG));
      for (const path of filesBelow("migrations", "")) {
        await copy(new URL(path, root).pathname, `${folder}/node_modules/@fuse/edge/${path}`);
      }
      const apply = () => wrangler(folder, "migrations", "apply", DATABASE);

      await t.step("wrangler applies them once", async () => {
        const first = await apply();
        assert(first.ok, first.printed);
        for (const { tag } of migrations) assertStringIncludes(first.printed, `${tag}.sql`);
        const second = await apply();
        assert(second.ok, second.printed);
        assertStringIncludes(second.printed, "No migrations to apply");
      });

      const client = createClient({ url: databaseIn(folder) });
      await t.step(
        "migrate() then finds nothing to do, and a store can use the tables",
        async () => {
          assertEquals(await migrate(client), { applied: [] });
          const store = libsql({ client });
          await using fuse = createFuse({ stores: { database: store }, storeTimeoutMs: 10_000 });
          await fuse.make("payments").forceOpen({ actor: "ada" });
          await client.execute("update circuit_breakers set failure_count = 1");
          await fuse.make("payments").reset({ actor: "ada" });
          const events = await Array.fromAsync(store.history());
          assertEquals(events.map(({ event }) => event), ["reset", "edited", "forced_open"]);
          assertEquals((await store.verifyTrail()).ok, true);
        },
      );

      // As if migrate() had created the tables.
      await client.execute("delete from d1_migrations");
      client.close();
      await t.step("after migrate(), wrangler fails and changes nothing", async () => {
        const { ok, printed } = await apply();
        assert(!ok);
        assertStringIncludes(printed, "already exists");
      });

      await t.step(
        "wrangler works again after migrate() once its ledger has an entry",
        async () => {
          const page = await Deno.readTextFile(new URL("migrations/README.md", root));
          const [, command = ""] = /--command "(insert into d1_migrations .*?)"/.exec(page) ?? [];
          for (const { tag } of migrations) assertStringIncludes(command, `'${tag}.sql'`);
          const told = await wrangler(folder, "execute", DATABASE, "--command", command);
          assert(told.ok, told.printed);
          const { ok, printed } = await apply();
          assert(ok, printed);
          assertStringIncludes(printed, "No migrations to apply");
        },
      );
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
