/**
 * The stand-in: this isolate's own breaker for one circuit, while the store cannot be used.
 *
 * @module
 */

import { memory } from "../../drivers/memory.ts";
import {
  type Ending,
  type Grant,
  type NamedStore,
  type OpeningStore,
  type Refusal,
  UNCOUNTED,
  UNKNOWN,
} from "../circuit.ts";
import type { Snapshot } from "../contract.ts";
import type { CircuitIdentity } from "../key.ts";
import { LocalCircuit, type LocalDriver, type LocalStore, NO_OUTCOMES } from "../local_circuit.ts";
import { type Admission, admissionOf, TOTALS_ONLY } from "../records.ts";
import { isShut } from "../rules/machine.ts";
import type { CircuitPolicyData } from "../rules/policy.ts";
import type { Requester, StoreGuard } from "./guard.ts";
import type { Outcomes } from "./outcomes.ts";
import type { View } from "./view.ts";

/** The part of a circuit that its stand-in uses. */
export interface Principal extends Requester {
  readonly policy: CircuitPolicyData;
  readonly store: NamedStore;
  readonly view: View;
  /** `null` while the store decides, as nearly always. */
  standIn: StandIn | null;
  refuse(s: Snapshot, now: number): Refusal;
  rest(): void;
}

/** This isolate's own breaker for a circuit, until the store has confirmed a write. */
export class StandIn extends LocalCircuit {
  /** The grant under which it counts calls that the store had admitted. */
  readonly base: Grant;
  /** The number that the next request had when it began. */
  readonly asked: number;
  /** The time of the last failure that it counted, in ms. */
  failedAt = -Infinity;

  constructor(
    identity: CircuitIdentity,
    policy: CircuitPolicyData,
    store: LocalStore,
    base: Grant,
    asked: number,
  ) {
    super(identity, policy, store);
    this.opened = this.base = base;
    this.asked = asked;
  }

  override get local(): boolean {
    return true;
  }

  /**
   * Records and announces the end of a call that it admitted. Returns `false`, having done nothing, for
   * other calls.
   */
  end({ alone }: Grant, ending: Ending): boolean {
    if (alone === null) return false;
    if (ending.kind === "failure") this.failedAt = ending.at;
    this.settle(alone, ending);
    return true;
  }
}

/** The stand-ins of one store. They decide while the store cannot be used, according to `onStoreError`. */
export class StandIns {
  readonly #guard: StoreGuard;
  /** Keeps their state. Created on first use. */
  #local: LocalStore | null = null;

  constructor(guard: StoreGuard) {
    this.#guard = guard;
  }

  /**
   * Ends a stand-in if the store has confirmed a write that was sent after it began.
   *
   * @param asked The number of the request, from the view.
   */
  confirmed(principal: Principal, asked: number): void {
    const { standIn, identity } = principal;
    if (standIn === null || asked <= standIn.asked) return;
    principal.standIn = null;
    this.#local!.driver.remove(identity.key);
  }

  /** Admits or refuses a call in place of the store. */
  admit(principal: Principal, now: number): Grant | Refusal {
    const { policy, view } = principal;
    switch (policy.onStoreError) {
      case "reject":
        return { refused: this.#guard.unavailable(now, "reads", principal) };
      case "allow":
        return forbidden(principal, now) ?? UNCOUNTED;
      case "local": {
        const decided = this.#begin(principal).admit();
        if (decided.refused !== null) return decided;
        const under = underClosed(view.current(now));
        return { ...UNCOUNTED, ...under, silent: decided.silent, alone: decided };
      }
    }
  }

  /** Counts outcomes that the store did not accept, of calls that the store had admitted. */
  absorb(principal: Principal, under: Admission, outcomes: Outcomes, at: number): void {
    const { policy, view } = principal;
    if (policy.onStoreError !== "local" || under.generation === TOTALS_ONLY) return;
    if (outcomes.successes + outcomes.failures === 0) return;
    const late = view.isLate(under, at);
    const begun = this.#begin(principal);
    const counted = at < begun.failedAt ? failuresOf(outcomes) : outcomes;
    if (outcomes.failures > 0) begun.failedAt = Math.max(begun.failedAt, at);
    begun.absorb(late ? UNCOUNTED : begun.base, counted, at);
  }

  /** Opens because the store has enough failures for it and could not make the transition. */
  takeOver(principal: Principal, at: number): void {
    if (principal.policy.onStoreError !== "local") return;
    const begun = this.#begin(principal);
    begun.absorb(begun.base, NO_OUTCOMES, at);
  }

  /** Begins from the cached Snapshot, unless it has begun. */
  #begin(principal: Principal): StandIn {
    if (principal.standIn !== null) return principal.standIn;
    const { identity, policy, store, view } = principal;
    const { clock, maxCircuits } = store;
    const local = this.#local ??= {
      ...store,
      unsent: new Set(),
      // For all circuits: an evicted record would begin anew.
      driver: memory({ clock, maxCircuits }) as OpeningStore & LocalDriver,
    };
    const now = clock();
    const last = view.current(now);
    const base = beginAnew(local.driver, identity.key, policy, last, view.storeNow(now));
    const asked = view.ask();
    view.distrust();
    principal.rest();
    return principal.standIn = new StandIn(identity, policy, local, base, asked);
  }
}

/** Returns a refusal if the cached Snapshot still forbids calls. */
function forbidden(principal: Principal, now: number): Refusal | null {
  const { view } = principal;
  const s = view.current(now);
  const storeNow = view.storeNow(now);
  return s !== null && isShut(s, storeNow) ? principal.refuse(s, storeNow) : null;
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
