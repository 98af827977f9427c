/**
 * A Fuse: named stores, defaults, and scopes, from which circuit breakers are made.
 *
 * @module
 */

import type { Unit } from "./admission.ts";
import { announceTroubles } from "./announce.ts";
import type { RequestScope } from "./background.ts";
import type { Circuit } from "./circuit.ts";
import type { Actor, CircuitBreaker, CircuitOptions, GuardedFetch } from "./circuit_breaker.ts";
import type { CircuitEvent, EventQuery, Store } from "./contract.ts";
import { type FuseEvent, type FuseEvents, inScope } from "./events.ts";
import { hostOf, installable } from "./fetch.ts";
import { actorOf } from "./handle_options.ts";
import {
  type CircuitFilter,
  type CircuitPage,
  type CircuitPageOptions,
  type ImportOptions,
  Inventory,
} from "./inventory.ts";
import { type CircuitIdentity, type Scope, scopeText } from "./key.ts";
import { type FuseOptions, type Narrowing, type RegisteredStore, Registry } from "./registry.ts";
import { type CircuitSnapshot, toCircuitSnapshot } from "./rules/snapshot.ts";
import type { FuseExport } from "./transfer.ts";

/** The result of `fuse.check()` for one store. */
export interface StoreCheck {
  /** `true` if the store answered in time, without an error. */
  ok: boolean;
  /** How long the answer or the failure took, in ms; not a whole number. */
  latencyMs: number;
  /** A {@linkcode StoreUnavailableError} whose `cause` is the store's own error. Left out if `ok`. */
  error?: unknown;
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
  /**
   * The handle of a circuit that a snapshot, an event or a row names, whatever the view's scopes. It
   * fixes no policy. Performs no I/O.
   *
   * @throws {RangeError} If there is no store of that name.
   * @throws {TypeError} If the key is none of a circuit.
   */
  circuit(identity: { readonly store: string; readonly key: string }): CircuitBreaker;
  /** The names of the stores, the default one first. */
  readonly stores: readonly string[];
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
  /**
   * `fetch`, guarded by a circuit for each host. Bound: hand it on as it is, or put it in place of the
   * global one.
   */
  readonly fetch: GuardedFetch;
  /**
   * Listens. On a scoped view, to circuits of that view only. What a listener throws is told by
   * `listener_error`, and changes nothing. A promise that it returns is background work: the Fuse's
   * `waitUntil` holds it and, outside of Workers, `flush()` awaits it. If it rejects, `listener_error`
   * tells that, too. No I/O.
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
   * hundred, two on Redis. Never on the call path.
   *
   * @throws {StoreUnavailableError} If a store does not answer or refuses, or is left alone after it failed:
   * after the circuits of the others.
   */
  list(filter?: CircuitFilter): AsyncIterableIterator<CircuitSnapshot>;
  /**
   * A page of `list`, full as long as there are more; what is not plainly CLOSED comes first. Costs what
   * the circuits on it cost, however many there are beside. A store that does not answer is named by
   * `missing`, and its circuits are not on the pages.
   *
   * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
   */
  listPage(options?: CircuitPageOptions): Promise<CircuitPage>;
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
   * @param options See {@linkcode ImportOptions}.
   * @returns How many circuits came in, and how many stayed as they were.
   * @throws {TypeError} If anything in it is wrong; nothing is imported then.
   * @throws {StoreUnavailableError} If a store does not answer or refuses; what came in before stays.
   */
  importState(
    data: unknown,
    options?: ImportOptions,
  ): Promise<{ imported: number; kept: number }>;
  /**
   * Closes and clears all circuits of this view. Answers how many. Costs a `list()`, and one round trip
   * a circuit.
   *
   * @throws {StoreUnavailableError} As `list` does; what was reset before stays so.
   */
  resetAll(options?: Actor): Promise<number>;
  /**
   * Sends what is pending, waits for what is under way, and has stores deliver what they keep for
   * another, such as rows of a trail. Call it before the process ends, and once calls have: for those
   * that go on meanwhile it does not wait. One round trip a circuit that has something pending, fewer
   * where a store takes several at once; none if nothing has. Sends in waves, also while a store is left
   * alone, and ends with the first wave that does not reach the store: `store_error` tells that. Never
   * throws.
   */
  flush(): Promise<void>;
  /**
   * Asks each store of this view for a read and a write that leave nothing behind, also while the store is
   * left alone: for the start of a program, and for a health check that may ask. One round trip a store,
   * of at most `storeTimeoutMs`, all at once; none to a memory store. It counts like any other request: a
   * failure is told by `store_error` and leaves the store alone, and a success ends that. Never throws.
   *
   * @returns A {@linkcode StoreCheck} by the store's name. A store whose driver has no `check()` is only
   * read.
   */
  check(): Promise<Record<string, StoreCheck>>;
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
  const everything = { store: null, context: undefined, boundary: undefined };
  return new ScopedFuse(new Registry(options), everything);
}

