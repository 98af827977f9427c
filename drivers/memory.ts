/**
 * The store of this process: a Map of live records, synchronous, bounded, without timers.
 *
 * @module
 */

import {
  absentSnapshot,
  type Acquired,
  type AcquireRequest,
  type Changed,
  type CircuitRecord,
  type Clock,
  copySnapshot,
  ID_MEMORY_MS,
  type ListPage,
  type ListRequest,
  type OverrideRecord,
  type OverrideRequest,
  type Recorded,
  type RestoreRequest,
  type Segment,
  type Shape,
  type Snapshot,
  type Store,
  type StoreRequest,
  type Tally,
  type TransitionRequest,
  withoutExpiredOverride,
} from "../src/store.ts";
import { check } from "../src/policy.ts";

/** Options of {@linkcode memory}. */
export interface MemoryOptions {
  /**
   * How many circuits to keep. Past it the least recently used one goes, with an `evicted` event;
   * open, half-open and overridden circuits stay.
   *
   * @default {10_000}
   */
  maxCircuits?: number | undefined;
  /** The store's clock, in ms. Left out, the clock of the Fuse that asks. */
  clock?: Clock | undefined;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends object ? Mutable<T[K]> : T[K] };

/** A record. `seen` is what everyone may look at; the rest is how it is kept. */
interface Entry {
  readonly key: string;
  readonly seen: Mutable<Omit<Snapshot, "override">> & { override: OverrideRecord | null };
  /** Of the last tally; `seen.policyHash` is that of the one before. */
  policyHash: string;
  windowMs: number;
  /** Oldest first, at most eleven. Their sums stand in `seen.window`. */
  segments: Mutable<Segment>[];
  ring: Ring | null;
  /** Tokens that are out, with the end of their lease. */
  leases: Map<string, number> | null;
  /** Tokens given back, until their lease would have ended. */
  ended: Map<string, number> | null;
  /** Requests already applied: when, and whether they won. */
  applied: Map<string, { at: number; won: boolean }> | null;
  newer: Entry | null;
  older: Entry | null;
  /** Whether it may be evicted, that is, stands in the list of use. */
  listed: boolean;
}

/** The last `size` outcomes, 1 for a failure. */
interface Ring {
  outcomes: Uint8Array;
  next: number;
}

const NO_TRIALS = Object.freeze({ inFlight: 0, successes: 0, failures: 0, freeAt: null });
const NO_CALLS = Object.freeze({ size: 0, failures: 0 });

/**
 * Keeps circuits in this process: nothing is shared with other isolates, nothing survives it.
 * Every answer is synchronous; cost: no round trip.
 *
 * @param options See {@linkcode MemoryOptions}.
 * @returns A store for `createFuse({ stores: { array: memory() } })`, which is also the default.
 * @throws {RangeError} If `maxCircuits` is not a positive integer.
 */
export function memory(options: MemoryOptions = {}): Store {
  return new MemoryStore(options);
}

class MemoryStore implements Store {
  readonly name = "memory";
  readonly traits = { persistent: false, shared: false, audited: false } as const;
  readonly #entries = new Map<string, Entry>();
  readonly #max: number;
  readonly #clock: Clock | undefined;
  #births = 0;
  /** The list of use, over what may be evicted. */
  #newest: Entry | null = null;
  #oldest: Entry | null = null;
  /** What may not be evicted while anything else may. */
  readonly #kept = new Set<Entry>();

  constructor(options: MemoryOptions) {
    this.#max = check("memory store", "maxCircuits", options.maxCircuits, 10_000);
    this.#clock = options.clock;
  }

  peek(key: string): Snapshot | undefined {
    return this.#entries.get(key)?.seen;
  }

  read(key: string, request: { shape: Shape; at: number }): Snapshot {
    const now = this.#now(request);
    const entry = this.#entries.get(key);
    return entry === undefined ? absentSnapshot(now) : snapshotAt(entry, now, request.shape);
  }

