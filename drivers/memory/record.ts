/**
 * A record of the memory store, and the operations on it.
 *
 * @module
 */

import type {
  AcquireRequest,
  CircuitState,
  FailureNote,
  OverrideRecord,
  PolicyRecord,
  Segment,
  Shape,
  Snapshot,
} from "../../src/contract.ts";
import { ID_MEMORY_MS, lastOf, requestsPerSecond, SECOND } from "../../src/records.ts";
import type { LiveRecord } from "../../src/local_circuit.ts";
import { segmentMs } from "../../src/rules/window.ts";

/**
 * A live record. The parts of a Snapshot that depend on time, leases and windows are computed on
 * demand, so that no timer is needed and a call pays only for the data of its strategy.
 */
export class Entry implements LiveRecord {
  state: CircuitState = "CLOSED";
  declare epoch: string;
  generation = 1;
  /** See `LiveRecord`. */
  turn = 0;
  declare began: number;
  reason = "";
  openedAt: number | null = null;
  openUntil: number | null = null;
  cooldownMs: number | null = null;
  lastFailure: FailureNote | null = null;
  closedAt: number | null = null;
  reopenCount = 0;
  consecutiveFailures = 0;
  consecutiveSuccesses = 0;
  override: OverrideRecord | null = null;
  policy: PolicyRecord | null = null;
  policyHash = "";
  // Not only declared: a field that is `undefined` first is not a plain number to V8, and costs an
  // allocation.
  now = NaN;

  declare readonly key: string;
  /** Counts the records of the store: cursors of lists. */
  number = 0;
  /** The windows of the last request. */
  declare shape: Shape;
  /**
   * When the last success and failure ended, or `NaN`. Only numbers, because they change with every
   * call.
   */
  succeededAt = NaN;
  failedAt = NaN;
  /** Fingerprint of the last tally; `policyHash` is the previous one, before the request. */
  writtenBy = "";
  /**
   * Totals of the whole life, and since it last closed. Flat, because they change with every call.
   */
  successes = 0;
  failures = 0;
  rejected = 0;
  slow = 0;
  successesSince = 0;
  failuresSince = 0;
  slowSince = 0;
  /** Oldest first, at most eleven. */
  segments: Mutable<Segment>[] = NO_SEGMENTS;
  /** The newest segment, and until when it accepts outcomes, in ms; `-Infinity`: search for it. */
  newest: Mutable<Segment> | null = null;
  segmentEnds = -Infinity;
  /** Successes of the newest segment that no other field has yet, except for `succeededAt` and `ring`. */
  booked = 0;
  ring: Ring | null = null;
  /** Outcomes of this HALF_OPEN generation. */
  trials = NO_TRIALS;
  /** The taken slots, by token. */
  leases: Map<string, Lease> | null = null;
  /** Tokens that were returned before their lease ended, with that end; the earliest first. */
  ended: Map<string, number> | null = null;
  applied: Applied | null = null;
  /** The tallies of other isolates: see `requestsPerSecond`. */
  traffic = 0;
  before = 0;
  /** When it was last written to, counted in writes to the store. */
  used = 0;

  constructor(key: string, epoch: string, now: number, shape: Shape) {
    this.key = key;
    this.epoch = epoch;
    this.began = this.now = now;
    this.shape = shape;
  }

  get totals(): Snapshot["totals"] {
    const { successes, failures, rejected, slow } = this;
    return { successes, failures, rejected, slow };
  }

  get sinceClosed(): Snapshot["sinceClosed"] {
    const { successesSince: successes, failuresSince: failures, slowSince: slow } = this;
    return { successes, failures, slow };
  }

  get lastSuccessAt(): number | null {
    return Number.isNaN(this.succeededAt) ? null : this.succeededAt;
  }

  get lastFailureAt(): number | null {
    return Number.isNaN(this.failedAt) ? null : this.failedAt;
  }

  get window(): Snapshot["window"] {
    const window = { successes: 0, failures: 0, slow: 0 };
    const { segments, shape } = this;
    // A clock that was set back counts as standing still.
    const after = Math.max(this.now, segments.at(-1)?.start ?? 0) - shape.windowMs;
    for (let i = segments.length - 1; i >= 0; i--) {
      const segment = segments[i]!;
      if (segment.start <= after) break;
      window.successes += segment.successes;
      window.failures += segment.failures;
      window.slow += segment.slow;
    }
    return window;
  }

