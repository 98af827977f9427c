/**
 * The callers' view of each circuit, compared with the store's counts.
 *
 * @module
 */
import type { CircuitSnapshot, UnconfirmedEvent } from "@fuse/edge";

/** The ending of a call, as far as totals are concerned. */
export type Ended = "successes" | "failures" | "rejected";

/** Calls by how they ended. */
export type Tallied = Record<Ended, number>;

/** The store's counts of one circuit. */
export type Stored = Pick<CircuitSnapshot, "key" | "metrics">;

/** A difference between the store and the callers. */
export interface Difference {
  readonly key: string;
  readonly ended: Ended | "calls";
  /** The least and the largest count that the store may have. */
  readonly least: number;
  readonly most: number;
  readonly stored: number;
}

/** The sum of all differences. */
export interface Balance {
  readonly circuits: number;
  /** Acknowledged and not counted. */
  readonly lost: number;
  /** Counted more often than called. */
  readonly doubled: number;
  readonly differences: readonly Difference[];
}

const ENDED: readonly Ended[] = ["successes", "failures", "rejected"];

/** The books of a run. */
export class Ledger {
  readonly #called = new Map<string, Tallied>();
  readonly #unconfirmed = new Map<string, Tallied>();
  readonly #evicted = new Set<string>();
  readonly #judgesTrials: (key: string) => boolean;

  /** @param judgesTrials Circuits whose slow trials count as failed, though their callers see a success. */
  constructor(judgesTrials: (key: string) => boolean = () => false) {
    this.#judgesTrials = judgesTrials;
  }

  /** Books a call that has ended, and whose caller knows. */
  count(key: string, ended: Ended): void {
    tallied(this.#called, key)[ended]++;
  }

  /** Books outcomes that an isolate does not know to be counted. */
  unconfirmed({ key, ...counts }: Omit<UnconfirmedEvent, "store" | "name">): void {
    const sum = tallied(this.#unconfirmed, key);
    for (const ended of ENDED) sum[ended] += counts[ended];
  }

  /**
   * Books a circuit that a full store evicted, with its totals: there is no least count any more.
   */
  evicted(key: string): void {
    this.#evicted.add(key);
  }

  /** The number of evicted circuits. */
  get evictions(): number {
    return this.#evicted.size;
  }

  /** acknowledged <= store <= acknowledged + unconfirmed, for each circuit and each way to end. */
  balance(stored: Iterable<Stored>): Balance {
    const held = new Map<string, Tallied>();
    for (const { key, metrics: m } of stored) {
      held.set(key, {
        successes: m.totalSuccesses,
        failures: m.totalFailures,
        rejected: m.totalRejected,
      });
    }
    const differences: Difference[] = [];
    let lost = 0;
    let doubled = 0;
    const keys = new Set([...this.#called.keys(), ...held.keys()]);
    for (const key of keys) {
      const called = this.#called.get(key) ?? NOTHING;
      const unconfirmed = this.#unconfirmed.get(key) ?? NOTHING;
      const store = held.get(key) ?? NOTHING;
      for (const [ended, of] of this.#judgesTrials(key) ? LUMPED : APART) {
        const most = of(called);
        const least = this.#evicted.has(key) ? 0 : Math.max(0, most - of(unconfirmed));
        const there = of(store);
        if (there >= least && there <= most) continue;
        lost += Math.max(0, least - there);
        doubled += Math.max(0, there - most);
        differences.push({ key, ended, least, most, stored: there });
      }
    }
    return { circuits: keys.size, lost, doubled, differences };
  }
}

const NOTHING: Readonly<Tallied> = { successes: 0, failures: 0, rejected: 0 };

type Column = readonly [Difference["ended"], (t: Tallied) => number];
const APART: readonly Column[] = ENDED.map((ended) => [ended, (t: Tallied) => t[ended]] as const);
const LUMPED: readonly Column[] = [
  ["calls", (t) => t.successes + t.failures],
  ["rejected", (t) => t.rejected],
];

function tallied(of: Map<string, Tallied>, key: string): Tallied {
  let tallied = of.get(key);
  if (tallied === undefined) of.set(key, tallied = { ...NOTHING });
  return tallied;
}
