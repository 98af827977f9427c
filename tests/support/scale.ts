/**
 * The size of a test run. `TEST_SCALE` is `quick`, the default, or `full`, which `.ci/run` sets.
 *
 * Tests of any length (random sessions, simulated fleets, bursts on real servers) take fewer rounds
 * when the scale is quick, and some cases run on one server rather than on each. Tests that need a
 * browser, wrangler or many minutes run in full only: `Deno.test({ ...IN_FULL, name, fn })`. Deno
 * reports them as ignored otherwise.
 *
 * Variables of one suite (`MODEL_RUNS`, `SIMULATION_SEEDS`, `FUZZ_RUNS` and so on) override the scale.
 *
 * @module
 */

export type Scale = "quick" | "full";

/** The scale of this run. */
export const SCALE: Scale = scaleOf(Deno.env.get("TEST_SCALE"));

/** Options of a test that runs in full only. */
export const IN_FULL: { readonly ignore: boolean } = { ignore: SCALE !== "full" };

/** Returns the value for the scale of this run. */
export function scaled<T>(quick: T, full: T): T {
  return SCALE === "full" ? full : quick;
}

/** Parses the variable. Throws an `Error` that names it when its value is neither of the two. */
export function scaleOf(given: string | undefined): Scale {
  // Many shells and CI systems use an empty variable for "not set".
  if (given === undefined || given === "" || given === "quick") return "quick";
  if (given === "full") return "full";
  throw new Error(`"TEST_SCALE" must be "quick" or "full", received ${JSON.stringify(given)}`);
}
