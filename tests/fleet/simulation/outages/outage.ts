/**
 * A world whose store partly fails, as data: drawn from a seed, printed when it fails, and played
 * again at will.
 *
 * @module
 */
import type { CircuitPolicy } from "@fuse/edge";
import { scaled } from "../../../support/scale.ts";
import { seeded } from "../../../support/virtual_time.ts";

/** The subject of a world, which decides what it is checked for. */
export type OutageKind =
  /** The upstream is dead, whatever the store does: each isolate protects it. */
  | "dead"
  /** A cooldown ends, and many callers of many isolates call at once. */
  | "herd"
  /** A fresh isolate is called a thousand times at once. */
  | "cold"
  /** The store answers errors for all of many circuits. */
  | "refused"
  /** The store comes back. */
  | "back"
  /** An operator acts during an outage and after it. */
  | "operator"
  /** The store refuses one circuit. */
  | "spoilt";

/** The fault of the store. */
export type Fault =
  | "none"
  /** Reads are answered, writes are not: out of memory, a read-only replica. */
  | "refuses_writes"
  /** Two seconds up, two seconds down, alternating. */
  | "flaps"
  /** It refuses the first circuit. */
  | "spoils_one"
  /** Every request is answered by an error that concerns the store. */
  | "refuses_all"
  /** Every request is answered by an error that concerns its circuit. */
  | "refuses_each"
  /** Nothing is answered. */
  | "hangs"
  /** Every other request is not answered. */
  | "half_hangs"
  /** No server listens. */
  | "unreachable";

/** A world. Times are ms from its beginning. */
export interface Outage {
  readonly seed: number;
  readonly kind: OutageKind;
  readonly policy: CircuitPolicy;
  readonly isolates: number;
  readonly circuits: number;
  /** The number of concurrent callers of each isolate, or of callers in a herd. */
  readonly callers: number;
  /** The time between two calls of one caller. */
  readonly gapMs: number;
  /** One way, least and most. */
  readonly latencyMs: readonly [number, number];
  /**
   * The number of requests a second that the store answers; more have to wait. `null`: any number.
   */
  readonly capacity: number | null;
  readonly fault: Fault;
  readonly faultFrom: number;
  readonly faultForMs: number;
  /** The time of the upstream's death, its length, and its isolate; `null` for all. */
  readonly deadFrom: number;
  readonly deadForMs: number;
  readonly deadFor: number | null;
}

/** The kinds in turn: each seed of one kind is followed by a seed of the next. */
export const OUTAGE_KINDS: readonly OutageKind[] = [
  ...["dead", "herd", "cold", "dead", "refused", "back", "operator", "spoilt"] as const,
];

/** Draws a world from a seed. */
export function outageOf(seed: number): Outage {
  const random = seeded(seed);
  const integer = (least: number, most: number) =>
    least + Math.floor(random() * (most - least + 1));
  const one = <T>(of: readonly T[]) => of[integer(0, of.length - 1)]!;
  const kind = OUTAGE_KINDS[seed % OUTAGE_KINDS.length]!;
  const least = integer(1, 20);
  const common = {
    seed,
    kind,
    isolates: integer(1, 4),
    circuits: 1,
    callers: 1,
    gapMs: integer(20, 1_000),
    latencyMs: [least, least + integer(0, 60)] as const,
    capacity: null,
    fault: one(FAULTS[kind]),
    faultFrom: integer(0, 6_000),
    faultForMs: integer(1_000, 60_000),
    deadFrom: Infinity,
    deadForMs: Infinity,
    deadFor: null,
    policy: {
      strategy: "consecutive_failures",
      consistency: one(["eventual", "strong"]),
      onStoreError: "local",
      failureThreshold: integer(1, 6),
      successThreshold: 1,
      // Longer than any of these worlds continues with a dead upstream.
      cooldownMs: 60_000,
      halfOpenMaxConcurrent: 1,
    },
  } as const satisfies Outage;
  switch (kind) {
    case "dead":
      return {
        ...common,
        // Before the store fails, at the same time, or after.
        deadFrom: Math.max(0, common.faultFrom + integer(-5_000, 5_000)),
        faultForMs: one([10_000, Infinity]),
        capacity: one([null, null, integer(2, 20)]),
      };
    case "herd": {
      const isolates = integer(2, scaled(20, 200));
      const halfOpenMaxConcurrent = integer(1, 2);
      return {
        ...common,
        ...{ isolates, callers: integer(2, 50), fault: "none", latencyMs: [1, integer(2, 20)] },
        // Enough for the requests of each isolate, and not for those of its callers.
        capacity: 10 * isolates * halfOpenMaxConcurrent,
        policy: {
          ...common.policy,
          consistency: "eventual",
          failureThreshold: 1,
          cooldownMs: 5_000,
        },
      };
    }
    case "cold":
      return {
        ...common,
        ...{ isolates: 1, callers: 1_000, faultFrom: 0, faultForMs: Infinity },
        latencyMs: [1, one([10, 100, 220, 600])],
        capacity: one([null, integer(20, 200)]),
      };
    case "refused":
      return {
        ...common,
        ...{ isolates: 1, circuits: scaled(300, 5_000), gapMs: 5_000, faultFrom: 0 },
        ...{ latencyMs: [2, 5], faultForMs: Infinity },
        policy: { ...common.policy, onStoreError: one(["local", "reject"]) },
      };
    case "back":
      return {
        ...common,
        ...{ gapMs: integer(20, 300), deadFrom: common.faultFrom, deadFor: 0 },
        deadForMs: common.faultForMs,
        policy: { ...common.policy, onStoreError: one(["reject", "local"]) },
      };
    case "spoilt":
      return {
        ...common,
        ...{ circuits: integer(2, 5), gapMs: integer(50, 500), fault: "spoils_one" },
        policy: { ...common.policy, onStoreError: "reject" },
      };
    case "operator":
      return common;
  }
}

const FAULTS: Readonly<Record<OutageKind, readonly Fault[]>> = {
  dead: [
    ...["none", "refuses_writes", "refuses_writes", "flaps", "flaps", "spoils_one"] as const,
    ...["refuses_all", "refuses_each", "hangs", "half_hangs", "unreachable"] as const,
  ],
  herd: ["none"],
  cold: ["none", "none", "hangs", "half_hangs", "refuses_all", "unreachable"],
  refused: ["refuses_all", "refuses_each", "refuses_writes"],
  back: ["refuses_writes", "refuses_all", "refuses_each", "hangs", "half_hangs", "unreachable"],
  operator: ["refuses_all", "refuses_writes", "hangs", "unreachable"],
  spoilt: ["spoils_one"],
};
