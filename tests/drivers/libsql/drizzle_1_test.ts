// The libSQL store beside drizzle-orm 1.0, whose classes and relations differ from those of 0.45.
import { assertEquals } from "@std/assert";
import { deno, readConfig, root } from "../../tools/gate/project.ts";

const PROGRAM = `
import { createFuse } from "@fuse/edge";
import { circuitBreakers, libsql } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { storeContract } from "@fuse/edge/testing";
import { createClient } from "@libsql/client";
import { drizzle } from "drizzle-orm/libsql";
import * as orm from "drizzle-orm";

const client = createClient({ url: ":memory:" });
await migrate(client);
await using fuse = createFuse({ stores: { database: libsql({ client }) } });
await fuse.make("api").forceOpen({ actor: "ada" });
const rows = await drizzle({ client }).select().from(circuitBreakers);
const history = await Array.fromAsync(fuse.make("api").history());
console.log(rows.length, rows[0].name, history[0].event, "relations" in orm);

let passed = 0;
for (const { run } of storeContract(async ({ clock }) => {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  return libsql({ client, clock, audit: "transitions" });
})) {
  await run();
  passed++;
}
console.log(passed > 100);
`;

Deno.test("libsql() passes the contract suite with drizzle-orm 1.0 installed", async () => {
  const folder = await Deno.makeTempDir({ prefix: "fuse-edge-drizzle-" });
  try {
    const imports = Object.fromEntries(
      Object.entries(readConfig().imports).map((
        [name, target],
      ) => [name, target.startsWith("./") ? new URL(target, root).href : target]),
    );
    imports["drizzle-orm"] = "npm:drizzle-orm@1.0.0-rc.5";
    await Deno.writeTextFile(`${folder}/deno.json`, JSON.stringify({ imports }));
    await Deno.writeTextFile(`${folder}/main.ts`, PROGRAM);
    const { stdout, stderr } = await deno(
      ["run", "-A", "--quiet", "--no-check", "--no-lock", "--config", `${folder}/deno.json`]
        .concat(`${folder}/main.ts`),
    );
    assertEquals(stdout, "1 api forced_open false\ntrue\n", stderr);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