  record(key: string, tally: Tally): Recorded {
    const now = this.#now(tally);
    let entry = this.#entries.get(key);
    let evicted: string | null = null;
    let released: OverrideRecord | null = null;
    if (entry === undefined) {
      entry = this.#create(key, tally);
      evicted = this.#evict(entry, now);
    } else {
      const before = recall(entry, tally.id, now);
      if (before !== undefined) {
        return { current: before, snapshot: snapshotAt(entry, now, tally.shape) };
      }
      if (entry.seen.override !== null) released = this.#expire(entry, now);
      if (entry.listed && entry !== this.#newest) this.#use(entry);
    }
    const seen = entry.seen;
    const current = tally.epoch === ""
      ? tally.generation === 0 && seen.generation === 1
      : tally.generation === seen.generation && tally.epoch === seen.epoch;
    seen.now = now;
    seen.policyHash = entry.policyHash;
    entry.policyHash = tally.policyHash;
    const totals = seen.totals;
    totals.successes += tally.successes;
    totals.failures += tally.failures;
    totals.rejected += tally.rejected;
    totals.slow += tally.slow;
    age(entry, now, tally.shape);
    if (current) count(entry, tally, now);
    if (tally.lease !== null) endLease(entry, tally.lease);
    if (entry.leases !== null) dropLeases(entry, now, Infinity);
    remember(entry, tally.id, now, current);
    return { current, snapshot: seen, released, evicted };
  }

  acquire(key: string, request: AcquireRequest): Acquired {
    const now = this.#now(request);
    const entry = this.#entries.get(key);
    if (entry === undefined) return { granted: true, moved: false, snapshot: absentSnapshot(now) };
    const seen = entry.seen;
    const released = seen.override === null ? null : this.#expire(entry, now);
    let moved = recall(entry, request.id, now) ?? false;
    let granted = true;
    if (seen.override !== null) {
      granted = seen.override.kind !== "forced_open";
    } else if (seen.state !== "CLOSED") {
      if (seen.state === "OPEN" && hasPassed(seen.openUntil, now, request.maxCooldownMs)) {
        this.#turn(entry, "HALF_OPEN", "cooldown_passed");
        remember(entry, request.id, now, moved = true);
      }
      granted = seen.state === "HALF_OPEN" && lease(entry, request, now);
    }
    seen.now = now;
    seen.policyHash = entry.policyHash;
    age(entry, now, request.shape);
    return { granted, moved, snapshot: seen, released };
  }

