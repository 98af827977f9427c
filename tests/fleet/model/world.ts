/**
 * Plays a session on the real breaker, and on the model beside it where both must agree.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  type CircuitBreaker,
  type CircuitPolicy,
  createFuse,
  type Fuse,
  isStoreUnavailableError,
} from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { ID_MEMORY_MS, type Store } from "@fuse/edge/store";
import { seeded, settled } from "../../support/virtual_time.ts";
import { begin, Ignored, isSlow, outcomeOf, RETRY_AFTER_MS } from "./calls.ts";
import { type Case, CASES, STRATEGY_OF_THE_USER } from "./cases.ts";
import { compareReading, compareRejection } from "./compare.ts";
import type { Command, Ending, Session, Step, Via } from "./commands.ts";
import { Ear } from "./ear.ts";
import { drawAt } from "./strategies.ts";
import { Model, type ModelOverride, type ModelPermit } from "./model.ts";

/** The conditions of a session. */
export interface Ground {
  /** The isolates' store. */
  readonly store: Store;
  /** Options that replace the session's policy, for example `consistency`. */
  readonly options: CircuitPolicy;
  /**
   * `"exact"`: the breaker agrees with the model after each command. `"settled"`: no fault occurs,
   * so that everything is accounted for at the end. `"faulty"`: it only never does what it must
   * not.
   */
  readonly agreement: "exact" | "settled" | "faulty";
  /**
   * Lets the background work come to rest after each call, so that a single isolate that decides by
   * its view agrees as well.
   */
  readonly settle?: boolean;
  /** Resolves once no request to a real store is pending. */
  quiet?(): Promise<void>;
  /** The time that isolates wait for the store, in real ms. */
  readonly storeTimeoutMs?: number;
  /** Ends all faults. */
  heal?(): void;
}

/** The time when sessions begin: not on a segment's edge. */
const START = 1_700_000_000_123;

/**
 * The longest delay of a request in the network, in ms. An isolate repeats a tally for half the
 * time that stores remember its id: a request that arrived another half later would count twice on
 * any store.
 */
const UNDER_WAY_MS = ID_MEMORY_MS / 2;

const OPERATOR = {
  forceOpen: "forced_open",
  forceClose: "forced_closed",
  disable: "disabled",
  metricsOnly: "metrics_only",
} as const satisfies Record<string, ModelOverride>;

/** Plays a session to its end. Throws at the first disagreement. */
export async function play(
  session: Session,
  ground: (clock: FakeClock, session: Session) => Ground | Promise<Ground>,
): Promise<void> {
  const clock = new FakeClock(START);
  const world = new World(session, await ground(clock, session), clock);
  // The jitter of back-offs is drawn from here, so that a session repeats exactly.
  const { random } = Math;
  Math.random = seeded(session.faults);
  try {
    for (const [index, command] of session.commands.entries()) {
      world.where = `command ${index} ${JSON.stringify(command)}`;
      await world.play(command);
    }
    world.where = "the end";
    await world.finish();
  } finally {
    await world.dispose();
    Math.random = random;
  }
}

/** A call or a permit that has begun. */
interface Held {
  readonly via: Via;
  /** Lets it end. Resolves once the breaker has answered the caller. */
  end(ending: Ending): Promise<void>;
  readonly permit: ModelPermit | null;
  readonly isolate: number;
}

