/**
 * Metrics of a Fuse as Prometheus text (exposition format 0.0.4), for any server that answers the
 * scrapes. Hono's handler is `metrics()` of `@fuse/edge/hono`.
 *
 * @example
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { PROMETHEUS_CONTENT_TYPE, prometheusText } from "@fuse/edge/prometheus";
 * import { assertStringIncludes } from "@std/assert";
 *
 * const fuse = createFuse();
 * const handler = async () =>
 *   new Response(await prometheusText(fuse), {
 *     headers: { "content-type": PROMETHEUS_CONTENT_TYPE },
 *   });
 *
 * await fuse.make("payments").call(() => "paid");
 * assertStringIncludes(
 *   await (await handler()).text(),
 *   'fuse_calls_total{store="array",circuit="payments",outcome="success"} 1\n',
 * );
 * ```
 *
 * @module
 */

import { counted } from "./events.ts";
import type { Fuse } from "./fuse.ts";
import { circuitsOf, knownStores } from "./known.ts";
import type { CircuitPage } from "./inventory.ts";
import type { CircuitIdentity } from "./key.ts";
import type { CircuitSnapshot } from "./rules/snapshot.ts";
import type { CircuitState, Override } from "./contract.ts";
import { inTurns, MOST_IN_TURN, nextTurn } from "./turns.ts";

/** Options of {@linkcode prometheus}. */
export interface PrometheusOptions {
  /**
   * Gives each context and boundary its own series. Without it, circuits of all scopes add up under
   * their name: a Prometheus cannot keep one series for each tenant.
   *
   * @default {false}
   */
  scopeLabels?: boolean | undefined;
}

/** The collectors of {@linkcode prometheusText}, without and with labels for scopes. */
const collectors = new WeakMap<
  Fuse,
  [plain?: () => Promise<string>, scoped?: () => Promise<string>]
>();

/**
 * Returns the metrics of a Fuse as text, like the scrape of {@linkcode prometheus}. Transitions and
 * store errors count from the first call with this Fuse or view: call it once at the start, and
 * always with the same object. Costs one `list` of the stores.
 */
export function prometheusText(fuse: Fuse, options: PrometheusOptions = {}): Promise<string> {
  let of = collectors.get(fuse);
  if (of === undefined) collectors.set(fuse, of = []);
  const scrape = of[options.scopeLabels === true ? 1 : 0] ??= prometheus(fuse, options);
  return scrape();
}

/** The content type of the text. */
export const PROMETHEUS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/**
 * Collects metrics of a Fuse. Totals are the stores', over all isolates; transitions and store
 * errors are counted from events of this isolate since the collector was created. A store error
 * without a circuit (in a list, of the trail) has no label `circuit`.
 *
 * @param fuse The Fuse, or a view of it.
 * @returns A scrape: reads all circuits of the view, in pages, and gives the text. `fuse_store_up` is 0 for
 * a store that does not answer the scrape, which then has no circuits in it, and for one whose last requests
 * from this isolate failed. `fuse_local_circuits` counts the circuits that this isolate decides about alone.
 * `fuse_pace_ratio` says how much less often than configured it asks a store about a circuit, at most: 1
 * in all but large fleets.
 *
 * @example
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { prometheus } from "@fuse/edge/prometheus";
 * import { assertStringIncludes } from "@std/assert";
 *
 * const fuse = createFuse();
 * const scrape = prometheus(fuse);
 * await fuse.make("payments").call(() => "paid");
 *
 * assertStringIncludes(
 *   await scrape(),
 *   'fuse_calls_total{store="array",circuit="payments",outcome="success"} 1\n',
 * );
 * ```
 */
