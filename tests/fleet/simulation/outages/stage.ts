/**
 * The isolates of a world, their callers, and the upstream.
 *
 * @module
 */
import { type CircuitBreaker, type CircuitPolicy, createFuse, type Fuse } from "@fuse/edge";
import type { OpeningStore } from "../../../support/drivers.ts";
import type { VirtualTime } from "../../../support/virtual_time.ts";
import { STORE_TIMEOUT_MS } from "../network.ts";
import { Verdicts } from "../violation.ts";
import { FailingStore, keyOf } from "./failing_store.ts";
import type { Outage } from "./outage.ts";

/** Planted mistakes, which test the worlds themselves. */
export interface OutageOptions {
  /** Laid over the store as an isolate sees it. */
  readonly wire?: (store: OpeningStore, isolate: number) => OpeningStore;
  /** Options for every handle; the judges use the world's. */
  readonly policy?: (policy: CircuitPolicy) => CircuitPolicy;
  /** Laid over a handle of an isolate. */
  readonly breaker?: (breaker: CircuitBreaker, fuse: Fuse) => CircuitBreaker;
  /** `true` where each circuit, or each call, has a Fuse of its own. */
  readonly fuseFor?: "circuit" | "call";
  /** @default {500} */
  readonly storeTimeoutMs?: number;
}

/** A call. Times are those of the world's clock, in ms. */
export interface OutageCall {
  readonly isolate: number;
  readonly circuit: number;
  readonly at: number;
  /** The time at which its function began to run; `null` if it did not. */
  ranAt: number | null;
  endedAt: number | null;
  /** The upstream was dead when the function ran. */
  dead: boolean;
  /** The error of a call that did not run. */
  refusal: unknown;
  /** The store's circuit was not closed when the call began or ended, or a moment before. */
  shut: boolean;
}

/** A failure of the store, as an isolate received it. */
export interface Told {
  readonly isolate: number;
  readonly at: number;
  readonly retryAfterMs: number;
}

/** The age of a view by which calls may be decided. */
const STALE_MS = 10_000;

/** One world. */
export class Stage {
  readonly outage: Outage;
  readonly time: VirtualTime;
  readonly store: FailingStore;
  readonly verdicts = new Verdicts();
  readonly calls: OutageCall[] = [];
  readonly told: Told[] = [];
  /** The largest number of concurrent trials. */
  trialsAtOnce = 0;
  readonly began: number;
  readonly #options: OutageOptions;
  readonly #fuses = new Map<string, Fuse>();
  readonly #breakers = new Map<string, CircuitBreaker>();
  readonly #shutAt = new Map<number, number>();
  #trials = 0;

  constructor(
    outage: Outage,
    time: VirtualTime,
    random: () => number,
    options: OutageOptions,
  ) {
    this.outage = outage;
    this.time = time;
    this.store = new FailingStore(outage, time, random);
    this.began = time.now();
    this.#options = options;
  }

  /** The time since the world began, in ms. */
  get at(): number {
    return this.time.now() - this.began;
  }

  /** An isolate's Fuse. */
  fuse(isolate: number, own = ""): Fuse {
    const name = `${isolate} ${own}`;
    const known = this.#fuses.get(name);
    if (known !== undefined) return known;
    const wire = this.store.wire(isolate);
    const fuse = createFuse({
      stores: { main: this.#options.wire?.(wire, isolate) ?? wire },
      clock: this.time.now,
      storeTimeoutMs: this.#options.storeTimeoutMs ?? STORE_TIMEOUT_MS,
      maxCircuits: 100_000,
    });
    fuse.on("store_error", ({ retryAfterMs }) => {
      this.told.push({ isolate, at: this.time.now(), retryAfterMs });
    });
    fuse.on("listener_error", ({ error }) => {
      this.verdicts.check(false, "callers", () => `A listener throws ${error}`);
    });
    for (const heard of ["unconfirmed", "reborn", "config_mismatch"] as const) {
      fuse.on(heard, () => {});
    }
    this.#fuses.set(name, fuse);
    return fuse;
  }

  /** An isolate's handle of a circuit. */
  breaker(isolate: number, circuit: number): CircuitBreaker {
    const { fuseFor, policy: change, breaker: wrap } = this.#options;
    const own = fuseFor === undefined
      ? ""
      : fuseFor === "circuit"
      ? keyOf(circuit)
      : `call ${this.calls.length}`;
    const name = `${isolate} ${circuit} ${own}`;
    const known = this.#breakers.get(name);
    if (known !== undefined) return known;
    const { policy } = this.outage;
    const fuse = this.fuse(isolate, own);
    const made = fuse.make(keyOf(circuit), { ...change?.(policy) ?? policy });
    const breaker = wrap?.(made, fuse) ?? made;
    this.#breakers.set(name, breaker);
    return breaker;
  }

  /** Calls once, and returns when the call has ended. Never rejects. */
  async call(isolate: number, circuit = 0, lastsMs = 10): Promise<OutageCall> {
    const breaker = this.breaker(isolate, circuit);
    const call: OutageCall = {
      ...{ isolate, circuit, at: this.time.now(), ranAt: null, endedAt: null },
      ...{ dead: false, refusal: null, shut: this.#isShut(circuit) },
    };
    this.calls.push(call);
    const result = await breaker.tryCall(async () => {
      call.ranAt = this.time.now();
      const { deadFrom, deadForMs, deadFor } = this.outage;
      const dead = this.at >= deadFrom && this.at < deadFrom + deadForMs;
      call.dead = dead && (deadFor === null || deadFor === isolate);
      const trial = this.store.memory.peek(keyOf(circuit))?.state !== "CLOSED";
      if (trial) this.trialsAtOnce = Math.max(this.trialsAtOnce, ++this.#trials);
      await this.time.sleep(lastsMs);
      if (trial) this.#trials--;
      if (call.dead) throw new Error("The upstream is dead");
    });
    call.endedAt = this.time.now();
    call.shut ||= this.#isShut(circuit);
    if (!result.ok && call.ranAt === null) call.refusal = result.error;
    return call;
  }

  /** Whether the store's circuit is not closed, or was not a moment ago: views may be that old. */
  #isShut(circuit: number): boolean {
    const shut = (this.store.memory.peek(keyOf(circuit))?.state ?? "CLOSED") !== "CLOSED";
    if (shut) this.#shutAt.set(circuit, this.time.now());
    return this.time.now() - (this.#shutAt.get(circuit) ?? -Infinity) <= STALE_MS;
  }

  /** A caller, who waits for each answer and then pauses, calls until then. */
  async calling(isolate: number, circuit: number, untilMs: number): Promise<void> {
    // Callers start at different times.
    await this.time.sleep(this.outage.gapMs * ((0.618 * (isolate + 5 * circuit)) % 1));
    while (this.at < untilMs && this.verdicts.first === null) {
      await this.call(isolate, circuit);
      await this.time.sleep(this.outage.gapMs);
    }
  }

  /** All isolates call all circuits until then. */
  async everybody(untilMs: number): Promise<void> {
    const { isolates, circuits } = this.outage;
    await Promise.all(
      Array.from(
        { length: isolates * circuits },
        (_, i) => this.calling(i % isolates, Math.floor(i / isolates), untilMs),
      ),
    );
  }
}