/** An action of an operator. */
type OperatorCommand = Extract<Command, { do: keyof typeof OPERATOR | "release" | "reset" }>;

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
  readonly #ear: Ear;
  #booted = 0;
  /** All requests that were sent before this moment have arrived. */
  #arrivedAt = START;
  /** The totals of the whole session: calls that counted, calls that were refused. */
  readonly #did = { ended: 0, rejected: 0, disabled: false, died: false };

  constructor(session: Session, ground: Ground, clock: FakeClock) {
    this.#clock = clock;
    this.#ground = ground;
    this.#case = CASES[session.policy];
    this.#model = new Model(this.#case.model);
    this.#ear = new Ear({
      faults: ground.agreement === "faulty",
      nonsense: typeof this.#case.options.cooldownMs === "function",
      guesses: ground.options.consistency === "strong",
    });
    for (let isolate = 0; isolate < session.isolates; isolate++) this.#boot(isolate);
  }

  async play(command: Command): Promise<void> {
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
        await this.#step(this.#length(command.step));
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
    if (this.#ground.agreement === "exact") await this.#compareReadings();
  }

  /** Ends everything, and compares admitted and refused calls with the counts. */
  async finish(): Promise<void> {
    for (const held of this.#held.splice(0)) await this.#end(held, "success");
    this.#ground.heal?.();
    for (let round = 0; round < 12; round++) {
      for (const fuse of [...this.#retired, ...this.#fuses]) await fuse.flush();
      if (this.#ground.agreement === "exact") break;
      // Longer than any back-off, within the time that unsent tallies are kept.
      await this.#step(2_000);
    }
    this.#compareEvents([]);
    // A fresh isolate knows only the contents of the store.
    this.#boot(this.#fuses.length);
    const last = this.#breaker(this.#fuses.length - 1);
    if (this.#ground.agreement === "exact") await this.#compareReadings(true);
    // A write, so that an override past its `until` is released, for the model too.
    await last.reset();
    this.#model.reset(this.#clock.now());
    this.#compareEvents([]);
    const { generation, metrics } = await last.snapshot();
    const counted = metrics.totalSuccesses + metrics.totalFailures;
    if (this.#ground.agreement === "faulty") {
      assert(counted <= this.#did.ended, `${counted} calls counted of ${this.#did.ended}`);
      assert(metrics.totalRejected <= this.#did.rejected, "More rejections counted than made");
      if (this.#did.died || this.#ear.unconfirmed > 0) return;
      assertEquals(counted, this.#did.ended, "Calls that ended and are not in the totals");
      return;
    }
    assertEquals(counted, this.#did.ended, "Calls that ended and are not in the totals");
    assertEquals(metrics.totalRejected, this.#did.rejected, "Rejections not in the totals");
    assertEquals(
      this.#ear.changes,
      Math.max(0, generation - 1),
      "Each generation after the first is announced exactly once",
    );
    if (this.#ground.agreement !== "exact") return;
    assertEquals(this.#ear.expired, this.#model.expiries, "Overrides that expired");
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

  /**
   * Asks to run a call, which then hangs until it is ended. Returns `undefined` if it was refused.
   */
  async #begin(isolate: number, via: Via): Promise<Held | undefined> {
    const breaker = this.#breaker(isolate);
    const begun = await begin(breaker, via);
    await this.#rest();
    const expected = this.#model.admit(this.#clock.now());
    if (!begun.granted) this.#did.rejected++;
    if (this.#ground.agreement === "exact") {
      assertEquals(begun.granted, expected.granted, `${this.where}: admitted`);
      if (!begun.granted) compareRejection(begun.error, expected, this.where);
    }
    this.#compareEvents(begun.granted ? [] : ["rejected"], "after");
    if (!begun.granted) return undefined;
    const permit = expected.granted ? expected.permit : null;
    return { via, end: begun.end, permit, isolate: isolate % this.#fuses.length };
  }

  async #end(held: Held, ending: Ending): Promise<void> {
    if (isSlow(ending)) await this.#step(this.#slowMs());
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
      disabled ? null : [this.#ear.nameOf(name, settled.late)],
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
      // An operator, unlike a caller, receives the error that the store did not answer.
      if (this.#ground.agreement !== "faulty" || !isStoreUnavailableError(error)) throw error;
    }
  }

  async #rest(): Promise<void> {
    if (this.#ground.settle === true) await settled();
    await this.#ground.quiet?.();
  }

  async #step(ms: number): Promise<void> {
    const now = this.#clock.now();
    const then = now + ms;
    if (ms < 0 && !this.#model.mayGoBack(now, then)) return;
    if (Math.abs(then - this.#arrivedAt) >= UNDER_WAY_MS) {
      await settled();
      await this.#ground.quiet?.();
      this.#arrivedAt = then;
    }
    this.#clock.set(then);
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
      random: () => drawAt(this.#clock.now()),
      strategies: STRATEGY_OF_THE_USER,
      storeTimeoutMs: this.#ground.storeTimeoutMs,
    });
    const number = this.#booted++;
    fuse.on("*", (event) => this.#ear.hear(number, event));
    this.#fuses[isolate] = fuse;
    this.#breakers[isolate] = fuse.make("model", {
      ...this.#case.options,
      ...this.#ground.options,
      ignore: [Ignored],
    });
  }

  /** Replaces an isolate. Where faults are allowed, the old one dies. */
  #restart(isolate: number): void {
    const old = this.#fuses[isolate];
    // The new isolate cannot know outcomes that the old one has not flushed.
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

  /**
   * Compares the events since the last look with those of the model and those that the call allows,
   * `"before"` or `"after"` it (rule 14). `null` allows any event of the call.
   */
  #compareEvents(
    ofCall: readonly string[] | null,
    order: "before" | "after" = "before",
    wouldOpen = false,
  ): void {
    const announced = this.#model.takeAnnounced();
    let heard = this.#ear.take(this.where);
    if (this.#ground.agreement !== "exact") return;
    // The view does not flush successes early for a warning: it may come later.
    if (wouldOpen && this.#ground.settle !== true) {
      const { generation } = this.#model.read(this.#clock.now());
      assert(this.#ear.hasWarned(generation), `${this.where}: no would_open`);
    }
    if (ofCall === null) {
      heard = heard.filter((event) => !/^(success|failure|ignored)/.test(event));
    }
    const calls = ofCall ?? [];
    const expected = order === "before" ? [...calls, ...announced] : [...announced, ...calls];
    assertEquals(heard, expected, `${this.where}: events`);
  }

  async #compareReadings(flushed = false): Promise<void> {
    const totals = flushed ? "all" : this.#did.disabled ? "none" : "counted";
    const view = this.#ground.settle === true;
    const expected = this.#model.read(this.#clock.now());
    for (const breaker of this.#breakers) {
      await compareReading(breaker, expected, { where: this.where, totals, view });
    }
    // Reading moves no circuit and emits no event.
    this.#compareEvents([]);
  }
}
