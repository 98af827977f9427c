// Worlds whose store partly fails: the effect on callers, the store and a dead upstream.
import { assertEquals, assertGreater } from "@std/assert";
import { scaled } from "../../../support/scale.ts";
import { type Outage, OUTAGE_KINDS, outageOf } from "./outage.ts";
import { PLANTED_OUTAGES } from "./planted.ts";
import { playOutage } from "./play.ts";

/** The same worlds each time, so that a red gate is red for everyone. */
const FIRST = Number(Deno.env.get("SIMULATION_SEED") ?? 0);
const SEEDS = Number(Deno.env.get("SIMULATION_SEEDS") ?? scaled(120, 1_200));

for (const kind of new Set(OUTAGE_KINDS)) {
  Deno.test(`playOutage() finds nothing wrong with worlds of kind "${kind}" among ${SEEDS} seeds from ${FIRST}`, async () => {
    const worlds = Array.from({ length: SEEDS }, (_, i) => outageOf(FIRST + i))
      .filter((outage) => outage.kind === kind)
      // Five thousand circuits take long, and their worlds are alike.
      .slice(0, kind === "refused" ? 12 : Infinity);
    let requests = 0;
    for (const outage of worlds) {
      const played = await playOutage(outage);
      assertEquals(played.violation, null, `seed ${outage.seed}: ${JSON.stringify(outage)}`);
      requests += played.requests;
    }
    // Worlds without requests to the store would prove nothing.
    assertGreater(requests, worlds.length);
  });
}

Deno.test("playOutage() takes the same course when it plays a world again", async () => {
  for (let seed = 0; seed < OUTAGE_KINDS.length; seed++) {
    const outage = outageOf(seed);
    const again: Outage = { ...outage, policy: { ...outage.policy } };
    assertEquals(await playOutage(again), await playOutage(outage));
  }
});

for (const { mistake, invariant, kind, options } of PLANTED_OUTAGES) {
  Deno.test(`playOutage() finds "${invariant}" violated when ${mistake}`, async () => {
    for (let seed = 0; seed < 40 * OUTAGE_KINDS.length; seed++) {
      const outage = outageOf(seed);
      if (outage.kind !== kind) continue;
      const { violation } = await playOutage(outage, options);
      if (violation === null) continue;
      assertEquals(violation.invariant, invariant, violation.message);
      // The violation is that of the mistake, and no other.
      assertEquals((await playOutage(outage)).violation, null);
      return;
    }
    throw new Error("Nothing is found in 40 worlds");
  });
}
