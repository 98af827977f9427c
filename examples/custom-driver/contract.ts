/**
 * Holds the driver to all that the library expects of one:
 *
 *     deno test -A --unstable-kv examples/custom-driver/contract.ts
 */

import { createFuse } from "@fuse/edge";
import { storeContract } from "@fuse/edge/testing";
import { assertEquals } from "@std/assert";
import { kvStore } from "./kv_store.ts";

// One KV for all: each case has circuits of its own.
const kv = await Deno.openKv(":memory:");
addEventListener("unload", () => kv.close());

for (const { name, run } of storeContract(({ clock }) => kvStore({ kv, clock }))) {
  Deno.test(`kvStore() ${name}`, run);
}

// And what is this driver's own: that those who open one KV share its circuits.
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
