/**
 * Plays a scenario with isolates of the real core and view and the real memory store; everything
 * between and around them is simulated. The same scenario takes the same course each time.
 *
 * @module
 */
import {
  type CallContext,
  type CallResult,
  type CircuitBreaker,
  type CircuitPolicy,
  createFuse,
  type Fuse,
  isCircuitBreakerOpenError,
  isStoreUnavailableError,
} from "@fuse/edge";
import type { CircuitPolicyData } from "../../../src/rules/policy.ts";
import { policyOf } from "../../support/units.ts";
import { seeded, VirtualTime } from "../../support/virtual_time.ts";
import { AdmissionJudge } from "./judges/admission_judge.ts";
import { judgeBounds } from "./bounds.ts";
import { type Call, CallerJudge } from "./judges/caller_judge.ts";
import { DutyJudge } from "./judges/duty_judge.ts";
import { describe, Network, type Sender, STORE_TIMEOUT_MS } from "./network.ts";
import { RecordJudge } from "./judges/record_judge.ts";
import type { Scenario, Step } from "./scenario.ts";
import { Server } from "./server.ts";
import { numbered, Trace } from "./trace.ts";
import { type Delivery, type Row, TrailJudge } from "./judges/trail_judge.ts";
import { Upstream } from "./upstream.ts";
import { Verdicts, type Violation } from "./violation.ts";
import { inVirtualTime } from "./virtual_globals.ts";
import type { OpeningStore } from "../../support/drivers.ts";

/** Planted mistakes, which test the simulation itself, and the diary. */
export interface PlayOptions {
  /** Laid over the memory store. */
  readonly store?: (store: OpeningStore) => OpeningStore;
  /** Laid over the store as an isolate sees it. */
  readonly wire?: (store: OpeningStore, isolate: number) => OpeningStore;
  /** Options for every handle; the judges use the scenario's. */
  readonly policy?: (policy: CircuitPolicy) => CircuitPolicy;
  /** Laid over an isolate's handle. */
  readonly breaker?: (breaker: CircuitBreaker) => CircuitBreaker;
  /** Write a diary. */
  readonly trace?: boolean;
}

/** The result of a scenario. */
export interface Played {
  readonly violation: Violation | null;
  /** The diary in lines, on request. */
  readonly trace: readonly string[];
  readonly calls: readonly Call[];
  readonly trail: readonly Row[];
  /** The situations that occurred, which show what a run has proven. */
  readonly met: ReadonlySet<string>;
  /** Openings from CLOSED, and the number that an observer of each outcome would have made. */
  readonly opened: number;
  readonly exact: number;
  /** The isolates' requests to the store. */
  readonly requests: number;
  /** The time when the world began, on its clock. */
  readonly beganAt: number;
}

/** The circuit that all isolates call. */
export const KEY = "upstream";
/**
 * The time that a fleet may take to recover from a storm: a guard's longest interval, delayed
 * packets, leases.
 */
const RETURN_MS = 90_000;

/** Plays a scenario, to its end or to the first violation. */
export function play(scenario: Scenario, options: PlayOptions = {}): Promise<Played> {
  const time = new VirtualTime();
  const random = seeded(~scenario.seed);
  return inVirtualTime(time, random, () => new World(scenario, options, time).play());
}

/** An isolate, until it dies. */
interface Isolate extends Sender {
  alive: boolean;
  clockMs: number;
  readonly fuse: Fuse;
  readonly breaker: CircuitBreaker;
}

class World {
  readonly #scenario: Scenario;
  readonly #options: PlayOptions;
  readonly #policy: CircuitPolicyData;
  readonly #time: VirtualTime;
  readonly #began: number;
  readonly #verdicts = new Verdicts();
  readonly #trace: Trace;
  readonly #met = new Set<string>();
  readonly #trail: TrailJudge;
  readonly #records: RecordJudge;
  readonly #admissions: AdmissionJudge;
  readonly #duties: DutyJudge;
  readonly #callers: CallerJudge;
  readonly #server: Server;
  readonly #network: Network;
  readonly #upstream: Upstream;
  readonly #isolates: Isolate[] = [];
  #born = 0;
  #delivery: (Delivery & { readonly to: Sender }) | null = null;
  #run = 0;
  #exact = 0;

