// The traps of shared state on real databases.
import { assertEquals } from "@std/assert";
import { createFuse, type Fuse } from "@fuse/edge";
import type { LibsqlClient } from "@fuse/edge/libsql";
import { createClient } from "@libsql/client/web";
import { databasesForFile, type TestDatabase } from "../../support/databases.ts";
import { sharedTraps } from "../../support/shared_traps.ts";
import type { Site } from "../../support/shared_world.ts";
import { localWay, wayTo } from "../../support/ways.ts";
import { libsql } from "../../support/drivers.ts";

const TABLES = ["circuit_breakers", "circuit_breaker_events", "circuit_breaker_leases"].concat(
  ["circuit_breaker_requests", "circuit_breaker_windows"],
);
const [file, sqld] = await databasesForFile() as [TestDatabase, TestDatabase];

/** Empties the tables, so that no test sees rows of another. */
async function site(
  client: LibsqlClient & { close(): void },
  store: Site["store"],
): Promise<Site> {
  const wipe = async () => {
    await client.batch(TABLES.map((table) => ({ sql: `delete from ${table}`, args: [] })), "write");
  };
  await wipe();
  return { store, wipe, end: () => Promise.resolve(client.close()) };
}

const localWays = [localWay(), localWay()] as const;
sharedTraps("libSQL on a file", {
  ways: localWays,
  begin() {
    const client = file.connect();
    return site(
      client,
      ({ clock, way }) => localWays[way].to(libsql({ client, clock, busyTimeoutMs: 25_000 })),
    );
  },
}, { inTurns: true, quick: { nth: 0, of: 4 } });

const ways = [await wayTo(sqld.url), await wayTo(sqld.url)] as const;
sharedTraps("libSQL on sqld", {
  ways,
  begin: () =>
    site(sqld.connect(), ({ clock, way }) => {
      const client = createClient({ url: ways[way].url });
      return libsql({ client, clock, busyTimeoutMs: 25_000 });
    }),
}, { inTurns: true, quick: { nth: 1, of: 4 } });

for (const { name, connect } of [file, sqld]) {
  Deno.test(`circuits of one name in several scopes are one row each (libSQL on ${name})`, async () => {
    // Trap 31: a unique key over nullable scopes would not separate them.
    const client = connect();
    const { store, wipe, end } = await site(connect(), () => libsql({ client }));
    const stores = { shared: store({ clock: Date.now, way: 0 }) };
    const fuses = Array.from({ length: 8 }, () => createFuse({ stores, storeTimeoutMs: 30_000 }));
    const scopes = (fuse: Fuse) => [
      fuse,
      fuse.for({ type: "tenant", id: 1 }),
      fuse.boundary({ type: "tenant", id: 1 }),
    ];
    await Promise.all(
      fuses.flatMap(scopes).map((fuse) =>
        fuse.make("a", { failureThreshold: 100 }).tryCall(() => Promise.reject(new Error("down")))
      ),
    );
    for (const fuse of fuses) await fuse.flush();
    const { rows } = await client.execute(
      "select key, total_failures as n from circuit_breakers order by key",
    );
    assertEquals(
      rows.map(({ key, n }) => [key, n]),
      [["a", 8], ["a:for:tenant:1", 8], ["a:in:tenant:1", 8]],
    );
    await wipe();
    await end?.();
    client.close();
  });
}