  transition(key: string, request: TransitionRequest): Changed {
    return this.#change(key, request, request.expected === null, (entry, now) => {
      const { to, expected, event } = request;
      const seen = entry.seen;
      if (
        expected !== null &&
        (expected.epoch !== seen.epoch || expected.generation !== seen.generation)
      ) return false;
      if (event === "closed" && seen.halfOpen.failures > 0) return false;
      if (to === "OPEN") {
        seen.reopenCount = seen.state === "HALF_OPEN" ? seen.reopenCount + 1 : 0;
        seen.openedAt = now;
        seen.openUntil = now + request.cooldownMs;
      } else {
        if (seen.state !== "CLOSED") seen.closedAt = now;
        seen.reopenCount = 0;
        seen.openUntil = null;
        clearEvidence(entry);
      }
      this.#turn(entry, to, request.reason);
      return true;
    });
  }

  override(key: string, request: OverrideRequest): Changed {
    return this.#change(key, request, request.kind !== null, (entry, now) => {
      const { kind, until, reason, actor, at } = request;
      if (kind === null && entry.seen.override === null) return false;
      this.#lay(
        entry,
        kind && { kind, until: until === null ? null : until - at + now, reason, actor },
      );
      return true;
    });
  }

  restore(key: string, request: RestoreRequest): Changed {
    const held = this.#entries.get(key);
    const keep = held !== undefined && request.existing === "keep";
    return this.#change(key, request, true, (entry, now) => {
      if (keep) return false;
      const { snapshot, segments, outcomes } = request.record;
      const shift = <T extends number | null>(at: T) => (at === null ? at : at + now - request.at);
      const until = snapshot.override?.until ?? null;
      Object.assign(entry.seen, {
        ...copySnapshot(snapshot),
        epoch: request.id || `import-${++this.#births}`,
        generation: Math.max(entry.seen.generation, snapshot.generation) + 1,
        openedAt: shift(snapshot.openedAt),
        openUntil: shift(snapshot.openUntil),
        closedAt: shift(snapshot.closedAt),
        lastFailureAt: shift(snapshot.lastFailureAt),
        lastSuccessAt: shift(snapshot.lastSuccessAt),
        override: snapshot.override && { ...snapshot.override, until: shift(until) },
        halfOpen: { ...NO_TRIALS },
        now,
      });
      entry.policyHash = snapshot.policyHash;
      entry.segments = segments.map((s) => ({ ...s, start: shift(s.start) }));
      entry.windowMs = 0;
      entry.ring = null;
      entry.seen.last = { ...NO_CALLS };
      for (const outcome of outcomes) push(entry, outcomes.length, outcome === "F");
      entry.leases = entry.ended = null;
      this.#rank(entry);
      return true;
    });
  }

  list(request: ListRequest): ListPage {
    const now = this.#now(request);
    const records: CircuitRecord[] = [];
    for (const [key, entry] of this.#entries) {
      const snapshot = snapshotAt(entry, now, request.shape(key));
      const segments = entry.segments.map((segment) => ({ ...segment }));
      records.push({ key, snapshot, segments, outcomes: outcomesOf(entry) });
    }
    return { records, cursor: null };
  }

  remove(key: string): boolean {
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.#drop(entry);
    return entry !== undefined;
  }

  #now(request: { at: number }): number {
    return this.#clock === undefined ? request.at : this.#clock();
  }

  /** What the changes have in common: said twice counts once, an expired override goes first. */
  #change(
    key: string,
    request: StoreRequest,
    create: boolean,
    apply: (entry: Entry, now: number) => boolean,
  ): Changed {
    const now = this.#now(request);
    let entry = this.#entries.get(key);
    let evicted: string | null = null;
    if (entry === undefined) {
      if (!create) return { won: false, snapshot: absentSnapshot(now) };
      entry = this.#create(key, request);
      evicted = this.#evict(entry, now);
    }
    const before = recall(entry, request.id, now);
    const released = before === undefined ? this.#expire(entry, now) : null;
    const won = before ?? apply(entry, now);
    if (before === undefined) remember(entry, request.id, now, won);
    return { won, snapshot: snapshotAt(entry, now, request.shape), released, evicted };
  }

  #create(key: string, request: StoreRequest): Entry {
    const seen = {
      ...absentSnapshot(request.at),
      epoch: request.id || `local-${++this.#births}`,
      generation: 1,
      halfOpen: NO_TRIALS,
      last: NO_CALLS,
    };
    const entry: Entry = {
      key,
      seen,
      policyHash: "",
      windowMs: request.shape.windowMs,
      segments: [],
      ring: null,
      leases: null,
      ended: null,
      applied: null,
      newer: null,
      older: null,
      listed: false,
    };
    this.#entries.set(key, entry);
    this.#enlist(entry);
    return entry;
  }

  /** The next generation, in a new state or the same. It owns no lease and no trial count. */
  #turn(entry: Entry, state: Snapshot["state"], reason: string): void {
    const seen = entry.seen;
    seen.state = state;
    seen.reason = reason;
    this.#begin(entry);
  }

  #begin(entry: Entry): void {
    entry.seen.generation++;
    entry.seen.halfOpen = entry.seen.state === "HALF_OPEN" ? { ...NO_TRIALS } : NO_TRIALS;
    entry.leases = entry.ended = null;
    this.#rank(entry);
  }

  #lay(entry: Entry, override: OverrideRecord | null): void {
    entry.seen.override = override;
    clearEvidence(entry);
    this.#begin(entry);
  }

  #expire(entry: Entry, now: number): OverrideRecord | null {
    const override = entry.seen.override;
    if (override === null || override.until === null || override.until > now) return null;
    this.#lay(entry, null);
    return override;
  }

  /** Puts a record where its state belongs: in the list of use, or among those that stay. */
  #rank(entry: Entry): void {
    const evictable = entry.seen.state === "CLOSED" && entry.seen.override === null;
    if (evictable === entry.listed) return;
    if (evictable) {
      this.#kept.delete(entry);
      this.#enlist(entry);
    } else {
      this.#unlist(entry);
      this.#kept.add(entry);
    }
  }

  #use(entry: Entry): void {
    this.#unlist(entry);
    this.#enlist(entry);
  }

  #enlist(entry: Entry): void {
    entry.listed = true;
    entry.older = this.#newest;
    if (this.#newest !== null) this.#newest.newer = entry;
    this.#newest = entry;
    this.#oldest ??= entry;
  }

  #unlist(entry: Entry): void {
    const { newer, older } = entry;
    if (newer === null) this.#newest = older;
    else newer.older = older;
    if (older === null) this.#oldest = newer;
    else older.newer = newer;
    entry.newer = entry.older = null;
    entry.listed = false;
  }

  /** Makes room for a new record, if need be and if anything may go. */
  #evict(fresh: Entry, now: number): string | null {
    if (this.#entries.size <= this.#max) return null;
    let victim = this.#oldest === fresh ? null : this.#oldest;
    if (victim === null) {
      // Only open, half-open and overridden records are left: the one whose cooldown passed longest ago.
      for (const entry of this.#kept) {
        const { override, openUntil } = entry.seen;
        if (override !== null || openUntil === null || openUntil > now) continue;
        dropLeases(entry, now, Infinity);
        if (entry.seen.halfOpen.inFlight > 0) continue;
        if (victim === null || openUntil < victim.seen.openUntil!) victim = entry;
      }
      if (victim === null) return null;
    }
    this.#drop(victim);
    return victim.key;
  }

  #drop(entry: Entry): void {
    this.#entries.delete(entry.key);
    if (entry.listed) this.#unlist(entry);
    else this.#kept.delete(entry);
  }
}

