/**
 * A circuit as its handles see it: admits calls and settles them. Here is what its two kinds have
 * in common: `local_circuit.ts`, on a store of this process, and `view.ts`, on a shared one.
 *
 * @module
 */

import { CircuitBreakerOpenError, type StoreUnavailableError } from "./errors.ts";
import type { Events } from "./events.ts";
import { type CircuitIdentity, identify } from "./key.ts";
import { retryAfter, tripping, type Verdict } from "./rules/machine.ts";
import type { Kind } from "./rules/outcome.ts";
import { received } from "./checks.ts";
import { type CircuitPolicyData, differingOptions } from "./rules/policy.ts";
import { dateOf, explain, type Reading, toCircuitSnapshot } from "./rules/snapshot.ts";
import type {
  AcquireRequest,
  Answer,
  Awaitable,
  Changed,
  CircuitRecord,
  CircuitState,
  Clock,
  Override,
  OverrideRequest,
  RestoreRequest,
  Snapshot,
  Store,
  TransitionRequest,
  Trouble,
} from "./contract.ts";
import { TOTALS_ONLY } from "./records.ts";

/** A call may run. What its ending will be recorded under. */
export interface Grant {
  readonly refused: null;
  readonly epoch: string;
  readonly generation: number;
  /** The half-open slot it holds. */
  readonly lease: string | null;
  /** Under `disable`: no events. */
  readonly silent: boolean;
  /** Granted by this isolate's own breaker, or by nobody, while the store did not answer. */
  readonly alone: Grant | null;
}

/** A call may not run, and why. */
export interface Refusal {
  readonly refused: CircuitBreakerOpenError | StoreUnavailableError;
}

/** How a call ended. */
export interface Ending {
  readonly kind: Kind;
  readonly slow: boolean;
  readonly durationMs: number;
  readonly error: unknown;
  /** What the upstream asked for. */
  readonly retryAfterMs: number;
  /** When, on the Fuse's clock. */
  readonly at: number;
}

/** Where the work of one request goes that need not be waited for. */
export interface Unit {
  /** Answers with what must be waited for all the same: a Worker drops what nobody holds. */
  background(work: Promise<unknown>): Promise<unknown> | undefined;
}

/** What is known of a circuit: a Snapshot, the store's clock now, and how old it is. */
export interface Known {
  readonly snapshot: Snapshot;
  readonly now: number;
  readonly ageMs: number;
}

/** What the circuits of one store have in common. */
export interface Surroundings {
  readonly clock: Clock;
  readonly events: Events;
  /** Those that have something to send. It outlasts their being made: nothing pending is forgotten. */
  readonly unsent: Set<Circuit>;
}

/** Admitted before anything was known of the circuit. */
export const UNKNOWN: Grant = {
  refused: null,
  epoch: "",
  generation: 0,
  lease: null,
  silent: false,
  alone: null,
};

/** Its ending feeds lifetime totals only. */
export const UNCOUNTED: Grant = { ...UNKNOWN, generation: TOTALS_ONLY };

const SILENT: Grant = { ...UNCOUNTED, silent: true };

const UNSAID = { epoch: "", generation: -1, state: "CLOSED" as CircuitState, text: "" };

/** A circuit of this isolate. Handles come and go; it holds none of their functions. */
export abstract class Circuit {
  readonly identity: CircuitIdentity;
  policy: CircuitPolicyData;
  /** Whether somebody gave options for it, so that the policy stands. */
  fixed = false;
  /** Whether this isolate has recorded anything in it. */
  protected wrote = false;
  /** Whether a handle was made of it, or called, since room was last looked for. */
  used = false;
  protected readonly store: Store;
  protected readonly around: Surroundings;
  /** For a circuit that lets everybody through: the same object as long as the generation lasts. */
  protected opened: Grant = UNKNOWN;
  /** The override's generation in which `would_open` was announced. */
  #warned = -1;
  /** Foreign fingerprints that were reported. */
  #reported: Set<string> | null = null;

