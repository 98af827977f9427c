/**
 * The stand-in: this isolate's own breaker for one circuit, while the store cannot be used.
 *
 * @module
 */

import { memory } from "../../drivers/memory.ts";
import {
  type Ending,
  type Grant,
  type Known,
  type NamedStore,
  type OpeningStore,
  type Refusal,
  UNCOUNTED,
  UNKNOWN,
} from "../circuit.ts";
import type { Snapshot } from "../contract.ts";
import type { CircuitIdentity } from "../key.ts";
import { LocalCircuit, type LocalDriver, NO_OUTCOMES } from "../local_circuit.ts";
import { type Admission, admissionOf, TOTALS_ONLY } from "../records.ts";
import { isShut } from "../rules/machine.ts";
import type { CircuitPolicyData } from "../rules/policy.ts";
import type { Requester, StoreGuard } from "./guard.ts";
import type { Outcomes } from "./outcomes.ts";
import type { View } from "./view.ts";

/** The part of a circuit that its stand-in uses. */
export interface Principal extends Requester {
  readonly identity: CircuitIdentity;
  readonly policy: CircuitPolicyData;
  readonly store: NamedStore;
  refuse(s: Snapshot, now: number): Refusal;
}

/** A stand-in that has begun. */
interface Begun {
  /** This isolate's own breaker. */
  readonly circuit: LocalCircuit;
  /** The grant under which it counts calls that the store had admitted. */
  readonly base: Grant;
  /** The number that the next request had when it began. */
  readonly asked: number;
  /** The time of the last failure that it counted, in ms. */
  failedAt: number;
}

/** Decides for one circuit while the store cannot be used, according to `onStoreError`. */
export class StandIn {
  readonly #principal: Principal;
  readonly #view: View;
  readonly #guard: StoreGuard;
  readonly #states: LocalStates;
  /** `null` while the store decides, as nearly always. */
  #begun: Begun | null = null;

  constructor(principal: Principal, view: View, guard: StoreGuard, states: LocalStates) {
    this.#principal = principal;
    this.#view = view;
    this.#guard = guard;
    this.#states = states;
  }

  /** `true` once it has begun, until the store has confirmed a write. */
  get begun(): boolean {
    return this.#begun !== null;
  }

  /**
   * Ends it if the store has confirmed a write that was sent after it began.
   *
   * @param asked The number of the request, from the view.
   */
  confirmed(asked: number): void {
    if (this.#begun !== null && asked > this.#begun.asked) this.#begun = null;
  }

  /** Returns `true` while it decides. */
  decides(now: number): boolean {
    return this.#begun !== null && this.override(now) === null;
  }

  /**
   * Returns the Snapshot if the store has an operator's override: it takes precedence over the
   * stand-in.
   */
  override(now: number): Snapshot | null {
    const s = this.#view.believed ? this.#view.current(now) : null;
    return s?.override ? s : null;
  }

  /** Admits or refuses a call in place of the store. */
  admit(now: number): Grant | Refusal {
    switch (this.#principal.policy.onStoreError) {
      case "reject":
        return { refused: this.#guard.unavailable(now, "reads", this.#principal) };
      case "allow":
        return this.#forbidden(now) ?? UNCOUNTED;
      case "local": {
        const decided = this.#begin().circuit.admit();
        if (decided.refused !== null) return decided;
        const under = underClosed(this.#view.current(now));
        return { ...UNCOUNTED, ...under, silent: decided.silent, alone: decided };
      }
    }
  }

  /**
   * Records and announces the end of a call that it admitted. Returns `false`, having done nothing,
   * for other calls, and once it has ended.
   */
  settle({ alone }: Grant, ending: Ending): boolean {
    const begun = this.#begun;
    if (alone === null || begun === null) return false;
    if (ending.kind === "failure") begun.failedAt = ending.at;
    begun.circuit.settle(alone, ending);
    return true;
  }

  /** Counts outcomes that the store did not accept, of calls that the store had admitted. */
  absorb(under: Admission, outcomes: Outcomes, at: number): void {
    if (this.#principal.policy.onStoreError !== "local" || under.generation === TOTALS_ONLY) return;
    if (outcomes.successes + outcomes.failures === 0) return;
    const late = this.#view.isLate(under, at);
    const begun = this.#begin();
    const counted = at < begun.failedAt ? failuresOf(outcomes) : outcomes;
    if (outcomes.failures > 0) begun.failedAt = Math.max(begun.failedAt, at);
    begun.circuit.absorb(late ? UNCOUNTED : begun.base, counted, at);
  }

  /** Opens because the store has enough failures for it and could not make the transition. */
  takeOver(at: number): void {
    if (this.#principal.policy.onStoreError !== "local") return;
    const { circuit, base } = this.#begin();
    circuit.absorb(base, NO_OUTCOMES, at);
  }

  /** Returns its snapshot. Only while it has begun. */
  peek(): Known {
    return { ...this.#begun!.circuit.peek(), local: true };
  }

  /** Returns a refusal if the cached Snapshot still forbids calls. */
  #forbidden(now: number): Refusal | null {
    const s = this.#view.current(now);
    const storeNow = this.#view.storeNow(now);
    return s !== null && isShut(s, storeNow) ? this.#principal.refuse(s, storeNow) : null;
  }

  /** Begins from the cached Snapshot, unless it has begun. */
  #begin(): Begun {
    if (this.#begun !== null) return this.#begun;
    const { identity, policy } = this.#principal;
    const now = this.#principal.store.clock();
    const last = this.#view.current(now);
    const local = this.#states.of(this.#principal.store);
    const base = beginAnew(local.driver, identity.key, policy, last, this.#view.storeNow(now));
    const asked = this.#view.ask();
    this.#view.distrust();
    const circuit = new LocalCircuit(identity, policy, local, true);
    return this.#begun = { circuit, base, asked, failedAt: -Infinity };
  }
}

/** Keeps the state of the stand-ins of one store, in a memory store that is created on first use. */
export class LocalStates {
  #local: LocalStore | null = null;

  /** Returns the local counterpart of a shared store. */
  of(store: NamedStore): LocalStore {
    return this.#local ??= {
      ...store,
      unsent: new Set(),
      driver: memory({ clock: store.clock }) as OpeningStore & LocalDriver,
    };
  }
}

/** A store of this process. */
interface LocalStore extends NamedStore {
  readonly driver: LocalDriver;
}

/** Leaves out late successes: they would end a run of failures that began after them. */
function failuresOf({ failures, slow }: Outcomes): Outcomes {
  return { successes: 0, failures, slow: Math.min(slow, failures) };
}

/** Returns the generation under which the store counts calls that a stand-in admits: a CLOSED one. */
function underClosed(last: Snapshot | null): Admission {
  if (last === null || last.epoch === "") return admissionOf(UNKNOWN);
  return admissionOf(last.state === "CLOSED" && last.override === null ? last : UNCOUNTED);
}

/**
 * Replaces the local state by the store's last Snapshot. Returns the grant of a call that the store
 * had admitted.
 */
function beginAnew(
  driver: LocalDriver,
  key: string,
  { shape }: CircuitPolicyData,
  last: Snapshot | null,
  at: number,
): Grant {
  driver.remove(key);
  if (last === null || last.epoch === "") return UNKNOWN;
  const record = { key, snapshot: last, segments: [], outcomes: "" };
  driver.restore(key, {
    ...{ id: "", at, shape, record, existing: "replace", reason: null, actor: null },
  });
  return { ...UNKNOWN, ...admissionOf(driver.peek(key)!) };
}
