/**
 * The inventory of a Fuse: what its stores hold, listed, exported, imported, reset, and their trails.
 *
 * @module
 */

import { known, oneOf, quote, refuse } from "./checks.ts";
import type { Circuit } from "./circuit.ts";
import type {
  CircuitEvent,
  CircuitRecord,
  CircuitState,
  EventQuery,
  ListPage,
} from "./contract.ts";
import { inScope } from "./events.ts";
import { cursorOf, historyOf, limitOf, placeOf } from "./history.ts";
import { checkPattern, identify, nameMatches, type Scope, scopeText } from "./key.ts";
import { CIRCUIT_STATES } from "./records.ts";
import type { Narrowing, RegisteredStore, Registry } from "./registry.ts";
import { type CircuitSnapshot, toCircuitSnapshot } from "./rules/snapshot.ts";
import { type FuseExport, readExport, toEntry } from "./transfer.ts";

/** Which circuits to list: those to which all of it applies. */
export interface CircuitFilter {
  /** In this state, as a snapshot shows it. Left out: in any. */
  state?: CircuitState | undefined;
  /** Of this name; a `*`, at the end alone, matches by prefix. Left out: of any. */
  name?: string | undefined;
  /** In this scope; `null`: in none. Left out: whichever. */
  context?: Scope | null | undefined;
  /** In this scope, of the other dimension; `null`: in none. Left out: whichever. */
  boundary?: Scope | null | undefined;
  /** With an override, or without. Left out: both. */
  overridden?: boolean | undefined;
}

/** A circuit that a store holds. */
interface Listed {
  readonly store: RegisteredStore;
  readonly snapshot: CircuitSnapshot;
  readonly record: CircuitRecord;
  /** The store's clock less this isolate's, in ms. */
  readonly offset: number;
}

/** How many circuits a page of a store is to have. */
const PAGE = 100;

/** Goes over the circuits of a Fuse, as far as it is narrowed. */
export class Inventory {
  readonly #registry: Registry;
  readonly #to: Narrowing;

  constructor(registry: Registry, to: Narrowing) {
    this.#registry = registry;
    this.#to = to;
  }

  /** Returns the stores that the Fuse is narrowed to. */
  stores(): RegisteredStore[] {
    const { store } = this.#to;
    return store === null ? [...this.#registry.stores.values()] : [this.#registry.store(store)];
  }

  /** Gives the circuits that this isolate knows. Performs no I/O. */
  *known(): Generator<CircuitSnapshot, void, undefined> {
    for (const { circuits } of this.stores()) {
      for (const circuit of circuits.values()) {
        const { identity } = circuit;
        if (!inScope(this.#to, identity)) continue;
        const { snapshot, now, ageMs, local } = circuit.peek();
        yield toCircuitSnapshot(identity, snapshot, now, ageMs, local);
      }
    }
  }

  /**
   * Gives the circuits that the stores hold. One round trip for each hundred.
   *
   * @param always `true` for an operator, whose requests are sent also while a store is left alone.
   */
  async *list(filter: CircuitFilter, always = false): AsyncGenerator<Listed, void, undefined> {
    const matches = matcherOf(filter);
    for (const store of this.stores()) {
      // A store that is written to meanwhile may list a circuit twice.
      const seen = new Set<string>();
      for await (const record of this.#recordsOf(store, always)) {
        if (seen.has(record.key)) continue;
        seen.add(record.key);
        const listed = this.#listed(store, record);
        if (inScope(this.#to, listed.snapshot) && matches(listed.snapshot)) yield listed;
      }
    }
  }

  async export(filter: CircuitFilter): Promise<FuseExport> {
    const circuits: unknown[] = [];
    for await (const { snapshot, record, offset } of this.list(filter, true)) {
      circuits.push(toEntry(snapshot, record, offset));
    }
    const exportedAt = new Date(this.#registry.clock()).toISOString();
    return { version: 1, exportedAt, circuits };
  }

  async import(
    data: unknown,
    options: { existing?: "replace" | "keep" },
  ): Promise<{ imported: number; kept: number }> {
    known("import", options, ["existing"]);
    const existing = oneOf("import", "existing", options.existing, ["replace", "keep"]);
    let imported = 0;
    let kept = 0;
    for (const [circuit, record] of this.#destinations(data)) {
      if (await circuit.restore(record, existing, this.#registry.clock())) imported++;
      else kept++;
    }
    return { imported, kept };
  }

  async resetAll(reason: string | null, actor: string | null): Promise<number> {
    let count = 0;
    for await (const { store, record } of this.list({}, true)) {
      await this.#registry.circuit(store, record.key, null).reset(reason, actor);
      count++;
    }
    return count;
  }

  async *history(query: EventQuery = {}): AsyncGenerator<CircuitEvent, void, undefined> {
    // The limit counts what is shown, not what the stores hold.
    let left = limitOf(query);
    const { limit: _, cursor, ...rest } = query;
    const stores = this.stores();
    // The cursor is of one store: those before have been read, and those after are read from the start.
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

  /** Returns the circuits that records of an export go into. */
  #destinations(data: unknown): Map<Circuit, CircuitRecord> {
    const registry = this.#registry;
    const circuits = new Map<Circuit, CircuitRecord>();
    for (const { identity, record } of readExport(data)) {
      if (!inScope(this.#to, identity)) continue;
      const name = this.#to.store ??
        (registry.stores.has(identity.store) ? identity.store : registry.standard);
      const circuit = registry.circuit(registry.store(name), record.key, null);
      if (circuits.has(circuit)) {
        throw new TypeError(
          `Cannot import state: ${
            quote(identity.name)
          } stands in it twice, from several stores, and would ` +
            `come into one; import into a view of one store what was exported from one`,
        );
      }
      circuits.set(circuit, record);
    }
    return circuits;
  }

  async *#recordsOf(
    store: RegisteredStore,
    always: boolean,
  ): AsyncGenerator<CircuitRecord, void, undefined> {
    const shape = (key: string) => this.#policyOf(store, key).shape;
    let cursor: string | null = null;
    do {
      const request = { cursor, limit: PAGE, at: store.clock(), shape };
      const page: ListPage = await store.opener.list(() => store.driver.list(request), always);
      yield* page.records;
      cursor = page.cursor;
    } while (cursor !== null);
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

/**
 * Returns a predicate of the filter.
 *
 * @throws {RangeError | TypeError} Naming the field, what came and what is allowed.
 */
function matcherOf(filter: CircuitFilter): (snapshot: CircuitSnapshot) => boolean {
  known("filter", filter, ["state", "name", "context", "boundary", "overridden"]);
  const { state, name, overridden } = filter;
  if (state !== undefined) oneOf("filter", "state", state, CIRCUIT_STATES);
  if (name !== undefined && typeof name !== "string") refuse("filter", "name", "a text", name);
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
