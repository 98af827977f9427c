/**
 * The operations of a store on one circuit, as functions of plain data that do not know where the
 * record is kept. Copy this file for any database with a conditional write (Deno KV, DynamoDB,
 * etcd, FoundationDB, a Durable Object), and write only the counterpart of `kv_store.ts`.
 *
 * A function that takes a record changes it, so pass a copy. The functions decide nothing: the
 * library decides when to open and when to close, in the same way on every store.
 */

import type { CircuitState } from "@fuse/edge";
import type {
  AcquireRequest,
  Admission,
  FailureNote,
  OverrideRecord,
  PolicyRecord,
  RestoreRequest,
  Segment,
  Shape,
  Snapshot,
  Tally,
  TransitionRequest,
} from "@fuse/edge/store";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Counters = { successes: number; failures: number; slow: number };

/** The stored record of a circuit. It survives `structuredClone` and JSON. All times are in ms. */
export interface StoredCircuit {
  /** The life of the circuit, from creation to removal. */
  readonly born: string;
  epoch: string;
  generation: number;
  /** When this generation began. */
  began: number;
  state: CircuitState;
  reason: string;
  openedAt: number | null;
  openUntil: number | null;
  cooldownMs: number | null;
  lastFailure: FailureNote | null;
  policy: PolicyRecord | null;
  closedAt: number | null;
  reopenCount: number;
  consecutiveFailures: number;
  consecutiveSuccesses: number;
  lastFailureAt: number | null;
  lastSuccessAt: number | null;
  totals: Mutable<Snapshot["totals"]>;
  sinceClosed: Counters;
  /** The time window, oldest first: at most eleven segments of a tenth of it. */
  segments: Mutable<Segment>[];
  /** The count window, oldest first: `S` and `F`. */
  outcomes: string;
  /** The outcomes of this HALF_OPEN generation. */
  trials: { successes: number; failures: number };
  /** Half-open slots that are taken, by token. */
  leases: Record<string, { until: number; leaseMs: number }>;
  /** Tokens that were returned early, with the end of their leases. */
  ended: Record<string, number>;
  override: OverrideRecord | null;
  policyHash: string;
}

/** Returns the record of a circuit that has no calls yet. */
export function newCircuit(epoch: string, now: number): StoredCircuit {
  return {
    ...{
      born: epoch,
      epoch,
      generation: 1,
      began: now,
      state: "CLOSED",
      reason: "",
      policyHash: "",
    },
    ...{ openedAt: null, openUntil: null, closedAt: null, reopenCount: 0, override: null },
    ...{ cooldownMs: null, lastFailure: null, policy: null },
    ...{ lastFailureAt: null, lastSuccessAt: null },
    ...noEvidence(),
    ...noTrials(),
    totals: { successes: 0, failures: 0, rejected: 0, slow: 0 },
  };
}

/** Returns the snapshot that the library expects, measured by `shape`. */
export function snapshotOf(circuit: StoredCircuit, shape: Shape, now: number): Snapshot {
  const { born: _born, segments, outcomes, trials, leases, ended: _ended, ...told } = circuit;
  const outstanding = Object.values(leases).map(({ until }) => until).filter((at) => at > now);
  const last = shape.windowSize === 0 ? "" : outcomes.slice(-shape.windowSize);
  return {
    ...told,
    window: sumOf(segments, shape.windowMs, now),
    last: { size: last.length, failures: last.split("F").length - 1 },
    halfOpen: {
      ...trials,
      inFlight: outstanding.length,
      freeAt: outstanding.length === 0 ? null : Math.min(...outstanding),
    },
    now,
  };
}

/** Ends an expired override, and returns it. Call this before any other function. */
export function expire(circuit: StoredCircuit, now: number): OverrideRecord | null {
  const { override } = circuit;
  if (override === null || override.until === null || override.until > now) return null;
  lay(circuit, null, override.until);
  return override;
}

/** Sets an override over the state, or removes it. */
export function lay(circuit: StoredCircuit, override: OverrideRecord | null, at: number): void {
  Object.assign(circuit, noEvidence(), { override });
  beginGeneration(circuit, at);
}