  constructor(
    identity: CircuitIdentity,
    policy: CircuitPolicyData,
    store: Store,
    around: Surroundings,
  ) {
    // It is handed out with every error and event.
    this.identity = Object.freeze(identity);
    this.policy = policy;
    this.store = store;
    this.around = around;
  }

  /** Whether this isolate's own breaker announces, in place of a store that does not answer. */
  protected get local(): boolean {
    return false;
  }

  /** Whether a call may run. */
  abstract admit(unit: Unit): Awaitable<Grant | Refusal>;
  /** Records how an admitted call ended, and tells the listeners. Never throws. */
  abstract settle(grant: Grant, ending: Ending, unit: Unit): Promise<void> | void;
  /** Counts a call that was not let through. Costs no trip. */
  abstract countRejected(): void;
  /** The Snapshot with this isolate's pending counts laid over. */
  abstract lay(snapshot: Snapshot): Snapshot;
  /** What this isolate knows, without I/O. */
  abstract peek(): Known;
  /** What the store knows, with this isolate's pending counts laid over. */
  abstract look(): Awaitable<Known>;
  /** Sends what is pending. */
  abstract flush(): Promise<void>;
  /** Reports what is pending as unconfirmed, and lets it go. */
  abstract abandon(): void;
  /** Asks the store for an operator. */
  protected abstract operate(
    operation: string,
    ask: (store: Store) => Awaitable<Changed>,
  ): Awaitable<Changed>;

  /** Lays an override over the state, or releases it (`null`). */
  async override(
    kind: Override | null,
    request: Pick<OverrideRequest, "until" | "reason" | "actor">,
  ): Promise<void> {
    const answer = await this.operate(
      "override",
      (store) => store.override(this.identity.key, { ...this.request(newId()), kind, ...request }),
    );
    if (!answer.won) return;
    const type = kind ?? "released";
    this.#tellOperator(type, request, kind === null ? null : request.until, answer);
  }

  /** Closes and clears. */
  async reset(reason: string | null, actor: string | null): Promise<void> {
    const answer = await this.operate("transition", (store) =>
      store.transition(this.identity.key, {
        ...this.request(newId()),
        to: "CLOSED",
        event: "reset",
        cooldownMs: 0,
        reason: reason ?? "reset",
        actor,
        expected: null,
      }));
    if (answer.won) this.#tellOperator("reset", { reason, actor }, null, answer);
  }

  /** Puts a record in place of what the store holds. Answers whether it did. */
  async restore(
    record: CircuitRecord,
    existing: RestoreRequest["existing"],
    at: number,
  ): Promise<boolean> {
    const by = { reason: null, actor: null };
    const answer = await this.operate(
      "restore",
      (store) =>
        store.restore(record.key, { ...this.request(newId()), at, record, existing, ...by }),
    );
    if (answer.won) this.#tellOperator("imported", by, null, answer);
    return answer.won;
  }

  /** What a reader goes by at this moment of the store's clock. */
  reading(now: number): Reading {
    return { now, maxCooldownMs: this.policy.maxCooldownMs };
  }

  /** What every request carries. */
  protected request(id: string): { id: string; at: number; shape: CircuitPolicyData["shape"] } {
    return { id, at: this.around.clock(), shape: this.policy.shape };
  }

  /** The grant for a circuit that lets everybody through. */
  protected open(s: Snapshot): Grant {
    if (s.override?.kind === "disabled") return SILENT;
    const grant = this.opened;
    if (grant.generation === s.generation && grant.epoch === s.epoch) return grant;
    return this.opened = { ...UNKNOWN, epoch: s.epoch, generation: s.generation };
  }

  /**
   * Settles a success of which nobody is told and that moves nothing, the way of nearly all calls.
   * Answers `false`, having done nothing, when there may be more to it: `settle` it then.
   */
  pass(_grant: Grant, _at: number): boolean {
    return false;
  }

