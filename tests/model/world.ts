/**
 * Plays a session on the real breaker, and on the model beside it where the two must agree.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  type CallResult,
  type CircuitBreaker,
  CircuitBreakerOpenError,
  type CircuitPolicy,
  createFuse,
  type Fuse,
  type FuseEvent,
  isStoreUnavailableError,
} from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import type { Store } from "../../src/store.ts";
import { settled } from "../support/virtual_time.ts";
import { type Case, CASES } from "./cases.ts";
import type { Command, Ending, Session, Step, Via } from "./commands.ts";
import {
  type Admission,
  Model,
  type ModelOverride,
  type ModelPermit,
  type Reading,
} from "./model.ts";

/** What a session is played on. */
export interface Ground {
  /** The isolates' store. */
  readonly store: Store;
  /** Laid over the policy of the session: `consistency`, say. */
  readonly options: CircuitPolicy;
  /**
   * `"exact"`: the breaker agrees with the model after each command. `"settled"`: no fault occurs,
   * so that everything is accounted for at the end. `"faulty"`: it only never does what it must not.
   */
  readonly agreement: "exact" | "settled" | "faulty";
  /**
   * Let what goes on in the background come to rest after each call, so that a single isolate
   * which goes by its view agrees as well.
   */
  readonly settle?: boolean;
  /** Ends all faults. */
  heal?(): void;
}

/** When sessions begin: not on a segment's edge. */
const START = 1_700_000_000_123;

const OPERATOR = {
  forceOpen: "forced_open",
  forceClose: "forced_closed",
  disable: "disabled",
  metricsOnly: "metrics_only",
} as const satisfies Record<string, ModelOverride>;

const OPERATED = ["forced_open", "forced_closed", "disabled", "metrics_only", "released", "reset"];
const LEGAL = ["opened CLOSED>OPEN", "opened HALF_OPEN>OPEN", "half_opened OPEN>HALF_OPEN"]
  .concat("closed HALF_OPEN>CLOSED");

/** Plays a session to its end; throws at the first disagreement. */
export async function play(
  session: Session,
  ground: (clock: FakeClock, session: Session) => Ground,
): Promise<void> {
  const clock = new FakeClock(START);
  const world = new World(session, ground(clock, session), clock);
  try {
    for (const [index, command] of session.commands.entries()) {
      world.where = `command ${index} ${JSON.stringify(command)}`;
      await world.play(command);
    }
    world.where = "the end";
    await world.finish();
  } finally {
    await world.dispose();
  }
}

/** A call or a permit that has begun. */
interface Held {
  readonly via: Via;
  /** Lets it end; resolves once the breaker has told the caller. */
  end(ending: Ending): Promise<void>;
  readonly permit: ModelPermit | null;
  readonly isolate: number;
}

/** What an operator does. */
type OperatorCommand = Extract<Command, { do: keyof typeof OPERATOR | "release" | "reset" }>;

class Ignored extends Error {}

class World {
  where = "";
  readonly #clock: FakeClock;
  readonly #ground: Ground;
  readonly #case: Case;
  readonly #model: Model;
  readonly #fuses: Fuse[] = [];
  readonly #retired: Fuse[] = [];
  readonly #dead: Fuse[] = [];
  readonly #breakers: CircuitBreaker[] = [];
  #held: Held[] = [];
  readonly #settled: Held[] = [];
  /** Events since the last look. */
  #heard: string[] = [];
  /** What no event may ever say. Kept, for a listener that throws only makes another event. */
  readonly #wrong: string[] = [];
  /** What the whole session did: calls that counted, calls that were refused. */
  readonly #did = { ended: 0, rejected: 0, disabled: false, died: false };
  readonly #seen = { changes: 0, expired: 0, unconfirmed: 0, generations: new Set<number>() };
  readonly #numbers = new Map<Fuse, number>();
  readonly #wouldOpen = new Map<string, number>();

