/**
 * Runs the contract suite, which covers everything that the library expects of a driver:
 *
 *     deno test -A --unstable-kv examples/custom-driver/contract.ts
 */

import { createFuse } from "@fuse/edge";
import { storeContract } from "@fuse/edge/testing";
import { assertEquals } from "@std/assert";
import { kvStore } from "./kv_store.ts";

// The cases share one KV: each has its own circuits.
const kv = await Deno.openKv(":memory:");
addEventListener("unload", () => kv.close());

for (const { name, run } of storeContract(({ clock }) => kvStore({ kv, clock }))) {
  Deno.test(`kvStore() ${name}`, run);
}

// A test of this driver alone: isolates that open the same KV share its circuits.
Deno.test("kvStore() loses nothing that two connections to one KV record at once", async () => {
  const folder = await Deno.makeTempDir();
  try {
    using one = await Deno.openKv(`${folder}/kv`);
    using other = await Deno.openKv(`${folder}/kv`);
    const [first, second] = [one, other].map((kv) =>
      createFuse({
        stores: { kv: kvStore({ kv }) },
        defaults: { consistency: "strong", failureThreshold: 100 },
        storeTimeoutMs: 30_000,
      }).make("payments")
    );
    const fail = () => Promise.reject(new Error("connection refused"));
    for (let round = 0; round < 10; round++) {
      await Promise.all([first!, second!, first!, second!].map((breaker) => breaker.tryCall(fail)));
    }
    assertEquals((await first!.getMetrics()).totalFailures, 40);
    assertEquals((await second!.getMetrics()).consecutiveFailures, 40);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
