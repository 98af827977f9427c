/**
 * The registry of a Fuse: its stores, its configuration, and the circuits that this isolate knows.
 *
 * @module
 */

import { memory } from "../drivers/memory.ts";
import type { Unit } from "./admission.ts";
import { Background, type WaitUntil } from "./background.ts";
import {
  check,
  inLine,
  isAnyGiven,
  known,
  MAX_TIMER_MS,
  mayBeFunction,
  oneOf,
  received,
  refuse,
  refuseUnseen,
  wrong,
} from "./checks.ts";
import {
  type Circuit,
  CIRCUITS,
  type NamedStore,
  type Opener,
  type OpeningStore,
  openingStore,
} from "./circuit.ts";
import type { CircuitBreaker, CircuitDefaults, CircuitOptions } from "./circuit_breaker.ts";
import type { Clock, Store } from "./contract.ts";
import { Events, type Narrowing } from "./events.ts";
import { Handle } from "./handle.ts";
import { functionsOf, HANDLE_OPTIONS, type HandleFunctions } from "./handle_options.ts";
import {
  checkPattern,
  fromKey,
  identify,
  isName,
  type KeyParts,
  mustBeName,
  nameMatches,
  toKey,
} from "./key.ts";
import { isDriver } from "./records.ts";
import {
  type CircuitPolicy,
  type CircuitPolicyData,
  createPolicy,
  differences,
  type OnStoreError,
  OWN_OPTIONS,
  POLICY_OPTIONS,
  samePolicy,
} from "./rules/policy.ts";
import { BUILT_IN, type Strategy } from "./rules/strategies.ts";

const SUBJECT = "fuse";

/** How many circuits are passed over at once to find one to drop: 100 000 would take 100 ms. */
const MOST_PASSED = 1_000;

/** Options of {@linkcode createFuse}. */
export interface FuseOptions {
  /**
   * Stores by name.
   *
   * @default {{ array: memory() }}
   */
  stores?: Record<string, Store> | undefined;
  /**
   * The store of circuits that do not select one.
   *
   * @default {the first of `stores`}
   */
  default?: string | undefined;
  /** Options for all circuits. By default, those of `CircuitPolicy` and `CircuitOptions`. */
  defaults?: CircuitDefaults | undefined;
  /**
   * Options for circuits by name, in addition to `defaults`; a trailing `*` matches by prefix. The
   * exact name takes precedence, then the longest prefix. By default, only `defaults` apply.
   */
  circuits?: Record<string, CircuitDefaults> | undefined;
  /** Custom strategies by name, for `strategy`. By default, there are only the built-in ones. */
  strategies?: Record<string, Strategy> | undefined;
  /**
   * The reaction to an unusable store, for circuits without their own setting. See
   * `CircuitPolicy.onStoreError`.
   *
   * @default {"local"}
   */
  onStoreError?: OnStoreError | undefined;
  /**
   * The limit for the answer to a request, in ms from when it is sent. A positive integer. If the
   * timer fires late, because the isolate was busy, the store gets the delay as extra time, once
   * and at most twice this time in all.
   *
   * @default {500}
   */
  storeTimeoutMs?: number | undefined;
  /**
   * The number of circuits that each store's side of this Fuse remembers (policies and views, not
   * state); beyond it, the circuit is forgotten that was not made or called for longest. A positive
   * integer.
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
   * Hands background work to the runtime, for all requests: `waitUntil` of "cloudflare:workers". By
   * default, the process holds it; on a Worker, calls wait for it.
   */
  waitUntil?: WaitUntil | undefined;
  /**
   * The name of this isolate in `lastFailure` and in rows of the trail: its region or its machine.
   * It shows an operator whether one of them fails, or all. A text of 1-100 characters on one line.
   * By default, it has no name.
   */
  instance?: string | undefined;
  /**
   * Draws which calls a ramp (`rampMs`) admits, the jitter of `backoff()`, and how long isolates wait
   * before they ask a store that fails, or in a large fleet (`maxRequestsPerSecond`): from 0, below 1.
   * A test gives its own. If it throws or returns anything else, `listener_error` reports that, and
   * `Math.random` draws.
   *
   * @default {Math.random}
   */
  random?: (() => number) | undefined;
  /**
   * Sends guarded fetches: a service binding, a traced fetch, that of undici. It gets exactly the
   * caller's arguments; a circuit with `callTimeoutMs` adds its signal. Called without `this`. By
   * default, the global `fetch`, looked up for each call.
   */
  fetch?: typeof fetch | undefined;
}