  constructor(session: Session, ground: Ground, clock: FakeClock) {
    this.#clock = clock;
    this.#ground = ground;
    this.#case = CASES[session.policy];
    this.#model = new Model(this.#case.model);
    for (let isolate = 0; isolate < session.isolates; isolate++) this.#boot(isolate);
  }

  async play(command: Command): Promise<void> {
    if (Deno.env.get("DBG")) console.log(JSON.stringify(command));
    switch (command.do) {
      case "call":
        await this.#call(command.isolate, command.via, command.ending);
        break;
      case "burst":
        for (let i = 0; i < command.n; i++) {
          await this.#call(command.isolate + i, "tryCall", command.ending);
        }
        break;
      case "begin": {
        const held = await this.#begin(command.isolate, command.via);
        if (held !== undefined) this.#held.push(held);
        break;
      }
      case "end": {
        const [held] = this.#held.splice(command.pick % Math.max(1, this.#held.length), 1);
        if (held !== undefined) await this.#end(held, command.ending);
        break;
      }
      case "settle_again": {
        const held = this.#settled[command.pick % Math.max(1, this.#settled.length)];
        if (held !== undefined) await held.end(command.ending);
        break;
      }
      case "clock":
        this.#step(this.#length(command.step));
        break;
      case "forceOpen":
      case "forceClose":
      case "disable":
      case "metricsOnly":
      case "release":
      case "reset":
        await this.#operate(command);
        break;
      case "flush":
        await this.#fuse(command.isolate).flush();
        break;
      case "restart":
        this.#restart(command.isolate % this.#fuses.length);
        break;
    }
    this.#compareEvents([]);
    if (this.#ground.agreement === "exact") {
      for (const breaker of this.#breakers) await this.#compareReading(breaker);
      this.#compareEvents([]);
    }
  }

  /** Everything ends; what was admitted and what was refused must then be accounted for. */
  async finish(): Promise<void> {
    for (const held of this.#held.splice(0)) await this.#end(held, "success");
    this.#ground.heal?.();
    for (let round = 0; round < 12; round++) {
      for (const fuse of [...this.#retired, ...this.#fuses]) await fuse.flush();
      if (this.#ground.agreement === "exact") break;
      // Past any back-off, within the time that undelivered tallies are kept.
      this.#clock.advance(2_000);
    }
    this.#compareEvents([]);
    // A fresh isolate knows nothing but what the store holds.
    this.#boot(this.#fuses.length);
    const last = this.#breaker(this.#fuses.length - 1);
    if (this.#ground.agreement === "exact") await this.#compareReading(last, true);
    // A write, so that an override past its `until` is released, for the model too.
    await last.reset();
    this.#model.reset(this.#clock.now());
    this.#compareEvents([]);
    const { generation, metrics } = await last.snapshot();
    const counted = metrics.totalSuccesses + metrics.totalFailures;
    if (this.#ground.agreement === "faulty") {
      assert(counted <= this.#did.ended, `${counted} calls counted of ${this.#did.ended}`);
      assert(metrics.totalRejected <= this.#did.rejected, "More rejections counted than made");
      if (this.#did.died || this.#seen.unconfirmed > 0) return;
      assertEquals(counted, this.#did.ended, "Calls that ended and are not in the totals");
      return;
    }
    assertEquals(counted, this.#did.ended, "Calls that ended and are not in the totals");
    assertEquals(metrics.totalRejected, this.#did.rejected, "Rejections not in the totals");
    assertEquals(
      this.#seen.changes,
      Math.max(0, generation - 1),
      "Each generation after the first is announced exactly once",
    );
    if (this.#ground.agreement !== "exact") return;
    assertEquals(this.#seen.expired, this.#model.expiries, "Overrides that expired");
  }

  async dispose(): Promise<void> {
    for (const held of this.#held) await held.end("ignored").catch(() => {});
    for (const fuse of [...this.#dead, ...this.#retired, ...this.#fuses]) {
      await fuse[Symbol.asyncDispose]();
    }
  }

  async #call(isolate: number, via: Via, ending: Ending): Promise<void> {
    const held = await this.#begin(isolate, via);
    if (held !== undefined) await this.#end(held, ending);
  }

  /** Asks to run a call, which then hangs until it is ended. `undefined`: it was refused. */
  async #begin(isolate: number, via: Via): Promise<Held | undefined> {
    const breaker = this.#breaker(isolate);
    const begun = via === "admit" ? await admit(breaker) : await start(breaker, via);
    await this.#rest();
    const expected = this.#model.admit(this.#clock.now());
    if (!begun.granted) this.#did.rejected++;
    if (this.#ground.agreement === "exact") {
      assertEquals(begun.granted, expected.granted, `${this.where}: admitted`);
      if (!begun.granted) this.#compareRejection(begun.error, expected);
    }
    this.#compareEvents(begun.granted ? [] : ["rejected"], "after");
    if (!begun.granted) return undefined;
    const permit = expected.granted ? expected.permit : null;
    return { via, end: begun.end, permit, isolate: isolate % this.#fuses.length };
  }

  async #end(held: Held, ending: Ending): Promise<void> {
    if (ending === "slow_success" || ending === "slow_failure") this.#step(this.#slowMs());
    await held.end(ending);
    await this.#rest();
    if (held.via === "admit") this.#settled.push(held);
    const outcome = outcomeOf(ending);
    if (outcome !== "neutral") this.#did.ended++;
    if (this.#ground.agreement !== "exact") return this.#compareEvents([]);
    if (held.permit === null) throw new Error("A held call of an exact session has a permit");
    const retryAfterMs = ending === "failed_response" && held.via !== "admit" ? RETRY_AFTER_MS : 0;
    const before = this.#model.read(this.#clock.now());
    const settled = this.#model.end(held.permit, { outcome, retryAfterMs }, this.#clock.now());
    const disabled = before.override === "disabled" || held.permit.override === "disabled";
    if (disabled) this.#did.disabled = true;
    const name = settled.outcome === "neutral" ? "ignored" : settled.outcome;
    this.#compareEvents(
      disabled ? null : [settled.late ? `${name} late` : name],
      "before",
      settled.wouldOpen,
    );
  }

  async #operate(command: OperatorCommand): Promise<void> {
    const breaker = this.#breaker(command.isolate);
    const now = this.#clock.now();
    try {
      if ("lasts" in command) {
        const { until, forMs } = command.lasts;
        await breaker[command.do]({
          actor: "model",
          ...(until === undefined ? {} : { until: new Date(now + until) }),
          ...(forMs === undefined ? {} : { forMs }),
        });
        const lasts = until ?? forMs;
        this.#model.override(OPERATOR[command.do], lasts === undefined ? null : now + lasts, now);
      } else if (command.do === "release") {
        await breaker.release({ actor: "model", reason: "over" });
        this.#model.release(now);
      } else {
        await breaker.reset({ actor: "model" });
        this.#model.reset(now);
      }
    } catch (error) {
      // An operator, unlike a caller, is told that the store did not answer.
      if (this.#ground.agreement !== "faulty" || !isStoreUnavailableError(error)) throw error;
    }
  }

  async #rest(): Promise<void> {
    if (this.#ground.settle === true) await settled();
  }

  #step(ms: number): void {
    const now = this.#clock.now();
    if (ms < 0 && !this.#model.mayGoBack(now, now + ms)) return;
    this.#clock.set(now + ms);
  }

  #length(step: Step): number {
    const { windowMs, halfOpenLeaseMs, cooldownMs } = this.#case.model;
    const now = this.#clock.now();
    const { openUntil, met, until } = this.#model.read(now);
    if (typeof step === "number") return step;
    if (step === "until") return until === null ? 1 : until - now;
    if (step === "segment") return Math.ceil(windowMs / 10);
    if (step === "window") return windowMs;
    if (step === "lease") return halfOpenLeaseMs;
    if (step === "almost_lease") return halfOpenLeaseMs - 1;
    const left = met === "OPEN" && openUntil !== null && openUntil > now
      ? openUntil - now
      : cooldownMs(0);
    return step === "cooldown" ? left : Math.max(0, left - 1);
  }

  #slowMs(): number {
    const { slowCallMs } = this.#case.model;
    return Number.isFinite(slowCallMs) ? slowCallMs : 75;
  }

  #boot(isolate: number): void {
    const fuse = createFuse({
      stores: { main: this.#ground.store },
      clock: this.#clock.now,
      strategies: {
        custom: ({ window }, policy) => window.failures > policy.failureThreshold,
      },
    });
    fuse.on("*", (event) => this.#hear(fuse, event));
    this.#numbers.set(fuse, this.#numbers.size);
    this.#fuses[isolate] = fuse;
    this.#breakers[isolate] = fuse.make("model", {
      ...this.#case.options,
      ...this.#ground.options,
      ignore: [Ignored],
    });
  }

  /** An isolate goes and another comes in its place. Where faults are allowed, it dies. */
  #restart(isolate: number): void {
    const old = this.#fuses[isolate];
    // What an isolate has not flushed yet, the one that comes in its place cannot know.
    if (old === undefined || this.#ground.settle === true) return;
    if (this.#ground.agreement === "faulty") {
      this.#did.died = true;
      this.#dead.push(old);
      this.#held = this.#held.filter((held) => held.isolate !== isolate);
    } else {
      this.#retired.push(old);
    }
    this.#boot(isolate);
  }

  #fuse(isolate: number): Fuse {
    return this.#fuses[isolate % this.#fuses.length] as Fuse;
  }

  #breaker(isolate: number): CircuitBreaker {
    return this.#breakers[isolate % this.#breakers.length] as CircuitBreaker;
  }

  #hear(fuse: Fuse, event: FuseEvent): void {
    if (Deno.env.get("DBG")) {
      console.log(
        "   EVENT",
        this.#numbers.get(fuse),
        event.type,
        (event as { generation?: number }).generation,
        (event as { local?: boolean }).local ?? "",
        (event as { error?: unknown }).error ?? "",
      );
    }
    const { type } = event;
    if (type === "store_error" || type === "store_recovered") {
      if (this.#ground.agreement !== "faulty") this.#heard.push(`${type} (no fault was made)`);
    } else if (type === "unconfirmed") {
      this.#seen.unconfirmed++;
    } else if (type === "listener_error") {
      // A cooldown function that answers nonsense is reported through it.
      if (typeof this.#case.options.cooldownMs !== "function") this.#heard.push(type);
    } else if (type === "would_open") {
      // Each outage begins with a breaker of its own, which knows of no earlier warning.
      if (event.local === true) return;
      const key = `${this.#numbers.get(fuse)} #${event.generation}`;
      this.#wouldOpen.set(key, (this.#wouldOpen.get(key) ?? 0) + 1);
    } else if (type === "opened" || type === "half_opened" || type === "closed") {
      const edge = `${type} ${event.from}>${event.to}`;
      if (!LEGAL.includes(edge)) this.#wrong.push(`${edge} is no legal edge`);
      if (event.local === true) return;
      if (type === "half_opened" && this.#ground.agreement === "faulty") return; // KNOWN-B
      if (this.#seen.generations.has(event.generation)) {
        this.#wrong.push(`Generation ${event.generation} was announced twice`);
      }
      this.#seen.generations.add(event.generation);
      this.#seen.changes++;
      this.#heard.push(`${edge} #${event.generation}`);
    } else if (OPERATED.includes(type)) {
      this.#seen.changes++;
      if (type === "released" && event.reason === "expired") this.#seen.expired++;
      else this.#heard.push(type);
    } else if (type === "success" || type === "failure" || type === "ignored") {
      // Whether a neutral ending came late changes nothing, and is not always known.
      const late = event.late === true && type !== "ignored";
      this.#heard.push(late ? `${type} late` : type);
    } else if (type !== "slow" && (type as string) !== "cooldownMs") {
      this.#heard.push(type);
    }
  }

  /**
   * What was heard since the last look is what the model announces, and what the call itself
   * lets expect, `"before"` or `"after"` it (rule 14). `null`: whatever the call lets hear.
   */
  #compareEvents(
    ofCall: readonly string[] | null,
    order: "before" | "after" = "before",
    wouldOpen = false,
  ): void {
    assertEquals(this.#wrong, [], this.where);
    const announced = this.#model.takeAnnounced();
    let heard = this.#heard;
    this.#heard = [];
    for (const [key, count] of this.#wouldOpen) {
      assertEquals(count, 1, `${this.where}: would_open in one isolate and generation ${key}`);
    }
    if (this.#ground.agreement !== "exact") return;
    if (wouldOpen) {
      const { generation } = this.#model.read(this.#clock.now());
      const keys = [...this.#wouldOpen.keys()].filter((key) => key.endsWith(` #${generation}`));
      assert(keys.length > 0, `${this.where}: no would_open`);
    }
    if (ofCall === null) {
      heard = heard.filter((event) => !/^(success|failure|ignored)/.test(event));
    }
    const calls = ofCall ?? [];
    const expected = order === "before" ? [...calls, ...announced] : [...announced, ...calls];
    assertEquals(heard, expected, `${this.where}: events`);
  }

  #compareRejection(error: unknown, expected: Admission): void {
    if (!(error instanceof CircuitBreakerOpenError) || expected.granted) throw error;
    assertEquals(error.state, expected.state, `${this.where}: state of the rejection`);
    if (expected.retryAfterMs !== null) {
      assertEquals(error.retryAfterMs, expected.retryAfterMs, `${this.where}: retryAfterMs`);
    }
  }

  async #compareReading(breaker: CircuitBreaker, flushed = false): Promise<void> {
    const now = this.#clock.now();
    const expected = this.#model.read(now);
    const snapshot = await breaker.snapshot();
    const metrics = await breaker.getMetrics();
    // What a single isolate has not sent yet is neither booked nor, at first, the circuit's birth.
    const settles = this.#ground.settle === true;
    assertEquals(await breaker.isOpen(), expected.met === "OPEN", `${this.where}: isOpen`);
    const { window, totals } = expected;
    // Beneath an override nothing moves on, so that OPEN may read as either once it has cooled down.
    const hidden = expected.override !== null && expected.state === "HALF_OPEN";
    assertEquals(
      {
        met: await breaker.getState(),
        state: hidden ? expected.state : snapshot.state,
        override: snapshot.override?.kind ?? null,
        until: snapshot.override?.until?.getTime() ?? null,
        generation: settles ? Math.max(1, snapshot.generation) : snapshot.generation,
        reopenCount: snapshot.reopenCount,
        openedAt: snapshot.openedAt?.getTime() ?? null,
        openUntil: expected.state === "OPEN" ? snapshot.openUntil?.getTime() : null,
        consecutiveFailures: metrics.consecutiveFailures,
        consecutiveSuccesses: metrics.consecutiveSuccesses,
        window: settles ? null : metrics.window,
        totals: this.#comparableTotals({
          successes: metrics.totalSuccesses,
          failures: metrics.totalFailures,
          slow: metrics.totalSlow,
          rejected: metrics.totalRejected,
        }, flushed),
        lastFailureAt: metrics.lastFailureAt?.getTime() ?? null,
        lastSuccessAt: settles ? null : metrics.lastSuccessAt?.getTime() ?? null,
      },
      {
        met: expected.met,
        state: expected.state,
        override: expected.override,
        until: expected.until,
        generation: settles ? Math.max(1, expected.generation) : expected.generation,
        reopenCount: expected.reopenCount,
        openedAt: expected.openedAt,
        openUntil: expected.state === "OPEN" ? expected.openUntil : null,
        consecutiveFailures: expected.consecutiveFailures,
        consecutiveSuccesses: expected.consecutiveSuccesses,
        window: settles ? null : { calls: window.successes + window.failures, ...window },
        totals: this.#comparableTotals(totals, flushed),
        lastFailureAt: expected.lastFailureAt,
        lastSuccessAt: settles ? null : expected.lastSuccessAt,
      },
      `${this.where}: what breaker and model read`,
    );
  }

  /** What feeds totals alone may wait for the next flush: rejections, and calls while disabled. */
  #comparableTotals(totals: Reading["totals"], flushed: boolean): Partial<Reading["totals"]> {
    if (flushed) return totals;
    return this.#did.disabled ? {} : { ...totals, rejected: 0 };
  }
}

type Begun =
  | { readonly granted: true; readonly end: (ending: Ending) => Promise<void> }
  | { readonly granted: false; readonly error: unknown };

/** Runs a function that hangs until it is ended, and waits until it runs or is refused. */
async function start(breaker: CircuitBreaker, via: "call" | "tryCall"): Promise<Begun> {
  const started = Promise.withResolvers<"started">();
  const gate = Promise.withResolvers<unknown>();
  let runs = 0;
  const fn = (): Promise<unknown> => {
    runs++;
    started.resolve("started");
    return gate.promise;
  };
  const done = via === "tryCall" ? breaker.tryCall(fn) : called(breaker.call(fn));
  const first = await Promise.race([started.promise, done]);
  if (first !== "started") {
    if (first.ok || !first.rejected) throw new Error("Neither run nor rejected");
    return { granted: false, error: first.error };
  }
  return {
    granted: true,
    async end(ending) {
      const { ok, value } = endingOf(ending);
      if (ok) gate.resolve(value);
      else gate.reject(value);
      const result = await done;
      assertEquals(runs, 1, "The function ran once");
      assertEquals(result.ok, ok, "The caller gets what the function gave");
      assert((result.ok ? result.value : result.error) === value, "The very value or error");
    },
  };
}

async function called(call: Promise<unknown>): Promise<CallResult<unknown>> {
  try {
    return { ok: true, source: "call", value: await call };
  } catch (error) {
    return error instanceof CircuitBreakerOpenError
      ? { ok: false, rejected: true, error, retryAfterMs: error.retryAfterMs }
      : { ok: false, rejected: false, error };
  }
}

async function admit(breaker: CircuitBreaker): Promise<Begun> {
  try {
    const permit = await breaker.admit();
    return {
      granted: true,
      async end(ending) {
        const outcome = outcomeOf(ending);
        if (outcome === "success") await permit.success();
        else if (outcome === "failure") await permit.failure(new Error("Broken"));
        else if (ending === "ignored") await permit.ignore();
        else await permit[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    return { granted: false, error };
  }
}

function outcomeOf(ending: Ending): "success" | "failure" | "neutral" {
  if (ending === "ignored" || ending === "dropped") return "neutral";
  return ending === "success" || ending === "slow_success" ? "success" : "failure";
}

/** What the called function gives. */
function endingOf(ending: Ending): { readonly ok: boolean; readonly value: unknown } {
  if (outcomeOf(ending) === "neutral") return { ok: false, value: new Ignored("Not now") };
  if (ending === "failed_response") {
    return { ok: true, value: new Response(null, { status: 503, headers: RETRY_AFTER }) };
  }
  return outcomeOf(ending) === "success"
    ? { ok: true, value: Symbol("value") }
    : { ok: false, value: new Error("Broken") };
}

/** Longer than some of the cooldowns, and than some of their limits. */
const RETRY_AFTER_MS = 5_000;
const RETRY_AFTER = { "Retry-After": `${RETRY_AFTER_MS / 1_000}` };
