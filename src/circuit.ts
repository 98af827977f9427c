/**
 * A circuit as its handles see it: it admits calls and settles them. There are two kinds: a circuit
 * on a store of this process, in `local_circuit.ts`, and a circuit on a shared store, in
 * `shared/circuit.ts`. This file has their common code.
 *
 * @module
 */

import { type Grant, type Known, type Refusal, SILENT, type Unit, UNKNOWN } from "./admission.ts";
import {
  announceAction,
  announceAnswer,
  announceCall,
  announceTransition,
  type Signature,
} from "./announce.ts";
import type { Plain } from "./call_form.ts";
import { quote } from "./checks.ts";
import type {
  AcquireRequest,
  Answer,
  Awaitable,
  Changed,
  CircuitRecord,
  Clock,
  Driver,
  FailureNote,
  ListPage,
  Override,
  OverrideRequest,
  PolicyRecord,
  RestoreRequest,
  Snapshot,
  Store,
  StoreRequest,
  TransitionRequest,
} from "./contract.ts";
import { CircuitBreakerOpenError } from "./errors.ts";
import type { Events } from "./events.ts";
import type { CircuitIdentity } from "./key.ts";
import {
  absentSnapshot,
  type Admission,
  admissionOf,
  isDriver,
  isLate,
  isSame,
  newId,
} from "./records.ts";
import { differingOptions } from "./rules/fingerprint.ts";
import { cooldownOf, ramp, reasonOf, retryAfter, tripping, type Verdict } from "./rules/machine.ts";
import { type Ending, type OtherCounts, SLOW_TRIAL } from "./rules/outcome.ts";
import type { CircuitPolicyData } from "./rules/policy.ts";
import type { Strategy } from "./rules/strategies.ts";
import { explainRefusal } from "./rules/snapshot.ts";

export type { Grant, Known, Refusal, Unit } from "./admission.ts";
export { UNCOUNTED, UNKNOWN } from "./admission.ts";
export type { Ending } from "./rules/outcome.ts";

/**
 * The property under which a store keeps its function that opens circuits. Registered globally, so
 * that a store of another copy of this package works, too.
 */
export const CIRCUITS: unique symbol = Symbol.for("@fuse/edge: circuits");

/** A store as the core sees it: a driver that can open circuits. */
export interface OpeningStore extends Store, Driver {
  /** An object rather than a function, so that a Proxy that wraps every method leaves it alone. */
  readonly [CIRCUITS]: CircuitKind;
}

/** The kind of circuits that a store opens. */
export interface CircuitKind {
  /** Called once for each store of a Fuse. Performs no I/O. */
  openerFor(store: NamedStore): Opener;
}

/** Opens the circuits of one store, and runs operations on many of them. */
export interface Opener {
  /** `true` if the last news about the store as a whole is a failure. */
  readonly failing: boolean;
  /** Opens a circuit. Performs no I/O. */
  open(identity: CircuitIdentity, policy: CircuitPolicyData): Circuit;
  /** Requests a page of circuits; with `always`, also during a back-off. */
  list(ask: () => Awaitable<ListPage>, always: boolean): Promise<ListPage>;
  /** Sends the pending outcomes of these circuits. Never rejects. */
  flush(circuits: readonly Circuit[]): Promise<void>;
  /**
   * Sends the store a read and a write that leave nothing behind. Rejects if the store cannot be
   * used.
   */
  check(): Promise<void>;
}

/** A store of a Fuse under its name, with everything that its circuits share. */
export interface NamedStore {
  readonly name: string;
  readonly driver: Driver;
  readonly clock: Clock;
  readonly events: Events;
  /** Names this isolate, in `lastFailure` and in the trail. */
  readonly instance: string | null;
  /** The number of its circuits that the Fuse remembers. */
  readonly maxCircuits: number;
  /** The time to wait for an answer, in ms. */
  readonly timeoutMs: number;
  /** The custom strategies of this isolate. */
  readonly strategies: Readonly<Record<string, Strategy>>;
  /** Draws which calls a ramp admits, and how long a slowed isolate waits: from 0, below 1. */
  readonly random: () => number;
  /** The `fetch` of guarded requests, in place of the global one. */
  readonly fetch?: typeof fetch | undefined;
  /** The circuits with unsent outcomes. They stay here when their handles are gone. */
  readonly unsent: Set<Circuit>;
}

