/**
 * The inventory of a Fuse: the circuits of its stores, listed, exported, imported, reset, and their
 * trails.
 *
 * @module
 */

import type { Signature } from "./announce.ts";
import { check, known, mayBeFunction, oneOf, quote, refuse } from "./checks.ts";
import type { Circuit } from "./circuit.ts";
import type {
  CircuitEvent,
  CircuitRecord,
  CircuitState,
  EventQuery,
  ListPage,
  ListRequest,
} from "./contract.ts";
import { isStoreUnavailableError } from "./errors.ts";
import { inScope, type Narrowing } from "./events.ts";
import { cursorOf, historyOf, limitOf, placeOf } from "./history.ts";
import { checkPattern, identify, nameMatches, type Scope, scopeText } from "./key.ts";
import { CIRCUIT_STATES, isPlain } from "./records.ts";
import type { RegisteredStore, Registry } from "./registry.ts";
import { type CircuitSnapshot, toCircuitSnapshot } from "./rules/snapshot.ts";
import { type FuseExport, type Imported, readExport, toEntry } from "./transfer.ts";
import { MOST_IN_TURN, nextTurn } from "./turns.ts";

/** A filter of circuits. A circuit must match all of its fields. */
export interface CircuitFilter {
  /** The state, as a snapshot shows it. By default, any. */
  state?: CircuitState | undefined;
  /** The name; a `*`, only at the end, matches by prefix. By default, any. */
  name?: string | undefined;
  /** The context; `null` for none. By default, any. */
  context?: Scope | null | undefined;
  /** The boundary, in the form of a scope; `null` for none. By default, any. */
  boundary?: Scope | null | undefined;
  /** `true` for circuits with an override, `false` for those without. By default, both. */
  overridden?: boolean | undefined;
}

/** Options of `importState()`. */
export interface ImportOptions {
  /**
   * Replaces or keeps a circuit that the store has already.
   *
   * @default {"replace"}
   */
  existing?: "replace" | "keep" | undefined;
  /** Called after each circuit with the number of finished ones. By default, there is no report. */
  onProgress?: ((done: number) => void) | undefined;
}

/** The filter and the page of a list. */
export interface CircuitPageOptions extends CircuitFilter {
  /**
   * The largest number of circuits. An integer from 1 to 1000.
   *
   * @default {100}
   */
  limit?: number | undefined;
  /**
   * The cursor of the previous page, with the same filter. By default, or for `null`, the first
   * page.
   */
  cursor?: string | null | undefined;
}

/** A page of circuits. */
export interface CircuitPage {
  /** The circuits of this page. Those that are not plainly CLOSED come first, over all pages; a circuit
   * that changes meanwhile may come twice. */
  readonly circuits: CircuitSnapshot[];
  /** The cursor of the next page; `null` if there is none. */
  readonly cursor: string | null;
  /** The stores that did not answer, on this page or one before. */
  readonly missing: readonly string[];
}

/** A circuit in a store. */
interface Listed {
  readonly store: RegisteredStore;
  readonly snapshot: CircuitSnapshot;
  readonly record: CircuitRecord;
  /** The store's clock minus this isolate's, in ms. */
  readonly offset: number;
}

/** The options of a list. */
interface Listing {
  readonly always?: boolean;
  readonly whole?: boolean;
  readonly spoilt?: [RegisteredStore, string][];
}

/** The number of circuits in a page of a store. */
const PAGE = 100;

/** Reads the circuits of a Fuse's view. */
export class Inventory {
  readonly #registry: Registry;
  readonly #to: Narrowing;
  /** How many circuits were handled since other work could run. */
  #handled = 0;

  constructor(registry: Registry, to: Narrowing) {
    this.#registry = registry;
    this.#to = to;
  }

