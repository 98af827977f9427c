// A circuit for each tenant: steps that take as long for 100 000 circuits as for a few.
import { assert, assertEquals, assertLess } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { circuitsOf } from "../../../src/known.ts";
import { inVirtualTime } from "../../fleet/simulation/virtual_globals.ts";
import { scaled } from "../../support/scale.ts";
import { tenantStore } from "../../support/tenant_store.ts";
import { seeded, VirtualTime } from "../../support/virtual_time.ts";

const TENANTS = scaled(10_000, 100_000);
/** Tallies in a trip, and trips in a wave of `flush()`. */
const IN_TRIP = 64;
const IN_WAVE = 6 * IN_TRIP;

const served = () => Promise.resolve("served");

Deno.test(`1 000 of ${TENANTS} circuits a second send what they gather, in trips of at most ${IN_TRIP}`, async () => {
  const time = new VirtualTime();
  await inVirtualTime(time, seeded(1), async () => {
    const tenants = tenantStore(() => time.sleep(20));
    const stores = { tenants: tenants.store };
    const fuse = createFuse({ stores, clock: time.now, maxCircuits: TENANTS });
    const seconds = TENANTS / 1_000;
    for (let tenant = 0; tenant < TENANTS; tenant++) {
      // The last of three calls sends what the first two have gathered.
      for (const afterMs of [0, 500, 1_100]) {
        time.after(tenant + afterMs, () => void fuse.make(`tenant-${tenant}`).call(served));
      }
    }
    const began = time.now();
    await time.runByMoments(began + 1_000 * seconds + 1_100);
    // A round trip after the last call, nothing is left.
    await time.runByMoments(began + 1_000 * seconds + 2_000);
    assertEquals(tenants.outcomes, 3 * TENANTS);
    assertEquals(tenants.acquires, TENANTS);
    assert(tenants.trips.every((tallies) => tallies <= IN_TRIP), `${Math.max(...tenants.trips)}`);
    // Six trips at once, of 20 ms each, and one that each answer of a call sets going.
    assertLess(tenants.trips.length, 320 * (seconds + 2));
  });
});

Deno.test(`flush() sends the tallies of ${TENANTS} circuits in waves, and leaves none`, async () => {
  const tenants = tenantStore(() => Promise.resolve());
  const fuse = createFuse({
    stores: { tenants: tenants.store },
    clock: () => 0,
    maxCircuits: TENANTS,
  });
  for (let tenant = 0; tenant < TENANTS; tenant++) await fuse.make(`t${tenant}`).call(served);
  await fuse.flush();
  assertEquals(tenants.outcomes, TENANTS);
  assertLess(tenants.trips.length, 1.1 * TENANTS / IN_WAVE);
  tenants.trips.length = 0;
  await fuse.flush();
  assertEquals(tenants.trips, []);
});

Deno.test("createFuse({ maxCircuits }) looks at 1 000 circuits at most to make room for another", () => {
  const maxCircuits = 5_000;
  const fuse = createFuse({ maxCircuits });
  const names = Array.from({ length: maxCircuits }, (_, i) => `t${i}`);
  for (let round = 0; round < 2; round++) names.forEach((name) => fuse.make(name));
  const unused = () => [...circuitsOf(fuse)].filter(({ used }) => !used).length;
  assertEquals(unused(), 0);
  fuse.make("another");
  assertEquals([...circuitsOf(fuse)].length, maxCircuits);
  // The new one, too.
  assertEquals(unused(), 1_001);
});
