/**
 * The store of this process: a Map of live records, synchronous, bounded, without timers.
 *
 * @module
 */

import type {
  Acquired,
  AcquireRequest,
  Changed,
  CircuitRecord,
  Clock,
  ListPage,
  ListRequest,
  OverrideRecord,
  OverrideRequest,
  ReadRequest,
  Recorded,
  RestoreRequest,
  Shape,
  Snapshot,
  Store,
  StoreRequest,
  Tally,
  TransitionRequest,
} from "../src/contract.ts";
import {
  absentSnapshot,
  copySnapshot,
  isPlain,
  isSame,
  withHeld,
  withoutExpiredOverride,
} from "../src/records.ts";
import { CIRCUITS, type OpeningStore } from "../src/circuit.ts";
import { type LiveRecord, LOCAL, type LocalDriver } from "../src/local_circuit.ts";
import { cooldownPassed } from "../src/rules/machine.ts";
import { check, known, mayBeFunction } from "../src/checks.ts";
import {
  asked,
  clearEvidence,
  count,
  countRequest,
  DERIVED,
  endLease,
  Entry,
  lease,
  NO_TRIALS,
  outcomesOf,
  push,
  recall,
  remember,
} from "./memory/record.ts";
import { Eviction } from "./memory/eviction.ts";

/** Options of {@linkcode memory}. */
export interface MemoryOptions {
  /**
   * The number of circuits to keep. A positive integer. Beyond it, the least recently used circuit
   * is evicted, with an `evicted` event; open, half-open and overridden circuits stay.
   *
   * @default {10_000}
   */
  maxCircuits?: number | undefined;
  /** The store's clock, in ms. By default, the clock of the Fuse that asks. */
  clock?: Clock | undefined;
}

/**
 * Keeps circuits in this process: nothing is shared with other isolates, and nothing survives the
 * process. Every answer is synchronous and live; cost: no round trip.
 *
 * @param options See {@linkcode MemoryOptions}.
 * @returns A store for `createFuse({ stores: { array: memory() } })`, which is also the default.
 * @throws {RangeError} If `maxCircuits` is not a positive integer.
 */
export function memory(options: MemoryOptions = {}): Store {
  return new MemoryStore(options);
}

const NOBODY: readonly string[] = [];
const CLEARED: Pick<Entry, "segments" | "ring"> = { segments: [], ring: null };

class MemoryStore implements LocalDriver, OpeningStore {
  readonly [CIRCUITS] = LOCAL;
  readonly name = "memory";
  readonly traits = { persistent: false, shared: false, audited: false } as const;
  readonly #entries = new Map<string, Entry>();
  readonly #max: number;
  readonly #clock: Clock | undefined;
  #births = 0;
  /** Numbers records in the order in which they were made. */
  #made = 0;
  #turns = 0;
  readonly #eviction = new Eviction();

  constructor(options: MemoryOptions) {
    const subject = "memory store";
    known(subject, options, ["maxCircuits", "clock"]);
    this.#max = check(subject, "maxCircuits", options.maxCircuits, 10_000);
    this.#clock = mayBeFunction(subject, "clock", options.clock);
  }

  peek(key: string): LiveRecord | undefined {
    return this.#find(key);
  }

  bars(live: LiveRecord, at: number, shape: Shape): boolean {
    const entry = live as Entry;
    if (entry.state !== "OPEN" || entry.override !== null) return false;
    const now = this.#now({ at });
    if (cooldownPassed(entry, now)) return false;
    asked(entry, now, shape);
    return true;
  }

  read(key: string, request: ReadRequest): Snapshot {
    const now = this.#now(request);
    const entry = this.#find(key);
    const s = entry === undefined
      ? absentSnapshot(now)
      : withoutExpiredOverride(copySnapshot(asked(entry, now, request.shape)), now);
    return withHeld(s, request, (id) => recall(entry, id, now) !== undefined);
  }

  book(live: LiveRecord, turn: number, at: number, shape: Shape): boolean {
    const entry = live as Entry;
    if (
      entry.turn !== turn || at >= entry.segmentEnds || entry.shape !== shape ||
      this.#clock !== undefined
    ) return false;
    this.#eviction.use(entry);
    entry.booked++;
    entry.succeededAt = at;
    if (shape.windowSize > 0) push(entry, shape.windowSize, false);
    return true;
  }