/** The configuration of circuits by their name. */
interface Config {
  readonly options: CircuitDefaults;
  readonly policy: CircuitPolicyData;
  readonly functions: HandleFunctions<never>;
}

/** A store of a Fuse, with the circuits that this isolate knows of it. */
export interface RegisteredStore extends NamedStore {
  readonly opener: Opener;
  /** Oldest first, except for those that an eviction skipped. */
  readonly circuits: Map<string, Circuit>;
}

/** The state that a Fuse shares with all views made of it. */
export class Registry {
  declare readonly clock: Clock;
  declare readonly events: Events;
  declare readonly background: Background;
  readonly stores = new Map<string, RegisteredStore>();
  /** Functions that receive each dropped circuit, whose counts go with it. */
  readonly forgetting = new Set<(circuit: Circuit) => void>();
  /** The name of the default store. */
  declare readonly standard: string;
  readonly #strategies: Record<string, Strategy>;
  readonly #configs: [pattern: string, Config][];
  readonly #common: Config;
  readonly #maxCircuits: number;
  /** The name of this isolate, or `null`. */
  declare readonly instance: string | null;
  /** Sends guarded fetches in place of the global one. */
  declare readonly fetch: typeof fetch | undefined;
  /** The policies that were made last. */
  readonly #policies: CircuitPolicyData[] = [];