/** Books the outcomes of a tally that is current. */
function count(entry: Entry, tally: Tally, now: number): void {
  const { successes, failures } = tally;
  if (successes + failures === 0) return;
  const seen = entry.seen;
  const ageMs = Math.max(0, tally.ageMs);
  const endedAt = now - ageMs;
  if (successes > 0) {
    seen.consecutiveSuccesses += successes;
    seen.consecutiveFailures = 0;
    seen.lastSuccessAt = latest(seen.lastSuccessAt, endedAt, now);
    seen.sinceClosed.successes += successes;
  }
  if (failures > 0) {
    // One that ended before the last success does not lengthen the run. A last success that lies
    // in the future was booked by a clock that has since gone back: measured from there.
    const last = seen.lastSuccessAt;
    if (last === null || Math.max(now, last) - ageMs >= last) {
      seen.consecutiveFailures += failures;
      seen.consecutiveSuccesses = 0;
    }
    seen.lastFailureAt = latest(seen.lastFailureAt, endedAt, now);
    seen.sinceClosed.failures += failures;
  }
  seen.sinceClosed.slow += tally.slow;
  if (seen.state === "HALF_OPEN") {
    seen.halfOpen.successes += successes;
    seen.halfOpen.failures += failures;
  }
  const segment = segmentAt(entry, now, ageMs, tally.shape.windowMs);
  if (segment !== null) {
    const window = seen.window;
    segment.successes += successes;
    segment.failures += failures;
    segment.slow += tally.slow;
    window.successes += successes;
    window.failures += failures;
    window.slow += tally.slow;
  }
  const size = tally.shape.windowSize;
  if (size > 0) {
    for (let i = 0; i < successes; i++) push(entry, size, false);
    for (let i = 0; i < failures; i++) push(entry, size, true);
  }
}

function latest(held: number | null, endedAt: number, now: number): number {
  return held === null || held > now ? endedAt : Math.max(held, endedAt);
}

/** The segment that an outcome of this age belongs to; `null`: it has left the window. */
function segmentAt(
  entry: Entry,
  now: number,
  ageMs: number,
  windowMs: number,
): Mutable<Segment> | null {
  const { segments } = entry;
  const length = Math.ceil(windowMs / 10);
  let i = segments.length - 1;
  const newest = segments[i];
  if (newest !== undefined) {
    if (ageMs === 0 && now < newest.start + length) return newest;
    now = Math.max(now, newest.start);
  }
  const start = Math.floor((now - ageMs) / length) * length;
  if (start <= now - windowMs) return null;
  while (i >= 0 && segments[i]!.start > start) i--;
  if (segments[i]?.start === start) return segments[i]!;
  const segment = { start, successes: 0, failures: 0, slow: 0 };
  segments.splice(i + 1, 0, segment);
  return segment;
}

/** Drops what has left the window. Time that went back counts as standing still. */
function age(entry: Entry, now: number, shape: Shape): void {
  const { segments, seen } = entry;
  if (entry.windowMs !== shape.windowMs) {
    entry.windowMs = shape.windowMs;
    seen.window = sum(segments, -Infinity);
  }
  let oldest = segments[0];
  while (oldest !== undefined && oldest.start <= windowStart(segments, now, shape)) {
    seen.window.successes -= oldest.successes;
    seen.window.failures -= oldest.failures;
    seen.window.slow -= oldest.slow;
    segments.shift();
    oldest = segments[0];
  }
}

function windowStart(segments: readonly Segment[], now: number, shape: Shape): number {
  return Math.max(now, segments[segments.length - 1]?.start ?? now) - shape.windowMs;
}

