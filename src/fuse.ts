/**
 * A Fuse: named stores, defaults, and scopes, from which circuit breakers are made.
 *
 * @module
 */

import type { Unit } from "./admission.ts";
import { announceTroubles } from "./announce.ts";
import type { RequestScope } from "./background.ts";
import type { Actor, CircuitBreaker, CircuitOptions, GuardedFetch } from "./circuit_breaker.ts";
import type { CircuitEvent, EventQuery } from "./contract.ts";
import { type FuseEvent, type FuseEvents, inScope, type Narrowing } from "./events.ts";
import { globalFetch, hostOf, installable } from "./fetch.ts";
import { actorOf } from "./handle_options.ts";
import {
  type CircuitFilter,
  type CircuitPage,
  type CircuitPageOptions,
  type ImportOptions,
  Inventory,
} from "./inventory.ts";
import { type Scope, scopeText } from "./key.ts";
import { type FuseOptions, Registry } from "./registry.ts";
import type { CircuitSnapshot } from "./rules/snapshot.ts";
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
   * Returns a handle of a circuit. The same name, scopes and store mean the same circuit. No I/O.
   *
   * @param name 1–255 characters.
   * @param options Without them, the handle refers to the circuit and fixes no policy.
   * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
   */
  make<F = never>(name: string, options?: CircuitOptions<F>): CircuitBreaker<F>;
  /**
   * Returns the handle of a circuit that a snapshot, an event or a row names, whatever the view's
   * scopes. It fixes no policy. Performs no I/O.
   *
   * @throws {RangeError} If there is no store of that name.
   * @throws {TypeError} If the key is not a circuit's.
   */
  circuit(identity: { readonly store: string; readonly key: string }): CircuitBreaker;
  /** The names of the stores, the default one first. */
  readonly stores: readonly string[];
  /** Returns this Fuse on another of its stores. @throws {RangeError} If there is no such store. */
  store(name: string): Fuse;
  /**
   * Returns the view of circuits of a context, such as a tenant; `null` for those of none.
   *
   * @throws {TypeError} If the scope is invalid.
   */
  for(context: Scope | null): Fuse;
  /**
   * Returns the view of circuits within a boundary, another dimension than the context; `null` for
   * those of none.
   *
   * @throws {TypeError} If the scope is invalid.
   */
  boundary(boundary: Scope | null): Fuse;
  /** Returns a view whose background work goes to a request's `waitUntil`, called as a method. */
  with(request: RequestScope | null | undefined): Fuse;
  /**
   * A `fetch` guarded by a circuit for each host. A URL without a host, such as `data:` and `blob:`,
   * is sent unguarded. Bound: pass it on, or replace the global one.
   */
  readonly fetch: GuardedFetch;
  /**
   * Adds a listener. A scoped view's listener receives events of the view's circuits only. An error
   * of the listener is reported by `listener_error`, and changes nothing. A promise that it returns
   * is background work: the Fuse's `waitUntil` holds it and, outside of Workers, `flush()` awaits
   * it. If it rejects, `listener_error` reports that, too. No I/O.
   *
   * @param options `signal`: stops when it aborts.
   * @returns A function that removes the listener.
   * @throws {TypeError} If the listener is not a function.
   */
  on<K extends keyof FuseEvents>(
    type: K,
    listener: (event: { type: K } & FuseEvents[K]) => void,
    options?: { signal?: AbortSignal | undefined },
  ): () => void;
  /** Adds a listener for all events. */
  on(
    type: "*",
    listener: (event: FuseEvent) => void,
    options?: { signal?: AbortSignal | undefined },
  ): () => void;
  /**
   * Lists all circuits of this view in the stores, read on demand: one round trip for each hundred,
   * two on Redis. Never on the call path. Leaves out circuits whose records are invalid, and reports
   * each by `store_error`, as do all operations that list circuits.
   *
   * @throws {StoreUnavailableError} If a store does not answer or refuses, or is in back-off: after
   * the circuits of the others.
   */
  list(filter?: CircuitFilter): AsyncIterableIterator<CircuitSnapshot>;
  /**
   * Returns a page of `list`, full as long as there are more; circuits that are not plainly CLOSED
   * come first. Costs in proportion to the circuits on the page, however many others there are.
   * `missing` names stores that do not answer, whose circuits are not on the pages.
   *
   * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
   */
  listPage(options?: CircuitPageOptions): Promise<CircuitPage>;
  /**
   * Returns the state as JSON, to move it to another store or keep it. Costs a `flush()` and a
   * `list()`, and throws like that.
   */
  exportState(filter?: CircuitFilter): Promise<FuseExport>;
  /**
   * Imports an export: into this view's store or, from the root, into the store of the same name,
   * else the default. Leaves out circuits outside the view's scopes. One round trip a circuit.
   *
   * @param data The result of `exportState`, read in short steps: do not change it meanwhile.
   * @param options See {@linkcode ImportOptions}.
   * @returns The number of imported circuits, and of circuits that stayed as they were.
   * @throws {TypeError} If any part of it is invalid; then nothing is imported.
   * @throws {StoreUnavailableError} If a store does not answer or refuses; earlier circuits stay.
   */
  importState(
    data: unknown,
    options?: ImportOptions,
  ): Promise<{ imported: number; kept: number }>;
  /**
   * Closes all circuits of this view, and clears their evidence. Returns their number. Costs a
   * `list()`, and one round trip for each circuit.
   *
   * @throws {StoreUnavailableError} As `list` does; circuits reset before stay reset.
   */
  resetAll(options?: Actor): Promise<number>;
  /**
   * Sends pending outcomes, waits for requests on their way, and makes stores deliver rows that
   * they keep for another, such as a trail. Call it before the process ends, after calls have
   * ended: it does not wait for calls that continue. One round trip for each circuit with pending
   * outcomes, fewer if a store accepts several at once; none if nothing is pending. Sends in waves,
   * also during a back-off, and stops at the first wave that does not reach the store, which
   * `store_error` reports. Never throws.
   */
  flush(): Promise<void>;
  /**
   * Sends each store of this view a read and a write that leave nothing behind, also during a
   * back-off: for the start of a program, and for a health check that may send requests. One round
   * trip for each store, of at most `storeTimeoutMs`, all at once; none to a memory
   * store. `store_error` reports a failed check, which begins no back-off; a successful check ends
   * one. Never throws.
   *
   * @returns A {@linkcode StoreCheck} by the store's name. A store whose driver has no `check()` is
   * only read.
   */
  check(): Promise<Record<string, StoreCheck>>;
  /**
   * Returns the trail of all circuits of this view: store by store, latest first in each. Its
   * cursors name their store; a view of one store also accepts the store's own. One round trip for
   * each hundred rows, read on demand.
   *
   * @throws {TypeError} If a store keeps no trail, or the cursor is from another store.
   * @throws {RangeError} If the limit is not an integer of at least 0, or a date or the kind of
   * event is invalid.
   */
  history(query?: EventQuery): AsyncIterableIterator<CircuitEvent>;
}