  constructor(options: FuseOptions) {
    known(SUBJECT, options, FUSE_OPTIONS);
    const stores = record("stores", options.stores) ?? { array: memory() };
    const circuits = record("circuits", options.circuits);
    const strategies = record("strategies", options.strategies);
    // Looked up for each call, because tests that fake the time replace it.
    this.clock = mayBeFunction(SUBJECT, "clock", options.clock) ?? (() => Date.now());
    this.background = new Background(mayBeFunction(SUBJECT, "waitUntil", options.waitUntil));
    this.events = new Events((work) => void this.background.background(work));
    this.instance = instanceOf(options.instance);
    this.#strategies = { ...strategies };
    this.#maxCircuits = check(SUBJECT, "maxCircuits", options.maxCircuits, 10_000);
    this.fetch = mayBeFunction(SUBJECT, "fetch", options.fetch);
    const { storeTimeoutMs } = options;
    const shared = {
      clock: this.clock,
      events: this.events,
      instance: this.instance,
      maxCircuits: this.#maxCircuits,
      timeoutMs: check(SUBJECT, "storeTimeoutMs", storeTimeoutMs, 500, 1, MAX_TIMER_MS),
      strategies: this.#strategies,
      random: drawing(mayBeFunction(SUBJECT, "random", options.random), this.events.report),
      fetch: this.fetch,
    };
    for (const [name, store] of Object.entries(stores)) {
      const driver = checkedStore(name, store);
      const named = { ...shared, name, driver, unsent: new Set<Circuit>() };
      const opener = driver[CIRCUITS].openerFor(named);
      this.stores.set(name, { ...named, opener, circuits: new Map() });
    }
    const names = [...this.stores.keys()];
    if (names.length === 0) {
      throw new TypeError(
        wrong(`create ${SUBJECT}`, "stores", "at least one store", names, "none"),
      );
    }
    this.standard = oneOf(SUBJECT, "default", options.default, names);
    if (strategies !== undefined) mustBeStrategies(strategies);
    const { onStoreError } = options;
    this.#common = this.#configure(
      merge({ onStoreError }, record("defaults", options.defaults)),
      "defaults",
    );
    this.#configs = circuits === undefined ? [] : this.#configureAll(circuits);
  }

  /** Returns the configurations by pattern: an exact name before any prefix, a longer prefix first. */
  #configureAll(circuits: Record<string, CircuitDefaults>): [pattern: string, Config][] {
    const configs = Object.entries(circuits).map(([pattern, own]): [string, Config] => {
      const option = `circuits.${pattern}`;
      checkPattern(SUBJECT, option, pattern);
      return [pattern, this.#configure(merge(this.#common.options, record(option, own)), option)];
    });
    const rank = (pattern: string) => pattern.endsWith("*") ? pattern.length : 1e9;
    return configs.sort(([a], [b]) => rank(b) - rank(a));
  }

  #configure(options: CircuitDefaults, option: string): Config {
    known("circuit breaker", options, CIRCUIT_OPTIONS);
    if (options.store !== undefined) this.store(options.store, `, in ${received(option)}`);
    const functions = isAnyGiven(options, HANDLE_OPTIONS) ? functionsOf<never>(options) : {};
    return { options, policy: this.policy(options), functions };
  }

  /** Returns a policy. Equal policies are one object: there may be as many circuits as tenants. */
  policy(options: CircuitPolicy): CircuitPolicyData {
    const policy = createPolicy(options, this.#strategies, this.events.report);
    const equal = this.#policies.find((held) => samePolicy(held, policy));
    if (equal !== undefined) return equal;
    this.#policies.unshift(policy);
    this.#policies.length = Math.min(this.#policies.length, 16);
    return policy;
  }

  /** Makes a handle. All options are validated before any is kept. */
  make<F>(
    name: string,
    options: CircuitOptions<F> | undefined,
    to: Narrowing,
    unit: Unit,
  ): CircuitBreaker<F> {
    mustBeName("circuit breaker", name);
    const { store, context = null, boundary = null } = to;
    const config = this.config(name);
    if (options !== undefined) known("circuit breaker", options, CIRCUIT_OPTIONS);
    const named = this.store(
      options?.store !== undefined ? options.store : store ?? config.options.store ?? this.standard,
    );
    const parts = { name, context, boundary };
    const key = toKey(parts);
    const merged = options && merge(config.options, options);
    const functions = merged !== undefined && isAnyGiven(options!, HANDLE_OPTIONS)
      ? functionsOf<F>(merged)
      : config.functions;
    const policy = options !== undefined && isAnyGiven(options, OWN_OPTIONS)
      ? this.policy(merged!)
      : null;
    const circuit = this.circuit(named, key, parts);
    if (policy !== null) fix(circuit, policy);
    return new Handle<F>(circuit, functions, unit);
  }

  /** Returns the handle of a circuit by its identity. */
  handle(
    { store, key }: { readonly store: string; readonly key: string },
    unit: Unit,
  ): CircuitBreaker {
    const named = this.store(store);
    const parts = typeof key === "string" ? fromKey(key) : null;
    if (parts === null) refuse(SUBJECT, "key", "the key of a circuit, as snapshots show it", key);
    const circuit = this.circuit(named, key);
    return new Handle<never>(circuit, this.config(parts!.name).functions, unit);
  }

  /** Returns the configuration for a name. */
  config(name: string): Config {
    return this.#configs.find(([pattern]) => nameMatches(pattern, name))?.[1] ?? this.#common;
  }

  /** @throws {RangeError} If there is no store of that name. */
  store(name: string, place = ""): RegisteredStore {
    const named = this.stores.get(name);
    if (named !== undefined) return named;
    const names = inLine([...this.stores.keys()].join(", "));
    throw new RangeError(wrong("use store", "store", `one of ${names}`, name) + place);
  }

  /** Returns the circuit of a key as this isolate knows it, opened if it is not known. */
  circuit(named: RegisteredStore, key: string, parts?: KeyParts): Circuit {
    const { circuits } = named;
    let circuit = circuits.get(key);
    if (circuit === undefined) {
      const identity = identify(named.name, key, parts);
      circuit = named.opener.open(identity, this.config(identity.name).policy);
      if (circuits.size >= this.#maxCircuits) this.#forget(named);
      circuits.set(key, circuit);
    } else circuit.used = true;
    return circuit;
  }

  /** Drops a circuit that was not used for long. Circuits used since the last round are skipped. */
  #forget({ circuits, unsent }: RegisteredStore): void {
    let left = MOST_PASSED;
    for (const [key, circuit] of circuits) {
      circuits.delete(key);
      if (circuit.used && left-- > 0) {
        circuit.used = false;
        circuits.set(key, circuit);
        continue;
      }
      if (unsent.has(circuit)) this.background.background(circuit.flush());
      this.forgetting.forEach((hear) => hear(circuit));
      break;
    }
    // Circuits with unsent outcomes are kept, too, but within bounds.
    if (unsent.size > 2 * this.#maxCircuits) unsent.values().next().value?.abandon();
  }
}

/** @throws {TypeError} If it is not a store under a valid name. */
function checkedStore(name: string, store: unknown): OpeningStore {
  const opening = isName(name) ? openingStore(store) : null;
  if (opening !== null) return opening;
  if (isName(name) && isDriver(store)) {
    const came = 'a driver; make a store of it with shared(driver) of "@fuse/edge/store"';
    throw new TypeError(wrong(`create ${SUBJECT}`, `stores.${name}`, "a store", store, came));
  }
  return refuseUnseen(SUBJECT, `stores.${name}`, "a store such as memory() makes", store);
}

/** Gives a circuit the policy of a handle, or reports that the circuit has another policy. */
function fix(circuit: Circuit, policy: CircuitPolicyData): void {
  if (!circuit.configured) return circuit.configure(policy);
  if (circuit.given === policy) return;
  const differing = differences(circuit.given, policy);
  if (differing.length > 0) circuit.reportMismatch(differing.join(), differing);
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
  "instance",
  "random",
  "fetch",
];
const CIRCUIT_OPTIONS = [...POLICY_OPTIONS, ...HANDLE_OPTIONS];

/** Merges options; later sources take precedence, and `undefined` means "not given". */
function merge<T extends object>(...sources: (T | undefined)[]): T {
  const merged: Record<string, unknown> = {};
  for (const source of sources) {
    // Inherited options too: they were checked like the others.
    for (const option in source) {
      if (source[option] !== undefined) merged[option] = source[option];
    }
  }
  return merged as T;
}

/** Looked up for each number: a test may replace it. */
function random(): number {
  return Math.random();
}

/** Returns a function that never throws, because stores that fail are left alone for a drawn time. */
function drawing(
  given: (() => number) | undefined,
  report: (type: string, error: unknown) => void,
): () => number {
  if (given === undefined) return random;
  return () => {
    try {
      const drawn = given();
      if (typeof drawn === "number" && drawn >= 0 && drawn < 1) return drawn;
      const came = received(drawn);
      throw new RangeError(`"random" must return a number from 0, below 1, it returned ${came}`);
    } catch (error) {
      report("random", error);
      return random();
    }
  };
}

function mustBeStrategies(strategies: Record<string, Strategy>): void {
  for (const [name, strategy] of Object.entries(strategies)) {
    if (typeof strategy !== "function" || Object.hasOwn(BUILT_IN, name) || !isName(name)) {
      const allowed = "a function under a name of its own, of 1-255 characters";
      refuse(SUBJECT, `strategies.${name}`, allowed, strategy);
    }
  }
}

function instanceOf(instance: string | undefined): string | null {
  if (instance === undefined) return null;
  const isFit = typeof instance === "string" && instance !== "" && instance.length <= 100 &&
    inLine(instance) === instance;
  return isFit
    ? instance
    : refuse(SUBJECT, "instance", "a text of 1-100 characters on one line", instance);
}

function record<T>(option: string, value: T): T {
  const fits = value === undefined || (typeof value === "object" && value !== null);
  return fits ? value : refuseUnseen(SUBJECT, option, "an object", value);
}
