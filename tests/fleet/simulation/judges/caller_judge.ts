/**
 * Judges the callers: their results, the owners of trials, and that every call is counted.
 *
 * @module
 */
import {
  type CallResult,
  CallTimeoutError,
  type FuseEvent,
  isCircuitBreakerOpenError,
  isStoreUnavailableError,
} from "@fuse/edge";
import type { CircuitPolicyData } from "../../../../src/rules/policy.ts";
import type { AdmissionJudge } from "./admission_judge.ts";
import type { Sender } from "../network.ts";
import type { Delivery } from "./trail_judge.ts";
import type { Verdicts } from "../violation.ts";

/** One call, from the caller's side. */
export interface Call {
  readonly by: Sender;
  /**
   * The time of the call, and the time at which its function began to run; `null` if it did not.
   */
  readonly at: number;
  ranAt: number | null;
  runs: number;
  /** Whether it runs as a half-open trial that the store granted. */
  trial: string | null;
  /** The function's result, once there is one. */
  own: { readonly ok: boolean; readonly value: unknown } | null;
  endedAt: number | null;
  /** The reason for which the caller gave up. */
  aborted: unknown;
  settled: boolean;
  /** Whether the upstream was dead when it ran. */
  dead: boolean;
}

/** The outcomes of an isolate's calls. */
interface Sums {
  calls: number;
  failures: number;
  rejected: number;
}

/** The outcomes in an isolate's tallies. */
export type Recorded = ReadonlyMap<number, Sums>;

/** The judge of callers. */
export class CallerJudge {
  readonly #verdicts: Verdicts;
  readonly #policy: CircuitPolicyData;
  readonly #admissions: AdmissionJudge;
  readonly #now: () => number;
  /** The store's clock. */
  readonly #storeNow: () => number;
  /** All calls, in order. */
  readonly calls: Call[] = [];
  /** Running trials by token: the generation, and the end of the slot. */
  readonly #running = new Map<string, { readonly generation: string; readonly until: number }>();
  readonly #tried = new Set<string>();
  readonly #ended = new Map<number, Sums>();
  readonly #unconfirmed = new Map<number, Sums>();

  constructor(
    policy: CircuitPolicyData,
    verdicts: Verdicts,
    admissions: AdmissionJudge,
    now: () => number,
    storeNow: () => number,
  ) {
    this.#policy = policy;
    this.#verdicts = verdicts;
    this.#admissions = admissions;
    this.#now = now;
    this.#storeNow = storeNow;
  }

  /** A caller calls. */
  call(by: Sender): Call {
    const call: Call = {
      ...{ by, at: this.#now(), ranAt: null, runs: 0, trial: null, own: null },
      ...{ endedAt: null, aborted: undefined, settled: false, dead: false },
    };
    this.calls.push(call);
    return call;
  }

  /** The function runs, in the step in which this answer was delivered. */
  runs(call: Call, delivery: Delivery | null): void {
    call.ranAt = this.#now();
    call.runs++;
    this.#admissions.runs(call);
    this.#check(call.runs === 1, "callers", () => `A function runs ${call.runs} times`);
    if (delivery?.request.do !== "acquire") return;
    const { request: { body }, said: { granted, snapshot: s }, life } = delivery;
    this.#check(granted!, "trials", () => "A call runs whose admission the store has refused");
    if (!granted || s.state !== "HALF_OPEN" || s.override !== null) return;
    const { token, leaseMs, max } = body;
    call.trial = token;
    this.#check(!this.#tried.has(token), "trials", () => `Two calls run on one slot, ${token}`);
    this.#tried.add(token);
    const generation = `${life} ${s.generation}`;
    const now = this.#storeNow();
    // A trial that misses its deadline gives its slot back before its caller hears of it. Clocks drift.
    const { callTimeoutMs = Infinity } = this.#policy;
    const until = Math.min(s.now + leaseMs, now + 0.99 * callTimeoutMs);
    this.#running.set(token, { generation, until });
    const running = [...this.#running.values()]
      .filter((trial) => trial.generation === generation && trial.until > now);
    this.#check(
      running.length <= max,
      "trials",
      () => `${running.length} trials run in generation ${s.generation}, ${max} allowed`,
    );
  }

  /** The function returns or throws. */
  ends(call: Call, ok: boolean, value: unknown): void {
    call.own = { ok, value };
    call.endedAt ??= this.#now();
    if (call.trial !== null) this.#running.delete(call.trial);
  }

  /** The caller gives up. */
  aborts(call: Call, reason: unknown): void {
    if (!call.settled) call.aborted = reason;
    // The slot is given back in this turn, and the caller is answered once the store has it.
    if (call.trial !== null) this.#running.delete(call.trial);
  }

  /** The caller has its answer. */
  settles(call: Call, result: CallResult<unknown, unknown>): void {
    this.#check(!call.settled, "callers", () => "A call is answered twice");
    call.settled = true;
    call.endedAt ??= this.#now();
    if (call.trial !== null) this.#running.delete(call.trial);
    const outcome = this.#outcome(call, result);
    const sums = this.#sums(this.#ended, call.by.number);
    if (outcome === "neutral") this.#admissions.ignores(call);
    if (outcome === "rejected") sums.rejected++;
    if (outcome === "success" || outcome === "failure") sums.calls++;
    if (outcome === "failure") sums.failures++;
    this.#check(
      outcome !== null,
      "callers",
      () =>
        `A call ${
          call.runs === 0 ? "that did not run" : `that gave ${show(call.own?.value)}`
        } is ` +
        `answered with ${show(result.ok ? result.value : result.error)}`,
    );
  }