  /** Why a call is not let through. `now` is the store's clock. */
  protected refuse(s: Snapshot, now: number): Refusal {
    const { override } = s;
    const state = override === null ? s.state : "OPEN";
    return {
      refused: new CircuitBreakerOpenError(
        this.identity,
        state,
        override?.kind ?? null,
        (override === null ? s.reason : override.reason) || null,
        retryAfter(s, now, this.policy),
        this.#explain(s, now),
      ),
    };
  }

  #why: typeof UNSAID = UNSAID;

  /** The sentence of a rejection, said once a generation: building it costs more than the rest. */
  #explain(s: Snapshot, now: number): string {
    const { epoch, generation, state } = s;
    const said = this.#why;
    if (said.generation === generation && said.epoch === epoch && said.state === state) {
      return said.text;
    }
    const text = explain(this.identity.name, s, this.reading(now));
    this.#why = { epoch, generation, state, text };
    return text;
  }

  /** The permission that an `acquire` gave: a trial holds its slot under the token. */
  protected grant(s: Snapshot, token: string): Grant {
    if (s.override !== null || s.state === "CLOSED") return this.open(s);
    return { ...UNKNOWN, epoch: s.epoch, generation: s.generation, lease: token };
  }

  /** Asks to let a call through. */
  protected acquiring(id: string, token: string): AcquireRequest {
    const { halfOpenMaxConcurrent: max, halfOpenLeaseMs: leaseMs, maxCooldownMs, shape } =
      this.policy;
    return { id, at: this.around.clock(), shape, token, max, leaseMs, maxCooldownMs };
  }

  /**
   * Asks for the transition that is due. `expected` is taken before the verdict: a strategy or a
   * cooldown that throws is told to listeners, and what they do makes it void.
   */
  protected transition(
    due: Verdict,
    s: Snapshot,
    expected: { readonly epoch: string; readonly generation: number },
    retryAfterMs: number,
    id: string,
  ): TransitionRequest {
    return {
      ...this.request(id),
      to: due.to,
      event: due.event,
      reason: due.reason,
      actor: null,
      cooldownMs: due.to === "OPEN" ? this.#cooldown(s, retryAfterMs) : 0,
      expected,
    };
  }

  #cooldown(s: Snapshot, retryAfterMs: number): number {
    const { cooldownMs, maxCooldownMs } = this.policy;
    let ms = cooldownMs;
    if (typeof ms === "function") {
      try {
        ms = ms(s.state === "HALF_OPEN" ? s.reopenCount + 1 : 0);
        if (!(Number.isFinite(ms) && ms > 0)) {
          throw new RangeError(`"cooldownMs" must give a positive number, it gave ${received(ms)}`);
        }
      } catch (error) {
        this.around.events.report("cooldownMs", error);
        ms = 60_000;
      }
    }
    return Math.min(maxCooldownMs, Math.max(Math.ceil(ms), retryAfterMs));
  }

  /** Whether an ending counts as a failure. A slow trial does where slow calls open. */
  protected failed(grant: Grant, { kind, slow }: Ending): boolean {
    return kind === "failure" ||
      (slow && kind === "success" && grant.lease !== null && this.policy.slowFails);
  }

  /** Tells how a call ended. */
  protected tellCall(grant: Grant, ending: Ending, late: boolean): void {
    const { events } = this.around;
    if (!events.hearsCalls || grant.silent) return;
    const { kind, slow, durationMs, error } = ending;
    const detail = {
      ...this.identity,
      durationMs,
      ...(error === undefined ? null : { error }),
      ...(late ? { late } : null),
    };
    const type = kind === "neutral"
      ? "ignored"
      : this.failed(grant, ending)
      ? "failure"
      : "success";
    events.emit(type, detail);
    if (slow && kind !== "neutral") events.emit("slow", detail);
  }

  /** Tells of a transition that this isolate made. */
  protected tellTransition(
    type: "opened" | "closed" | "half_opened" | "would_open",
    from: CircuitState,
    to: CircuitState,
    reason: string,
    { snapshot: s, head }: Answer,
  ): void {
    const { events } = this.around;
    if (!events.hears(type)) return;
    events.emit(type, {
      ...this.identity,
      ...(head === undefined ? null : { head }),
      from,
      to,
      generation: s.generation,
      at: dateOf(s.now),
      reason,
      snapshot: toCircuitSnapshot(this.identity, s, this.reading(s.now), 0),
      ...(this.local ? { local: true } : null),
    });
  }

  /** Tells that this call's `acquire` ended the cooldown. */
  protected tellHalfOpened(answer: Answer): void {
    this.tellTransition("half_opened", "OPEN", "HALF_OPEN", "cooldown_passed", answer);
  }

  #tellOperator(
    type: Override | "released" | "reset" | "imported",
    by: { reason: string | null; actor: string | null },
    until: number | null,
    { snapshot }: Answer,
  ): void {
    this.around.events.emit(type, {
      ...this.identity,
      reason: by.reason,
      actor: by.actor,
      until: until === null ? null : dateOf(until),
      at: dateOf(snapshot.now),
    });
  }

  /** What an answer brings along: an override that ran out, a circuit that had to go, a foreign policy. */
  protected note(answer: Answer): void {
    // What a stand-in finds, the store will find as well.
    if (this.local) return;
    const { released, evicted, troubles, snapshot } = answer;
    if (released) {
      const { actor } = released;
      this.#tellOperator("released", { reason: "expired", actor }, released.until, answer);
    }
    for (const key of evicted ?? []) {
      this.around.events.emit("evicted", identify(this.identity.store, key));
    }
    tellTroubles(this.around.events, this.identity.store, troubles);
    const { policyHash } = snapshot;
    if (policyHash !== this.policy.hash && policyHash !== "") {
      this.mismatch(policyHash, differingOptions(policyHash, this.policy.hash));
    }
  }

  /** Reports another policy for this circuit, once for each. */
  mismatch(id: string, options: string[]): void {
    if ((this.#reported ??= new Set()).has(id)) return;
    // Without a bound it would be a leak; so many are a fight already reported.
    if (this.#reported.size < 16) this.#reported.add(id);
    this.around.events.emit("config_mismatch", { ...this.identity, options });
  }

  /** Takes over the policy of the first handle that has one. */
  fix(policy: CircuitPolicyData): void {
    // What this isolate itself recorded under the defaults is no mismatch.
    if (this.wrote) (this.#reported ??= new Set()).add(this.policy.hash);
    this.policy = policy;
    this.fixed = true;
  }

  /** Announces, once an override, that the circuit would have opened. */
  protected warn(s: Snapshot): void {
    if (s.override?.kind !== "metrics_only" || s.state !== "CLOSED") return;
    if (this.#warned === s.generation) return;
    const reason = tripping(s, this.policy);
    if (reason === null) return;
    this.#warned = s.generation;
    this.tellTransition("would_open", s.state, "OPEN", reason, { snapshot: s });
  }
}

/** Reports what went wrong beside an operation. */
export function tellTroubles(
  events: Events,
  store: string,
  troubles: readonly Trouble[] | undefined,
): void {
  for (const { operation, error, retryAfterMs } of troubles ?? []) {
    if (error === null) events.emit("store_recovered", { store, operation });
    else events.emit("store_error", { store, operation, error, retryAfterMs });
  }
}

let isolate = "";
let requests = 0;

/** An id that no other request of any isolate has. */
export function newId(): string {
  // Drawn at the first request, never at import: Workers forbid randomness there.
  if (isolate === "") {
    isolate = Array.from(crypto.getRandomValues(new Uint32Array(2)), (n) => n.toString(36)).join(
      "",
    );
  }
  return `${isolate}-${(++requests).toString(36)}`;
}