  get last(): Snapshot["last"] {
    const { ring, shape } = this;
    // A request without a window is shown none, though others may use it.
    if (ring === null || shape.windowSize === 0) return { size: 0, failures: 0 };
    if (shape.windowSize >= ring.size) return { size: ring.size, failures: ring.failures };
    return lastOf(outcomesOf(ring), shape.windowSize);
  }

  get requestsPerSecond(): number {
    return requestsPerSecond(this.traffic, this.before, this.now);
  }

  get halfOpen(): Snapshot["halfOpen"] {
    let inFlight = 0;
    let freeAt: number | null = null;
    for (const { until } of this.leases?.values() ?? []) {
      if (until <= this.now) continue;
      inFlight++;
      freeAt = Math.min(until, freeAt ?? until);
    }
    return { inFlight, freeAt, ...this.trials };
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Applied requests, by their ids. They are forgotten by maps, and not one by one: a map whose oldest entry is
 * deleted over and over takes ever longer to find the next.
 */
interface Applied {
  /** When the newer map was begun. */
  readonly since: number;
  readonly ids: Map<string, Outcome>;
  readonly older: ReadonlyMap<string, Outcome>;
}

/** When a request was applied, and whether it won. */
interface Outcome {
  readonly at: number;
  readonly won: boolean;
}

/** A half-open slot. */
interface Lease {
  readonly until: number;
  readonly leaseMs: number;
  /** `true` if the request may be repeated. */
  readonly resent: boolean;
}

/** The last outcomes, 1 for a failure. */
interface Ring {
  readonly outcomes: Uint8Array;
  next: number;
  size: number;
  failures: number;
}

/** Fields of a Snapshot that an Entry derives. */
export const DERIVED = [
  ...["totals", "window", "sinceClosed", "last", "halfOpen"],
  ...["lastSuccessAt", "lastFailureAt", "requestsPerSecond"],
];

/** The window of a record without counts. Never written to. */
export const NO_SEGMENTS: Mutable<Segment>[] = [];

export const NO_TRIALS: { successes: number; failures: number } = { successes: 0, failures: 0 };

/** Returns the record as of this request. */
export function asked(entry: Entry, now: number, shape: Shape): Entry {
  entry.now = now;
  // Usually they are already set, and not writing costs less.
  if (entry.shape !== shape) {
    entry.shape = shape;
    entry.segmentEnds = -Infinity;
  }
  if (entry.policyHash !== entry.writtenBy) entry.policyHash = entry.writtenBy;
  return entry;
}

/**
 * Counts outcomes that are current.
 *
 * @param firstAgeMs How long ago the first failure ended, in ms; the age of all where none failed.
 */
export function count(
  entry: Entry,
  successes: number,
  failures: number,
  slow: number,
  ageMs: number,
  firstAgeMs: number,
  now: number,
): void {
  entry.successesSince += successes;
  entry.failuresSince += failures;
  entry.slowSince += slow;
  if (successes > 0) {
    entry.consecutiveSuccesses += successes;
    entry.consecutiveFailures = 0;
    entry.succeededAt = latest(entry.succeededAt, now - firstAgeMs, now);
  }
  if (failures > 0) {
    // Failures that ended before the last success do not lengthen the run. A last success that lies in
    // the future was booked by a clock that has since gone back: measured from there.
    const last = entry.succeededAt;
    const upto = Math.max(now, last);
    if (!(upto - ageMs < last)) {
      // If the success ended after the first failure, only the last one surely followed it.
      entry.consecutiveFailures += upto - firstAgeMs < last ? 1 : failures;
      entry.consecutiveSuccesses = 0;
    }
    entry.failedAt = latest(entry.failedAt, now - ageMs, now);
  }
  if (entry.state === "HALF_OPEN") {
    const { trials } = entry;
    entry.trials = {
      successes: trials.successes + successes,
      failures: trials.failures + failures,
    };
  }
  const segment = segmentAt(entry, now, ageMs);
  if (segment !== null) {
    segment.successes += successes;
    segment.failures += failures;
    segment.slow += slow;
  }
  const size = entry.shape.windowSize;
  if (size === 0) return;
  for (let i = 0; i < successes; i++) push(entry, size, false);
  for (let i = 0; i < failures; i++) push(entry, size, true);
}

/**
 * Returns the later of two moments, unless the stored one was booked before the clock was set back.
 */
function latest(held: number, endedAt: number, now: number): number {
  return held > endedAt && held <= now ? held : endedAt;
}

/** Returns the segment of an outcome of this age, or `null` if it has left the window. */
function segmentAt(entry: Entry, now: number, ageMs: number): Mutable<Segment> | null {
  const { segments, shape: { windowMs } } = entry;
  const length = segmentMs(windowMs);
  let i = segments.length - 1;
  const newest = segments[i];
  if (newest !== undefined) {
    if (ageMs === 0 && now < newest.start + length) {
      entry.segmentEnds = newest.start + length;
      entry.newest = newest;
      return newest;
    }
    now = Math.max(now, newest.start);
  }
  const start = Math.floor((now - ageMs) / length) * length;
  if (start <= now - windowMs) return null;
  while (i >= 0 && segments[i]!.start > start) i--;
  if (segments[i]?.start === start) return segments[i]!;
  const segment = { start, successes: 0, failures: 0, slow: 0 };
  entry.segmentEnds = -Infinity;
  // An array of one takes a fifth of the memory that an empty one takes after a push.
  if (segments.length === 0) entry.segments = [segment];
  else segments.splice(i + 1, 0, segment);
  while (entry.segments[0]!.start <= now - windowMs) segments.shift();
  return segment;
}

export function push(entry: Entry, size: number, failed: boolean): void {
  let { ring } = entry;
  if (ring?.outcomes.length !== size) {
    // A window of another length keeps as many of the last outcomes as fit.
    const before = ring === null ? "" : outcomesOf(ring).slice(-size);
    entry.ring = ring = { outcomes: new Uint8Array(size), next: 0, size: 0, failures: 0 };
    for (const outcome of before) push(entry, size, outcome === "F");
  }
  const { outcomes, next } = ring;
  if (ring.size === size) ring.failures -= outcomes[next]!;
  else ring.size++;
  ring.failures += outcomes[next] = failed ? 1 : 0;
  ring.next = (next + 1) % size;
}

export function outcomesOf({ outcomes, next, size }: Ring): string {
  let text = "";
  for (let i = next - size; i < next; i++) text += outcomes.at(i) === 1 ? "F" : "S";
  return text;
}

/** Takes a half-open slot for a token, if one is free and the token was not returned before. */
export function lease(entry: Entry, request: AcquireRequest, now: number): boolean {
  const { id, token, max, leaseMs } = request;
  const leases = (entry.leases ??= new Map());
  for (const [held, { until, leaseMs }] of leases) {
    // Further ahead than that, it was granted before the clock was set back.
    if (until <= now || until - now > 2 * leaseMs) leases.delete(held);
  }
  if (leases.has(token)) return true;
  if (leases.size >= max || isEnded(entry, token, now)) return false;
  leases.set(token, { until: now + leaseMs, leaseMs, resent: id !== "" });
  return true;
}

/**
 * Returns a slot. A token that may be asked for again is remembered until its lease would have
 * ended.
 */
export function endLease(entry: Entry, token: string): void {
  const lease = entry.leases?.get(token);
  if (lease === undefined) return;
  entry.leases!.delete(token);
  if (lease.resent) (entry.ended ??= new Map()).set(token, lease.until);
}

function isEnded({ ended }: Entry, token: string, now: number): boolean {
  for (const [old, until] of ended ?? []) {
    if (until > now) break;
    ended!.delete(old);
  }
  return (ended?.get(token) ?? -Infinity) > now;
}

export function clearEvidence(entry: Entry): void {
  entry.consecutiveFailures = entry.consecutiveSuccesses = 0;
  entry.successesSince = entry.failuresSince = entry.slowSince = 0;
  entry.segments = NO_SEGMENTS;
  entry.segmentEnds = -Infinity;
  entry.ring = null;
}

export function recall(entry: Entry | undefined, id: string, now: number): boolean | undefined {
  const applied = entry?.applied;
  const before = applied?.ids.get(id) ?? applied?.older.get(id);
  return before !== undefined && now - before.at < ID_MEMORY_MS ? before.won : undefined;
}

export function remember(entry: Entry, id: string, now: number, won: boolean): void {
  if (id === "") return;
  const { applied } = entry;
  if (applied === null || now - applied.since >= ID_MEMORY_MS) {
    entry.applied = { since: now, ids: new Map(), older: applied?.ids ?? new Map() };
  }
  entry.applied!.ids.set(id, { at: now, won });
}

/** Counts a tally of another isolate. */
export function countRequest(entry: Entry, now: number): void {
  const { traffic } = entry;
  const second = Math.floor(now / 1000);
  const passed = second - Math.floor(traffic / SECOND);
  if (passed !== 0) {
    entry.before = passed === 1 ? traffic % SECOND : 0;
    entry.traffic = second * SECOND;
  }
  entry.traffic++;
}