  /** An isolate emits an event. */
  hear(by: Sender, event: FuseEvent): void {
    if (event.type !== "unconfirmed") return;
    const sums = this.#sums(this.#unconfirmed, by.number);
    sums.calls += event.successes + event.failures;
    sums.failures += event.failures;
    sums.rejected += event.rejected;
  }

  /** Whether every call of living isolates is recorded. */
  isCounted(recorded: Recorded): boolean {
    return this.#miscounted(recorded) === null;
  }

  /** All living isolates have sent all outcomes. */
  finish(recorded: Recorded): void {
    const open = this.calls.find((call) => !call.settled && call.by.alive);
    this.#check(
      open === undefined,
      "callers",
      () => `A call of isolate ${open?.by.number} at ${open?.at} is never answered`,
    );
    const wrong = this.#miscounted(recorded);
    this.#check(wrong === null, "tallies", () => wrong!);
    this.#admissions.finish(new Set(this.calls.map(({ by }) => by)));
  }

  #miscounted(recorded: Recorded): string | null {
    // A slow trial may count as failed; the sum is the same.
    const fields = this.#policy.slowFails
      ? ["calls", "rejected"] as const
      : ["calls", "failures", "rejected"] as const;
    for (const { number, alive } of new Set(this.calls.map(({ by }) => by))) {
      const ended = this.#sums(this.#ended, number);
      const counted = recorded.get(number) ?? { calls: 0, failures: 0, rejected: 0 };
      const unsure = this.#sums(this.#unconfirmed, number);
      for (const field of fields) {
        // A dead isolate loses unsent outcomes, and its callers get no event of sent ones.
        const [least, most] = alive
          ? [ended[field] - unsure[field], ended[field]]
          : [0, this.calls.filter(({ by }) => by.number === number).length];
        if (least <= counted[field] && counted[field] <= most) continue;
        return `Of isolate ${number}, ${counted[field]} ${field} are recorded, ` +
          `${least === most ? least : `${least} to ${most}`} there were`;
      }
    }
    return null;
  }

  #check: Verdicts["check"] = (...what) => this.#verdicts.check(...what);

  #sums(of: Map<number, Sums>, number: number): Sums {
    let sums = of.get(number);
    if (sums === undefined) of.set(number, sums = { calls: 0, failures: 0, rejected: 0 });
    return sums;
  }

  /** The part of an answer about the call; `null` if it is not this call's answer. */
  #outcome(
    { runs, own, aborted, ranAt, endedAt }: Call,
    result: CallResult<unknown, unknown>,
  ): "success" | "failure" | "neutral" | "rejected" | null {
    if (result.ok) return runs === 1 && own?.ok && own.value === result.value ? "success" : null;
    const { error } = result;
    if (runs === 0) {
      if (aborted !== undefined && error === aborted) return "neutral";
      if (isCircuitBreakerOpenError(error)) return "rejected";
      return isStoreUnavailableError(error) && this.#policy.onStoreError === "reject"
        ? "rejected"
        : null;
    }
    if (aborted !== undefined && error === aborted) return "neutral";
    if (own?.ok === false && own.value === error) return "failure";
    const { callTimeoutMs = Infinity } = this.#policy;
    return error instanceof CallTimeoutError && endedAt! - ranAt! >= callTimeoutMs
      ? "failure"
      : null;
  }
}

function show(value: unknown): string {
  return value instanceof Error ? `${value.name} (${value.message})` : String(value);
}