/** Adds the outcomes of calls. Returns whether they were current. */
export function count(circuit: StoredCircuit, tally: Tally, now: number): boolean {
  const { totals } = circuit;
  totals.successes += tally.successes;
  totals.failures += tally.failures;
  totals.rejected += tally.rejected;
  totals.slow += tally.slow;
  circuit.policyHash = tally.policyHash || circuit.policyHash;
  const lease = tally.lease === null ? undefined : circuit.leases[tally.lease];
  if (lease !== undefined) {
    delete circuit.leases[tally.lease!];
    circuit.ended[tally.lease!] = lease.until;
  }
  // An isolate that did not know the circuit counts in its first generation, and in no later one.
  const current = tally.epoch === ""
    ? tally.generation === 0 && circuit.generation === 1
    : isSame(tally, circuit);
  if (current) circuit.policy = tally.policy ?? circuit.policy;
  if (current && tally.successes + tally.failures > 0) countCurrent(circuit, tally, now);
  return current;
}

function countCurrent(circuit: StoredCircuit, tally: Tally, now: number): void {
  const { successes, failures, shape } = tally;
  const ageMs = Math.max(0, tally.ageMs);
  const firstAgeMs = Math.max(ageMs, tally.firstFailureAgeMs ?? 0);
  if (successes > 0) {
    circuit.consecutiveSuccesses += successes;
    circuit.consecutiveFailures = 0;
    circuit.lastSuccessAt = later(circuit.lastSuccessAt, now - firstAgeMs, now);
  }
  if (failures > 0) {
    // Failures that ended before the last success do not lengthen the run. If the first did, it is not
    // known of those before the last.
    const lastSuccess = circuit.lastSuccessAt ?? -Infinity;
    const upto = Math.max(now, lastSuccess);
    if (upto - ageMs >= lastSuccess) {
      circuit.consecutiveFailures += upto - firstAgeMs >= lastSuccess ? failures : 1;
      circuit.consecutiveSuccesses = 0;
    }
    circuit.lastFailureAt = later(circuit.lastFailureAt, now - ageMs, now);
  }
  if (circuit.state === "HALF_OPEN") {
    circuit.trials.successes += successes;
    circuit.trials.failures += failures;
  }
  add(circuit.sinceClosed, tally);
  const segment = segmentAt(circuit.segments, shape.windowMs, ageMs, now);
  if (segment !== null) add(segment, tally);
  if (shape.windowSize > 0) {
    const ended = "S".repeat(successes) + "F".repeat(failures);
    circuit.outcomes = (circuit.outcomes + ended).slice(-shape.windowSize);
  }
}

/**
 * Grants a call or refuses it, and returns whether the record has changed. A repeated request that
 * has moved the circuit must not move it again: `mayMove` is `false`.
 */
export function admit(
  circuit: StoredCircuit,
  request: AcquireRequest,
  now: number,
  mayMove: boolean,
): { granted: boolean; moved: boolean; changed: boolean } {
  if (circuit.override !== null) {
    return { granted: circuit.override.kind !== "forced_open", moved: false, changed: false };
  }
  if (circuit.state === "CLOSED") return { granted: true, moved: false, changed: false };
  const left = (circuit.openUntil ?? now) - now;
  const longest = circuit.cooldownMs ?? Infinity;
  // A lease that ends later than that was written before the clock was set back.
  const moved = mayMove && circuit.state === "OPEN" &&
    (left <= 0 || left > longest + Math.max(longest, 60_000));
  if (moved) {
    circuit.state = "HALF_OPEN";
    circuit.reason = "cooldown_passed";
    beginGeneration(circuit, now);
  }
  if (circuit.state === "OPEN") return { granted: false, moved, changed: false };

  const { leases, ended } = circuit;
  const { token, max, leaseMs } = request;
  for (const [held, lease] of Object.entries(leases)) {
    if (lease.until <= now || lease.until - now > 2 * lease.leaseMs) delete leases[held];
  }
  for (const [old, until] of Object.entries(ended)) if (until <= now) delete ended[old];
  if (token in leases) return { granted: true, moved, changed: moved };
  const granted = Object.keys(leases).length < max && !(token in ended);
  if (granted) leases[token] = { until: now + leaseMs, leaseMs };
  return { granted, moved, changed: moved || granted };
}