/** Returns a store as the core uses it, or `null` if the value is not a store. */
export function openingStore(store: unknown): OpeningStore | null {
  if (typeof store !== "object" || store === null) return null;
  const { [CIRCUITS]: kind } = store as Partial<OpeningStore>;
  return typeof kind?.openerFor === "function" && isDriver(store) ? store as OpeningStore : null;
}

/**
 * The number of foreign policies that are distinguished: so many are a conflict that was already
 * reported.
 */
const MAX_REPORTED = 16;

/** A circuit of this isolate. Handles come and go; the circuit holds at most those of the last plain call. */
export abstract class Circuit {
  readonly identity: CircuitIdentity;
  readonly store: NamedStore;
  policy: CircuitPolicyData;
  /** The policy of the handles; `policy` may be the record's instead. */
  given: CircuitPolicyData;
  /** `true` once a handle with options has set the policy. */
  configured = false;
  /** `true` if a handle was made or called since the registry last evicted circuits. */
  used = false;
  /** Totals for collectors of metrics: listening to each call costs more than the call. */
  successes = 0;
  /** The other totals, from the first call on that did not simply succeed. */
  others: OtherCounts | null = null;
  /** The last form of plain calls. */
  plain: Plain | null = null;
  /** `true` once this isolate has recorded something. */
  protected wrote = false;
  /** The grant of a CLOSED or overridden circuit: the same object while the generation lasts. */
  protected opened: Grant = UNKNOWN;
  /** The sentence of the last rejection. */
  #sentence: (Admission & { readonly text: string }) | null = null;
  /** The override's generation in which `would_open` was announced. */
  #warned = -1;
  /** Fingerprints of foreign policies that were reported. */
  #reported: Set<string> | null = null;
  /** The last failure that this isolate saw, and the generation of its call. */
  #failure: { readonly under: Admission; readonly note: FailureNote } | null = null;

  constructor(identity: CircuitIdentity, policy: CircuitPolicyData, store: NamedStore) {
    // Every error and event shares it.
    this.identity = Object.freeze(identity);
    this.policy = this.given = policy;
    this.store = store;
  }

  /** `true` for this isolate's stand-in, which decides in place of a store that does not answer. */
  get local(): boolean {
    return false;
  }

  /** The other totals, to add to. */
  get counts(): OtherCounts {
    return this.others ??= { failure: 0, ignored: 0, slow: 0, rejected: 0 };
  }

  /** Decides whether a call may run. */
  abstract admit(unit: Unit): Awaitable<Grant | Refusal>;
  /** Records and announces the end of an admitted call. Never throws. */
  abstract settle(grant: Grant, ending: Ending, unit: Unit): Promise<void> | void;
  /** Counts a call that was rejected. Costs no round trip. */
  abstract countRejected(): void;
  /** Returns the Snapshot with this isolate's pending counts added. */
  abstract lay(snapshot: Snapshot): Snapshot;
  /** Returns the cached Snapshot. Performs no I/O. */
  abstract peek(): Known;
  /** Returns the store's Snapshot with this isolate's pending counts added. */
  abstract look(): Awaitable<Known>;
  /** Begins to send pending outcomes, in the background. Never rejects. */
  abstract flush(): Promise<void>;
  /** Reports pending outcomes as unconfirmed, and drops them. */
  abstract abandon(): void;
  /** Returns the store's clock, in ms, as far as it is known. */
  protected abstract storeNow(): number;
  /** Sends an operator's request to the store. */
  protected abstract operate(
    operation: string,
    ask: (driver: Driver) => Awaitable<Changed>,
  ): Awaitable<Changed>;

  /**
   * Settles a success without a listener or a change of state, as nearly all calls are. Returns
   * `false`, having done nothing, if the call may need more: then call `settle`.
   */
  abstract pass(grant: Grant, at: number): boolean;

