/**
 * The load: callers of many circuits over several isolates, an upstream that goes down and comes
 * back, operators.
 *
 * @module
 */
import {
  type CircuitBreaker,
  type CircuitDefaults,
  type Clock,
  createFuse,
  type Fuse,
  isCircuitBreakerOpenError,
  isStoreUnavailableError,
  type Store,
} from "@fuse/edge";
import type { Ended, Ledger } from "./ledger.ts";

/** The counts so far, over all isolates. */
export interface Counters {
  calls: number;
  neutral: number;
  /** Tallies that no answer confirmed. */
  unconfirmed: number;
  storeErrors: number;
  /** Openings, those of isolates on their own among them. */
  trips: number;
  reborn: number;
  operations: number;
  listenerErrors: number;
}

/** The options of a load. */
export interface LoadOptions {
  readonly stores: readonly Store[];
  readonly callers: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly ledger: Ledger;
  readonly storeTimeoutMs: number;
  /** The time between two calls of a caller. */
  readonly rest: () => Promise<unknown>;
}

/** Each circuit has another strategy; all but `slow` count as their callers see it. */
const HOT: Record<string, CircuitDefaults> = {
  consecutive: { failureThreshold: 4 },
  rolling: { strategy: "rolling_window", windowMs: 5_000, minimumThroughput: 8 },
  count: { strategy: "count_window", windowSize: 40, minimumThroughput: 8 },
  percentage: { strategy: "percentage_failures", minimumThroughput: 8 },
  several: { strategy: ["consecutive_failures", "rolling_window"], flushSize: 10 },
  slow: { strategy: "slow_calls", slowCallMs: 4, windowMs: 5_000, minimumThroughput: 8 },
  strong: { consistency: "strong", failureThreshold: 3 },
  "strong-rolling": { consistency: "strong", strategy: "rolling_window", windowMs: 5_000 },
  allow: { onStoreError: "allow", failureThreshold: 3 },
  reject: { onStoreError: "reject", failureThreshold: 3 },
  patient: { failureThreshold: 10_000, flushSize: 200 },
};
const NAMES = Object.keys(HOT);
/** Called now and then: more circuits than an isolate, or the memory store, remembers. */
const CHURN = 400;
const MAX_CIRCUITS = 150;
const CALL_TIMEOUT_MS = 40;

/** Returns whether a circuit counts slow trials as failed. */
export function judgesTrials(key: string): boolean {
  return key.includes("slow");
}

