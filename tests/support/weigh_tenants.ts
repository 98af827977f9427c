/**
 * Prints how many bytes a circuit of a tenant takes, as JSON. A program, because a process is weighed:
 * run it with `--v8-flags=--expose-gc`.
 *
 * @module
 */

import { createFuse } from "@fuse/edge";
import { collect, nextTurn } from "../tools/bench/harness.ts";
import { tenantStore } from "./tenant_store.ts";

/** Bytes of each of many circuits on a shared store. */
export interface Weights {
  /** Nothing is under way, and all has been sent. Each was called twice, and was looked at. */
  readonly atRest: number;
  /** The store is down, and a stand-in decides for each. */
  readonly withStandIns: number;
  /** The store is back, and all has been sent. */
  readonly afterwards: number;
}

/** The heap after full collections, in bytes. */
async function used(): Promise<number> {
  await collect();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/** The measured objects: a local variable might be dropped before the last measurement. */
const held: unknown[] = [];

async function weigh(circuits: number): Promise<Weights> {
  const tenants = tenantStore(nextTurn);
  let now = 1_700_000_000_000;
  const fuse = createFuse({
    stores: { tenants: tenants.store },
    maxCircuits: circuits,
    defaults: { failureThreshold: 4 },
    clock: () => now,
  });
  held.push(fuse);
  fuse.on("store_error", () => {});
  const served = () => Promise.resolve("served");
  const callAll = async () => {
    // Older than `revalidateMs`: the calls ask the store, or find out that it is down.
    now += 2_000;
    for (let tenant = 0; tenant < circuits; tenant++) {
      await fuse.make(`tenant-${tenant}`).call(served);
      if (tenant % 50 === 0) await nextTurn();
    }
  };
  const settle = async () => {
    await fuse.flush();
    for (let tenant = 0; tenant < circuits; tenant++) fuse.make(`tenant-${tenant}`).peek();
  };
  const empty = await used();
  const weight = async () => Math.round((await used() - empty) / circuits);
  await callAll();
  await callAll();
  await settle();
  const atRest = await weight();
  tenants.down = true;
  await callAll();
  const withStandIns = await weight();
  tenants.down = false;
  await settle();
  return { atRest, withStandIns, afterwards: await weight() };
}

if (import.meta.main) {
  // The first circuits also load code, hidden classes and caches.
  await weigh(200);
  console.log(JSON.stringify(await weigh(10_000)));
  Deno.exit();
}