  record(key: string, tally: Tally): Recorded {
    const now = this.#now(tally);
    let entry = this.#find(key);
    let evicted: readonly string[] = NOBODY;
    let released: OverrideRecord | null = null;
    if (entry === undefined) {
      entry = this.#create(key, tally, now);
      evicted = this.#evict(entry, now);
    } else {
      const before = recall(entry, tally.id, now);
      if (before !== undefined) {
        return { current: before, snapshot: asked(entry, now, tally.shape) };
      }
      if (entry.override !== null) released = this.#expire(entry, now);
    }
    const current = tally.epoch === ""
      ? tally.generation === 0 && entry.generation === 1
      : isSame(tally, entry);
    this.#eviction.use(entry);
    asked(entry, now, tally.shape);
    const writer = tally.policyHash || entry.writtenBy;
    if (entry.writtenBy !== writer) {
      entry.writtenBy = writer;
      entry.turn = ++this.#turns;
    }
    if (current && tally.policy !== undefined) entry.policy = tally.policy;
    entry.successes += tally.successes;
    entry.failures += tally.failures;
    entry.rejected += tally.rejected;
    entry.slow += tally.slow;
    if (current && tally.successes + tally.failures > 0) {
      const { successes, failures, slow } = tally;
      const ageMs = Math.max(0, tally.ageMs);
      const firstAgeMs = Math.max(ageMs, tally.firstFailureAgeMs ?? 0);
      count(entry, successes, failures, slow, ageMs, firstAgeMs, now);
    }
    if (tally.lease !== null) {
      endLease(entry, tally.lease);
      this.#eviction.freed();
    }
    if (tally.id !== "") {
      remember(entry, tally.id, now, current);
      countRequest(entry, now);
    }
    return { current, snapshot: entry, released, evicted };
  }

  acquire(key: string, request: AcquireRequest): Acquired {
    const now = this.#now(request);
    const entry = this.#find(key);
    if (entry === undefined) return { granted: true, moved: false, snapshot: absentSnapshot(now) };
    const released = this.#expire(entry, now);
    let moved = recall(entry, request.id, now) ?? false;
    let granted = true;
    if (entry.override !== null) {
      granted = entry.override.kind !== "forced_open";
    } else if (entry.state !== "CLOSED") {
      // A repeated request does not move the circuit again.
      if (!moved && entry.state === "OPEN" && cooldownPassed(entry, now)) {
        entry.state = "HALF_OPEN";
        entry.reason = "cooldown_passed";
        this.#begin(entry, now);
        remember(entry, request.id, now, moved = true);
      }
      granted = entry.state === "HALF_OPEN" && lease(entry, request, now);
    }
    return { granted, moved, snapshot: asked(entry, now, request.shape), released };
  }

