/**
 * Holds the driver to all that the library expects of one:
 *
 *     deno test --unstable-kv examples/custom-driver/contract.ts
 */

import { storeContract } from "@fuse/edge/testing";
import { kvStore } from "./kv_store.ts";

// One KV for all: each case has circuits of its own.
const kv = await Deno.openKv(":memory:");
addEventListener("unload", () => kv.close());

for (const { name, run } of storeContract(({ clock }) => kvStore({ kv, clock }))) {
  Deno.test(`kvStore() ${name}`, run);
}