  /** Returns the stores of the view. */
  stores(): RegisteredStore[] {
    const { store } = this.#to;
    return store === null ? [...this.#registry.stores.values()] : [this.#registry.store(store)];
  }

  /**
   * Yields the circuits of the stores. A store that fails does not affect the others: its error is
   * thrown in the end.
   *
   * @param how `always`: for an operator, whose requests are sent also during a back-off. `whole`:
   * with segments and outcomes in the records. `spoilt` receives the circuits that are left out
   * because their records are invalid.
   */
  async *list(
    filter: CircuitFilter,
    { always = false, whole = false, spoilt = [] }: Listing = {},
  ): AsyncGenerator<Listed, void, undefined> {
    const matches = matcherOf(filter);
    const open = excludesPlain(filter);
    let failure: unknown;
    for (const store of this.stores()) {
      // A store that changes meanwhile may list a circuit twice.
      const seen = new Set<string>();
      let cursor: string | null = null;
      do {
        const request = { cursor, limit: PAGE, open, brief: !whole };
        const page: ListPage | null = await this.#page(store, request, always, (error) => {
          failure ??= error;
        });
        for (const record of page?.records ?? []) {
          if (seen.has(record.key)) continue;
          seen.add(record.key);
          const listed = this.#listed(store, record);
          if (inScope(this.#to, listed.snapshot) && matches(listed.snapshot)) yield listed;
        }
        for (const { key } of page?.spoilt ?? []) spoilt.push([store, key]);
        cursor = page?.cursor ?? null;
      } while (cursor !== null);
    }
    if (failure !== undefined) throw failure;
  }

  /**
   * Reads a page over all stores: first circuits of each that are not plainly CLOSED, then the
   * rest.
   */
  async page(options: CircuitPageOptions): Promise<CircuitPage> {
    known("page", options, ["limit", "cursor", ...FILTERS]);
    const { limit, cursor = null, ...filter } = options;
    const matches = matcherOf(filter);
    const most = check("page", "limit", limit, PAGE, 1, 1_000);
    const stores = this.stores();
    const place = placeIn(cursor, stores.length);
    const { since, missing } = place;
    const turns = excludesPlain(filter) ? stores.length : 2 * stores.length;
    const circuits: CircuitSnapshot[] = [];
    let rejects: unknown;
    for (; place.turn < turns; place.turn++, place.own = null) {
      const nth = place.turn % stores.length;
      const store = stores[nth]!;
      if (missing.includes(store.name)) continue;
      const open = place.turn < stores.length;
      do {
        const left = most - circuits.length;
        if (left === 0) return { circuits, cursor: JSON.stringify(place), missing };
        const request = {
          ...{ cursor: place.own, open, brief: true },
          // At least as many as before, so that `skip` means the same records.
          limit: place.skip || rejects ? Math.max(place.skip + left, most, PAGE) : left,
        };
        const page = await this.#page(store, request, false, () => missing.push(store.name));
        const { records = [], spoilt, now }: Partial<ListPage> = page ?? {};
        rejects ||= spoilt?.length;
        if (open) since[nth] ??= now ?? records[0]?.snapshot.now ?? null;
        for (const record of records.slice(place.skip)) {
          if (circuits.length === most) return { circuits, cursor: JSON.stringify(place), missing };
          const { snapshot } = this.#listed(store, record);
          const plain = isPlain(record.snapshot);
          // A circuit in that state before the list began was in its first half.
          const late = plain || record.snapshot.began > (since[nth] ?? -Infinity);
          const due = open ? !plain : late;
          if (due && inScope(this.#to, snapshot) && matches(snapshot)) circuits.push(snapshot);
          else rejects = true;
          place.skip++;
        }
        place.own = page?.cursor ?? null;
        place.skip = 0;
      } while (place.own !== null);
    }
    return { circuits, cursor: null, missing };
  }

  async export(filter: CircuitFilter): Promise<FuseExport> {
    const circuits: unknown[] = [];
    for await (
      const { snapshot, record, offset } of this.list(filter, { always: true, whole: true })
    ) {
      circuits.push(toEntry(snapshot, record, offset));
    }
    const exportedAt = new Date(this.#registry.clock()).toISOString();
    return { version: 1, exportedAt, circuits };
  }

  async import(
    data: unknown,
    options: ImportOptions,
  ): Promise<{ imported: number; kept: number }> {
    known("import", options, ["existing", "onProgress"]);
    const existing = oneOf("import", "existing", options.existing, ["replace", "keep"]);
    const onProgress = mayBeFunction("import", "onProgress", options.onProgress);
    let imported = 0;
    let kept = 0;
    for (const [circuit, record] of await this.#destinations(data)) {
      await this.#handle(1);
      if (await circuit.restore(record, existing, this.#registry.clock())) imported++;
      else kept++;
      onProgress?.(imported + kept);
    }
    return { imported, kept };
  }

  async resetAll(by: Signature): Promise<number> {
    let count = 0;
    const reset = async (store: RegisteredStore, key: string) => {
      await this.#registry.circuit(store, key).reset(by);
      count++;
    };
    const spoilt: [RegisteredStore, string][] = [];
    for await (const { store, record } of this.list({}, { always: true, spoilt })) {
      await reset(store, record.key);
    }
    for (const [store, key] of spoilt) {
      if (inScope(this.#to, identify(store.name, key))) await reset(store, key);
    }
    return count;
  }

  async *history(query: EventQuery = {}): AsyncGenerator<CircuitEvent, void, undefined> {
    // The limit counts circuits in the page, not in the stores.
    let left = limitOf(query);
    const { limit: _, cursor, ...rest } = query;
    const stores = this.stores();
    // The cursor is from one store: earlier ones have been read, and later ones are read from the
    // start.
    const [from, own] = cursor === undefined
      ? [0, undefined]
      : placeOf(query, stores.map(({ name }) => name));
    for (const { driver, name } of left > 0 ? stores.slice(from) : []) {
      const first = own !== undefined && name === stores[from]!.name;
      for await (const event of historyOf(driver, name, first ? { ...rest, cursor: own } : rest)) {
        if (!inScope(this.#to, event)) continue;
        yield { ...event, cursor: cursorOf(name, event.cursor) };
        if (--left === 0) return;
      }
    }
  }

  /** Returns the circuits for the records of an export. */
  async #destinations(data: unknown): Promise<Map<Circuit, CircuitRecord>> {
    const registry = this.#registry;
    const circuits = new Map<Circuit, CircuitRecord>();
    const entries: Imported[] = [];
    for (const entry of readExport(data)) {
      await this.#handle(1);
      entries.push(entry);
    }
    // After all are known to be valid: making circuits may drop others.
    for (const { identity, record } of entries) {
      await this.#handle(1);
      if (!inScope(this.#to, identity)) continue;
      const name = this.#to.store ??
        (registry.stores.has(identity.store) ? identity.store : registry.standard);
      const circuit = registry.circuit(registry.store(name), record.key);
      if (circuits.has(circuit)) {
        const twice = quote(identity.name);
        throw new TypeError(
          `Cannot import state: ${twice} is in it twice, from several stores; import one at a time`,
        );
      }
      circuits.set(circuit, record);
    }
    return circuits;
  }

  /** Asks a store for a page of records; `null`, after `failed`, if the store cannot be used. */
  async #page(
    store: RegisteredStore,
    asked: Omit<ListRequest, "at" | "shape">,
    always: boolean,
    failed: (error: unknown) => void,
  ): Promise<ListPage | null> {
    // A store of this process answers within the turn.
    await this.#handle(asked.limit);
    const shape = (key: string) => this.#policyOf(store, key).shape;
    const request = { ...asked, at: store.clock(), shape };
    try {
      return await store.opener.list(() => store.driver.list(request), always);
    } catch (error) {
      if (!isStoreUnavailableError(error)) throw error;
      failed(error);
      return null;
    }
  }

  /** Counts circuits, and lets other work run after very many. */
  async #handle(circuits: number): Promise<void> {
    if ((this.#handled += circuits) <= MOST_IN_TURN) return;
    this.#handled = 0;
    await nextTurn();
  }

  #listed(store: RegisteredStore, record: CircuitRecord): Listed {
    const { key, snapshot: s } = record;
    const laid = store.circuits.get(key)?.lay(s) ?? s;
    const snapshot = toCircuitSnapshot(identify(store.name, key), laid, s.now, 0);
    return { store, snapshot, record, offset: s.now - store.clock() };
  }

  #policyOf({ name, circuits }: RegisteredStore, key: string) {
    return circuits.get(key)?.policy ?? this.#registry.config(identify(name, key).name).policy;
  }
}

const FILTERS = ["state", "name", "context", "boundary", "overridden"];

/** Returns `true` if no plainly CLOSED circuit passes the filter. */
function excludesPlain({ state, overridden }: CircuitFilter): boolean {
  return overridden === true || (state !== undefined && state !== "CLOSED");
}

/** The position of the pages of all stores. */
interface Place {
  /** The index of the store, twice over: circuits that are not plainly CLOSED come first. */
  turn: number;
  /** The store's own cursor. */
  own: string | null;
  /** How many records of the store's page after that have been returned. */
  skip: number;
  /** The time of each store's first page, on the store's clock. */
  since: (number | null)[];
  missing: string[];
}

/** @throws {TypeError} If the cursor does not fit this number of stores. */
function placeIn(cursor: string | null, stores: number): Place {
  if (cursor === null) {
    return { turn: 0, own: null, skip: 0, since: Array(stores).fill(null), missing: [] };
  }
  let place: Partial<Place> = {};
  try {
    place = Object(JSON.parse(cursor));
  } catch {
    // Refused below.
  }
  const { turn, own, skip, since, missing } = place;
  const fits = [turn, skip].every((count) => Number.isSafeInteger(count) && count! >= 0) &&
    (own === null || typeof own === "string") && Array.isArray(since) && since.length === stores &&
    Array.isArray(missing);
  return fits
    ? place as Place
    : refuse("page", "cursor", "the cursor of a page of this Fuse", cursor);
}

/**
 * Returns a predicate of the filter.
 *
 * @throws {RangeError | TypeError} Naming the field, what came and what is allowed.
 */
function matcherOf(filter: CircuitFilter): (snapshot: CircuitSnapshot) => boolean {
  known("filter", filter, FILTERS);
  const { state, name, overridden } = filter;
  oneOf("filter", "state", state, CIRCUIT_STATES);
  if (name !== undefined) checkPattern("filter", "name", name);
  if (overridden !== undefined && typeof overridden !== "boolean") {
    refuse("filter", "overridden", "true or false", overridden);
  }
  const scope = (dimension: "context" | "boundary") => {
    const wanted = filter[dimension];
    return wanted === undefined ? undefined : scopeText(wanted, dimension);
  };
  const scopes = { context: scope("context"), boundary: scope("boundary") };
  return (snapshot) =>
    inScope(scopes, snapshot) &&
    (name === undefined || nameMatches(name, snapshot.name)) &&
    (state === undefined || state === snapshot.state) &&
    (overridden === undefined || overridden === (snapshot.override !== null));
}
