/**
 * The circuits that the command line reads and operates, in any store.
 *
 * @module
 */

import type { CircuitEvent, CircuitState } from "../contract.ts";
import type { Fuse } from "../fuse.ts";
import { fromKey, type Scope, scopeText, toKey } from "../key.ts";
import { type RefusedCircuit, withRefused } from "../known.ts";
import { act, type Action, type Order } from "../operator.ts";
import type { CircuitSnapshot } from "../rules/snapshot.ts";
import { CliError } from "./terminal.ts";
import { similar, titleOf } from "./values.ts";

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
  /** Why the events are missing, if they are. */
  readonly trouble?: unknown;
}

/** A circuit that its store refuses, although it answers others: its record may be invalid. */
export class CircuitRefused extends CliError {
  /** @param cause The store's answer, if it is known. */
  constructor({ store }: Place, cause?: unknown) {
    super(
      `Store ${
        JSON.stringify(store)
      } answers, and refuses this circuit: reset or remove cures an invalid record`,
      { cause },
    );
  }
}

/** A circuit that a list leaves out, because its store refuses it. */
export type LeftOut = Pick<RefusedCircuit, "store" | "name" | "context" | "boundary"> & {
  readonly error: Error;
};

/** Circuits, those that are left out, and the stores that did not answer. */
export interface Listed {
  readonly circuits: readonly CircuitSnapshot[];
  readonly refused: readonly LeftOut[];
  readonly missing: readonly { readonly store: string; readonly error: unknown }[];
}

/** The filter of a status. */
export interface StatusFilter {
  readonly state: CircuitState | undefined;
}

/** Stores, through this process or through a dashboard. */
export interface Fleet {
  /** Returns the names of the stores to look into, the default first. */
  stores(): Promise<readonly string[]>;
  /** Lists the circuits of stores. */
  list(stores: readonly string[], filter: StatusFilter): Promise<Listed>;
  /**
   * Returns a circuit, or `null` if the store has no circuit of that key.
   *
   * @throws {CircuitRefused} If the store refuses this circuit alone.
   */
  show(place: Place): Promise<Shown | null>;
  /** Acts on a circuit. */
  act(place: Place, action: Action, order: Order): Promise<void>;
  /** Sends pending outcomes, and ends. */
  close(): Promise<void>;
}

/** The circuits of a request. */
const PAGE = 1_000;

/** The number of events shown of a circuit. */
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

  async list(stores: readonly string[], filter: StatusFilter): Promise<Listed> {
    const [listed, refused] = await withRefused(this.fuse, () => this.#list(stores, filter));
    return { ...listed, refused: refused.filter(({ operation }) => operation === "list") };
  }

  async #list(
    stores: readonly string[],
    { state }: StatusFilter,
  ): Promise<Pick<Listed, "circuits" | "missing">> {
    const circuits: CircuitSnapshot[] = [];
    const missing: { store: string; error: unknown }[] = [];
    for (const store of stores) {
      const view = this.fuse.store(store);
      // A circuit that changes during the listing is listed twice.
      const found = new Map<string, CircuitSnapshot>();
      try {
        let cursor: string | null = null;
        do {
          const page = await view.listPage({ state, limit: PAGE, cursor });
          for (const circuit of page.circuits) found.set(circuit.key, circuit);
          if (page.missing.length > 0) await this.#unavailable(store);
          cursor = page.cursor;
        } while (cursor !== null);
      } catch (error) {
        missing.push({ store, error });
      }
      circuits.push(...found.values());
    }
    return { circuits, missing };
  }

  async show(place: Place): Promise<Shown | null> {
    const breaker = this.fuse.circuit(place);
    const [circuit, refused] = await withRefused(this.fuse, () => breaker.snapshot());
    if (circuit.local) {
      const own = refused.find(({ store, key }) => store === place.store && key === place.key);
      if (own !== undefined) throw new CircuitRefused(place, own.error);
      await this.#unavailable(place.store);
    }
    if (circuit.generation === 0) return null;
    const shown = { circuit, explanation: await breaker.explain() };
    const events: CircuitEvent[] = [];
    if (!this.#audited(place.store)) return { ...shown, events };
    try {
      for await (const event of breaker.history({ limit: EVENTS })) events.push(event);
      return { ...shown, events };
    } catch (trouble) {
      // A missing trail does not keep anybody from the circuit itself.
      return { ...shown, events: [], trouble };
    }
  }

  async act(place: Place, action: Action, order: Order): Promise<void> {
    await act(this.fuse.circuit(place), action, order);
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

/** A circuit as the command line names it. */
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
 * Finds a circuit in the stores, to show it.
 *
 * @throws {CliError} If it is in no store, or in several, or its store refuses it.
 */
export async function find(
  fleet: Fleet,
  stores: readonly string[],
  named: Named,
): Promise<{ place: Place; shown: Shown }> {
  const { place, shown } = await locate(fleet, stores, named);
  if (shown instanceof CircuitRefused) throw shown;
  return { place, shown: shown! };
}

/**
 * Finds a circuit in the stores, to act on it: an action may cure a circuit that its store refuses.
 *
 * @param create The store for a circuit that is in no store, or `null` to refuse such a circuit.
 * @throws {CliError} If it is in no store, or in several.
 */
export async function locate(
  fleet: Fleet,
  stores: readonly string[],
  named: Named,
  create: string | null = null,
): Promise<{ place: Place; shown: Shown | CircuitRefused | null }> {
  const key = keyOf(named);
  const found: { place: Place; shown: Shown | CircuitRefused }[] = [];
  for (const store of stores) {
    const place = { store, key };
    const shown = await fleet.show(place).catch((cause: unknown) => {
      if (cause instanceof CircuitRefused) return cause;
      // The circuit may be in the store that does not answer, so an action on another one needs a word.
      if (stores.length === 1) throw cause;
      throw new CliError("Say with --store which store to use, because one is missing", { cause });
    });
    if (shown !== null) found.push({ place, shown });
  }
  if (found.length > 1) {
    const names = found.map(({ place }) => place.store).join(", ");
    throw new CliError(`There is a circuit ${title(key)} in ${names}: say which with --store`);
  }
  if (found.length === 1) return found[0]!;
  if (create !== null) return { place: { store: create, key }, shown: null };
  throw new CliError(await unknown(fleet, stores, key));
}

/** Returns the error for an unknown circuit, with similar names. */
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
