/**
 * Selects the record that a full memory store evicts.
 *
 * @module
 */

import { isPlain } from "../../src/records.ts";
import { asked, type Entry } from "./record.ts";

/**
 * Orders records for eviction: first the least recently used closed one without an override; if
 * there is none, the one whose cooldown passed longest ago.
 */
export class Eviction {
  /** Counts the writes; a record remembers its last one. */
  #uses = 0;
  /** Circuits that are evicted first. */
  readonly #closed = new Set<Entry>();
  /** The least recently used of them at the last search, the least last. */
  #unused: { readonly entry: Entry; readonly used: number }[] = [];
  /** The others whose cooldown had passed at the last search; the longest ago last. */
  #passed: Entry[] = [];
  /** The earliest end of a cooldown among the others. */
  #nextPassed = -Infinity;
  /** The earliest end of an override among those. */
  #overrideEnds = Infinity;

  /** A new record, closed. */
  add(entry: Entry): void {
    this.use(entry);
    this.#closed.add(entry);
  }

  /** A record is written to. */
  use(entry: Entry): void {
    entry.used = ++this.#uses;
  }

  /** Its state or its override has changed. */
  moved(entry: Entry): void {
    this.use(entry);
    if (isPlain(entry)) this.#closed.add(entry);
    else this.#closed.delete(entry);
    this.#expect(entry);
  }

  /** A trial returned its slot: the record may be evicted earlier than computed. */
  freed(): void {
    this.#nextPassed = -Infinity;
  }

  /** A record is gone. */
  delete(entry: Entry): void {
    this.#closed.delete(entry);
  }

  /** The circuit among `all` to evict to make room, or `null` if none can be evicted. */
  victim(all: ReadonlyMap<string, Entry>, fresh: Entry, now: number): Entry | null {
    this.#relist(all, now);
    return this.#leastUsed(fresh) ?? this.#longestPassed(all, now);
  }

  /**
   * Returns the least recently used of the closed ones. Searched for all at once, so that a call
   * need not keep them in order: circuits used later come after these.
   */
  #leastUsed(fresh: Entry): Entry | null {
    for (const again of [true, false]) {
      let next = this.#unused.pop();
      while (next !== undefined) {
        const { entry, used } = next;
        if (entry.used === used && entry !== fresh && this.#closed.has(entry)) return entry;
        next = this.#unused.pop();
      }
      if (!again || this.#closed.size === 1) return null;
      this.#unused = [...this.#closed].map((entry) => ({ entry, used: entry.used }));
      this.#unused.sort((a, b) => b.used - a.used);
    }
    return null;
  }

  /** Returns the open circuit whose cooldown passed longest ago. */
  #longestPassed(all: ReadonlyMap<string, Entry>, now: number): Entry | null {
    let entry = this.#passed.pop();
    while (entry !== undefined && (isPlain(entry) || mayGoAt(entry, now) > now)) {
      entry = this.#passed.pop();
    }
    if (entry === undefined && now >= this.#nextPassed) {
      // Searched for all at once: cooldowns that pass later come after these.
      this.#nextPassed = Infinity;
      for (const entry of all.values()) {
        if (this.#closed.has(entry)) continue;
        const at = mayGoAt(entry, now);
        if (at <= now) this.#passed.push(entry);
        else this.#nextPassed = Math.min(this.#nextPassed, at);
      }
      this.#passed.sort((a, b) => b.openUntil! - a.openUntil!);
      entry = this.#passed.pop();
    }
    return entry ?? null;
  }

  /** An expired override keeps no closed circuit, though no write has followed. */
  #relist(all: ReadonlyMap<string, Entry>, now: number): void {
    if (now < this.#overrideEnds) return;
    this.#overrideEnds = Infinity;
    for (const entry of all.values()) {
      if (entry.state === "CLOSED" && !isOverridden(entry, now)) this.#closed.add(entry);
      else this.#expect(entry);
    }
  }

  #expect({ override, openUntil }: Entry): void {
    this.#overrideEnds = Math.min(this.#overrideEnds, override?.until ?? Infinity);
    this.#nextPassed = Math.min(this.#nextPassed, openUntil ?? Infinity);
  }
}

function isOverridden({ override }: Entry, now: number): boolean {
  return override !== null && (override.until === null || override.until > now);
}

/**
 * Returns when a record that is not closed may be evicted: its cooldown over, no running trial, no
 * override.
 */
function mayGoAt(entry: Entry, now: number): number {
  if (isOverridden(entry, now)) return entry.override!.until ?? Infinity;
  const passes = entry.openUntil ?? Infinity;
  if (!entry.leases?.size) return passes;
  return Math.max(passes, asked(entry, now, entry.shape).halfOpen.freeAt ?? passes);
}
