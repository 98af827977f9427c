/**
 * A Fuse: named stores, defaults, and scoped views that make circuit breakers.
 *
 * @module
 */

import type { RequestScope, WaitUntil } from "./background.ts";
import { actorOf } from "./handle.ts";
import { type Circuit, tellTroubles, type Unit } from "./circuit.ts";
import type { Actor, CircuitBreaker, CircuitDefaults, CircuitOptions } from "./circuit_breaker.ts";
import { type FuseEvent, type FuseEvents, inScope } from "./events.ts";
import { type GuardedFetch, hostOf } from "./fetch.ts";
import type {
  CircuitEvent,
  CircuitRecord,
  CircuitState,
  Clock,
  EventQuery,
  ListPage,
  Store,
} from "./contract.ts";
import { cursorOf, historyOf, limitOf, placeOf } from "./history.ts";
import { identify, nameMatches, type Scope, scopeText } from "./key.ts";
import { known, oneOf, quote, refuse } from "./checks.ts";
import type { OnStoreError } from "./rules/policy.ts";
import { type Narrowing, Root, type Shelf } from "./registry.ts";
import { type CircuitSnapshot, toCircuitSnapshot } from "./rules/snapshot.ts";
import { together } from "./records.ts";
import type { Strategy } from "./rules/strategies.ts";
import { type FuseExport, readExport, toEntry } from "./transfer.ts";

/** Options of {@linkcode createFuse}. */
export interface FuseOptions {
  /**
   * Stores by name.
   *
   * @default {{ array: memory() }}
   */
  stores?: Record<string, Store> | undefined;
  /**
   * The store of circuits that name none.
   *
   * @default {the first of `stores`}
   */
  default?: string | undefined;
  /** Options for all circuits. Left out: those of `CircuitPolicy` and `CircuitOptions`. */
  defaults?: CircuitDefaults | undefined;
  /**
   * Options for circuits by name, on top of `defaults`; a trailing `*` matches by prefix. The
   * exact name wins, then the longest prefix. Left out: `defaults` alone.
   */
  circuits?: Record<string, CircuitDefaults> | undefined;
  /** Custom strategies by name, for `strategy`. Left out: none but the built-in ones. */
  strategies?: Record<string, Strategy> | undefined;
  /**
   * What to do when a store does not answer, where a circuit says nothing.
   *
   * @default {"local"}
   */
  onStoreError?: OnStoreError | undefined;
  /**
   * How long to wait for a store, in ms. A positive integer.
   *
   * @default {500}
   */
  storeTimeoutMs?: number | undefined;
  /**
   * How many circuits each store's side of this Fuse keeps in mind (policies and views, not
   * state); past it one goes that was neither made nor called for long. A positive integer.
   *
   * @default {10_000}
   */
  maxCircuits?: number | undefined;
  /**
   * The clock, in ms.
   *
   * @default {Date.now}
   */
  clock?: Clock | undefined;
  /**
   * Hands background work to the runtime, for all requests: `waitUntil` of "cloudflare:workers". Left
   * out: the process holds it; on a Worker, calls wait for it.
   */
  waitUntil?: WaitUntil | undefined;
}

/** Which circuits to list: those to which all of it applies. */
export interface CircuitFilter {
  /** In this state, as a snapshot shows it. Left out: in any. */
  state?: CircuitState | undefined;
  /** Of this name; a trailing `*` matches by prefix. Left out: of any. */
  name?: string | undefined;
  /** In this scope; `null`: in none. Left out: whichever. */
  context?: Scope | null | undefined;
  /** In this scope, of the other dimension; `null`: in none. Left out: whichever. */
  boundary?: Scope | null | undefined;
  /** With an override, or without. Left out: both. */
  overridden?: boolean | undefined;
}

/**
 * Makes circuit breakers. `store`, `for`, `boundary` and `with` return new views of the same Fuse
 * and change nothing.
 */
