/**
 * Plays calls of several isolates through the tallies that they send, n successes and then m failures, and
 * compares the openings with those of a store that learns of each failure by itself, the first of a tally
 * together with the successes before it.
 *
 * Where the two may differ: a store may learn of single failures in any order that keeps each isolate's own,
 * except of requests that are under way at once, and of each sooner or later than of its tally, up to the
 * answer. The tallies open only where the single failures, in the order and at the times of the tallies, have
 * opened. They stay closed only where the single failures stay closed in one such order at least.
 *
 * `slow_calls` differs in one more way: fast failures lower its share again. What only the middle of a tally
 * reaches is not seen, if its isolate has not heard of what others recorded.
 *
 * `TALLIES_RUNS` plays more or fewer cases, and `SEED` others.
 */
import { assert } from "@std/assert";
import { type CircuitOptions, createFuse, type Fuse } from "@fuse/edge";
import type { Recorded, Tally } from "@fuse/edge/store";
import { verdict } from "../../src/rules/machine.ts";
import type { CircuitPolicyData } from "../../src/rules/policy.ts";
import { chaos, memory, type OpeningStore } from "../support/drivers.ts";
import { scaled } from "../support/scale.ts";
import { policyOf } from "../support/units.ts";
import { newSeed, seeded, VirtualTime } from "../support/virtual_time.ts";
import { inVirtualTime } from "./simulation/virtual_globals.ts";

const RUNS = Number(Deno.env.get("TALLIES_RUNS") ?? scaled(400, 14_000));

/** How a call ended, and when. */
interface Outcome {
  readonly isolate: number;
  readonly at: number;
  /** When it seems to have ended to the store: later, by as long as its tally was on its way. */
  seenAt: number;
  /** When it may seem to have ended at the latest: later by as long as its tally took to be answered. */
  latestAt: number;
  readonly failed: boolean;
  readonly slow: boolean;
}

/** Everything of a case follows from its seed. */
interface Case {
  readonly options: CircuitOptions;
  /** By isolate, in the order in which they end. */
  readonly outcomes: readonly (readonly Outcome[])[];
}

/** The outcomes of a tally, and how many tallies of its isolate were not on their way with it but before. */
interface Taken {
  readonly isolate: number;
  /** The first failure with the successes before it, and then failures, or successes alone. */
  readonly steps: readonly (readonly Outcome[])[];
  /** The tallies that the store had taken of its isolate when it was sent. */
  readonly after: ReadonlySet<Taken>;
}

/** The tallies, in the order in which the store took them, and the opening that they led to. */
interface Played {
  readonly taken: readonly Taken[];
  /** After how many of them the circuit was to open; `null` if it was not. */
  readonly openedAfter: number | null;
  /** How many carried several failures. */
  readonly several: number;
}

const SHARES = { percentageThreshold: 50, minimumThroughput: 4 };

const STRATEGIES: Record<string, (draw: () => number) => CircuitOptions> = {
  consecutive_failures: (draw) => ({ failureThreshold: 2 + Math.floor(4 * draw()) }),
  percentage_failures: () => ({ strategy: "percentage_failures", ...SHARES }),
  rolling_window: () => ({ strategy: "rolling_window", ...SHARES }),
  count_window: (draw) => ({
    ...{ strategy: "count_window", ...SHARES, windowSize: 4 + Math.floor(4 * draw()) },
  }),
  slow_calls: () => ({ strategy: "slow_calls", ...SHARES, slowCallMs: 50 }),
  "a list": (draw) => ({
    ...{ strategy: ["consecutive_failures", "count_window"], ...SHARES },
    ...{ failureThreshold: 3, windowSize: 4 + Math.floor(4 * draw()) },
  }),
};