/**
 * Returns the circuits of a Fuse that this isolate knows, without asking a store: those that it made,
 * called or imported and has not forgotten (`maxCircuits`). Nothing if it is no Fuse of this package.
 *
 * @internal
 */
export function* knownCircuits(fuse: Fuse): Generator<CircuitSnapshot, void, undefined> {
  for (const circuit of circuitsOf(fuse)) {
    const { snapshot, now, ageMs, local } = circuit.peek();
    yield toCircuitSnapshot(circuit.identity, snapshot, now, ageMs, local);
  }
}

/**
 * Returns the same circuits, as this isolate has them.
 *
 * @internal
 */
export function* circuitsOf(fuse: Fuse): Generator<Circuit, void, undefined> {
  const inside = ScopedFuse.inside(fuse);
  for (const { circuits } of storesIn(inside)) {
    for (const circuit of circuits.values()) {
      if (inScope(inside!.to, circuit.identity)) yield circuit;
    }
  }
}

/**
 * Calls `hear` with each circuit of the view that this isolate is about to forget.
 *
 * @returns Stops it.
 * @internal
 */
export function onForgotten(fuse: Fuse, hear: (circuit: Circuit) => void): () => void {
  const inside = ScopedFuse.inside(fuse);
  if (inside === null) return () => {};
  const { registry: { forgetting }, to } = inside;
  const own = (circuit: Circuit) => {
    const { identity } = circuit;
    if ((to.store ?? identity.store) === identity.store && inScope(to, identity)) hear(circuit);
  };
  forgetting.add(own);
  return () => forgetting.delete(own);
}

/**
 * Returns the stores of a Fuse, and whether the last that was heard of each is a failure. Nothing if it
 * is no Fuse of this package. Performs no I/O.
 *
 * @internal
 */
export function knownStores(
  fuse: Fuse,
): readonly { readonly name: string; readonly down: boolean }[] {
  return storesIn(ScopedFuse.inside(fuse)).map(({ name, opener }) => ({
    name,
    down: opener.failing,
  }));
}

/**
 * Returns the stores of a Fuse by name, as `createFuse` was given them. None if it is no Fuse of this
 * copy of the package. Performs no I/O.
 *
 * @internal
 */
export function storesOf(fuse: Fuse): ReadonlyMap<string, Store> {
  return new Map(storesIn(ScopedFuse.inside(fuse)).map(({ name, driver }) => [name, driver]));
}

/**
 * The parts of a view.
 *
 * @internal
 */
export interface Inside {
  readonly registry: Registry;
  readonly to: Narrowing;
}

/**
 * Returns what a view is made of, or `null` for what is no Fuse of this copy of the package.
 *
 * @internal
 */
export function insideOf(fuse: Fuse): Inside | null {
  return ScopedFuse.inside(fuse);
}

/** Returns the stores of a view; none if it is no Fuse of this package. */
function storesIn(inside: Inside | null): readonly RegisteredStore[] {
  return inside === null ? [] : new Inventory(inside.registry, inside.to).stores();
}

/**
 * Returns `true` if a circuit lies within a view of a Fuse, or if it is no Fuse of this copy of the
 * package. Performs no I/O.
 *
 * @internal
 */
export function covers(fuse: Fuse, circuit: CircuitIdentity): boolean {
  return ScopedFuse.covers(fuse, circuit);
}

class ScopedFuse implements Fuse {
  readonly #registry: Registry;
  readonly #to: Narrowing;
  readonly #unit: Unit;

