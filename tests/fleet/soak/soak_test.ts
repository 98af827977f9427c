// The soak in small: each driver for a number of calls, and books that notice a single lost tally.
import { assert, assertEquals } from "@std/assert";
import { FakeClock } from "@fuse/edge/testing";
import { GROUNDS, type Weather } from "./grounds.ts";
import { soak, type SoakOptions, type SoakResult, type Time } from "./soak.ts";
import { wrong } from "./stores.ts";
import { scaled } from "../../support/scale.ts";
import { newSeed } from "../../support/virtual_time.ts";

/**
 * The same runs each time, so that a red gate is red for everyone; `SOAK_SEED` (a number, or
 * `random`) searches further.
 */
const given = Deno.env.get("SOAK_SEED");
const SEED = given === "random" ? newSeed() : Number(given ?? 20_251_127);

const PHASES: readonly Weather[] = ["calm", "wire", "dead", "chaos", "calm"];

/** A clock that each call advances: outages last for a minute and more of it. */
function moved(): Time {
  const clock = new FakeClock();
  return {
    clock: clock.now,
    injected: true,
    rest() {
      clock.advance(250);
      return new Promise((resolve) => setTimeout(resolve, 0));
    },
    wait() {
      clock.advance(1_000);
      return new Promise((resolve) => setTimeout(resolve, 0));
    },
  };
}

function run(driver: string, callsAPhase: number, more: Partial<SoakOptions> = {}) {
  return soak({
    driver,
    seed: SEED,
    time: moved(),
    isolates: 3,
    callers: 6,
    // A long limit: a busy machine is no outage of the store, and nothing hangs here.
    storeTimeoutMs: 30_000,
    slow: false,
    attempts: 60,
    phases: PHASES,
    going: (phase, calls) => calls < callsAPhase * (phase + 1),
    ...more,
  });
}

function sum(result: SoakResult, of: "storeErrors" | "operations") {
  return result.phases.reduce((sum, phase) => sum + phase[of], 0);
}

for (const driver of Object.keys(GROUNDS)) {
  Deno.test(`soak() of ${driver} finds nothing lost and nothing counted twice`, async () => {
    const result = await run(driver, scaled(20, 50));
    assertEquals(result.balance.differences, []);
    assertEquals(result.problems, []);
    // The run was not idle.
    assert(result.balance.circuits > 20);
    assert(sum(result, "storeErrors") > 0 && sum(result, "operations") > 0);
  });
}

for (const [how, which] of [["drops", "lost"], ["doubles", "doubled"]] as const) {
  Deno.test(`soak() notices a store that ${how} one tally`, async () => {
    const { balance } = await run("memory", 100, {
      phases: ["calm"],
      attempts: 3,
      spoil: (store) => wrong(store, how),
    });
    assert(balance[which] > 0);
    assertEquals(balance[which === "lost" ? "doubled" : "lost"], 0);
  });
}