/** Opens or closes the circuit if it is as the request expects. Returns whether it was changed. */
export function change(circuit: StoredCircuit, request: TransitionRequest, now: number): boolean {
  const { to, event, expected, reason, cooldownMs, lastFailure = null, failuresBelow = 1 } =
    request;
  if (expected !== null && !isSame(expected, circuit)) return false;
  if (event === "closed" && circuit.trials.failures >= failuresBelow) return false;
  if (to === "OPEN") {
    circuit.reopenCount = circuit.state === "HALF_OPEN" ? circuit.reopenCount + 1 : 0;
    circuit.openedAt = now;
    circuit.openUntil = now + cooldownMs;
    circuit.cooldownMs = cooldownMs;
    circuit.lastFailure = lastFailure;
  } else {
    if (circuit.state !== "CLOSED") circuit.closedAt = now;
    Object.assign(circuit, noEvidence(), { reopenCount: 0, openUntil: null, cooldownMs: null });
  }
  circuit.policy = request.policy ?? circuit.policy;
  circuit.state = to;
  circuit.reason = reason;
  beginGeneration(circuit, now);
  return true;
}

/** Replaces the record with an exported one, under another epoch. */
export function restore(circuit: StoredCircuit, request: RestoreRequest, now: number): void {
  const { snapshot, segments, outcomes } = request.record;
  const { window: _w, last: _l, halfOpen: _h, now: _n, untold: _u, ...kept } = snapshot;
  const shifted = (at: number | null) => at === null ? null : at - request.at + now;
  const { override } = kept;
  Object.assign(circuit, structuredClone(kept), {
    epoch: request.id,
    generation: Math.max(circuit.generation, kept.generation),
    openedAt: shifted(kept.openedAt),
    openUntil: shifted(kept.openUntil),
    closedAt: shifted(kept.closedAt),
    lastFailureAt: shifted(kept.lastFailureAt),
    lastSuccessAt: shifted(kept.lastSuccessAt),
    override: override && { ...override, until: shifted(override.until) },
    segments: segments.map((segment) => ({ ...segment, start: shifted(segment.start) })),
    outcomes,
  });
  beginGeneration(circuit, now);
}

/** Begins a generation, without leases and trials. Every change of the circuit does. */
function beginGeneration(circuit: StoredCircuit, at: number): void {
  circuit.generation++;
  circuit.began = at;
  Object.assign(circuit, noTrials());
}

/**
 * Returns `true` for the same generation. A store that was restored repeats numbers, but not
 * moments.
 */
function isSame(a: Admission, b: Admission): boolean {
  return a.epoch === b.epoch && a.generation === b.generation && a.began === b.began;
}

function noTrials(): Pick<StoredCircuit, "trials" | "leases" | "ended"> {
  return { trials: { successes: 0, failures: 0 }, leases: {}, ended: {} };
}

function noEvidence() {
  return {
    consecutiveFailures: 0,
    consecutiveSuccesses: 0,
    sinceClosed: { successes: 0, failures: 0, slow: 0 },
    segments: [],
    outcomes: "",
  };
}

function add(to: Counters, { successes, failures, slow }: Counters): void {
  to.successes += successes;
  to.failures += failures;
  to.slow += slow;
}

/**
 * Returns the later of two moments, unless the clock was set back after the first one was written.
 */
function later(held: number | null, endedAt: number, now: number): number {
  return held !== null && held > endedAt && held <= now ? held : endedAt;
}

function sumOf(segments: readonly Segment[], windowMs: number, now: number): Counters {
  const sum = { successes: 0, failures: 0, slow: 0 };
  // A clock that was set back counts as standing still.
  const begins = Math.max(now, segments.at(-1)?.start ?? 0) - windowMs;
  for (const segment of segments) if (segment.start > begins) add(sum, segment);
  return sum;
}

/** Returns the segment of an outcome of this age, or `null` if it has left the window. */
function segmentAt(
  segments: Mutable<Segment>[],
  windowMs: number,
  ageMs: number,
  now: number,
): Mutable<Segment> | null {
  const length = Math.ceil(windowMs / 10);
  const latest = Math.max(now, segments.at(-1)?.start ?? 0);
  const start = Math.floor((latest - ageMs) / length) * length;
  if (start <= latest - windowMs) return null;
  const gone = segments.findIndex((segment) => segment.start > latest - windowMs);
  segments.splice(0, gone === -1 ? segments.length : gone);
  const at = segments.findIndex((segment) => segment.start >= start);
  if (segments[at]?.start === start) return segments[at];
  const segment = { start, successes: 0, failures: 0, slow: 0 };
  segments.splice(at === -1 ? segments.length : at, 0, segment);
  return segment;
}