/** Isolates under load. */
export class Load {
  readonly counters: Counters = {
    ...{ calls: 0, neutral: 0, unconfirmed: 0, storeErrors: 0, trips: 0, reborn: 0 },
    ...{ operations: 0, listenerErrors: 0 },
  };
  readonly fuses: readonly Fuse[];
  readonly #options: LoadOptions;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.fuses = options.stores.map((store) => this.#isolate(store));
  }

  /** Calls until `going` returns `false`; each caller asks before each call. */
  async run(going: () => boolean): Promise<void> {
    const { callers } = this.#options;
    await Promise.all([
      ...this.fuses.flatMap((fuse) =>
        Array.from({ length: callers }, () => this.#call(fuse, going))
      ),
      this.#operate(going),
    ]);
  }

  #isolate(store: Store): Fuse {
    const { clock, storeTimeoutMs, ledger } = this.#options;
    const fuse = createFuse({
      stores: { soak: store },
      clock,
      storeTimeoutMs,
      maxCircuits: MAX_CIRCUITS,
      defaults: {
        ...{ cooldownMs: 1_200, callTimeoutMs: CALL_TIMEOUT_MS, halfOpenMaxConcurrent: 2 },
        ...{ halfOpenLeaseMs: 3_000, flushIntervalMs: 500 },
      },
      circuits: HOT,
    });
    const { counters } = this;
    fuse.on("unconfirmed", (event) => {
      counters.unconfirmed += event.tallies;
      ledger.unconfirmed(event);
    });
    fuse.on("store_error", () => counters.storeErrors++);
    fuse.on("opened", () => counters.trips++);
    fuse.on("reborn", () => counters.reborn++);
    fuse.on("listener_error", () => counters.listenerErrors++);
    return fuse;
  }

  async #call(fuse: Fuse, going: () => boolean): Promise<void> {
    const { random, rest, ledger } = this.#options;
    while (going()) {
      const breaker = this.#pick(fuse);
      const ended = random() < 0.1 ? await this.#admit(breaker) : await this.#through(breaker);
      this.counters.calls++;
      if (ended === null) this.counters.neutral++;
      else ledger.count(breaker.key, ended);
      await rest();
    }
  }

  #pick(fuse: Fuse): CircuitBreaker {
    const { random } = this.#options;
    if (random() < 0.8) return fuse.make(NAMES[Math.floor(random() * NAMES.length)]!);
    const at = Math.floor(random() * CHURN);
    const tenant = fuse.for({ type: "tenant", id: at % 40 });
    const scoped = at % 3 === 0 ? tenant.boundary({ type: "region", id: at % 2 }) : tenant;
    return scoped.make(`churn-${at}`);
  }

  /** Changes the upstream of each name between up and down, at its own times. */
  #fails({ name }: CircuitBreaker): boolean {
    const { clock, random } = this.#options;
    const turn = Math.floor(clock() / 4_000) + name.length * 7 + name.charCodeAt(0);
    return random() < (turn % 2 === 0 ? 0.9 : 0.02);
  }

  async #through(breaker: CircuitBreaker): Promise<Ended | null> {
    const { random } = this.#options;
    const fails = this.#fails(breaker);
    const kind = random();
    const controller = kind < 0.03 ? new AbortController() : null;
    const result = await breaker.tryCall(async ({ signal }) => {
      if (controller !== null) {
        queueMicrotask(() => controller.abort());
        await hang(signal);
      }
      if (kind < 0.05) await hang(signal);
      if (kind < 0.2) await new Promise((resolve) => setTimeout(resolve, 1 + random() * 6));
      if (fails) throw new Error("The upstream is down");
      return kind;
    }, controller === null ? {} : { signal: controller.signal });
    if (result.ok) return "successes";
    if (result.rejected) return "rejected";
    // A call whose caller gave up is neutral.
    return controller === null ? "failures" : null;
  }

  /** Calls in two steps, some of them repeated: each counts once. */
  async #admit(breaker: CircuitBreaker): Promise<Ended | null> {
    const { random } = this.#options;
    try {
      await using permit = await breaker.admit();
      if (random() < 0.1) {
        await permit.ignore();
        return null;
      }
      const fails = this.#fails(breaker);
      await (fails ? permit.failure(new Error("down")) : permit.success());
      if (random() < 0.2) await permit.success();
      return fails ? "failures" : "successes";
    } catch (error) {
      if (isCircuitBreakerOpenError(error) || isStoreUnavailableError(error)) return "rejected";
      throw error;
    }
  }

  /** Runs an operator's action on a circuit, on some isolate. */
  async #operate(going: () => boolean): Promise<void> {
    const { clock, random, rest } = this.#options;
    let next = clock() + 1_000;
    while (going()) {
      if (clock() < next) {
        await rest();
        continue;
      }
      next = clock() + 1_000 + random() * 2_000;
      const fuse = this.fuses[Math.floor(random() * this.fuses.length)]!;
      const breaker = random() < 0.7
        ? fuse.make(NAMES[Math.floor(random() * NAMES.length)]!)
        : this.#pick(fuse);
      const by = { actor: "ada", reason: "a drill", forMs: 1_500 };
      const actions = [
        () => breaker.forceOpen(by),
        () => breaker.forceClose(by),
        () => breaker.disable(by),
        () => breaker.metricsOnly(by),
        () => breaker.release({ actor: "ada" }),
        () => breaker.reset({ actor: "ada" }),
        () => breaker.getMetrics(),
        () => fuse.list({ name: breaker.name }).next(),
        () => fuse.flush(),
      ];
      try {
        await actions[Math.floor(random() * actions.length)]!();
        this.counters.operations++;
      } catch (error) {
        // An operator receives the error that the store is unreachable.
        if (!isStoreUnavailableError(error)) throw error;
      }
    }
  }
}

function hang(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const end = () => reject(signal.reason);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
}