  transition(key: string, request: TransitionRequest): Changed {
    return this.#change(key, request, request.expected === null, (entry, now) => {
      const { to, expected, event } = request;
      if (expected !== null && !isSame(expected, entry)) return false;
      if (event === "closed" && entry.trials.failures >= (request.failuresBelow ?? 1)) return false;
      if (to === "OPEN") {
        entry.reopenCount = entry.state === "HALF_OPEN" ? entry.reopenCount + 1 : 0;
        entry.openedAt = now;
        entry.openUntil = now + request.cooldownMs;
        entry.cooldownMs = request.cooldownMs;
        entry.lastFailure = request.lastFailure ?? null;
      } else {
        if (entry.state !== "CLOSED") entry.closedAt = now;
        entry.reopenCount = 0;
        entry.openUntil = entry.cooldownMs = null;
        clearEvidence(entry);
      }
      entry.policy = request.policy ?? entry.policy;
      entry.state = to;
      entry.reason = request.reason;
      this.#begin(entry, now);
      return true;
    });
  }

  override(key: string, request: OverrideRequest): Changed {
    return this.#change(key, request, request.kind !== null, (entry, now) => {
      const { kind, until, reason, actor, at } = request;
      if (kind === null && entry.override === null) return false;
      const ends = until === null ? null : until - at + now;
      this.#lay(entry, kind && { kind, until: ends, reason, actor }, now);
      return true;
    });
  }

  restore(key: string, request: RestoreRequest): Changed {
    const held = this.#entries.has(key);
    return this.#change(key, request, true, (entry, now) => {
      if (held && request.existing === "keep") return false;
      const { snapshot: s, segments, outcomes } = request.record;
      const shift = (at: number | null) => at === null ? null : at + now - request.at;
      const generation = Math.max(entry.generation, s.generation) + 1;
      const kept: Partial<Snapshot> = copySnapshot(s);
      // Derived fields are not kept.
      for (const field of DERIVED) delete (kept as Record<string, unknown>)[field];
      Object.assign(entry, kept, s.totals, {
        successesSince: s.sinceClosed.successes,
        failuresSince: s.sinceClosed.failures,
        slowSince: s.sinceClosed.slow,
        epoch: this.#birth(request.id, now),
        generation,
        openedAt: shift(s.openedAt),
        openUntil: shift(s.openUntil),
        closedAt: shift(s.closedAt),
        failedAt: shift(s.lastFailureAt) ?? NaN,
        succeededAt: shift(s.lastSuccessAt) ?? NaN,
        override: s.override && { ...s.override, until: shift(s.override.until) },
        writtenBy: s.policyHash,
        segments: segments.map((one) => ({ ...one, start: shift(one.start)! })),
        segmentEnds: -Infinity,
        ring: null,
        traffic: 0,
        now,
      });
      for (const outcome of outcomes) push(entry, outcomes.length, outcome === "F");
      this.#begin(entry, now);
      entry.generation = generation;
      return true;
    });
  }

  list(request: ListRequest): ListPage {
    const now = this.#now(request);
    const after = Number(request.cursor ?? -1);
    const found: [string, Entry][] = [];
    let cursor: string | null = null;
    for (const [key, entry] of this.#entries) {
      if (entry.number <= after || request.open === true && isPlain(entry)) continue;
      if (found.length >= request.limit) {
        cursor = String(found.at(-1)![1].number);
        break;
      }
      found.push([key, entry]);
    }
    const records = found.map(([key, entry]): CircuitRecord => {
      const snapshot = this.read(key, { at: now, shape: request.shape(key) });
      // Counts made under an expired override are dropped with it.
      const { segments, ring } = snapshot.generation === entry.generation ? entry : CLEARED;
      return {
        key,
        snapshot,
        segments: segments.map((segment) => ({ ...segment })),
        outcomes: ring === null ? "" : outcomesOf(ring),
      };
    });
    return { records, cursor };
  }

  remove(key: string): boolean {
    const entry = this.#find(key);
    if (entry !== undefined) this.#drop(entry);
    return entry !== undefined;
  }

  /**
   * Returns a record to read or to change, and counts the successes that were only booked: a call writes
   * to as few fields as it can.
   */
  #find(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    const booked = entry?.booked;
    if (!booked) return entry;
    entry.booked = 0;
    entry.now = entry.succeededAt;
    entry.successes += booked;
    entry.successesSince += booked;
    entry.consecutiveSuccesses += booked;
    entry.consecutiveFailures = 0;
    entry.newest!.successes += booked;
    return entry;
  }

  #now(request: { at: number }): number {
    return this.#clock === undefined ? request.at : this.#clock();
  }

  /** Makes a change: a repeated request counts once, and an expired override is released first. */
  #change(
    key: string,
    request: StoreRequest,
    create: boolean,
    apply: (entry: Entry, now: number) => boolean,
  ): Changed {
    const now = this.#now(request);
    let entry = this.#find(key);
    let evicted: readonly string[] = NOBODY;
    if (entry === undefined) {
      if (!create) return { won: false, snapshot: absentSnapshot(now) };
      entry = this.#create(key, request, now);
      evicted = this.#evict(entry, now);
    }
    let won = recall(entry, request.id, now);
    let released: OverrideRecord | null = null;
    if (won === undefined) {
      released = this.#expire(entry, now);
      won = apply(entry, now);
      remember(entry, request.id, now, won);
    }
    return { won, snapshot: copySnapshot(asked(entry, now, request.shape)), released, evicted };
  }

  #create(key: string, request: StoreRequest, now: number): Entry {
    const entry = new Entry(key, this.#birth(request.id, now), now, request.shape);
    entry.number = this.#made++;
    entry.turn = ++this.#turns;
    this.#entries.set(key, entry);
    this.#eviction.add(entry);
    return entry;
  }

  /** With the moment: if it is repeated after a removal, the same request begins another life. */
  #birth(id: string, now: number): string {
    return id === "" ? String(++this.#births) : `${id}.${now}`;
  }

  /** The next generation. It owns no lease and no trial count. */
  #begin(entry: Entry, at: number): void {
    entry.generation++;
    entry.turn = ++this.#turns;
    entry.began = at;
    entry.trials = NO_TRIALS;
    entry.leases = entry.ended = null;
    this.#eviction.moved(entry);
  }

  #lay(entry: Entry, override: OverrideRecord | null, at: number): void {
    entry.override = override;
    clearEvidence(entry);
    this.#begin(entry, at);
  }

  #expire(entry: Entry, now: number): OverrideRecord | null {
    const { override } = entry;
    if (override === null || override.until === null || override.until > now) return null;
    // Readers have already seen that end.
    this.#lay(entry, null, override.until);
    return override;
  }

  /** Makes room for a new record, as far as records may be evicted. */
  #evict(fresh: Entry, now: number): string[] {
    const evicted: string[] = [];
    while (this.#entries.size > this.#max) {
      const victim = this.#eviction.victim(this.#entries, fresh, now);
      if (victim === null) break;
      this.#drop(victim);
      evicted.push(victim.key);
    }
    return evicted;
  }

  #drop(entry: Entry): void {
    this.#entries.delete(entry.key);
    this.#eviction.delete(entry);
    // A holder of the live record sees that it is gone, and can book nothing on it.
    entry.writtenBy = "";
    entry.state = "CLOSED";
    entry.override = null;
    entry.epoch = "";
    entry.generation = entry.turn = entry.began = 0;
  }
}
