/**
 * Plays a large fleet on a store that can answer only so much: the real core, the real memory store behind
 * a queue, and calls at random moments. Nothing is written down but counts, so that 10 000 isolates
 * take seconds.
 *
 * @module
 */
import { type CircuitBreaker, type CircuitPolicy, createFuse, type Fuse } from "@fuse/edge";
import { seeded, VirtualTime } from "../../../support/virtual_time.ts";
import { inVirtualTime } from "../virtual_globals.ts";
import { BusyStore, CAPACITY, type Operation, type Said, type Witness } from "./busy_store.ts";
import { PLAN, type Plan } from "./plan.ts";
import { Ticks } from "./ticks.ts";

/** A fleet. */
export interface Crowd {
  readonly isolates: number;
  /** Calls per second of each isolate. */
  readonly rate: number;
  /** The policy where it differs from the default, and from the plan's cooldown. */
  readonly policy?: CircuitPolicy;
  /** @default {PLAN} */
  readonly plan?: Plan;
  /** Requests that the store answers in a second. @default {CAPACITY} */
  readonly capacity?: number;
}

/** A policy that slows no fleet. */
export const UNPACED: CircuitPolicy = { maxRequestsPerSecond: Number.MAX_SAFE_INTEGER };

/** What a play came to. Moments are ms of the play; `NaN` for what did not happen. */
export interface Played extends Crowd {
  readonly seed: number;
  readonly plan: Plan;
  /** Requests that reached the store. */
  readonly requests: Ticks;
  readonly byOperation: Readonly<Record<Operation, Ticks>>;
  /** Isolates that turned to a breaker of their own because the store failed them. */
  readonly standIns: Ticks;
  readonly openedAt: number;
  /** When the first cooldown was over. */
  readonly cooledAt: number;
  readonly closedAt: number;
  /** The most trials that ran at once, and the most slots that were taken at the store. */
  readonly trialsAtOnce: number;
  readonly leasesAtOnce: number;
  /** How often the circuit opened from CLOSED, and in all. */
  readonly trips: number;
  readonly openings: number;
  /**
   * Calls that ran after the first opening and were no trials: of all, of the isolate with the most,
   * and the last whose isolate was not about to find out.
   */
  readonly late: number;
  readonly mostLate: number;
  readonly lastLateAt: number;
  /** The last rejection after the closing whose isolate was not about to find out. */
  readonly lastRejectedAt: number;
  readonly calls: number;
  /** Outcomes that the store and the callers do not agree about, once all was sent; `null` if some were given up. */
  readonly miscounted: number | null;
}

/** Plays a fleet's day: start, health, single failures, an outage, its end. The same each time for a seed. */
export function playCrowd(crowd: Crowd, seed: number): Promise<Played> {
  const time = new VirtualTime();
  return inVirtualTime(time, seeded(~seed), () => new World(crowd, seed, time).play());
}

const KEY = "upstream";
const FAILING = 0.01;
/** The same each time: to make an error takes longer than a call. */
const FAILS = new Error("The upstream fails");

interface Isolate {
  readonly number: number;
  readonly fuse: Fuse;
  readonly breaker: CircuitBreaker;
  /** When it was last granted a half-open slot, in ms of the play: the call that asked runs in this moment. */
  grantedAt: number;
  /** Acquires under way, and when the last one was answered, in ms of the play. */
  asks: number;
  answeredAt: number;
  alone: boolean;
  late: number;
  readonly call: () => void;
}