export function prometheus(fuse: Fuse, options: PrometheusOptions = {}): () => Promise<string> {
  const scoped = options.scopeLabels === true;
  const stores = new Set<string>();
  const moved: Groups<Moves> = new Map();
  const failed: Groups<Failures> = new Map();

  fuse.on(
    "store_error",
    counted(({ store, circuit }) => {
      stores.add(store);
      groupOf(failed, circuit ?? { store }, scoped, noFailures).value.count++;
      bound(failed);
    }),
  );
  for (const type of ["opened", "half_opened", "closed"] as const) {
    fuse.on(type, (event) => {
      stores.add(event.store);
      groupOf(moved, event, scoped, noMoves).value[event.to]++;
      bound(moved);
    });
  }

  return async () => {
    for (const { name } of knownStores(fuse)) stores.add(name);
    const { held, up } = await survey(fuse, [...stores], scoped);
    // A store may answer this scrape, and refuse every write.
    for (const { name, down } of knownStores(fuse)) if (down) up.set(name, false);
    for (const store of up.keys()) stores.add(store);
    // A counter that exists before it first counts shows its first step.
    const failures = begun(failed, held, noFailures);
    for (const store of stores) groupOf(failures, { store }, scoped, noFailures);
    const { alone, paces } = await ownOf(fuse, stores);
    const moves = begun(moved, held, noMoves);
    const samples = samplesOf(
      await sorted(held),
      await sorted(moves),
      up,
      await sorted(failures),
      alone,
      paces,
    );
    return await joined(samples);
  };
}

/**
 * The number of circuits whose transitions and store errors are kept; beyond it, the earliest are
 * forgotten.
 */
const MAX_GROUPS = 10_000;

function bound(groups: Groups<unknown>): void {
  if (groups.size > MAX_GROUPS) groups.delete(groups.keys().next().value!);
}

/** The groups, with one for each circuit that is held. */
function begun<T>(groups: Groups<T>, held: Groups<Held>, none: () => T): Groups<T> {
  const all: Groups<T> = new Map(groups);
  for (const [key, { store, labels }] of held) {
    if (!all.has(key)) all.set(key, { store, labels, value: none() });
  }
  return all;
}

/** Circuits that share their series: those of one name, or one circuit if scopes are labels. */
interface Group<T> {
  readonly store: string;
  /** Its labels as they stand in the text, which name the group. */
  readonly labels: string;
  readonly value: T;
}

type Labels = Readonly<Record<string, string>>;
type Groups<T> = Map<string, Group<T>>;
type Moves = Record<CircuitState, number>;
type Failures = { count: number };

/** The sums over a group of circuits in the stores. */
interface Held {
  readonly states: Record<CircuitState, number>;
  readonly overrides: Record<Override, number>;
  /** The latest failure that opened a circuit which has not closed since. */
  failure: CircuitSnapshot["lastFailure"];
  successes: number;
  failures: number;
  slow: number;
  rejected: number;
}

function groupOf<T>(
  groups: Groups<T>,
  of: CircuitIdentity | { readonly store: string },
  scoped: boolean,
  none: () => T,
): Group<T> {
  const labels = textOf(labelsOf(of, scoped));
  // With the brace, the groups of circuits come before that of their store.
  const key = `${labels}}`;
  let group = groups.get(key);
  if (group === undefined) groups.set(key, group = { store: of.store, labels, value: none() });
  return group;
}

function labelsOf(of: CircuitIdentity | { readonly store: string }, scoped: boolean): Labels {
  // In its encoded form: texts that are equal in UTF-8 are one series, not two with the same
  // labels.
  const store = of.store.toWellFormed();
  if (!("name" in of)) return { store };
  const circuit = of.name.toWellFormed();
  const { context, boundary } = of;
  return scoped
    ? { store, circuit, context: context ?? "", boundary: boundary ?? "" }
    : { store, circuit };
}

function noFailures(): Failures {
  return { count: 0 };
}

function noMoves(): Moves {
  return { CLOSED: 0, OPEN: 0, HALF_OPEN: 0 };
}

function nothingHeld(): Held {
  const overrides = { forced_open: 0, forced_closed: 0, disabled: 0, metrics_only: 0 };
  const counts = { successes: 0, failures: 0, slow: 0, rejected: 0 };
  return { states: noMoves(), overrides, failure: null, ...counts };
}

/** The circuits in the stores, and the stores that answered. */
interface Survey {
  readonly held: Groups<Held>;
  readonly up: Map<string, boolean>;
}

/** The number of circuits in a page. */
const PAGE = 250;