/**
 * Makes a Fuse. Performs no I/O, starts no timer and draws no random number, so it may run at
 * module scope.
 *
 * @param options See {@linkcode FuseOptions}; all are optional.
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
 * The parts of a view.
 *
 * @internal
 */
export interface Inside {
  readonly registry: Registry;
  readonly to: Narrowing;
}

/**
 * Returns the parts of a view, or `null` for a value that is no Fuse of this copy of the package.
 *
 * @internal
 */
export function insideOf(fuse: Fuse): Inside | null {
  return ScopedFuse.inside(fuse);
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
    // Async, so that an invalid URL rejects.
    return installable<never>(async (input, init) => {
      const host = hostOf(input);
      return await (host === "" ? this.#registry.fetch ?? globalFetch() : this.make(host).fetch)(
        input,
        init,
      );
    });
  }

  on(
    type: string,
    listener: (event: never) => void,
    options?: { signal?: AbortSignal | undefined },
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
    return await this.#inventory.resetAll(actorOf(options));
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
      const result = await opener.check().then(
        () => ({ ok: true }),
        (error: unknown) => ({ ok: false, error }),
      );
      return [name, { ...result, latencyMs: performance.now() - begun }] as const;
    });
    return Object.fromEntries(await Promise.all(checks));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.flush();
  }

  history(query?: EventQuery): AsyncIterableIterator<CircuitEvent> {
    return this.#inventory.history(query);
  }

  /** Returns the parts of a view, or `null` for a Fuse of another package. */
  static inside(fuse: Fuse): Inside | null {
    return #registry in fuse ? { registry: fuse.#registry, to: fuse.#to } : null;
  }

  get #inventory(): Inventory {
    return new Inventory(this.#registry, this.#to);
  }

  #narrow(to: Narrowing): Fuse {
    return new ScopedFuse(this.#registry, to, this.#unit);
  }
}