export interface Fuse extends AsyncDisposable {
  /**
   * A handle of a circuit. The same name, scopes and store always mean the same circuit. No I/O.
   *
   * @param name 1–255 characters.
   * @param options Left out, the handle refers to the circuit and fixes no policy.
   * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
   */
  make<F = never>(name: string, options?: CircuitOptions<F>): CircuitBreaker<F>;
  /** This Fuse on another of its stores. @throws {RangeError} If it has none of that name. */
  store(name: string): Fuse;
  /**
   * Circuits of a context, such as a tenant; `null`: of none.
   *
   * @throws {TypeError} If it is no scope.
   */
  for(context: Scope | null): Fuse;
  /**
   * Circuits within a boundary, another dimension than the context; `null`: of none.
   *
   * @throws {TypeError} If it is no scope.
   */
  boundary(boundary: Scope | null): Fuse;
  /** Background work goes to this request's `waitUntil`, called as a method. */
  with(request: RequestScope | null | undefined): Fuse;
  /** `fetch`, guarded by a circuit for each host. Bound: hand it on as it is. */
  readonly fetch: GuardedFetch;
  /**
   * Listens. On a scoped view, to circuits of that view only. What a listener throws is told by
   * `listener_error`, and changes nothing.
   *
   * @param options `signal`: stops when it aborts.
   * @returns How to stop.
   * @throws {TypeError} If the listener is no function.
   */
  on<K extends keyof FuseEvents>(
    type: K,
    listener: (event: { type: K } & FuseEvents[K]) => void,
    options?: { signal?: AbortSignal },
  ): () => void;
  /** Listens to everything. */
  on(
    type: "*",
    listener: (event: FuseEvent) => void,
    options?: { signal?: AbortSignal },
  ): () => void;
  /**
   * All circuits that the stores hold, of this view, read as they are asked for: one round trip for each
   * hundred. Never on the call path.
   *
   * @throws {StoreUnavailableError} If a store does not answer.
   */
  list(filter?: CircuitFilter): AsyncIterableIterator<CircuitSnapshot>;
  /**
   * State as JSON, to move it to another store or keep it. Costs a `flush()` and a `list()`, and throws
   * as that does.
   */
  exportState(filter?: CircuitFilter): Promise<FuseExport>;
  /**
   * Takes over an export: into this view's store or, from the root, into the store of the same name,
   * else the default. What lies outside the view's scopes is left out. One round trip a circuit.
   *
   * @param data What `exportState` gave.
   * @param options `existing`: what becomes of a circuit that the store holds already; by default it is
   * replaced.
   * @returns How many circuits came in, and how many stayed as they were.
   * @throws {TypeError} If anything in it is wrong; nothing is imported then.
   * @throws {StoreUnavailableError} If a store does not answer; what came in before stays.
   */
  importState(
    data: unknown,
    options?: { existing?: "replace" | "keep" },
  ): Promise<{ imported: number; kept: number }>;
  /**
   * Closes and clears all circuits of this view. Answers how many. Costs a `list()`, and one round trip
   * a circuit.
   *
   * @throws {StoreUnavailableError} If a store does not answer; what was reset before stays so.
   */
  resetAll(options?: Actor): Promise<number>;
  /**
   * Sends what is pending, waits for what is under way, and has stores deliver what they keep for
   * another, such as rows of a trail. Call it before the process ends, and once calls have: for those
   * that go on meanwhile it does not wait. One round trip a circuit that has something pending, fewer
   * where a store takes several at once; none if nothing has. A store that does not answer is told by
   * `store_error`, and not thrown.
   */
  flush(): Promise<void>;
  /**
   * What happened, over all circuits of this view: store by store, latest first in each. Its cursors
   * say of which store they are; a view of one store takes that store's own as well. One round trip for
   * each hundred rows, read as they are asked for.
   *
   * @throws {TypeError} If a store keeps no trail, or the cursor is of none of this view's stores.
   * @throws {RangeError} If the limit is no integer of at least 0, or a date or the kind of event none.
   */
  history(query?: EventQuery): AsyncIterableIterator<CircuitEvent>;
}

/**
 * Makes a Fuse. Does no I/O, starts no timer, draws no random number: at home at module scope.
 *
 * @param options See {@linkcode FuseOptions}; none are needed.
 * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
 *
 * @example
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { assertEquals } from "@std/assert";
 *
 * const fuse = createFuse();
 * const breaker = fuse.make("payments", { failureThreshold: 2 });
 * for (let i = 0; i < 2; i++) {
 *   await breaker.tryCall(() => Promise.reject(new Error("down")));
 * }
 * assertEquals(await breaker.getState(), "OPEN");
 * ```
 */
