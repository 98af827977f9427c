/**
 * What all views of a Fuse share: stores, configuration, the circuits this isolate knows.
 *
 * @module
 */

import { memory } from "../drivers/memory.ts";
import { Background } from "./background.ts";
import { Breaker, checkFallback, type Handle } from "./handle.ts";
import type { Circuit, Surroundings, Unit } from "./circuit.ts";
import type { CircuitBreaker, CircuitDefaults, CircuitOptions } from "./circuit_breaker.ts";
import { Events } from "./events.ts";
import type { FuseOptions } from "./fuse.ts";
import { type CircuitIdentity, identify, isName, nameMatches, toKey } from "./key.ts";
import { LocalCircuit } from "./local_circuit.ts";
import {
  check,
  inLine,
  known,
  MAX_TIMER_MS,
  oneOf,
  received,
  refuse,
  refuseUnseen,
} from "./checks.ts";
import {
  type CircuitPolicy,
  type CircuitPolicyData,
  createPolicy,
  differences,
  POLICY_OPTIONS,
  samePolicy,
} from "./rules/policy.ts";
import type { Clock, Store } from "./contract.ts";
import { StoreGuard } from "./shared/guard.ts";
import { BUILT_IN, type Strategy } from "./rules/strategies.ts";
import { View } from "./shared/circuit.ts";

const SUBJECT = "fuse";

/** What circuits of one name get: policy, functions, store. */
interface Config {
  readonly options: CircuitDefaults;
  readonly policy: CircuitPolicyData;
  readonly handle: Handle<never>;
}

/** A named store with the circuits that this isolate knows of it. */
export interface Shelf extends Surroundings {
  readonly name: string;
  readonly store: Store;
  readonly guard: StoreGuard;
  /** In the order of coming, but for those passed over when room was made. */
  readonly circuits: Map<string, Circuit>;
}

/** What a view is narrowed to; `undefined` scopes: any. */
export interface Narrowing {
  readonly store: string | null;
  readonly context: string | null | undefined;
  readonly boundary: string | null | undefined;
}

/** What all views of a Fuse share. */
export class Root {
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
        refuseUnseen(SUBJECT, `stores.${name}`, "a store such as memory() makes", store);
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
      if (typeof strategy !== "function" || Object.hasOwn(BUILT_IN, name) || !isName(name)) {
        const allowed = "a function under a name of its own, of 1-255 characters";
        refuse(SUBJECT, `strategies.${name}`, allowed, strategy);
      }
    }
    this.#strategies = { ...strategies };
    const { onStoreError } = options;
    this.#common = this.#configure(
      merge({ onStoreError }, record("defaults", options.defaults)),
    );
    this.#configs = Object.entries(circuits).map(([pattern, own]): [string, Config] => [
      pattern,
      this.#configure(merge(this.#common.options, record(`circuits.${pattern}`, own))),
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

  /** A handle. All is validated before anything is kept. */
  make<F>(
    name: string,
    options: CircuitOptions<F> | undefined,
    to: Narrowing,
    unit: Unit,
  ): CircuitBreaker<F> {
    if (!isName(name)) {
      throw new RangeError(
        `Cannot create circuit breaker: "name" must have 1-255 characters, received ${
          received(name)
        }`,
      );
    }
    const { store, context = null, boundary = null } = to;
    const config = this.config(name);
    if (options !== undefined) known("circuit breaker", options, CIRCUIT_OPTIONS);
    const shelf = this.shelf(
      options?.store !== undefined ? options.store : store ?? config.options.store ?? this.standard,
    );
    const key = toKey({ name, context, boundary });
    const identity = { key, store: shelf.name, name, context, boundary };
    const merged = options && merge(config.options, options);
    const handle = merged !== undefined && has(options!, HANDLE_OPTIONS)
      ? handleOf<F>(merged)
      : config.handle;
    const policy = options !== undefined && has(options, FIXING) ? this.policy(merged!) : null;
    const circuit = this.circuit(shelf, key, identity);
    if (policy !== null) fix(circuit, policy);
    return new Breaker<F>(circuit, handle, shelf, unit);
  }

  /** What is configured for a name. */
  config(name: string): Config {
    return this.#configs.find(([pattern]) => nameMatches(pattern, name))?.[1] ?? this.#common;
  }

  shelf(name: string): Shelf {
    const shelf = this.shelves.get(name);
    if (shelf === undefined) {
      throw new RangeError(
        `Cannot use store: "store" must be one of ${
          inLine([...this.shelves.keys()].join(", "))
        }, ` +
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
    } else circuit.used = true;
    return circuit;
  }

  /** Drops one that was not in use for long: each that was since the last time around is passed over. */
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
    // Inherited options too: they were checked like the others.
    for (const option in source) {
      if (source[option] !== undefined) merged[option] = source[option];
    }
  }
  return merged as T;
}

function optional<T>(option: string, value: T, type: "function"): T {
  if (value !== undefined && typeof value !== type) refuse(SUBJECT, option, `a ${type}`, value);
  return value;
}

function record<T>(option: string, value: T): T {
  const fits = value === undefined || (typeof value === "object" && value !== null);
  return fits ? value : refuseUnseen(SUBJECT, option, "an object", value);
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
  checkFallback(subject, options);
  return { ignore, record, isFailure, fallback, fallbackOn };
}

function isFunction(value: unknown): boolean {
  return typeof value === "function";
}
