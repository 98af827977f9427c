/**
 * Bounds in time: what must have happened by when. A bound follows from what an isolate can know,
 * and is judged only where its premises hold: no store answers across a partition, no circuit
 * closes without calls.
 *
 * @module
 */
import type { CircuitPolicyData } from "../../../src/rules/policy.ts";
import type { Call } from "./judges/caller_judge.ts";
import type { Row } from "./judges/trail_judge.ts";
import type { Scenario, Step } from "./scenario.ts";
import type { Verdicts } from "./violation.ts";

/** The diary of a scenario. */
export interface Log {
  readonly calls: readonly Call[];
  readonly trail: readonly Row[];
  readonly verdicts: Verdicts;
}

/** The longest duration of a call in these scenarios. */
const LONGEST_CALL_MS = 60;
const STORE_TIMEOUT_MS = 500;
/** Clocks run at most half a percent too fast or too slow; the rest is for rounding. */
const DRIFT = 1.01;

/** Checks a scenario against the bounds of its kind. */
export function judgeBounds(
  scenario: Scenario,
  policy: CircuitPolicyData,
  beganAt: number,
  log: Log,
): void {
  const world = new Bounds(scenario, policy, beganAt, log);
  if (scenario.kind === "dead" || scenario.kind === "cut") world.outage();
  if (scenario.kind === "forced") world.forced();
}

class Bounds {
  readonly #scenario: Scenario;
  readonly #policy: CircuitPolicyData;
  readonly #began: number;
  readonly #log: Log;
  /** The longest round trip. */
  readonly #tripMs: number;
  /** The end of the judged part; the end of the scenario is not judged here. */
  readonly #until: number;

  constructor(scenario: Scenario, policy: CircuitPolicyData, began: number, log: Log) {
    this.#scenario = scenario;
    this.#policy = policy;
    this.#began = began;
    this.#log = log;
    this.#tripMs = 2 * scenario.latencyMs[1] + 1;
    this.#until = began + (scenario.steps.at(-1)?.at ?? 0) + 1;
  }

  /** The upstream was dead for a while, for all isolates. */
  outage(): void {
    const { steps } = this.#scenario;
    const dead = steps.find((step) => step.do === "upstream");
    if (dead?.do !== "upstream") return;
    const from = this.#began + dead.at;
    const to = from + dead.forMs;
    const cut = steps.find((step) => step.do === "network" && step.will === "lose");
    const cutOff = cut?.do === "network" ? cut.isolate : null;
    const opened = this.#log.trail.find(({ event, at }) => event === "opened" && at >= from);
    // An isolate alone behind the partition can inform no other.
    if (cutOff === null || this.#scenario.clocks.length > 1) this.#opens(from, to, opened);
    if (opened !== undefined) this.#stops(opened.at, to, cutOff);
    // The replacement of a dead isolate begins anew.
    const cutOffs = this.#log.calls.filter(({ by }) => by.slot === cutOff).map(({ by }) =>
      by.number
    );
    for (const number of new Set(cutOffs)) this.#stopsAlone(number, from, to);
    this.#returns(to, cutOff);
  }

  /** A dead upstream is detected. */
  #opens(from: number, to: number, opened: Row | undefined): void {
    if (!this.#isRegular()) return;
    const { failureThreshold } = this.#policy;
    // Each isolate's first failure may include successes; the following ones are failures in a row.
    const rounds = (1 + failureThreshold) * this.#scenario.gapMs!;
    const by = from + rounds + 2 * LONGEST_CALL_MS + 3 * this.#tripMs;
    this.#check(
      by > Math.min(to, this.#until) || (opened !== undefined && opened.at <= by),
      "stops",
      () =>
        `The circuit opens ${this.#rel(opened?.at)}, the upstream is dead since ${this.#rel(from)}`,
    );
  }

