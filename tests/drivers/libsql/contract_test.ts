import { createClient } from "@libsql/client";
import { migrate } from "@fuse/edge/migrations";
import { libsql, localClient } from "@fuse/edge/libsql";
import { chaos, type ContractCase, storeContract } from "@fuse/edge/testing";
import { databasesForFile } from "../../support/databases.ts";
import { scaled } from "../../support/scale.ts";

/**
 * Cases that fail when a request arrives twice, because the second answer cannot tell: see
 * `contract_test.ts`.
 */
const TOLD_ONCE: readonly string[] = [
  "record() returns the policy hash of the previous tally",
];

const IN_PART = scaled(4, 1);

const databases = await databasesForFile();

const memory = createClient({ url: ":memory:" });
await migrate(memory);
addEventListener("unload", () => memory.close());

test("libsql in memory", storeContract(({ clock }) => libsql({ client: memory, clock })));

for (const { name, url, connect } of databases) {
  const client = name === "file" ? localClient(url) : connect();
  addEventListener("unload", () => client.close());
  test(`libsql on ${name}`, storeContract(({ clock }) => libsql({ client, clock })));
}

test(
  "libsql with calls audited and a key",
  storeContract(({ clock }) => libsql({ client: memory, clock, audit: "calls", trailKey: "key" })),
  IN_PART,
);

test(
  "libsql behind a network that delivers twice",
  storeContract(({ clock }) => chaos(libsql({ client: memory, clock }), { duplicateRate: 1 }))
    .filter(({ name }) => !TOLD_ONCE.includes(name)),
  IN_PART,
);

/**
 * Registers the cases. Quick runs have every `nth` case of a store that differs little from
 * another.
 */
function test(store: string, cases: readonly ContractCase[], nth = 1): void {
  for (const [i, { name, run }] of cases.entries()) {
    Deno.test({ name: `storeContract(${store}) ${name}`, ignore: i % nth !== 0 }, run);
  }
}