for (const [strategy, optionsOf] of Object.entries(STRATEGIES)) {
  Deno.test(`tallies open as single outcomes do, in ${RUNS} cases of ${strategy}`, async () => {
    const first = newSeed();
    const met = { opened: 0, several: 0, later: 0, closed: 0, unseen: 0 };
    for (let i = 0; i < RUNS; i++) {
      const seed = (first + i) >>> 0;
      const drawn = drawCase(seed, optionsOf);
      const policy = policyOf(drawn.options);
      const { taken, openedAfter, several } = await play(drawn, seed);
      const steps = (tallies: readonly Taken[]) => tallies.flatMap(({ steps }) => steps);
      const opening = single(steps(taken), policy);
      const upto = steps(taken.slice(0, openedAfter ?? 0)).length;
      met.several += several;
      if (openedAfter !== null) {
        met.opened++;
        assert(opening !== null && opening <= upto, `seed ${seed}: opens, single outcomes do not`);
        if (opening! < upto) met.later++;
      } else if (opening !== null) {
        met.closed++;
        if (staysClosed(taken, policy)) continue;
        assert(strategy === "slow_calls", `seed ${seed}: stays closed, all others open`);
        met.unseen++;
      }
    }
    console.log(strategy, met);
    assert(met.opened > RUNS / 20 && met.several > RUNS / 20, Deno.inspect(met));
    assert(met.unseen <= RUNS / 100, Deno.inspect(met));
  });
}

function drawCase(seed: number, optionsOf: (draw: () => number) => CircuitOptions): Case {
  const draw = seeded(seed);
  const isolates = 1 + Math.floor(3 * draw());
  const errorRate = 0.2 + 0.6 * draw();
  const outcomes = Array.from({ length: isolates }, (_, isolate) => {
    let at = 400;
    return Array.from({ length: 3 + Math.floor(6 * draw()) }, () => {
      at += 1 + Math.floor(draw() * 30);
      const failed = draw() < errorRate;
      return { isolate, at, seenAt: at, latestAt: at, failed, slow: draw() < errorRate };
    });
  });
  return { options: optionsOf(draw), outcomes };
}

/** Plays a case with isolates of the real core, on a network of which each answer takes its time. */
async function play({ options, outcomes }: Case, seed: number): Promise<Played> {
  const time = new VirtualTime();
  const draw = seeded(~seed);
  const policy = policyOf(options);
  const store = memory({ clock: time.now });
  const played = { taken: [] as Taken[], openedAfter: null as number | null, several: 0 };
  const began = time.now();
  const wire = (isolate: number): OpeningStore => {
    const known = new Map<string, Taken & { readonly sentAt: number }>();
    let sent = 0;
    return new Proxy(chaos(store, {}), {
      get(target, property) {
        const value = Reflect.get(target, property, target);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]) => {
          const [, request] = args as [string, Tally];
          if (property === "record" && !known.has(request.id)) {
            // In the order of their endings, successes first.
            const { successes, failures } = request;
            const own = outcomes[isolate]!.slice(sent, sent += successes + failures);
            const after = new Set(played.taken.filter((taken) => taken.isolate === isolate));
            const first = own.slice(0, successes + 1);
            const steps = [first, ...own.slice(successes + 1).map((outcome) => [outcome])];
            known.set(request.id, { isolate, steps, after, sentAt: time.now() });
            assert(own.every(({ failed }, i) => failed === i >= successes), `seed ${seed}: order`);
            if (failures > 1) played.several++;
          }
          await time.sleep(draw() * 60);
          const answer = await Reflect.apply(value, target, args);
          const tally = known.get(request.id);
          if (tally !== undefined && played.openedAfter === null) {
            const { snapshot, current } = answer as Recorded;
            for (const outcome of tally.steps.flat()) outcome.seenAt += time.now() - tally.sentAt;
            played.taken.push(tally);
            if (current && verdict(snapshot, policy) !== null) {
              played.openedAfter = played.taken.length;
            }
          }
          const copy = structuredClone(answer);
          await time.sleep(draw() * 60);
          const tookMs = time.now() - (tally?.sentAt ?? 0);
          for (const outcome of tally?.steps.flat() ?? []) outcome.latestAt += tookMs;
          return copy;
        };
      },
    });
  };
  await inVirtualTime(time, Math.random, async () => {
    const fuses: Fuse[] = outcomes.map((own, isolate) => {
      const fuse = createFuse({ stores: { main: wire(isolate) }, clock: time.now });
      const breaker = fuse.make("a", options);
      breaker.getState();
      for (const { at, failed, slow } of own) {
        time.after(at - (slow ? 50 : 0), () => {
          const ended = new Promise((resolve, reject) =>
            time.after(slow ? 50 : 0, () => failed ? reject(new Error("down")) : resolve("up"))
          );
          breaker.tryCall(() => ended);
          ended.catch(() => {});
        });
      }
      return fuse;
    });
    time.after(2_000, () => fuses.forEach((fuse) => fuse.flush()));
    await time.run(() => played.openedAfter !== null);
  });
  assert(began < time.now());
  return played;
}