  /** An isolate that can learn of the opening sends calls only until it has. */
  #stops(opened: number, to: number, cutOff: number | null): void {
    const { consistency, maxStalenessMs } = this.#policy;
    const told = new Map<number, number>();
    for (const { by, own, endedAt } of this.#log.calls) {
      if (own?.ok !== false || endedAt === null || endedAt < opened) continue;
      told.set(by.number, Math.min(told.get(by.number) ?? Infinity, endedAt));
    }
    for (const { by, ranAt, trial } of this.#log.calls) {
      if (ranAt === null || ranAt <= opened || ranAt > to || trial !== null) continue;
      if (by.slot === cutOff) continue;
      const until = this.#tripMs + (consistency === "strong" ? opened : Math.min(
        told.get(by.number) ?? Infinity,
        opened + maxStalenessMs * DRIFT,
      ));
      this.#check(
        ranAt <= until,
        "stops",
        () =>
          `Isolate ${by.number} sends a call to a dead upstream ${
            this.#rel(ranAt)
          }; the circuit is ` +
          `open since ${this.#rel(opened)}, and it must have known ${this.#rel(until)}`,
      );
    }
  }

  /**
   * An isolate that cannot learn of it detects the outage itself, and then sends no more trials
   * than a cooldown allows.
   */
  #stopsAlone(number: number, from: number, to: number): void {
    const own = this.#log.calls.filter(({ by }) => by.number === number);
    const lastSuccess = own.reduce(
      (last, { own, endedAt }) => own?.ok && endedAt! < to ? Math.max(last, endedAt!) : last,
      from,
    );
    const failures = own
      .filter(({ own, endedAt }) => own?.ok === false && endedAt! > lastSuccess && endedAt! < to)
      .map(({ endedAt }) => endedAt!)
      .sort((a, b) => a - b);
    const enough = failures[this.#policy.failureThreshold - 1];
    if (enough === undefined) return;
    const known = enough + STORE_TIMEOUT_MS;
    const ran = own.filter(({ ranAt }) => ranAt !== null && ranAt > known && ranAt < to).length;
    const { halfOpenMaxConcurrent, baseCooldownMs } = this.#policy;
    const allowed = halfOpenMaxConcurrent * (1 + Math.ceil((to - known) / baseCooldownMs));
    this.#check(
      ran <= allowed,
      "stops",
      () =>
        `Isolate ${number}, cut off, sends ${ran} calls to a dead upstream after ` +
        `${this.#rel(known)}, ${allowed} allowed`,
    );
  }

  /** The upstream is well: the circuit closes, and every isolate learns of it. */
  #returns(from: number, cutOff: number | null): void {
    if (!this.#isRegular()) return;
    const gapMs = this.#scenario.gapMs!;
    const { baseCooldownMs, successThreshold, revalidateMs } = this.#policy;
    const trip = this.#tripMs;
    const trialMs = revalidateMs + gapMs + LONGEST_CALL_MS + 3 * trip;
    // A last trial fails, the cooldown passes, a lost slot is freed, trials succeed.
    const closed = from + LONGEST_CALL_MS + 2 * trip + baseCooldownMs + this.#lostSlotMs() +
      successThreshold * trialMs;
    const heard = closed + revalidateMs + gapMs + 2 * trip;
    // An isolate behind the partition leaves the store alone for a while, and its own opening has
    // to pass.
    const found = heard + 16_000 + STORE_TIMEOUT_MS + baseCooldownMs;
    for (const { at, by, ranAt } of this.#log.calls) {
      const by_ = by.slot === cutOff ? found : heard;
      if (at < by_ || at >= this.#until || !by.alive) continue;
      this.#check(
        ranAt !== null,
        "returns",
        () =>
          `A call of isolate ${by.number} ${
            this.#rel(at)
          } does not run; the upstream is well since ` +
          `${this.#rel(from)}, and traffic must be back ${this.#rel(by_)}`,
      );
    }
  }

  /**
   * The time for which an unused slot may be taken: none, where all isolates live and every request
   * counts once.
   */
  #lostSlotMs(): number {
    const { steps } = this.#scenario;
    const loses = steps.some((step) => step.do === "die" || step.do === "network");
    return loses ? this.#policy.halfOpenLeaseMs : 0;
  }

  /** An operator forced the circuit open. */
  forced(): void {
    const forced = this.#log.trail.find(({ event }) => event === "override");
    if (forced === undefined) return;
    const { consistency, maxStalenessMs } = this.#policy;
    const until = forced.at + this.#tripMs +
      (consistency === "strong" ? 0 : maxStalenessMs * DRIFT);
    for (const { by, ranAt } of this.#log.calls) {
      if (ranAt === null || ranAt >= this.#until) continue;
      this.#check(
        ranAt <= until,
        "forced",
        () =>
          `A call of isolate ${by.number} runs ${
            this.#rel(ranAt)
          }; the circuit is forced open since ` +
          `${this.#rel(forced.at)}, and everybody must obey ${this.#rel(until)}`,
      );
    }
  }

  /** Returns whether every isolate that calls at all continues to call. */
  #isRegular(): boolean {
    const { steps, gapMs } = this.#scenario;
    const last = new Map<number, number>();
    const end = steps.at(-1)?.at ?? 0;
    for (const step of steps.filter(isCall)) {
      if (step.at - (last.get(step.isolate) ?? 0) > gapMs! + 1) return false;
      last.set(step.isolate, step.at);
    }
    return last.size > 0 && [...last.values()].every((at) => end - at <= gapMs! + 1);
  }

  #check: Verdicts["check"] = (...what) => this.#log.verdicts.check(...what);

  #rel(at: number | undefined): string {
    return at === undefined ? "never" : `at ${(at - this.#began).toFixed(0)} ms`;
  }
}

function isCall(step: Step): step is Extract<Step, { do: "call" }> {
  return step.do === "call";
}
