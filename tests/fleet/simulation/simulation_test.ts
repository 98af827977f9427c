// A simulated fleet: thousands of worlds with faults, each of them judged step by step.
import { assert, assertEquals, assertGreater } from "@std/assert";
import { play, type Played } from "./fleet.ts";
import { OVERTAKING, PLANTED } from "./planted.ts";
import { type Kind, type Scenario, scenarioOf, type Step } from "./scenario.ts";
import { type Failure, read, report, shrink, write } from "./shrink.ts";
import { healthOf, type Healthy, judgeHealthy } from "./healthy.ts";
import { scaled } from "../../support/scale.ts";

/**
 * The same worlds each time, so that a red gate is red for everyone; `deno task simulate` searches
 * further.
 */
const FIRST = Number(Deno.env.get("SIMULATION_SEED") ?? 0);
const SEEDS = Number(Deno.env.get("SIMULATION_SEEDS") ?? scaled(200, 2_000));

Deno.test(`play() finds nothing wrong with ${SEEDS} seeds from ${FIRST}`, async () => {
  const met: Record<string, number> = {};
  const healthy: Healthy[] = [];
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const scenario = scenarioOf(seed);
    const played = await play(scenario);
    const { violation } = played;
    if (violation !== null) throw new Error(await report({ scenario, violation }));
    for (const what of happened(scenario, played)) met[what] = (met[what] ?? 0) + 1;
    if (scenario.kind === "healthy") healthy.push(healthOf(scenario, played));
  }
  console.log(met);
  if (SEEDS < 500) return;
  const problem = judgeHealthy(healthy);
  assert(problem === null, problem ?? "");
  // Worlds without events would prove nothing.
  for (const [policy, worlds] of Map.groupBy(healthy, ({ policy }) => policy)) {
    assertGreater(worlds.reduce((sum, { exact }) => sum + exact, 0), SEEDS / 500, policy);
  }
  for (const what of SITUATIONS) assertGreater(met[what] ?? 0, SEEDS / 200, what);
});

Deno.test("play() takes the same course when it plays a scenario again", async () => {
  for (const kind of ["storm", "dead", "cut", "forced", "healthy"] as const) {
    const scenario = seedOf([kind], 0);
    const first = await play(scenario, { trace: true });
    const again = await play(read(write(scenario)), { trace: true });
    assertGreater(first.trace.length, 100);
    assertEquals(again.trace, first.trace);
  }
});

Deno.test("play() finds nothing wrong when a clock is set back while an answer is missing", async () => {
  const calls = [0, 1_150, ...Array.from({ length: 19 }, (_, i) => 3_500 + 4_000 * i)];
  const { violation, met } = await play({
    ...seedOf(["storm"], 0),
    policy: { maxCooldownMs: 6_000, cooldownMs: 2_000 },
    clocks: [{ offsetMs: 0, drift: 0 }],
    steps: [
      { at: 1_000, do: "network", will: "lose_answer", isolate: null, forMs: 500, share: 1 },
      { at: 1_100, do: "upstream", is: "dead", isolate: null, forMs: 100 },
      // Longer than stores remember ids, and on this clock shorter than a tally is kept.
      { at: 1_500, do: "network", will: "lose", isolate: 0, forMs: 70_000, share: 1 },
      { at: 3_000, do: "clock", isolate: 0, byMs: -60_000 },
      ...calls.map((at): Step => ({ at, do: "call", isolate: 0, lastsMs: 10, luck: 0.5 })),
    ].toSorted((a, b) => a.at - b.at) as Step[],
  });
  assertEquals(violation, null);
  assert(met.has("unconfirmed"));
});

for (const { mistake, invariant, kinds, options } of PLANTED) {
  Deno.test(`play() finds "${invariant}" violated and shrinks the trace when ${mistake}`, async () => {
    const failure = await find(
      kinds,
      async (scenario) => (await play(scenario, options)).violation,
    );
    assertEquals(failure.violation.invariant, invariant);
    const minimal = await shrink(failure, options);
    const { steps } = minimal.scenario;
    for (const step of steps) {
      const less = { ...minimal.scenario, steps: steps.filter((other) => other !== step) };
      const without = (await play(less, options)).violation?.invariant;
      assert(without !== invariant, `${JSON.stringify(step)} is not needed`);
    }
    const replayed = await play(read(write(minimal.scenario)), options);
    assertEquals(replayed.violation, minimal.violation);
    // The violation is that of the mistake, and no other.
    assertEquals((await play(minimal.scenario)).violation, null);
  });
}

Deno.test("report() prints a trace that replays the failure", async () => {
  const { kinds, options } = PLANTED[0]!;
  const failure = await find(kinds, async (scenario) => (await play(scenario, options)).violation);
  const lines = (await report(failure, options)).split("\n");
  const text = lines.find((line) => line.includes("--replay"))!.match(/'(.*)'/)![1]!;
  const replayed = await play(read(text), { ...options, trace: true });
  assertEquals(replayed.violation!.invariant, "trials");
  assertEquals(lines.slice(-1 - replayed.trace.length, -1), replayed.trace);
});

Deno.test("judgeHealthy() sees the openings when failures overtake pending successes", async () => {
  const healthy: Healthy[] = [];
  for (let seed = 0; seed < 200; seed++) {
    const scenario = scenarioOf(seed, 12);
    if (scenario.kind !== "healthy") continue;
    // Revealed by the number of trips, whatever else is wrong with it.
    healthy.push(healthOf(scenario, await play(scenario, OVERTAKING)));
  }
  assert(judgeHealthy(healthy)?.includes("opened"));
});

Deno.test("judgeHealthy() separates broken promises from unobserved ones", () => {
  const of = (opened: number) =>
    judgeHealthy([{ policy: "strong, 3 in a row", opened, exact: 8, expected: 4.9 }]);
  assertEquals(of(26), null);
  assert(of(27)?.includes("before"));
  assert(of(103)?.includes("stated"));
});

/** Situations that must have occurred many times. */
const SITUATIONS = [
  ...["opened", "reopened", "closed", "reset", "override", "released", "opened alone"],
  ...["late tally", "request applied again", "lease ran out", "unconfirmed", "reborn", "ramp"],
  "several failures in a tally",
];

function happened({ steps }: Scenario, { trail, calls, met }: Played): Set<string> {
  const seen = new Set<string>([...steps.map((step) => step.do), ...met]);
  for (const { event, from } of trail) {
    seen.add(event === "opened" && from === "HALF_OPEN" ? "reopened" : event);
  }
  if (calls.some(({ trial }) => trial !== null)) seen.add("trial");
  if (calls.some(({ aborted }) => aborted !== undefined)) seen.add("aborted");
  return seen;
}

async function find(
  kinds: readonly Kind[],
  fails: (scenario: Scenario) => Promise<Failure["violation"] | null>,
): Promise<Failure> {
  for (let tried = 0; tried < 40; tried++) {
    const scenario = seedOf(kinds, tried);
    const violation = await fails(scenario);
    if (violation !== null) return { scenario, violation };
  }
  throw new Error("Nothing is found in 40 worlds");
}

/** Returns the nth small world of these kinds. */
function seedOf(kinds: readonly Kind[], nth: number): Scenario {
  for (let seed = 0;; seed++) {
    const scenario = scenarioOf(seed);
    if (scenario.clocks.length <= 12 && kinds.includes(scenario.kind) && nth-- === 0) {
      return scenario;
    }
  }
}
