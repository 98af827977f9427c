/**
 * The circuits that the command line looks at and acts on, wherever they are.
 *
 * @module
 */

import type { CircuitEvent, CircuitState } from "../contract.ts";
import type { Fuse } from "../fuse.ts";
import { fromKey, type Scope, scopeText, toKey } from "../key.ts";
import type { CircuitSnapshot } from "../rules/snapshot.ts";
import { CliError } from "./terminal.ts";
import { similar, titleOf } from "./values.ts";

/** The actions of an operator on a circuit. */
export type Action =
  | "force-open"
  | "force-close"
  | "disable"
  | "metrics-only"
  | "release"
  | "reset"
  | "remove";

/** Why, who, and until when. */
export interface Order {
  readonly reason: string;
  /** `undefined` through a dashboard, which knows its user itself. */
  readonly actor: string | undefined;
  /** How long, in ms; `undefined`: until somebody releases it. */
  readonly forMs: number | undefined;
}

/** A circuit by its store and key. */
export interface Place {
  readonly store: string;
  readonly key: string;
}

/** A circuit with its explanation and its last events, latest first. */
export interface Shown {
  readonly circuit: CircuitSnapshot;
  readonly explanation: string;
  readonly events: readonly CircuitEvent[];
}

/** Circuits, and the stores that did not answer. */
export interface Listed {
  readonly circuits: readonly CircuitSnapshot[];
  readonly missing: readonly { readonly store: string; readonly error: unknown }[];
}

/** Which circuits a status is about. */
export interface StatusFilter {
  readonly state: CircuitState | undefined;
}

/** Stores, through this process or through a dashboard. */
export interface Fleet {
  /** Returns the names of the stores to look into, the default first. */
  stores(): Promise<readonly string[]>;
  /** Lists the circuits of stores. */
  list(stores: readonly string[], filter: StatusFilter): Promise<Listed>;
  /** Shows a circuit; `null` if the store has none of that key. */
  show(place: Place): Promise<Shown | null>;
  /** Acts on a circuit. */
  act(place: Place, action: Action, order: Order): Promise<void>;
  /** Sends what is pending, and ends. */
  close(): Promise<void>;
}

/** How many events of a circuit are shown. */
const EVENTS = 10;

/** The stores that this process reaches itself. */
export class OwnFleet implements Fleet {
  readonly fuse: Fuse;
  readonly #stores: readonly string[];
  readonly #audited: (store: string) => boolean;

  constructor(fuse: Fuse, stores: readonly string[], audited: (store: string) => boolean) {
    this.fuse = fuse;
    this.#stores = stores;
    this.#audited = audited;
  }

  stores(): Promise<readonly string[]> {
    return Promise.resolve(this.#stores);
  }

  async list(stores: readonly string[], { state }: StatusFilter): Promise<Listed> {
    const circuits: CircuitSnapshot[] = [];
    const missing: { store: string; error: unknown }[] = [];
    for (const store of stores) {
      try {
        for await (const one of this.fuse.store(store).list({ state })) circuits.push(one);
      } catch (error) {
        missing.push({ store, error });
      }
    }
    return { circuits, missing };
  }

  async show(place: Place): Promise<Shown | null> {
    const breaker = this.fuse.circuit(place);
    const circuit = await breaker.snapshot();
    if (circuit.local) await this.#unavailable(place.store);
    if (circuit.generation === 0) return null;
    const events: CircuitEvent[] = [];
    if (this.#audited(place.store)) {
      for await (const event of breaker.history({ limit: EVENTS })) events.push(event);
    }
    return { circuit, explanation: await breaker.explain(), events };
  }

  async act(place: Place, action: Action, { reason, actor, forMs }: Order): Promise<void> {
    const breaker = this.fuse.circuit(place);
    const order = { reason, actor };
    const override = { ...order, forMs };
    await {
      "force-open": () => breaker.forceOpen(override),
      "force-close": () => breaker.forceClose(override),
      "disable": () => breaker.disable(override),
      "metrics-only": () => breaker.metricsOnly(override),
      "release": () => breaker.release(order),
      "reset": () => breaker.reset(order),
      "remove": () => breaker.remove(order),
    }[action]();
  }

  async close(): Promise<void> {
    await this.fuse.flush();
  }

  /** A breaker protects this process without the store; an operator wants the store. */
  async #unavailable(store: string): Promise<never> {
    const { error } = (await this.fuse.store(store).check())[store]!;
    throw error ?? new CliError(`Store "${store}" did not answer; try again`);
  }
}

/** A circuit as it is named on the command line. */
export interface Named {
  readonly name: string;
  readonly context: Scope | undefined;
  readonly boundary: Scope | undefined;
}

/** Returns the key that a name and scopes have in every store. */
export function keyOf({ name, context, boundary }: Named): string {
  return toKey({
    name,
    context: scopeText(context ?? null, "context"),
    boundary: scopeText(boundary ?? null, "boundary"),
  });
}

/**
 * Finds a circuit in the stores.
 *
 * @param create The store for a circuit that is in none; `null`: such a circuit is refused.
 * @throws {CliError} If it is in no store, or in several.
 */
export async function find(
  fleet: Fleet,
  stores: readonly string[],
  named: Named,
  create: string | null = null,
): Promise<{ place: Place; shown: Shown | null }> {
  const key = keyOf(named);
  const found: { place: Place; shown: Shown }[] = [];
  for (const store of stores) {
    const shown = await fleet.show({ store, key });
    if (shown !== null) found.push({ place: { store, key }, shown });
  }
  if (found.length > 1) {
    const names = found.map(({ place }) => place.store).join(", ");
    throw new CliError(`There is a circuit ${title(key)} in ${names}: say which with --store`);
  }
  if (found.length === 1) return found[0]!;
  if (create !== null) return { place: { store: create, key }, shown: null };
  throw new CliError(await unknown(fleet, stores, key));
}

/** Says that there is no such circuit, and which one may be meant. */
async function unknown(fleet: Fleet, stores: readonly string[], key: string): Promise<string> {
  const { circuits } = await fleet.list(stores, { state: undefined });
  const { name } = fromKey(key)!;
  const scoped = circuits.filter((one) => one.name === name);
  const meant = scoped.length > 0
    ? scoped.slice(0, 3).map(titleOf)
    : similar(name, circuits.map((one) => one.name)).map((name) => JSON.stringify(name));
  const where = stores.length === 1 ? `store "${stores[0]}"` : `the stores ${stores.join(", ")}`;
  return `There is no circuit ${title(key)} in ${where}` +
    (meant.length > 0 ? `; did you mean ${meant.join(" or ")}?` : "") +
    (scoped.length > 0 ? " Scopes are given by --context and --boundary." : "");
}

function title(key: string): string {
  return titleOf(fromKey(key)!);
}
