/**
 * The events of a simulated world, as data: drawn from a seed, printed when it fails, shrunk by
 * omission, and played again at will.
 *
 * @module
 */
import type { CircuitPolicy } from "@fuse/edge";
import { seeded } from "../../support/virtual_time.ts";

/** The subject of a world, which decides what must be true beyond the general invariants. */
export type Kind =
  /** Anything may fail, all at once; afterwards traffic must come back. */
  | "storm"
  /** The upstream dies and comes back; the network is slow and repeats itself, but loses nothing. */
  | "dead"
  /** The same, and one isolate cannot reach the store meanwhile. */
  | "cut"
  /** An operator forces the circuit open. */
  | "forced"
  /** Bad luck is the only fault. */
  | "healthy";

/** One event. Times are ms from the beginning, isolates count from 0. */
export type Step =
  & { readonly at: number }
  & (
    /** A call. `luck`, in [0, 1), decides what an unreliable upstream does. */
    | {
      readonly do: "call";
      readonly isolate: number;
      readonly lastsMs: number;
      readonly luck: number;
      readonly ending?: "abort" | "throw_at_once";
    }
    /** The upstream of all isolates, or of one, changes for a while. */
    | {
      readonly do: "upstream";
      readonly is: "dead" | "slow" | "flapping" | "unreliable";
      readonly isolate: number | null;
      readonly forMs: number;
    }
    /** The network to all isolates, or to one, gets worse for a while: this share of requests suffers. */
    | {
      readonly do: "network";
      readonly will: Weather;
      readonly isolate: number | null;
      readonly forMs: number;
      readonly share: number;
    }
    /** The store loses everything. */
    | { readonly do: "restart" }
    /** An isolate dies, whatever it was about to do, and a new one takes its place. */
    | { readonly do: "die"; readonly isolate: number }
    /** An isolate's clock is set. */
    | { readonly do: "clock"; readonly isolate: number; readonly byMs: number }
    | {
      readonly do: "operator";
      readonly isolate: number;
      readonly act: Act;
      readonly forMs?: number;
    }
    | { readonly do: "flush"; readonly isolate: number }
  );

/** A fault of a request. */
export type Weather =
  /** It, or its answer, is lost. */
  | "lose"
  /** It is applied, and its answer is lost. */
  | "lose_answer"
  /** It is applied again within a second, and then answered again. */
  | "duplicate"
  /** It is applied again, up to 20 s later. */
  | "echo"
  /** It arrives up to 20 s late. */
  | "delay"
  /** It is not applied, and is answered by an error. */
  | "refuse";

/** An action of an operator. */
export type Act = "forceOpen" | "forceClose" | "disable" | "metricsOnly" | "release" | "reset";

/** A world, and all its events. */
export interface Scenario {
  /** The source of latencies and ids, and of nothing else. */
  readonly seed: number;
  readonly kind: Kind;
  readonly policy: CircuitPolicy;
  /** Each isolate's clock: its error in ms, and its speed relative to the world's. */
  readonly clocks: readonly { readonly offsetMs: number; readonly drift: number }[];
  /** The latency one way, in ms: least and most. */
  readonly latencyMs: readonly [number, number];
  /** Share of calls that fail while the upstream is well. */
  readonly errorRate: number;
  /**
   * The longest time between two calls of an isolate that calls at all, in ms; `null` if there is
   * no limit.
   */
  readonly gapMs: number | null;
  readonly steps: readonly Step[];
}

/** Returns a world drawn from a seed: usually small, one in 250 large. */
export function scenarioOf(seed: number, isolates?: number): Scenario {
  return new Draw(seed, isolates).scenario();
}

const STORM_MS = 25_000;
/** In `dead` and `cut`: the time before the upstream's death. */
export const WELL_MS = 3_000;

class Draw {
  readonly #seed: number;
  readonly #random: () => number;
  readonly #isolates: number;
  readonly #steps: Step[] = [];
  /** Whether calls may end in odd ways. */
  #odd = false;

  constructor(seed: number, isolates?: number) {
    this.#seed = seed;
    this.#random = seeded(seed);
    const large = seed % 250 === 249;
    this.#isolates = isolates ?? (large ? this.#integer(100, 1_000) : this.#integer(2, 12));
  }

