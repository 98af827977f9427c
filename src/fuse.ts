/**
 * A Fuse: named stores, defaults, and scoped views that make circuit breakers.
 *
 * @module
 */

import { memory } from "../drivers/memory.ts";
import { Background, type RequestScope, type WaitUntil } from "./background.ts";
import { type Circuit, LocalCircuit, type Surroundings, type Unit } from "./circuit.ts";
import {
  type Actor,
  actorOf,
  Breaker,
  type CircuitBreaker,
  type CircuitDefaults,
  type CircuitOptions,
  type Handle,
} from "./circuit_breaker.ts";
import { Events, type FuseEvent, type FuseEvents, inScope } from "./events.ts";
import { type GuardedFetch, hostOf } from "./fetch.ts";
import { type CircuitEvent, type EventQuery, historyOf } from "./history.ts";
import { type CircuitIdentity, identify, isName, type Scope, scopeText, toKey } from "./key.ts";
import {
  check,
  type CircuitPolicy,
  type CircuitPolicyData,
  createPolicy,
  differences,
  MAX_TIMER_MS,
  oneOf,
  type OnStoreError,
  POLICY_OPTIONS,
  received,
  refuse,
  samePolicy,
} from "./policy.ts";
import { type CircuitSnapshot, toCircuitSnapshot } from "./snapshot.ts";
import type { CircuitRecord, CircuitState, Clock, ListPage, Store } from "./store.ts";
import { StoreGuard } from "./store_guard.ts";
import { BUILT_IN, type Strategy } from "./strategies.ts";
import { type FuseExport, readExport, toEntry } from "./transfer.ts";
import { View } from "./view.ts";

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
  /** Options for all circuits. */
  defaults?: CircuitDefaults | undefined;
  /**
   * Options for circuits by name, on top of `defaults`; a trailing `*` matches by prefix. The
   * exact name wins, then the longest prefix.
   */
  circuits?: Record<string, CircuitDefaults> | undefined;
  /** Custom strategies by name. */
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
   * state); past it one that was not made for long goes. A positive integer.
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
  /** Hands background work to the runtime, for all requests: `waitUntil` of "cloudflare:workers". */
  waitUntil?: WaitUntil | undefined;
}

/** Which circuits to list. */
export interface CircuitFilter {
  /** In this state, as a snapshot shows it. */
  state?: CircuitState | undefined;
  /** Of this name; a trailing `*` matches by prefix. */
  name?: string | undefined;
  /** In this scope; `null`: in none. */
  context?: Scope | null | undefined;
  /** In this scope; `null`: in none. */
  boundary?: Scope | null | undefined;
  /** With an override, or without. */
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
  /** Circuits of a context, such as a tenant; `null`: of none. */
  for(context: Scope | null): Fuse;
  /** Circuits within a boundary, another dimension than the context; `null`: of none. */
  boundary(boundary: Scope | null): Fuse;
  /** Background work goes to this request's `waitUntil`, called as a method. */
  with(request: RequestScope | null | undefined): Fuse;
  /** `fetch`, guarded by a circuit for each host. Bound: hand it on as it is. */
  readonly fetch: GuardedFetch;
  /**
   * Listens. On a scoped view, to circuits of that view only.
   *
   * @returns How to stop.
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
  /** All circuits that the stores hold, of this view. In pages; never on the call path. */
  list(filter?: CircuitFilter): AsyncIterableIterator<CircuitSnapshot>;
  /** State as JSON, to move it to another store or keep it. */
  exportState(filter?: CircuitFilter): Promise<FuseExport>;
  /**
   * Takes over an export: into this view's store or, from the root, into the store of the same name,
   * else the default. What lies outside the view's scopes is left out.
   *
   * @throws {TypeError} If anything in it is wrong; nothing is imported then.
   */
  importState(
    data: unknown,
    options?: { existing?: "replace" | "keep" },
  ): Promise<{ imported: number; kept: number }>;
  /** Closes and clears all circuits of this view. Answers how many. */
  resetAll(options?: Actor): Promise<number>;
  /** Sends what is pending, and waits for what is under way. Call it before the process ends. */
  flush(): Promise<void>;
  /** What happened, over all circuits of this view. @throws {TypeError} If a store keeps no trail. */
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

const SUBJECT = "fuse";

/** What circuits of one name get: policy, functions, store. */
interface Config {
  readonly options: CircuitDefaults;
  readonly policy: CircuitPolicyData;
  readonly handle: Handle<never>;
}

/** A named store with the circuits that this isolate knows of it. */
interface Shelf extends Surroundings {
  readonly name: string;
  readonly store: Store;
  readonly guard: StoreGuard;
  /** In the order of coming, but for those passed over when room was made. */
  readonly circuits: Map<string, Circuit>;
}

/** What all views of a Fuse share. */
class Root {
  readonly clock: Clock;
  readonly events = new Events();
  readonly background: Background;
  readonly shelves = new Map<string, Shelf>();
  readonly standard: string;
  readonly #strategies: Record<string, Strategy>;
  readonly #configs: [pattern: string, Config][];
  readonly #common: Config;
  readonly #maxCircuits: number;
  /** Those made last. */
  readonly #policies: CircuitPolicyData[] = [];