/** Reads all circuits. A store that fails has none. */
async function survey(fuse: Fuse, known: readonly string[], scoped: boolean): Promise<Survey> {
  const held: Groups<Held> = new Map();
  const up = new Map(known.map((store) => [store, true]));
  const seen = new Map<string, Set<string>>();
  let cursor: string | null = null;
  for (let read = 0; read === 0 || cursor !== null; read += PAGE) {
    // A store of this process answers within the turn.
    if (read > 0 && read % MOST_IN_TURN === 0) await nextTurn();
    const page: CircuitPage = await fuse.listPage({ limit: PAGE, cursor });
    for (const circuit of page.circuits) {
      up.set(circuit.store, true);
      // A circuit that changes meanwhile comes again.
      const keys = seen.get(circuit.store) ?? new Set();
      if (keys.has(circuit.key)) continue;
      seen.set(circuit.store, keys.add(circuit.key));
      add(groupOf(held, circuit, scoped, nothingHeld).value, circuit);
    }
    for (const store of page.missing) {
      up.set(store, false);
      // Half of its circuits would look like all of them.
      for (const [key, group] of held) if (group.store === store) held.delete(key);
    }
    cursor = page.cursor;
  }
  return { held, up };
}

/** This isolate's side of a store. */
interface Own {
  /** The circuits that it decides about alone. */
  readonly alone: Map<string, number>;
  /** How much less often than configured it asks about a circuit, at most. */
  readonly paces: Map<string, number>;
}

/** Returns, by store, what no store knows. */
async function ownOf(fuse: Fuse, stores: Iterable<string>): Promise<Own> {
  const names = [...stores];
  const alone = new Map(names.map((store) => [store, 0]));
  const paces = new Map(names.map((store) => [store, 1]));
  for await (const circuits of inTurns(circuitsOf(fuse))) {
    for (const circuit of circuits) {
      const { store } = circuit.identity;
      const { local, paceRatio = 1 } = circuit.peek();
      if (local) alone.set(store, (alone.get(store) ?? 0) + 1);
      if (paceRatio > 1) paces.set(store, Math.max(paces.get(store) ?? 1, paceRatio));
    }
  }
  return { alone, paces };
}

function add(held: Held, { state, override, metrics, lastFailure }: CircuitSnapshot): void {
  held.states[state]++;
  const isLatest = lastFailure !== null && !(held.failure && held.failure.at > lastFailure.at);
  if (state !== "CLOSED" && isLatest) held.failure = lastFailure;
  if (override !== null) held.overrides[override.kind]++;
  held.successes += metrics.totalSuccesses;
  held.failures += metrics.totalFailures;
  held.slow += metrics.totalSlow;
  held.rejected += metrics.totalRejected;
}

function* samplesOf(
  circuits: readonly Group<Held>[],
  moves: readonly Group<Moves>[],
  up: ReadonlyMap<string, boolean>,
  failures: readonly Group<Failures>[],
  alone: ReadonlyMap<string, number>,
  ratios: ReadonlyMap<string, number>,
): Generator<string, void, void> {
  yield "# HELP fuse_circuits Circuits in the store, by the state beneath any override.\n";
  yield "# TYPE fuse_circuits gauge\n";
  yield* byLabel("fuse_circuits", circuits, "state", ({ states }) => states);
  yield "# HELP fuse_circuits_overridden Circuits under an operator's override, by its kind.\n";
  yield "# TYPE fuse_circuits_overridden gauge\n";
  yield* byLabel("fuse_circuits_overridden", circuits, "override", ({ overrides }) => overrides);
  yield "# HELP fuse_opened_by_timestamp_seconds The time of the failure that opened a circuit, by its kind.\n";
  yield "# TYPE fuse_opened_by_timestamp_seconds gauge\n";
  yield* openedBy(circuits);
  yield "# HELP fuse_calls_total Calls that ended and counted, over all isolates.\n";
  yield "# TYPE fuse_calls_total counter\n";
  yield* byLabel("fuse_calls_total", circuits, "outcome", ({ successes, failures }) => ({
    success: successes,
    failure: failures,
  }));
  yield "# HELP fuse_slow_calls_total Calls that took slowCallMs or longer, over all isolates.\n";
  yield "# TYPE fuse_slow_calls_total counter\n";
  yield* each("fuse_slow_calls_total", circuits, ({ slow }) => slow);
  yield "# HELP fuse_rejected_calls_total Rejected calls, over all isolates.\n";
  yield "# TYPE fuse_rejected_calls_total counter\n";
  yield* each("fuse_rejected_calls_total", circuits, ({ rejected }) => rejected);
  yield "# HELP fuse_transitions_total Changes of state that this isolate made, by the new state.\n";
  yield "# TYPE fuse_transitions_total counter\n";
  yield* byLabel("fuse_transitions_total", moves, "to", (moves) => moves);
  yield "# HELP fuse_local_circuits Circuits that this isolate decides alone, because their store cannot be used.\n";
  yield "# TYPE fuse_local_circuits gauge\n";
  yield* byStore("fuse_local_circuits", alone);
  yield "# HELP fuse_pace_ratio How much less often than configured this isolate asks about a circuit, at most.\n";
  yield "# TYPE fuse_pace_ratio gauge\n";
  yield* byStore("fuse_pace_ratio", ratios);
  yield "# HELP fuse_store_up Whether the store answered this scrape, and this isolate's last requests.\n";
  yield "# TYPE fuse_store_up gauge\n";
  yield* byStore("fuse_store_up", up);
  yield "# HELP fuse_store_errors_total Failures of the store in this isolate, by the circuit of the request.\n";
  yield "# TYPE fuse_store_errors_total counter\n";
  yield* each("fuse_store_errors_total", failures, ({ count }) => count);
}