class World implements Witness {
  readonly #crowd: Crowd;
  readonly #plan: Plan;
  readonly #seed: number;
  readonly #time: VirtualTime;
  readonly #began: number;
  readonly #random: () => number;
  readonly #store: BusyStore;
  readonly #isolates: Isolate[] = [];
  readonly #requests = new Ticks();
  readonly #byOperation = {
    read: new Ticks(),
    record: new Ticks(),
    acquire: new Ticks(),
    transition: new Ticks(),
  };
  readonly #standIns = new Ticks();
  readonly #made = { success: 0, failure: 0, rejected: 0 };
  #generation = 0;
  #openedAt = NaN;
  #cooledAt = NaN;
  #closedAt = NaN;
  #trips = 0;
  #openings = 0;
  #trials = 0;
  #trialsAtOnce = 0;
  #leasesAtOnce = 0;
  #late = 0;
  #lastLateAt = NaN;
  #lastRejectedAt = NaN;
  #calls = 0;
  #unconfirmed = 0;

  constructor(crowd: Crowd, seed: number, time: VirtualTime) {
    this.#crowd = crowd;
    this.#plan = crowd.plan ?? PLAN;
    this.#seed = seed;
    this.#time = time;
    this.#began = time.now();
    this.#random = seeded(seed);
    this.#store = new BusyStore(time, this, crowd.capacity ?? CAPACITY);
  }

  get #now(): number {
    return this.#time.now() - this.#began;
  }

  async play(): Promise<Played> {
    const { isolates } = this.#crowd;
    for (let number = 0; number < isolates; number++) {
      this.#time.plan(Math.ceil(this.#plan.startMs * number / isolates), () => this.#boot(number));
    }
    await this.#time.runByMoments(this.#began + this.#plan.endAt);
    const miscounted = await this.#settle();
    return {
      ...this.#crowd,
      seed: this.#seed,
      plan: this.#plan,
      requests: this.#requests,
      byOperation: this.#byOperation,
      standIns: this.#standIns,
      openedAt: this.#openedAt,
      cooledAt: this.#cooledAt,
      closedAt: this.#closedAt,
      trialsAtOnce: this.#trialsAtOnce,
      leasesAtOnce: this.#leasesAtOnce,
      trips: this.#trips,
      openings: this.#openings,
      late: this.#late,
      mostLate: this.#isolates.reduce((most, { late }) => Math.max(most, late), 0),
      lastLateAt: this.#lastLateAt,
      lastRejectedAt: this.#lastRejectedAt,
      calls: this.#calls,
      miscounted,
    };
  }

  #boot(number: number): void {
    const fuse = createFuse({
      stores: { busy: this.#store.wire(number) },
      clock: this.#time.now,
    });
    const breaker = fuse.make(KEY, { cooldownMs: this.#plan.cooldownMs, ...this.#crowd.policy });
    const call = () => this.#call(isolate);
    const isolate: Isolate = {
      number,
      fuse,
      breaker,
      grantedAt: NaN,
      asks: 0,
      answeredAt: NaN,
      alone: false,
      late: 0,
      call,
    };
    this.#isolates[number] = isolate;
    fuse.on("store_error", () => {
      if (!isolate.alone) this.#standIns.add(this.#now);
      isolate.alone = true;
    });
    fuse.on("store_recovered", () => isolate.alone = false);
    fuse.on("unconfirmed", () => this.#unconfirmed++);
    this.#next(isolate);
  }

  #next({ call }: Isolate): void {
    const gapMs = Math.ceil(-Math.log(1 - this.#random()) * 1_000 / this.#crowd.rate);
    if (this.#now + gapMs < this.#plan.endAt) this.#time.plan(gapMs, call);
  }

  #call(isolate: Isolate): void {
    this.#calls++;
    this.#next(isolate);
    const fails = this.#fails();
    const lastsMs = Math.ceil(5 + this.#random() * 95);
    void isolate.breaker.tryCall(() => this.#run(isolate, fails, lastsMs)).then((result) => {
      if (result.ok) this.#made.success++;
      else if (!result.rejected) this.#made.failure++;
      else {
        this.#made.rejected++;
        if (this.#now >= this.#closedAt && !this.#isAsking(isolate)) {
          this.#lastRejectedAt = this.#now;
        }
      }
    });
  }

  #fails(): boolean {
    const now = this.#now;
    if (now >= this.#plan.wellAt || now < this.#plan.failingAt) return false;
    return now >= this.#plan.deadAt || this.#random() < FAILING;
  }

  #run(isolate: Isolate, fails: boolean, lastsMs: number): Promise<void> {
    const now = this.#now;
    const isTrial = isolate.grantedAt === now;
    isolate.grantedAt = NaN;
    if (isTrial) this.#trialsAtOnce = Math.max(this.#trialsAtOnce, ++this.#trials);
    else if (now > this.#openedAt && now < this.#plan.wellAt) {
      this.#late++;
      isolate.late++;
      // While a single call finds out, others go by what is known.
      if (!this.#isAsking(isolate)) this.#lastLateAt = now;
    }
    return new Promise((resolve, reject) => {
      this.#time.plan(lastsMs, () => {
        if (isTrial) this.#trials--;
        if (fails) reject(FAILS);
        else resolve();
      });
    });
  }

  /** Returns `true` while a call finds out how things are, and in the moment in which it hears. */
  #isAsking({ asks, answeredAt }: Isolate): boolean {
    return asks > 0 || answeredAt === this.#now;
  }

  sends(isolate: number, operation: Operation, at: number): void {
    if (operation === "acquire") this.#isolates[isolate]!.asks++;
    this.#requests.add(at - this.#began);
    this.#byOperation[operation].add(at - this.#began);
  }

  done({ state, generation, openUntil, halfOpen, reopenCount }: Said["snapshot"]): void {
    this.#leasesAtOnce = Math.max(this.#leasesAtOnce, halfOpen.inFlight);
    if (generation === this.#generation) return;
    this.#generation = generation;
    const now = this.#now;
    if (state === "OPEN") {
      this.#openings++;
      if (reopenCount === 0) this.#trips++;
      if (Number.isNaN(this.#openedAt)) {
        this.#openedAt = now;
        this.#cooledAt = openUntil! - this.#began;
      }
    } else if (state === "CLOSED" && now >= this.#plan.wellAt) this.#closedAt = now;
  }

  answered(number: number, operation: Operation, { granted, snapshot }: Said): void {
    if (operation !== "acquire") return;
    const isolate = this.#isolates[number]!;
    isolate.asks--;
    isolate.answeredAt = this.#now;
    if (granted === true && snapshot.state === "HALF_OPEN") isolate.grantedAt = this.#now;
  }

  /** Sends all that is pending, slowly enough for the store, and compares. */
  async #settle(): Promise<number | null> {
    const { isolates, capacity = CAPACITY } = this.#crowd;
    const flushesPerS = capacity / 2;
    // Those that leave the store alone, or whose request was late, once more.
    for (let round = 0; round < 2; round++) {
      const lastsMs = 3_000 + 1_000 * isolates / flushesPerS;
      const until = this.#time.now() + lastsMs;
      this.#isolates.forEach(({ fuse }, i) => {
        this.#time.plan(2_000 + Math.ceil(1_000 * i / flushesPerS), () => void fuse.flush());
      });
      await this.#time.runByMoments(until);
    }
    if (this.#unconfirmed > 0) return null;
    const { totals } = this.#store.look(KEY)!;
    const { success, failure, rejected } = this.#made;
    return Math.abs(totals.successes - success) + Math.abs(totals.failures - failure) +
      Math.abs(totals.rejected - rejected);
  }
}