  /** Sets an override over the state, or releases it (`null`). */
  async override(
    kind: Override | null,
    request: Pick<OverrideRequest, "until" | "reason" | "actor">,
  ): Promise<void> {
    const answer = await this.operate(
      "override",
      (driver) =>
        driver.override(this.identity.key, { ...this.request(newId()), kind, ...request }),
    );
    if (!answer.won) return;
    announceAction(this, kind ?? "released", request, kind === null ? null : request.until, answer);
  }

  /** Closes the circuit, and clears its evidence. */
  async reset({ reason, actor }: Signature): Promise<void> {
    const answer = await this.operate(
      "transition",
      (driver) =>
        driver.transition(this.identity.key, {
          ...this.request(newId()),
          to: "CLOSED",
          event: "reset",
          cooldownMs: 0,
          reason: reason ?? "reset",
          actor,
          expected: null,
        }),
    );
    if (answer.won) announceAction(this, "reset", { reason, actor }, null, answer);
  }

  /** Replaces the store's record. Returns whether it did. */
  async restore(
    record: CircuitRecord,
    existing: RestoreRequest["existing"],
    at: number,
  ): Promise<boolean> {
    const by = { reason: null, actor: null };
    const answer = await this.operate(
      "restore",
      (driver) =>
        driver.restore(record.key, { ...this.request(newId()), at, record, existing, ...by }),
    );
    if (answer.won) announceAction(this, "imported", by, null, answer);
    return answer.won;
  }

  /** Deletes the circuit from its store. */
  async remove(by: Signature): Promise<void> {
    const answer = await this.operate("remove", async (driver): Promise<Changed> => {
      const request = { ...this.request(newId()), ...by };
      const won = await driver.remove(this.identity.key, request);
      return { won, snapshot: absentSnapshot(request.at) };
    });
    if (answer.won) announceAction(this, "removed", by, null, answer);
  }