  scenario(): Scenario {
    const kind = this.#one<Kind>([
      ...Array(9).fill("storm"),
      ...Array(3).fill("dead"),
      ...Array(2).fill("cut"),
      ...Array(2).fill("forced"),
      ...Array(4).fill("healthy"),
    ]);
    const policy = this.#policy(kind);
    const gapMs = kind === "dead" || kind === "cut" || kind === "forced"
      ? this.#integer(500, 1_500)
      : null;
    this.#odd = gapMs === null;
    switch (kind) {
      case "storm":
        this.#storm();
        break;
      case "healthy":
        this.#traffic(this.#integer(100, 300), this.#integer(1_000, 20_000));
        break;
      case "forced":
        this.#regular(gapMs!, 9_000);
        this.#steps.push({
          ...{ at: this.#integer(1_000, 4_000), do: "operator", act: "forceOpen" },
          isolate: this.#isolate(),
        });
        break;
      case "dead":
      case "cut":
        this.#outage(kind, gapMs!);
    }
    if ((kind === "forced" || kind === "healthy") && this.#chance(0.5)) {
      this.#weather("duplicate", null, 0, 60_000);
    }
    const least = this.#integer(1, 10);
    return {
      seed: this.#seed,
      kind,
      policy,
      clocks: Array.from({ length: this.#isolates }, () => ({
        offsetMs: this.#chance(0.5) ? this.#integer(-3_600_000, 3_600_000) : 0,
        drift: this.#chance(0.5) ? this.#integer(-50, 50) / 10_000 : 0,
      })),
      latencyMs: [least, least + this.#integer(0, 60)],
      errorRate: kind === "healthy" ? this.#badLuck(policy) : kind === "storm" ? 0.02 : 0,
      gapMs,
      steps: this.#steps.toSorted((a, b) => a.at - b.at),
    };
  }

  /** So high that exact order opens, too: if it never opened, no excess could be seen. */
  #badLuck({ failureThreshold = 5 }: CircuitPolicy): number {
    return this.#one(failureThreshold < 5 ? [0.03, 0.05, 0.1] : [0.1, 0.2, 0.3]);
  }

  #policy(kind: Kind): CircuitPolicy {
    const plain = kind !== "storm";
    const halfOpenLeaseMs = this.#integer(2_000, 8_000);
    const strategy = plain ? "consecutive_failures" as const : this.#one(
      [
        "consecutive_failures",
        "consecutive_failures",
        "rolling_window",
        "count_window",
        "percentage_failures",
        "slow_calls",
      ] as const,
    );
    return {
      strategy,
      consistency: this.#chance(0.65) ? "eventual" : "strong",
      onStoreError: plain || this.#chance(0.6) ? "local" : this.#one(["allow", "reject"]),
      failureThreshold: kind === "healthy" ? this.#one([3, 5]) : this.#integer(2, 5),
      successThreshold: this.#integer(1, 3),
      cooldownMs: kind === "healthy" ? 1_000 : this.#integer(1_000, 5_000),
      // The most by which a clock that is set back can delay a cooldown.
      maxCooldownMs: 6_000,
      windowMs: this.#integer(5, 60) * 1_000,
      windowSize: 20,
      minimumThroughput: this.#integer(3, 10),
      percentageThreshold: this.#integer(20, 80),
      slowCallMs: 200,
      halfOpenMaxConcurrent: this.#integer(1, 3),
      halfOpenLeaseMs,
      ...(!plain && this.#chance(0.3) ? { callTimeoutMs: this.#integer(300, 1_500) } : null),
      ...(!plain && this.#chance(0.3) ? { rampMs: this.#integer(500, 5_000) } : null),
      ...(!plain && this.#chance(0.3) ? { halfOpenFailureThreshold: this.#integer(2, 3) } : null),
      revalidateMs: this.#integer(100, 1_000),
      maxStalenessMs: this.#integer(1_000, 6_000),
      flushSize: this.#integer(2, 50),
      flushIntervalMs: this.#integer(100, 1_000),
    };
  }

  #storm(): void {
    this.#traffic(this.#integer(50, 180), STORM_MS);
    for (let left = this.#integer(1, 4); left > 0; left--) {
      this.#steps.push({
        at: this.#integer(0, STORM_MS),
        do: "upstream",
        is: this.#one(["dead", "slow", "flapping", "unreliable"]),
        isolate: this.#chance(0.3) ? this.#isolate() : null,
        forMs: this.#integer(500, 12_000),
      });
    }
    for (let left = this.#integer(0, 5); left > 0; left--) {
      this.#weather(
        this.#one(["lose", "lose_answer", "duplicate", "echo", "delay", "refuse"]),
        this.#chance(0.5) ? this.#isolate() : null,
        this.#integer(0, STORM_MS),
        this.#integer(500, 15_000),
      );
    }
    for (let left = this.#integer(0, 2); left > 0; left--) {
      // A partition loses everything.
      this.#steps.push({
        ...{ at: this.#integer(0, STORM_MS), do: "network", will: "lose", share: 1 },
        isolate: this.#isolate(),
        forMs: this.#integer(500, this.#chance(0.2) ? 90_000 : 10_000),
      });
    }
    this.#some(2, 0.4, (at) => ({ at, do: "restart" }));
    this.#some(3, 0.4, (at) => ({ at, do: "die", isolate: this.#isolate() }));
    this.#some(2, 0.2, (at) => ({
      ...{ at, do: "clock", isolate: this.#isolate() },
      byMs: this.#integer(-100_000, 100_000),
    }));
    this.#some(4, 0.3, (at) => ({
      at,
      do: "operator",
      isolate: this.#isolate(),
      act: this.#one([
        ...["forceOpen", "forceClose", "disable", "metricsOnly", "release", "reset"] as const,
      ]),
      ...(this.#chance(0.5) ? { forMs: this.#integer(500, 8_000) } : null),
    }));
    this.#some(3, 0.3, (at) => ({ at, do: "flush", isolate: this.#isolate() }));
  }

  #outage(kind: "dead" | "cut", gapMs: number): void {
    const deadMs = this.#integer(5_000, 10_000);
    this.#steps.push({ at: WELL_MS, do: "upstream", is: "dead", isolate: null, forMs: deadMs });
    const isolate = this.#isolate();
    if (kind === "cut") {
      this.#steps.push({
        ...{ at: WELL_MS - 1_000, do: "network", will: "lose", share: 1, isolate },
        forMs: deadMs + 1_000,
      });
    }
    // Not during the recovery: a repeated `acquire` may take a slot that stays unused.
    if (this.#chance(0.5)) this.#weather("duplicate", null, 0, WELL_MS + deadMs - 1_000);
    if (this.#chance(0.3)) {
      const at = WELL_MS + this.#integer(0, deadMs);
      this.#steps.push({ at, do: "die", isolate: (isolate + 1) % this.#isolates });
    }
    // Enough for the longest recovery: see `bounds.ts`.
    this.#regular(gapMs, WELL_MS + deadMs + (kind === "cut" ? 30_000 : 24_000));
  }

  /** Returns random calls of all isolates. */
  #traffic(calls: number, withinMs: number): void {
    // The more isolates, the fewer calls each of them makes.
    for (let left = Math.max(calls, this.#isolates); left > 0; left--) {
      this.#call(this.#random() * withinMs, this.#isolate(), this.#integer(2, 120));
    }
  }

  /** Returns calls of each isolate, repeated. */
  #regular(gapMs: number, untilMs: number): void {
    // In a large fleet few isolates call: it is large enough otherwise.
    const callers = Math.min(this.#isolates, 8);
    for (let isolate = 0; isolate < callers; isolate++) {
      for (
        let at = this.#random() * gapMs;
        at < untilMs;
        at += (0.5 + this.#random() / 2) * gapMs
      ) {
        this.#call(at, isolate, this.#integer(2, 60));
      }
    }
  }

  #call(at: number, isolate: number, lastsMs: number): void {
    const luck = this.#random();
    const odd = this.#odd && this.#chance(0.03)
      ? this.#one(["abort", "throw_at_once"] as const)
      : null;
    this.#steps.push({
      ...{ at: Math.round(at), do: "call", isolate, lastsMs, luck },
      ...(odd === null ? null : { ending: odd }),
    });
  }

  #weather(will: Weather, isolate: number | null, at: number, forMs: number): void {
    const share = this.#integer(5, 60) / 100;
    this.#steps.push({ at, do: "network", will, isolate, forMs, share });
  }

  #some(most: number, probability: number, make: (at: number) => Step): void {
    if (!this.#chance(probability)) return;
    for (let left = this.#integer(1, most); left > 0; left--) {
      this.#steps.push(make(this.#integer(0, STORM_MS)));
    }
  }

  #isolate(): number {
    return this.#integer(0, this.#isolates - 1);
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #integer(least: number, most: number): number {
    return least + Math.floor(this.#random() * (most - least + 1));
  }

  #one<T>(of: readonly T[]): T {
    return of[this.#integer(0, of.length - 1)]!;
  }
}
