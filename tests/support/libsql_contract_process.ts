/**
 * The contract suite in a process of its own, on a file that others use too. Prints, as JSON, how
 * many cases ran and what broke.
 *
 * @module
 */
import { createClient } from "@libsql/client";
import { libsql } from "@fuse/edge/libsql";
import { storeContract } from "@fuse/edge/testing";

const client = createClient({ url: Deno.args[0]!, timeout: 200 });
const broken: string[] = [];
// Hundreds of requests at once are one process's turn: the others would wait for it, no more.
const bursts = /200 outcomes at once|ids of a busy circuit/;
const cases = storeContract(({ clock }) => libsql({ client, clock, busyTimeoutMs: 20_000 }))
  .filter(({ name }) => Deno.args[1] === "bursts" || !bursts.test(name));
for (const { name, run } of cases) {
  await run().catch((error) => broken.push(`${name}: ${error.message}`));
}
client.close();
console.log(JSON.stringify({ cases: cases.length, broken }));