  constructor(scenario: Scenario, options: PlayOptions, time: VirtualTime) {
    this.#scenario = scenario;
    this.#options = options;
    this.#time = time;
    this.#began = time.now();
    this.#policy = policyOf(scenario.policy);
    this.#trace = new Trace(options.trace === true, () => time.now() - this.#began);
    this.#trail = new TrailJudge(this.#verdicts, this.#met);
    this.#duties = new DutyJudge(this.#verdicts);
    this.#records = new RecordJudge(
      ...[this.#policy, this.#verdicts, this.#trail, this.#duties, this.#met] as const,
    );
    this.#admissions = new AdmissionJudge(this.#verdicts);
    this.#callers = new CallerJudge(
      ...[this.#policy, this.#verdicts, this.#admissions, time.now, time.now] as const,
    );
    this.#server = new Server(time.now, (deed, by) => {
      this.#trace.note(() => {
        const { won, moved, granted, current, snapshot } = deed.said;
        const said = JSON.stringify({ won, moved, granted, current });
        return `the store does ${describe(deed.request)} for ${by}: ${said}, now ` +
          `${snapshot.state} in generation ${snapshot.generation} of "${snapshot.epoch}"`;
      });
      this.#records.witness(deed, by);
    }, options.store);
    this.#network = new Network(time, this.#server, {
      sending: (by, request) => {
        this.#admissions.sends(by, request);
        this.#duties.sends(by, request);
      },
      delivering: (to, request, said, { life, sentAt, awaited }) => {
        this.#trace.note(() => `isolate ${to.number} is answered ${describe(request)}`);
        this.#delivery = { to, request, said, life };
        if (awaited) this.#duties.hears(to, said);
        this.#admissions.hears(to, said, sentAt, time.now(), awaited);
      },
      note: this.#trace.note,
    }, scenario);
    this.#upstream = new Upstream(scenario.errorRate);
  }

  async play(): Promise<Played> {
    const { steps, clocks } = this.#scenario;
    clocks.forEach((_, slot) => this.#boot(slot));
    for (const step of steps) this.#time.after(step.at, () => this.#step(step));
    const over = steps.at(-1)?.at ?? 0;
    let finished = false;
    this.#time.after(over + 3_000, () => {
      this.#finish().then(() => finished = true, (error) => {
        this.#verdicts.check(false, "callers", () => `The end throws ${error}`);
      });
    });
    await this.#time.run(() => {
      this.#delivery = null;
      this.#duties.rests();
      return this.#verdicts.first !== null;
    });
    if (this.#verdicts.first === null) {
      this.#verdicts.check(finished, "callers", () => "Something waits for ever");
      judgeBounds(this.#scenario, this.#policy, this.#began, {
        calls: this.#callers.calls,
        trail: this.#trail.trail,
        verdicts: this.#verdicts,
      });
      this.#callers.finish(this.#records.recorded);
    }
    const { trail } = this.#trail;
    const { first } = this.#verdicts;
    return {
      violation: first && { ...first, message: numbered(first.message) },
      trace: this.#trace.lines,
      calls: this.#callers.calls,
      trail,
      met: this.#met,
      opened: trail.filter(({ event, from }) => event === "opened" && from === "CLOSED").length,
      exact: this.#exact,
      requests: this.#network.requests,
      beganAt: this.#began,
    };
  }

  #boot(slot: number): void {
    const { offsetMs = 0, drift = 0 } = this.#scenario.clocks[slot] ?? {};
    const number = this.#born++;
    const isolate: Partial<Isolate> & { clockMs: number } = {
      ...{ number, slot, alive: true, clockMs: offsetMs },
    };
    const clock = () => {
      const passed = this.#time.now() - this.#began;
      return Math.floor(this.#began + isolate.clockMs + passed * (1 + drift));
    };
    const wire = this.#network.wire(isolate as Isolate);
    const fuse = createFuse({
      stores: { main: this.#options.wire?.(wire, number) ?? wire },
      clock,
      storeTimeoutMs: STORE_TIMEOUT_MS,
    });
    fuse.on("*", (event) => {
      if (!isolate.alive) return;
      this.#trace.note(() => `isolate ${number} tells ${event.type}`);
      const own = this.#delivery?.to === isolate ? this.#delivery : null;
      this.#trail.hear(event, own);
      this.#callers.hear(isolate as Isolate, event);
      this.#duties.listens(isolate as Isolate, event);
      if (event.type === "unconfirmed" || event.type === "reborn") {
        this.#met.add(event.type);
      }
      const { error } = event as { error?: unknown };
      const mistake = event.type === "listener_error" || event.type === "config_mismatch";
      this.#verdicts.check(!mistake, "callers", () => `${event.type}: ${error}`);
    });
    const { policy } = this.#scenario;
    const breaker = fuse.make(KEY, { ...this.#options.policy?.(policy) ?? policy });
    Object.assign(isolate, { fuse, breaker: this.#options.breaker?.(breaker) ?? breaker });
    this.#isolates[slot] = isolate as Isolate;
  }

  #step(step: Step): void {
    if (step.do !== "call") this.#trace.note(() => `STEP ${JSON.stringify(step)}`);
    const isolate = "isolate" in step && step.isolate !== null
      ? this.#isolates[step.isolate]
      : null;
    switch (step.do) {
      case "call":
        return this.#call(isolate!, step);
      case "upstream":
        return this.#upstream.change(step, this.#time.now());
      case "network":
        return this.#network.worsen(step.will, step.isolate, step.share, step.forMs);
      case "restart":
        return this.#server.restart();
      case "die":
        isolate!.alive = false;
        return this.#boot(step.isolate);
      case "clock":
        isolate!.clockMs += step.byMs;
        return;
      case "operator":
        this.#operate(isolate!, step);
        return;
      case "flush":
        isolate!.fuse.flush();
    }
  }

  #operate({ breaker }: Isolate, { act, forMs }: Extract<Step, { do: "operator" }>): void {
    const lasts = forMs === undefined || act === "release" || act === "reset" ? {} : { forMs };
    breaker[act](lasts).catch((error) =>
      this.#verdicts.check(
        isStoreUnavailableError(error),
        "callers",
        () => `${act} throws ${error}`,
      )
    );
  }

  #call(isolate: Isolate, step: Extract<Step, { do: "call" }>): void {
    const { ending, luck } = step;
    const call = this.#callers.call(isolate);
    const number = this.#callers.calls.length;
    const { note } = this.#trace;
    note(() => `call ${number}, by isolate ${isolate.number}`);
    const caller = ending === "abort" ? new AbortController() : null;
    const run = (_: CallContext): Promise<string> => {
      // Deadlines pass in dead isolates as well; their effects must not happen.
      if (!isolate.alive) return new Promise(() => {});
      const { fails, lastsMs, dead } = this.#upstream.meet(isolate.slot, step, this.#time.now());
      call.dead = dead;
      const own = this.#delivery?.to === isolate ? this.#delivery : null;
      this.#callers.runs(call, own);
      note(() => `call ${number} runs${call.trial === null ? "" : ` as trial ${call.trial}`}`);
      if (ending === "throw_at_once") {
        const error = new Error(`call ${number} throws at once`);
        this.#ended(call, number, false, error);
        throw error;
      }
      if (caller !== null) {
        this.#time.after(lastsMs / 2, () => {
          const reason = new Error(`call ${number} is given up`);
          this.#callers.aborts(call, reason);
          caller.abort(reason);
        });
      }
      return new Promise((resolve, reject) => {
        this.#time.after(lastsMs, () => {
          if (!isolate.alive) return;
          const value = fails ? new Error(`call ${number} fails`) : `what call ${number} gives`;
          this.#ended(call, number, !fails, value);
          if (fails) reject(value);
          else resolve(value as string);
        });
      });
    };
    const options = caller === null ? undefined : { signal: caller.signal };
    // Both forms of a call, alternating.
    const result: Promise<CallResult<unknown, unknown>> = Math.floor(luck * 1e6) % 2 === 0
      ? isolate.breaker.tryCall(run, options)
      : isolate.breaker.call(run, options).then(
        (value) => ({ ok: true, source: "call", value }),
        (error) => ({ ok: false, rejected: false, error }),
      );
    result.then((result) => {
      if (!isolate.alive) return;
      note(() => `call ${number} is answered ${result.ok ? result.value : result.error}`);
      this.#callers.settles(call, result);
      this.#duties.settles(call);
      const error = result.ok ? null : result.error;
      if (isCircuitBreakerOpenError(error) && error.reason === "ramp") this.#met.add("ramp");
    });
  }

  #ended(call: Call, number: number, ok: boolean, value: unknown): void {
    this.#trace.note(() => `call ${number} ${ok ? "succeeds" : "fails"}`);
    this.#callers.ends(call, ok, value);
    // The observer of each outcome, in the order of completion.
    this.#run = ok ? 0 : this.#run + 1;
    if (this.#run < this.#policy.failureThreshold) return;
    this.#exact++;
    this.#run = 0;
  }

  /** The faults are over: traffic returns, and pending outcomes are sent. */
  async #finish(): Promise<void> {
    this.#network.heal();
    this.#upstream.heal();
    // Sent by an isolate that has seen no fault.
    this.#boot(this.#isolates.length);
    const operator = this.#isolates.at(-1)!;
    await operator.breaker.release();
    const until = this.#time.now() + RETURN_MS;
    while (!await this.#isWell()) {
      if (this.#verdicts.first !== null) return;
      this.#verdicts.check(this.#time.now() < until, "returns", () => this.#stuck());
    }
    // Some isolates may leave the store alone for a while.
    const sentBy = this.#time.now() + RETURN_MS;
    do {
      await this.#time.sleep(2 * STORE_TIMEOUT_MS);
      await Promise.all(this.#living().map(({ fuse }) => fuse.flush()));
    } while (!this.#callers.isCounted(this.#records.recorded) && this.#time.now() < sentBy);
  }

  /** Returns whether every isolate's next call runs, on a closed circuit. */
  async #isWell(): Promise<boolean> {
    const { calls } = this.#callers;
    const from = calls.length;
    for (const isolate of this.#living()) {
      this.#call(isolate, { at: 0, do: "call", isolate: isolate.slot, lastsMs: 10, luck: 0.999 });
    }
    await this.#time.sleep(1_000);
    const { state } = this.#server.look(KEY, this.#policy.shape);
    return state === "CLOSED" && calls.slice(from).every((call) => call.own?.ok);
  }

  #stuck(): string {
    const { state, generation } = this.#server.look(KEY, this.#policy.shape);
    const waiting = this.#callers.calls.slice(-this.#isolates.length)
      .filter(({ own }) => own === null)
      .map(({ by }) => by.number);
    return `${RETURN_MS} ms after all is well the circuit is ${state} in generation ${generation}, ` +
      `and calls of isolates ${waiting.join(", ") || "none"} do not run`;
  }

  #living(): Isolate[] {
    return this.#isolates.filter(({ alive }) => alive);
  }
}