  constructor(options: FuseOptions) {
    known(SUBJECT, options, FUSE_OPTIONS);
    const stores = record("stores", options.stores) ?? { array: memory() };
    const circuits = record("circuits", options.circuits) ?? {};
    const strategies = record("strategies", options.strategies) ?? {};
    this.clock = optional("clock", options.clock, "function") ?? Date.now;
    this.background = new Background(optional("waitUntil", options.waitUntil, "function"));
    this.#maxCircuits = check(SUBJECT, "maxCircuits", options.maxCircuits, 10_000);
    const { storeTimeoutMs } = options;
    const timeoutMs = check(SUBJECT, "storeTimeoutMs", storeTimeoutMs, 500, 1, MAX_TIMER_MS);
    for (const [name, store] of Object.entries(stores)) {
      if (!isName(name) || typeof store?.record !== "function") {
        refuse(SUBJECT, `stores.${name}`, "a store such as memory() makes", store);
      }
      const guard = new StoreGuard(name, timeoutMs, this.clock, this.events);
      const { clock, events } = this;
      const unsent = new Set<Circuit>();
      this.shelves.set(name, { name, store, guard, clock, events, unsent, circuits: new Map() });
    }
    const names = [...this.shelves.keys()];
    if (names.length === 0) refuse(SUBJECT, "stores", "at least one store", stores);
    this.standard = oneOf(SUBJECT, "default", options.default, names);
    for (const [name, strategy] of Object.entries(strategies)) {
      if (typeof strategy !== "function" || Object.hasOwn(BUILT_IN, name)) {
        refuse(SUBJECT, `strategies.${name}`, "a function under a name of its own", strategy);
      }
    }
    this.#strategies = { ...strategies };
    const { onStoreError } = options;
    this.#common = this.#configure(merge({ onStoreError }, options.defaults));
    this.#configs = Object.entries(circuits).map(([pattern, own]): [string, Config] => [
      pattern,
      this.#configure(merge(this.#common.options, own)),
    ]);
    // An exact name before any prefix, a longer prefix before a shorter one.
    const rank = (pattern: string) => pattern.endsWith("*") ? pattern.length : Infinity;
    this.#configs.sort(([a], [b]) => rank(b) === rank(a) ? 0 : rank(b) - rank(a));
  }

  #configure(options: CircuitDefaults): Config {
    known("circuit breaker", options, CIRCUIT_OPTIONS);
    if (options.store !== undefined) this.shelf(options.store);
    return { options, policy: this.policy(options), handle: handleOf(options) };
  }

  /** A policy. Equal ones are one object: there may be as many circuits as tenants. */
  policy(options: CircuitPolicy): CircuitPolicyData {
    const policy = createPolicy(options, this.#strategies, this.events.report);
    const equal = this.#policies.find((held) => samePolicy(held, policy));
    if (equal !== undefined) return equal;
    this.#policies.unshift(policy);
    this.#policies.length = Math.min(this.#policies.length, 16);
    return policy;
  }

  /** What is configured for a name. */
  config(name: string): Config {
    return this.#configs.find(([pattern]) => nameMatches(pattern, name))?.[1] ?? this.#common;
  }

  shelf(name: string): Shelf {
    const shelf = this.shelves.get(name);
    if (shelf === undefined) {
      throw new RangeError(
        `Cannot use store: "store" must be one of ${[...this.shelves.keys()].join(", ")}, ` +
          `received ${received(name)}`,
      );
    }
    return shelf;
  }

  /** The circuit of a key, as this isolate knows it. */
  circuit(shelf: Shelf, key: string, identity: CircuitIdentity | null): Circuit {
    const { circuits, store } = shelf;
    let circuit = circuits.get(key);
    if (circuit === undefined) {
      identity ??= identify(shelf.name, key);
      const { policy } = this.config(identity.name);
      circuit = store.peek === undefined
        ? new View(identity, policy, store, shelf, shelf.guard)
        : new LocalCircuit(identity, policy, store, shelf);
      if (circuits.size >= this.#maxCircuits) this.#forget(shelf);
      circuits.set(key, circuit);
    }
    circuit.used = true;
    return circuit;
  }

  /** Drops one that was not made for long: each that was since the last time around is passed over. */
  #forget({ circuits, unsent }: Shelf): void {
    for (const [key, circuit] of circuits) {
      circuits.delete(key);
      if (circuit.used) {
        circuit.used = false;
        circuits.set(key, circuit);
        continue;
      }
      if (unsent.has(circuit)) this.background.background(circuit.flush());
      break;
    }
    // What could not be sent is kept too, but not without end.
    if (unsent.size > 2 * this.#maxCircuits) unsent.values().next().value?.abandon();
  }
}

/** Gives a circuit the policy of a handle, or reports that it has another one. */
function fix(circuit: Circuit, policy: CircuitPolicyData): void {
  if (!circuit.fixed) return circuit.fix(policy);
  if (circuit.policy === policy) return;
  const differing = differences(circuit.policy, policy);
  if (differing.length > 0) circuit.mismatch(differing.join(), differing);
}

/** What a view is narrowed to; `undefined` scopes: any. */
interface Narrowing {
  readonly store: string | null;
  readonly context: string | null | undefined;
  readonly boundary: string | null | undefined;
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
    if (!isName(name)) {
      throw new RangeError(
        `Cannot create circuit breaker: "name" must have 1-255 characters, received ${
          received(name)
        }`,
      );
    }
    const root = this.#root;
    const { store, context = null, boundary = null } = this.#to;
    const config = root.config(name);
    if (options !== undefined) known("circuit breaker", options, CIRCUIT_OPTIONS);
    const shelf = root.shelf(options?.store ?? store ?? config.options.store ?? root.standard);
    const key = toKey({ name, context, boundary });
    const identity = { key, store: shelf.name, name, context, boundary };
    // All is validated before anything is kept.
    const merged = options && merge(config.options, options);
    const handle = merged !== undefined && has(options!, HANDLE_OPTIONS)
      ? handleOf<F>(merged)
      : config.handle;
    const policy = options !== undefined && has(options, FIXING) ? root.policy(merged!) : null;
    const circuit = root.circuit(shelf, key, identity);
    if (policy !== null) fix(circuit, policy);
    return new Breaker<F>(circuit, handle, shelf, this.#unit);
  }

  store(name: string): Fuse {
    return this.#narrow({ store: this.#root.shelf(name).name });
  }

  for(context: Scope | null): Fuse {
    return this.#narrow({ context: scopeText(context, "context") ?? undefined });
  }

  boundary(boundary: Scope | null): Fuse {
    return this.#narrow({ boundary: scopeText(boundary, "boundary") ?? undefined });
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
    const existing = oneOf("import", "existing", options.existing, ["replace", "keep"]);
    const root = this.#root;
    let imported = 0;
    let kept = 0;
    for (const { identity, record } of readExport(data)) {
      if (!inScope(this.#to, identity)) continue;
      const name = this.#to.store ??
        (root.shelves.has(identity.store) ? identity.store : root.standard);
      const circuit = root.circuit(root.shelf(name), record.key, null);
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
    const sends: Promise<void>[] = [];
    for (const { unsent } of this.#shelves()) {
      for (const circuit of unsent) {
        if (inScope(this.#to, circuit.identity)) sends.push(circuit.flush());
      }
    }
    await Promise.all(sends);
    await this.#root.background.settled();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.flush();
  }

  async *history(query: EventQuery = {}): AsyncGenerator<CircuitEvent, void, undefined> {
    for (const { store, name } of this.#shelves()) {
      for await (const event of historyOf(store, name, query)) {
        if (inScope(this.#to, event)) yield event;
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
      let cursor: string | null = null;
      do {
        const request = { cursor, limit: 100, at: root.clock(), shape };
        const page: ListPage = await shelf.guard.run("list", () => shelf.store.list(request));
        for (const record of page.records) {
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

const FUSE_OPTIONS = [
  "stores",
  "default",
  "defaults",
  "circuits",
  "strategies",
  "onStoreError",
  "storeTimeoutMs",
  "maxCircuits",
  "clock",
  "waitUntil",
];
const HANDLE_OPTIONS = ["ignore", "record", "isFailure", "fallback", "fallbackOn"] as const;
/** What says something about the circuit itself, other than where it is. */
const FIXING = POLICY_OPTIONS.filter((option) => option !== "store");
const CIRCUIT_OPTIONS = [...POLICY_OPTIONS, ...HANDLE_OPTIONS];

/** Options of several sources, later ones first; `undefined` means "not given". */
function merge<T extends object>(...sources: (T | undefined)[]): T {
  const merged: Record<string, unknown> = {};
  for (const source of sources) {
    for (const [option, value] of Object.entries(source ?? {})) {
      if (value !== undefined) merged[option] = value;
    }
  }
  return merged as T;
}

/** Refuses options that nobody reads: most are misspelt. */
function known(subject: string, options: object, allowed: readonly string[]): void {
  record("options", options);
  for (const option in options) {
    if (!allowed.includes(option)) {
      throw new TypeError(
        `Cannot create ${subject}: there is no option ${received(option)}, only ${
          allowed.join(", ")
        }`,
      );
    }
  }
}

function optional<T>(option: string, value: T, type: string): T {
  if (value !== undefined && typeof value !== type) refuse(SUBJECT, option, `a ${type}`, value);
  return value;
}

function record<T>(option: string, value: T): T {
  if (value === null) refuse(SUBJECT, option, "an object", value);
  return optional(option, value, "object");
}

/** Whether any of these options is given. */
function has(options: object, names: readonly string[]): boolean {
  return names.some((name) => options[name as keyof typeof options] !== undefined);
}

/** The functions among the options, checked. */
function handleOf<F>(options: CircuitOptions<F>): Handle<F> {
  const { ignore, record, isFailure, fallback, fallbackOn } = options;
  const subject = "circuit breaker";
  for (const [option, list] of Object.entries({ ignore, record })) {
    if (list !== undefined && !(Array.isArray(list) && list.every(isFunction))) {
      refuse(subject, option, "a list of error classes and predicates", list);
    }
  }
  if (isFailure !== undefined && !isFunction(isFailure)) {
    refuse(subject, "isFailure", "a function", isFailure);
  }
  if (fallback != null && ![fallback].flat().every(isFunction)) {
    refuse(subject, "fallback", "a function or a list of functions", fallback);
  }
  oneOf(subject, "fallbackOn", fallbackOn, ["rejection", "failure"]);
  return { ignore, record, isFailure, fallback, fallbackOn };
}

function isFunction(value: unknown): boolean {
  return typeof value === "function";
}

/** Whether a name is meant: exactly, or by the prefix before a trailing `*`. */
function nameMatches(pattern: string, name: string): boolean {
  return pattern === name || (pattern.endsWith("*") && name.startsWith(pattern.slice(0, -1)));
}
