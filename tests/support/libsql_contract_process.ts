/**
 * The contract suite in a process of its own, on a file that others use too. Prints, as JSON, how
 * many cases ran and what broke. The arguments: the file, `ours` for the store's own client, `bursts` to
 * run those too, and n to run every nth case.
 *
 * @module
 */
import { createClient } from "@libsql/client";
import { libsql, localClient } from "@fuse/edge/libsql";
import { storeContract } from "@fuse/edge/testing";

const [url, whose, which, every] = Deno.args as [string, string, string, string];
const client = whose === "ours" ? localClient(url) : createClient({ url, timeout: 200 });
const broken: string[] = [];
// Hundreds of concurrent requests are left to one process: the others would only wait for it.
const bursts = /200 outcomes at once|ids of a busy circuit/;
const cases = storeContract(({ clock }) => libsql({ client, clock, busyTimeoutMs: 20_000 }))
  .filter(({ name }) => which === "bursts" || !bursts.test(name))
  .filter((_, i) => i % Number(every) === 0);
for (const { name, run } of cases) {
  await run().catch((error) => broken.push(`${name}: ${error.message}`));
}
client.close();
console.log(JSON.stringify({ cases: cases.length, broken }));