/** The evidence of a circuit that learns of single outcomes: the rules, told once more. */
interface Evidence {
  run: number;
  succeededAt: number;
  calls: number;
  failures: number;
  slow: number;
  /** The last calls: `S` and `F`. */
  last: string;
}

const NOTHING: Evidence = {
  ...{ run: 0, succeededAt: -Infinity, calls: 0, failures: 0, slow: 0, last: "" },
};

/**
 * The circuit learns of some successes, and a failure after them, or of successes alone.
 *
 * @param at When the store learns of them: with their tally, or of failures as soon and of successes as late
 * as it may, so that the run is as short as can be.
 */
function learn(
  e: Evidence,
  step: readonly Outcome[],
  policy: CircuitPolicyData,
  at: "with its tally" | "at best",
): Evidence {
  const last = step.at(-1)!;
  const { failed } = last;
  const [failedAt, succeededAt] = at === "at best"
    ? [last.at, last.latestAt]
    : [last.seenAt, last.seenAt];
  const successes = step.length - (failed ? 1 : 0);
  const lengthens = failed && failedAt >= e.succeededAt;
  const marks = step.map((outcome) => outcome.failed ? "F" : "S").join("");
  return {
    run: (successes > 0 ? 0 : e.run) + (lengthens ? 1 : 0),
    succeededAt: successes > 0 ? Math.max(succeededAt, e.succeededAt) : e.succeededAt,
    calls: e.calls + step.length,
    failures: e.failures + (failed ? 1 : 0),
    slow: e.slow + step.filter(({ slow }) => slow).length,
    last: (e.last + marks).slice(-policy.windowSize),
  };
}

function opens(e: Evidence, policy: CircuitPolicyData): boolean {
  const reaches = (part: number, calls: number) =>
    calls >= policy.minimumThroughput && 100 * part >= policy.percentageThreshold * calls;
  return policy.rules.some(({ name }) => {
    switch (name) {
      case "consecutive_failures":
        return e.run >= policy.failureThreshold;
      case "slow_calls":
        return reaches(e.slow, e.calls);
      case "count_window":
        return reaches(e.last.split("F").length - 1, e.last.length);
      default:
        return reaches(e.failures, e.calls);
    }
  });
}

/** After how many of these steps the circuit opens, learning of one after the other; `null`: never. */
function single(
  steps: readonly (readonly Outcome[])[],
  policy: CircuitPolicyData,
): number | null {
  let evidence = NOTHING;
  for (const [i, step] of steps.entries()) {
    evidence = learn(evidence, step, policy, "with its tally");
    if (opens(evidence, policy)) return i + 1;
  }
  return null;
}

/** Returns `true` if the circuit stays closed in one order at least in which a store could learn of these. */
function staysClosed(tallies: readonly Taken[], policy: CircuitPolicyData): boolean {
  const seen = new Set<string>();
  const go = (learnt: readonly number[], evidence: Evidence): boolean => {
    const isDone = (i: number) => learnt[i] === tallies[i]!.steps.length;
    if (tallies.every((_, i) => isDone(i))) return true;
    const state = `${learnt} ${evidence.run} ${evidence.last}`;
    if (seen.has(state)) return false;
    seen.add(state);
    return tallies.some(({ steps, after }, i) => {
      if (isDone(i) || tallies.some((tally, j) => after.has(tally) && !isDone(j))) return false;
      const next = learn(evidence, steps[learnt[i]!]!, policy, "at best");
      return !opens(next, policy) && go(learnt.with(i, learnt[i]! + 1), next);
    });
  };
  return go(tallies.map(() => 0), NOTHING);
}