function sum(segments: readonly Segment[], after: number): Mutable<Snapshot["window"]> {
  const window = { successes: 0, failures: 0, slow: 0 };
  for (const { start, successes, failures, slow } of segments) {
    if (start <= after) continue;
    window.successes += successes;
    window.failures += failures;
    window.slow += slow;
  }
  return window;
}

function push(entry: Entry, size: number, failed: boolean): void {
  if (entry.ring?.outcomes.length !== size) resize(entry, size);
  const ring = entry.ring!;
  const last = entry.seen.last;
  if (last.size === size) last.failures -= ring.outcomes[ring.next]!;
  else last.size++;
  ring.outcomes[ring.next] = failed ? 1 : 0;
  last.failures += failed ? 1 : 0;
  ring.next = (ring.next + 1) % size;
}

/** A count window of another length: as many of the last outcomes as it holds go along. */
function resize(entry: Entry, size: number): void {
  const before = outcomesOf(entry).slice(-size);
  entry.ring = { outcomes: new Uint8Array(size), next: 0 };
  entry.seen.last = { ...NO_CALLS };
  for (const outcome of before) push(entry, size, outcome === "F");
}

function outcomesOf(entry: Entry): string {
  if (entry.ring === null) return "";
  const { outcomes, next } = entry.ring;
  const size = entry.seen.last.size;
  let text = "";
  for (let i = next - size; i < next; i++) text += outcomes.at(i) === 1 ? "F" : "S";
  return text;
}

/** Takes a half-open slot for a token, if one is free and the token was not given back before. */
function lease(entry: Entry, { token, max, leaseMs }: AcquireRequest, now: number): boolean {
  dropLeases(entry, now, 2 * leaseMs);
  const leases = (entry.leases ??= new Map());
  if (leases.has(token)) return true;
  if (leases.size >= max || entry.ended?.has(token)) return false;
  leases.set(token, now + leaseMs);
  countLeases(entry);
  return true;
}

function endLease(entry: Entry, token: string): void {
  const until = entry.leases?.get(token);
  if (until === undefined) return;
  entry.leases!.delete(token);
  (entry.ended ??= new Map()).set(token, until);
  countLeases(entry);
}

/** Frees the slots of trials that never ended, and of those granted by a clock that has since gone back. */
function dropLeases(entry: Entry, now: number, furthest: number): void {
  for (const tokens of [entry.leases, entry.ended]) {
    for (const [token, until] of tokens ?? []) {
      if (until <= now || until - now > furthest) tokens!.delete(token);
    }
  }
  if (entry.leases !== null) countLeases(entry);
}

function countLeases(entry: Entry): void {
  const ends = [...entry.leases!.values()];
  entry.seen.halfOpen.inFlight = ends.length;
  entry.seen.halfOpen.freeAt = ends.length === 0 ? null : Math.min(...ends);
}

function hasPassed(openUntil: number | null, now: number, maxCooldownMs: number): boolean {
  return openUntil === null || now >= openUntil || openUntil - now > maxCooldownMs;
}

function clearEvidence(entry: Entry): void {
  const seen = entry.seen;
  seen.consecutiveFailures = seen.consecutiveSuccesses = 0;
  seen.sinceClosed = { successes: 0, failures: 0, slow: 0 };
  seen.window = { successes: 0, failures: 0, slow: 0 };
  seen.last = NO_CALLS;
  entry.segments = [];
  entry.ring = null;
}

function recall(entry: Entry, id: string, now: number): boolean | undefined {
  if (entry.applied === null || id === "") return undefined;
  const before = entry.applied.get(id);
  return before !== undefined && now - before.at < ID_MEMORY_MS ? before.won : undefined;
}

function remember(entry: Entry, id: string, now: number, won: boolean): void {
  if (id === "") return;
  const applied = (entry.applied ??= new Map());
  applied.set(id, { at: now, won });
  for (const [old, { at }] of applied) {
    if (now - at < ID_MEMORY_MS) break;
    applied.delete(old);
  }
}

/** A Snapshot of its own, aged to `now` without touching the record. */
function snapshotAt(entry: Entry, now: number, shape: Shape): Snapshot {
  const { seen, segments, leases } = entry;
  const ends = [...leases?.values() ?? []].filter((until) => until > now);
  return withoutExpiredOverride({
    ...copySnapshot(seen),
    window: sum(segments, windowStart(segments, now, shape)),
    halfOpen: {
      ...seen.halfOpen,
      inFlight: ends.length,
      freeAt: ends.length === 0 ? null : Math.min(...ends),
    },
    policyHash: entry.policyHash,
    now,
  }, now);
}