  /** Takes over the policy of the first handle that has one. */
  configure(policy: CircuitPolicyData): void {
    // Outcomes that this isolate recorded under the defaults are no mismatch.
    if (this.wrote) (this.#reported ??= new Set()).add(this.policy.hash);
    this.policy = this.given = policy;
    this.configured = true;
    // Plain calls use the policy of the time when their grant was made.
    this.opened = UNKNOWN;
  }

  /** Reports another policy for this circuit, once for each `id`. */
  reportMismatch(id: string, options: string[]): void {
    if ((this.#reported ??= new Set()).has(id)) return;
    if (this.#reported.size < MAX_REPORTED) this.#reported.add(id);
    this.store.events.alarm(
      "config_mismatch",
      { ...this.identity, options },
      () =>
        `circuit ${quote(this.identity.name)} has two policies, which differ in ${
          options.join(", ")
        }`,
    );
  }

  /** Returns the fields that every request has. */
  protected request(id: string): StoreRequest {
    const { clock, instance } = this.store;
    const request = { id, at: clock(), shape: this.policy.shape };
    return instance === null ? request : { ...request, instance };
  }

  /** Returns the request for admission of a call. */
  protected acquiring(id: string, token: string): AcquireRequest {
    const { halfOpenMaxConcurrent: max, halfOpenLeaseMs: leaseMs } = this.policy;
    return { ...this.request(id), token, max, leaseMs };
  }

  /**
   * Returns the request for the transition that is due. Read `expected` before the strategies run:
   * an error of a strategy or a cooldown is reported to listeners, which may change the circuit and
   * so make the decision void.
   */
  protected transition(
    due: Verdict,
    s: Snapshot,
    expected: Admission,
    retryAfterMs: number,
    id: string,
  ): TransitionRequest {
    const seen = this.#failure;
    const opens = due.to === "OPEN";
    const { events, random } = this.store;
    const report = (error: unknown) => events.report("cooldownMs", error);
    return {
      ...this.request(id),
      to: due.to,
      event: due.event,
      reason: due.reason,
      actor: null,
      cooldownMs: opens ? cooldownOf(s, this.policy, retryAfterMs, report, random) : 0,
      failuresBelow: this.policy.halfOpenFailureThreshold,
      lastFailure: opens && seen !== null && !isLate(seen.under, s) ? seen.note : null,
      policy: this.recording(),
      expected,
    };
  }

  /** Returns the policy for the circuit's record; `undefined` without one. */
  protected recording(): PolicyRecord | undefined {
    const { hash, recorded } = this.policy;
    return hash === "" ? undefined : recorded;
  }

  /** Returns the grant for a circuit that admits all calls, unless its ramp rejects the call. */
  protected open(s: Snapshot): Grant | Refusal {
    if (s.override?.kind === "disabled") return SILENT;
    if (!isSame(this.opened, s)) this.opened = { ...UNKNOWN, ...admissionOf(s) };
    if (this.policy.rampMs === undefined || s.override !== null || s.closedAt === null) {
      return this.opened;
    }
    const now = this.storeNow();
    const share = ramp(s.closedAt, now, this.policy);
    return share === 1 || this.store.random() < share ? this.opened : this.refuse(s, now);
  }

  /** Returns the grant of an `acquire`: a trial holds its slot under the token. */
  protected grant(s: Snapshot, token: string): Grant | Refusal {
    if (s.override !== null || s.state === "CLOSED") return this.open(s);
    return { ...UNKNOWN, ...admissionOf(s), lease: token };
  }

  /** Returns the refusal of a call. `now` is the store's clock, in ms. */
  refuse(s: Snapshot, now: number): Refusal {
    // Built once for each generation, because that costs more than the rest.
    if (this.#sentence === null || !isSame(this.#sentence, s)) {
      const text = explainRefusal(this.identity.name, s, now, this.policy.halfOpenMaxConcurrent);
      this.#sentence = { ...admissionOf(s), text };
    }
    return {
      refused: new CircuitBreakerOpenError(
        this.identity,
        s.override === null ? s.state : "OPEN",
        s.override?.kind ?? null,
        reasonOf(s) || null,
        retryAfter(s, now, this.policy),
        this.#sentence.text,
      ),
    };
  }

  /** Returns the form in which the end of a call is announced and counted. */
  outcome(grant: Grant, ending: Ending): "success" | "failure" | "ignored" {
    return ending.kind === "neutral"
      ? "ignored"
      : this.failed(grant, ending)
      ? "failure"
      : "success";
  }

  /**
   * Returns `true` if an ending counts as a failure. A slow trial does if `slow_calls` is a
   * strategy.
   */
  protected failed(grant: Grant, { kind, slow }: Ending): boolean {
    return kind === "failure" ||
      (slow && kind === "success" && grant.lease !== null && this.policy.slowFails);
  }

  /**
   * Remembers a failure, in case it opens the circuit. Returns `true` if the ending counts as one.
   */
  protected noteFailure(under: Grant, ending: Ending): boolean {
    if (!this.failed(under, ending)) return false;
    const { failure, at } = ending;
    const { instance } = this.store;
    this.#failure = { under, note: { at, ...failure ?? SLOW_TRIAL, instance } };
    return true;
  }

  /**
   * Announces the end of a call. Check `events.hearsCalls` first: computing `late` is expensive.
   */
  protected tellCall(grant: Grant, ending: Ending, late: boolean): void {
    if (grant.silent) return;
    announceCall(this, this.outcome(grant, ending), ending, late);
  }

  /** Announces the contents of an answer, including a foreign policy. */
  protected note(answer: Answer): void {
    // The store will detect what a stand-in detects.
    if (this.local) return;
    announceAnswer(this, answer);
    const { policyHash } = answer.snapshot;
    const { hash } = this.policy;
    if (policyHash !== hash && policyHash !== "" && hash !== "") {
      this.reportMismatch(policyHash, differingOptions(policyHash, hash));
    }
  }

  /** Announces, once for each override, that the circuit would have opened. */
  protected warn(s: Snapshot): void {
    if (s.override?.kind !== "metrics_only" || s.state !== "CLOSED") return;
    if (this.#warned === s.generation) return;
    const reason = tripping(s, this.policy);
    if (reason === null) return;
    this.#warned = s.generation;
    announceTransition(this, "would_open", s.state, "OPEN", reason, { snapshot: s });
  }
}