/** The number of lines that are written in one turn of the event loop. */
const MOST_LINES = 10_000;

/** Returns the samples as one text, and lets other work run while it writes them. */
async function joined(samples: Iterable<string>): Promise<string> {
  let text = "";
  let lines: string[] = [];
  for (const line of samples) {
    if (lines.push(line) < MOST_LINES) continue;
    text += lines.join("");
    lines = [];
    await nextTurn();
  }
  return text + lines.join("");
}

/**
 * Yields a sample for each group with a circuit that is not closed, if the failure that opened it
 * is known.
 */
function* openedBy(held: Iterable<Group<Held>>): Generator<string, void, void> {
  for (const { labels, value: { failure } } of held) {
    if (failure === null) continue;
    const kind = failure.kind.toWellFormed();
    const status = failure.status === null ? "" : String(failure.status);
    const seconds = Math.round(failure.at.getTime() / 1_000);
    const more = textOf({ kind, status });
    yield sample("fuse_opened_by_timestamp_seconds", `${labels},${more}`, seconds);
  }
}

function* each<T>(
  metric: string,
  groups: Iterable<Group<T>>,
  count: (value: T) => number,
): Generator<string, void, void> {
  for (const { labels, value } of groups) yield sample(metric, labels, count(value));
}

/** Yields a sample for each value of one more label. */
function* byLabel<T>(
  metric: string,
  groups: Iterable<Group<T>>,
  label: string,
  counts: (value: T) => Record<string, number>,
): Generator<string, void, void> {
  for (const { labels, value } of groups) {
    for (const [is, n] of Object.entries(counts(value))) {
      yield sample(metric, `${labels},${label}="${is}"`, n);
    }
  }
}

function* byStore(
  metric: string,
  values: ReadonlyMap<string, number | boolean>,
): Generator<string, void, void> {
  for (const store of [...values.keys()].sort()) {
    yield sample(metric, textOf({ store }), Number(values.get(store)));
  }
}

/** Returns the groups by their labels. Sorting all of very many at once would hold up calls. */
async function sorted<T>(groups: Groups<T>): Promise<Group<T>[]> {
  let runs: string[][] = [];
  for await (const keys of inTurns(groups.keys())) runs.push([...keys].sort());
  while (runs.length > 1) {
    const merged: string[][] = [];
    for (let i = 0; i < runs.length; i += 2) {
      await nextTurn();
      // Of two runs that are in order, this is a merge.
      merged.push(runs.slice(i, i + 2).flat().sort());
    }
    runs = merged;
  }
  return runs.flat().map((key) => groups.get(key)!);
}

function sample(metric: string, labels: string, value: number): string {
  return `${metric}{${labels}} ${value}\n`;
}

function textOf(labels: Labels): string {
  return Object.entries(labels).map(([label, text]) => `${label}="${escape(text)}"`).join();
}

function escape(text: string): string {
  return text.replace(/[\\"\n]/g, (c) => c === "\n" ? "\\n" : `\\${c}`);
}
