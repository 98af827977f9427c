/**
 * The handle of a circuit: runs calls through it, reads it, and lets operators act on it.
 *
 * @module
 */

import { Calls } from "./calls.ts";
import type { Known, Unit } from "./admission.ts";
import type { Circuit } from "./circuit.ts";
import type { Actor, CircuitBreaker, GuardedFetch, OverrideOptions } from "./circuit_breaker.ts";
import type { CircuitEvent, CircuitState, EventQuery, Override } from "./contract.ts";
import { guardedFetch, installable } from "./fetch.ts";
import { actorOf, endOf, type HandleFunctions } from "./handle_options.ts";
import { historyOf } from "./history.ts";
import {
  type CircuitMetrics,
  type CircuitSnapshot,
  explain,
  metState,
  toCircuitSnapshot,
  toMetrics,
} from "./rules/snapshot.ts";

/** Implements {@linkcode CircuitBreaker}. */
export class Handle<F> extends Calls<F> implements CircuitBreaker<F> {
  readonly #circuit: Circuit;
  /** Created on first use, and kept: creating one costs more than most calls. */
  #fetch: GuardedFetch<F> | null = null;

  constructor(circuit: Circuit, functions: HandleFunctions<F>, unit: Unit) {
    super(circuit, functions, unit);
    this.#circuit = circuit;
  }

  get key(): string {
    return this.#circuit.identity.key;
  }
  get store(): string {
    return this.#circuit.identity.store;
  }
  get name(): string {
    return this.#circuit.identity.name;
  }
  get context(): string | null {
    return this.#circuit.identity.context;
  }
  get boundary(): string | null {
    return this.#circuit.identity.boundary;
  }

  get fetch(): GuardedFetch<F> {
    const own = this.#circuit.store.fetch;
    return this.#fetch ??= installable((input, init) => guardedFetch(this, own, input, init));
  }

  peek(): CircuitSnapshot {
    return this.#shown(this.#circuit.peek());
  }

  async explain(): Promise<string> {
    const { snapshot, now, remark } = await this.#circuit.look();
    const sentence = explain(this.name, snapshot, now);
    return remark === undefined ? sentence : `${sentence}; ${remark}`;
  }

  async isOpen(): Promise<boolean> {
    return await this.getState() === "OPEN";
  }

  async getState(): Promise<CircuitState> {
    const { snapshot, now } = await this.#circuit.look();
    return metState(snapshot, now);
  }

  async getMetrics(): Promise<CircuitMetrics> {
    return toMetrics((await this.#circuit.look()).snapshot);
  }

  async snapshot(): Promise<CircuitSnapshot> {
    return this.#shown(await this.#circuit.look());
  }

  forceOpen(options?: OverrideOptions): Promise<void> {
    return this.#override("forced_open", options);
  }

  forceClose(options?: OverrideOptions): Promise<void> {
    return this.#override("forced_closed", options);
  }

  disable(options?: OverrideOptions): Promise<void> {
    return this.#override("disabled", options);
  }

  metricsOnly(options?: OverrideOptions): Promise<void> {
    return this.#override("metrics_only", options);
  }

  async release(options?: Actor): Promise<void> {
    await this.#circuit.override(null, { until: null, ...actorOf(options) });
  }

  async reset(options?: Actor): Promise<void> {
    await this.#circuit.reset(actorOf(options));
  }

  async remove(options?: Actor): Promise<void> {
    await this.#circuit.remove(actorOf(options));
  }

  history(query?: EventQuery): AsyncIterableIterator<CircuitEvent> {
    const { driver, name } = this.#circuit.store;
    // An invalid query is refused, with its value, when the history is read.
    const own = Object(query) === query || query === undefined;
    return historyOf(driver, name, own ? { ...query, key: this.key } : query);
  }

  #shown({ snapshot, now, ageMs, local }: Known): CircuitSnapshot {
    const { identity } = this.#circuit;
    return toCircuitSnapshot(identity, snapshot, now, ageMs, local);
  }

  async #override(kind: Override, options: OverrideOptions = {}): Promise<void> {
    const until = endOf(options, this.#circuit.store.clock());
    await this.#circuit.override(kind, { until, ...actorOf(options) });
  }
}