  constructor(registry: Registry, to: Narrowing, unit: Unit = registry.background) {
    this.#registry = registry;
    this.#to = to;
    this.#unit = unit;
  }

  make<F = never>(name: string, options?: CircuitOptions<F>): CircuitBreaker<F> {
    return this.#registry.make(name, options, this.#to, this.#unit);
  }

  circuit(identity: { readonly store: string; readonly key: string }): CircuitBreaker {
    return this.#registry.handle(identity, this.#unit);
  }

  get stores(): readonly string[] {
    const { standard, stores } = this.#registry;
    return [...new Set([standard, ...stores.keys()])];
  }

  store(name: string): Fuse {
    return this.#narrow({ ...this.#to, store: this.#registry.store(name).name });
  }

  for(context: Scope | null): Fuse {
    return this.#narrow({ ...this.#to, context: scopeText(context, "context") });
  }

  boundary(boundary: Scope | null): Fuse {
    return this.#narrow({ ...this.#to, boundary: scopeText(boundary, "boundary") });
  }

  with(request: RequestScope | null | undefined): Fuse {
    return request == null
      ? this
      : new ScopedFuse(this.#registry, this.#to, this.#registry.background.of(request));
  }

  get fetch(): GuardedFetch {
    // Async: what is no URL rejects.
    return installable<never>(async (input, init) =>
      await this.make(hostOf(input)).fetch(input, init)
    );
  }

  on(
    type: string,
    listener: (event: never) => void,
    options?: { signal?: AbortSignal },
  ): () => void {
    return this.#registry.events.on(type, listener, this.#to, options?.signal);
  }

  async *list(filter: CircuitFilter = {}): AsyncGenerator<CircuitSnapshot, void, undefined> {
    for await (const { snapshot } of this.#inventory.list(filter)) yield snapshot;
  }

  async listPage(options: CircuitPageOptions = {}): Promise<CircuitPage> {
    return await this.#inventory.page(options);
  }

  async exportState(filter: CircuitFilter = {}): Promise<FuseExport> {
    await this.flush();
    return await this.#inventory.export(filter);
  }

  importState(
    data: unknown,
    options: ImportOptions = {},
  ): Promise<{ imported: number; kept: number }> {
    return this.#inventory.import(data, options);
  }

  async resetAll(options?: Actor): Promise<number> {
    const { reason, actor } = actorOf(options);
    return await this.#inventory.resetAll(reason, actor);
  }

  async flush(): Promise<void> {
    const stores = this.#inventory.stores();
    await Promise.all(
      stores.map(({ opener, unsent }) =>
        opener.flush([...unsent].filter(({ identity }) => inScope(this.#to, identity)))
      ),
    );
    await this.#registry.background.settled();
    await Promise.all(
      stores.map(async ({ driver, name, events, clock }) => {
        announceTroubles(events, name, await driver.flush?.({ at: clock() }));
      }),
    );
  }

  async check(): Promise<Record<string, StoreCheck>> {
    const checks = this.#inventory.stores().map(async ({ name, opener }) => {
      const begun = performance.now();
      const since = () => performance.now() - begun;
      try {
        await opener.check();
        return [name, { ok: true, latencyMs: since() }] as const;
      } catch (error) {
        return [name, { ok: false, latencyMs: since(), error }] as const;
      }
    });
    return Object.fromEntries(await Promise.all(checks));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.flush();
  }

  history(query?: EventQuery): AsyncIterableIterator<CircuitEvent> {
    return this.#inventory.history(query);
  }

  /** Returns what a view is made of, or `null` for what is no Fuse of this package. */
  static inside(fuse: Fuse): Inside | null {
    return #registry in fuse ? { registry: fuse.#registry, to: fuse.#to } : null;
  }

  static covers(fuse: Fuse, circuit: CircuitIdentity): boolean {
    if (!(#registry in fuse)) return true;
    const { store } = fuse.#to;
    return (store === null || store === circuit.store) && inScope(fuse.#to, circuit);
  }

  get #inventory(): Inventory {
    return new Inventory(this.#registry, this.#to);
  }

  #narrow(to: Narrowing): Fuse {
    return new ScopedFuse(this.#registry, to, this.#unit);
  }
}