export function createFuse(options: FuseOptions = {}): Fuse {
  return new FuseView(new Root(options), { store: null, context: undefined, boundary: undefined });
}

/**
 * What this isolate knows of the circuits of a view, without asking a store: those that it made,
 * called or imported and has not forgotten (`maxCircuits`). None if it is no Fuse of this package.
 *
 * @internal
 */
export function knownCircuits(fuse: Fuse): Iterable<CircuitSnapshot> {
  return FuseView.known(fuse);
}

class FuseView implements Fuse {
  readonly #root: Root;
  readonly #to: Narrowing;
  readonly #unit: Unit;

  constructor(root: Root, to: Narrowing, unit: Unit = root.background) {
    this.#root = root;
    this.#to = to;
    this.#unit = unit;
  }

  make<F = never>(name: string, options?: CircuitOptions<F>): CircuitBreaker<F> {
    return this.#root.make(name, options, this.#to, this.#unit);
  }

  store(name: string): Fuse {
    return this.#narrow({ store: this.#root.shelf(name).name });
  }

  for(context: Scope | null): Fuse {
    return this.#narrow({ context: scopeText(context, "context") });
  }

  boundary(boundary: Scope | null): Fuse {
    return this.#narrow({ boundary: scopeText(boundary, "boundary") });
  }

