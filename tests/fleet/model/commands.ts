/**
 * Random sessions: the policy, the number of isolates, and the order of events. Plain data, so that
 * fast-check can shrink a session and a reader can follow the rest of it.
 *
 * @module
 */
import fc from "fast-check";
import { CASES } from "./cases.ts";

/** How a call is made. */
export type Via = "call" | "tryCall" | "admit";

/** How a call ends. The slow ones let time pass first. */
export type Ending =
  | "success"
  | "failure"
  | "ignored"
  /** A permit that is disposed of without an outcome; for a call the same as `ignored`. */
  | "dropped"
  | "slow_success"
  | "slow_failure"
  | "failed_response";

/** The movement of a clock: a number of ms, or a length that the policy defines. */
export type Step =
  | number
  | "segment"
  | "window"
  | "almost_cooldown"
  | "cooldown"
  | "almost_lease"
  | "lease"
  /** To the end of the current override. */
  | "until";

export type Lasts = { readonly until?: number; readonly forMs?: number };

export type Command =
  | { readonly do: "call"; readonly isolate: number; readonly via: Via; readonly ending: Ending }
  | { readonly do: "burst"; readonly isolate: number; readonly ending: Ending; readonly n: number }
  | { readonly do: "begin"; readonly isolate: number; readonly via: Via }
  | { readonly do: "end"; readonly pick: number; readonly ending: Ending }
  | { readonly do: "settle_again"; readonly pick: number; readonly ending: Ending }
  | { readonly do: "clock"; readonly step: Step }
  | {
    readonly do: "forceOpen" | "forceClose" | "disable" | "metricsOnly";
    readonly isolate: number;
    readonly lasts: Lasts;
  }
  | { readonly do: "release" | "reset"; readonly isolate: number }
  | { readonly do: "flush" | "restart"; readonly isolate: number };

export interface Session {
  /** The case, an index of {@linkcode CASES}. */
  readonly policy: keyof typeof CASES;
  readonly isolates: number;
  /** The fault, for sessions with faults. */
  readonly faults: number;
  readonly commands: readonly Command[];
}

const isolate = fc.nat({ max: 3 });
const pick = fc.nat({ max: 15 });
const via = fc.constantFrom<Via>("call", "tryCall", "admit");
const ending = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Ending>("success") },
  { weight: 6, arbitrary: fc.constant<Ending>("failure") },
  {
    weight: 4,
    arbitrary: fc.constantFrom<Ending>(
      "ignored",
      "dropped",
      "slow_success",
      "slow_failure",
      "failed_response",
    ),
  },
);
const forward = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom<Step>(
      "segment",
      "window",
      "almost_cooldown",
      "cooldown",
      "cooldown",
      "almost_lease",
      "lease",
      "until",
    ),
  },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 2_000 }) },
  { weight: 1, arbitrary: fc.constantFrom<Step>(60_000, 3_600_000) },
);
const anyway = fc.oneof(
  { weight: 9, arbitrary: forward },
  { weight: 1, arbitrary: fc.integer({ min: -2_000, max: -1 }) },
  { weight: 1, arbitrary: fc.constantFrom<Step>(-3_600_000) },
);
const lasts = fc.oneof(
  fc.constant<Lasts>({}),
  fc.record({ until: fc.integer({ min: 1, max: 3_000 }) }),
  fc.record({ forMs: fc.integer({ min: 1, max: 3_000 }) }),
);

function command(step: fc.Arbitrary<Step>): fc.Arbitrary<Command> {
  return fc.oneof<fc.MaybeWeightedArbitrary<Command>[]>(
    { weight: 8, arbitrary: fc.record({ do: fc.constant("call"), isolate, via, ending }) },
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant("burst"),
        isolate,
        ending,
        n: fc.integer({ min: 2, max: 7 }),
      }),
    },
    { weight: 5, arbitrary: fc.record({ do: fc.constant("begin"), isolate, via }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant("end"), pick, ending }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("settle_again"), pick, ending }) },
    { weight: 7, arbitrary: fc.record({ do: fc.constant("clock"), step }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constantFrom("forceOpen", "forceClose", "disable", "metricsOnly"),
        isolate,
        lasts,
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constantFrom("release", "release", "reset"),
        isolate,
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constantFrom("flush", "restart"), isolate }),
    },
  );
}

/** Generates sessions of up to a number of commands. */
export function sessions(options: {
  maxCommands: number;
  /** Whether the clock may go back. */
  clockGoesBack: boolean;
  /** Whether one isolate has the circuit to itself. */
  alone: boolean;
}): fc.Arbitrary<Session> {
  const policies = (Object.keys(CASES) as (keyof typeof CASES)[])
    // Outcomes that are sent together are booked in one segment: no window is exact to the call.
    .filter((name) => !(options.alone && CASES[name].model.windowed));
  return fc.record({
    policy: fc.constantFrom(...policies),
    isolates: options.alone ? fc.constant(1) : fc.integer({ min: 2, max: 4 }),
    faults: fc.nat({ max: 0xffff }),
    commands: fc.array(command(options.clockGoesBack ? anyway : forward), {
      minLength: 1,
      maxLength: options.maxCommands,
      size: "max",
    }),
  });
}

/** Prints a session for readers: one line for each command. */
export function print(session: Session): string {
  return [
    `policy "${session.policy}", ${session.isolates} isolates, faults ${session.faults}`,
    ...session.commands.map((command) => `  ${JSON.stringify(command)}`),
  ].join("\n");
}