  with(request: RequestScope | null | undefined): Fuse {
    return request == null
      ? this
      : new FuseView(this.#root, this.#to, this.#root.background.of(request));
  }

  #narrow(to: Partial<Narrowing>): Fuse {
    return new FuseView(this.#root, { ...this.#to, ...to }, this.#unit);
  }

  get fetch(): GuardedFetch {
    return async (input, init) => await this.make(hostOf(input)).fetch(input, init);
  }

  on(
    type: string,
    listener: (event: never) => void,
    options?: { signal?: AbortSignal },
  ): () => void {
    return this.#root.events.on(type, listener, this.#to, options?.signal);
  }

  async *list(filter: CircuitFilter = {}): AsyncGenerator<CircuitSnapshot, void, undefined> {
    for await (const { snapshot } of this.#records(filter)) yield snapshot;
  }

  async exportState(filter: CircuitFilter = {}): Promise<FuseExport> {
    await this.flush();
    const circuits: unknown[] = [];
    for await (const { snapshot, record, offset } of this.#records(filter)) {
      circuits.push(toEntry(snapshot, record, offset));
    }
    const exportedAt = new Date(this.#root.clock()).toISOString();
    return { version: 1, exportedAt, circuits };
  }

  async importState(
    data: unknown,
    options: { existing?: "replace" | "keep" } = {},
  ): Promise<{ imported: number; kept: number }> {
    known("import", options, ["existing"]);
    const existing = oneOf("import", "existing", options.existing, ["replace", "keep"]);
    const root = this.#root;
    const circuits = new Map<Circuit, CircuitRecord>();
    for (const { identity, record } of readExport(data)) {
      if (!inScope(this.#to, identity)) continue;
      const name = this.#to.store ??
        (root.shelves.has(identity.store) ? identity.store : root.standard);
      const circuit = root.circuit(root.shelf(name), record.key, null);
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
    let imported = 0;
    let kept = 0;
    for (const [circuit, record] of circuits) {
      if (await circuit.restore(record, existing, root.clock())) imported++;
      else kept++;
    }
    return { imported, kept };
  }

  async resetAll(options?: Actor): Promise<number> {
    const { reason, actor } = actorOf(options);
    let count = 0;
    for await (const { shelf, record } of this.#records({})) {
      const circuit = this.#root.circuit(shelf, record.key, null);
      await circuit.reset(reason, actor);
      count++;
    }
    return count;
  }

  async flush(): Promise<void> {
    const failing = this.#shelves().filter(({ guard }) => guard.failing);
    await this.#send(this.#shelves());
    // While a store is being tried out, one request goes; if it is back, so does the rest.
    const back = failing.filter(({ guard }) => !guard.failing);
    if (back.length > 0) await this.#send(back);
    await Promise.all(
      this.#shelves().map(async ({ store, name, events }) => {
        tellTroubles(events, name, await store.flush?.({ at: this.#root.clock() }));
      }),
    );
  }

  /** Sends what is pending for these stores, and waits for what is under way. */
  async #send(shelves: readonly Shelf[]): Promise<void> {
    const sends = shelves.flatMap(({ store, unsent }) => {
      const circuits = [...unsent].filter(({ identity }) => inScope(this.#to, identity));
      return together(store, () => circuits.map((circuit) => circuit.flush()));
    });
    await Promise.all(sends);
    await this.#root.background.settled();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.flush();
  }

  async *history(query: EventQuery = {}): AsyncGenerator<CircuitEvent, void, undefined> {
    // The limit counts what the view shows, not what the store holds.
    let left = limitOf(query);
    const { limit: _, cursor, ...rest } = query;
    const shelves = this.#shelves();
    // It is of one store: those before have been read, and those after are read from the start.
    const [from, own] = cursor === undefined
      ? [0, undefined]
      : placeOf(query, shelves.map(({ name }) => name));
    for (const { store, name } of left > 0 ? shelves.slice(from) : []) {
      const first = own !== undefined && name === shelves[from]!.name;
      for await (const event of historyOf(store, name, first ? { ...rest, cursor: own } : rest)) {
        if (!inScope(this.#to, event)) continue;
        yield { ...event, cursor: cursorOf(name, event.cursor) };
        if (--left === 0) return;
      }
    }
  }

  static *known(fuse: Fuse): Generator<CircuitSnapshot, void, undefined> {
    if (!(#root in fuse)) return;
    for (const { circuits } of fuse.#shelves()) {
      for (const circuit of circuits.values()) {
        const { identity } = circuit;
        if (!inScope(fuse.#to, identity)) continue;
        const { snapshot, now, ageMs } = circuit.peek();
        yield toCircuitSnapshot(identity, snapshot, circuit.reading(now), ageMs);
      }
    }
  }

  #shelves(): Shelf[] {
    const { store } = this.#to;
    return store === null ? [...this.#root.shelves.values()] : [this.#root.shelf(store)];
  }

  async *#records(filter: CircuitFilter): AsyncGenerator<Listed, void, undefined> {
    known("filter", filter, ["state", "name", "context", "boundary", "overridden"]);
    const { state, name, overridden } = filter;
    if (state !== undefined) oneOf("filter", "state", state, ["CLOSED", "OPEN", "HALF_OPEN"]);
    if (name !== undefined && typeof name !== "string") {
      refuse("filter", "name", "a text", name);
    }
    if (overridden !== undefined && typeof overridden !== "boolean") {
      refuse("filter", "overridden", "true or false", overridden);
    }
    const scope = (dimension: "context" | "boundary") => {
      const wanted = filter[dimension];
      return wanted === undefined ? undefined : scopeText(wanted, dimension);
    };
    const scopes = { context: scope("context"), boundary: scope("boundary") };
    const root = this.#root;
    for (const shelf of this.#shelves()) {
      const policy = (key: string) =>
        shelf.circuits.get(key)?.policy ?? root.config(identify(shelf.name, key).name).policy;
      const shape = (key: string) => policy(key).shape;
      // A store that is written to meanwhile may list a circuit twice.
      const seen = new Set<string>();
      let cursor: string | null = null;
      do {
        const request = { cursor, limit: 100, at: root.clock(), shape };
        const page: ListPage = await shelf.guard.run("list", () => shelf.store.list(request));
        for (const record of page.records) {
          if (seen.has(record.key)) continue;
          seen.add(record.key);
          const identity = identify(shelf.name, record.key);
          const { snapshot: s } = record;
          const laid = shelf.circuits.get(record.key)?.lay(s) ?? s;
          const snapshot = toCircuitSnapshot(
            identity,
            laid,
            { ...policy(record.key), now: s.now },
            0,
          );
          if (
            inScope(this.#to, identity) && inScope(scopes, identity) &&
            (name === undefined || nameMatches(name, identity.name)) &&
            (state === undefined || state === snapshot.state) &&
            (overridden === undefined || overridden === (snapshot.override !== null))
          ) yield { shelf, snapshot, record, offset: s.now - root.clock() };
        }
        cursor = page.cursor;
      } while (cursor !== null);
    }
  }
}

interface Listed {
  readonly shelf: Shelf;
  readonly snapshot: CircuitSnapshot;
  readonly record: CircuitRecord;
  /** The store's clock less ours. */
  readonly offset: number;
}
