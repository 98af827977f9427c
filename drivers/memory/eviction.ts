/**
 * Which record of a full memory store has to go.
 *
 * @module
 */

import { asked, type Entry } from "./record.ts";

/**
 * Knows in which order records may go: of the closed ones without override the least recently used;
 * where none is left, of the others the one whose cooldown passed longest ago.
 */
export class Eviction {
  /** Counts the writes; a record remembers its last. */
  #uses = 0;
  /** Circuits that are evicted first. */
  readonly #closed = new Set<Entry>();
  /** Those of them that were least used when it was last looked, the least last. */
  #unused: { readonly entry: Entry; readonly used: number }[] = [];
  /** Circuits that are kept while any other can be evicted. */
  readonly #kept = new Set<Entry>();
  /** Those of them whose cooldown has passed, as last looked for; the longest ago last. */
  #passed: Entry[] = [];
  /** No other one's passes before. */
  #nextPassed = -Infinity;
  /** No override of those runs out before. */
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
    this.#rank(entry, entry.state === "CLOSED" && entry.override === null);
    this.#expect(entry);
  }

  /** A trial gave its slot back: a record may go earlier than was thought. */
  freed(): void {
    this.#nextPassed = -Infinity;
  }

  /** A record is gone. */
  delete(entry: Entry): void {
    this.#closed.delete(entry);
    this.#kept.delete(entry);
  }

  /** The one to go for a new record; `null`: none may. */
  victim(fresh: Entry, now: number): Entry | null {
    this.#relist(now);
    return this.#leastUsed(fresh) ?? this.#longestPassed(now);
  }

  /**
   * Of the closed ones, the least recently used. Looked for all at once, so that a call need not
   * keep them in order: what is used after that comes after these.
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

  /** Of the open ones, the one whose cooldown passed longest ago. */
  #longestPassed(now: number): Entry | null {
    let entry = this.#passed.pop();
    while (entry !== undefined && !(this.#kept.has(entry) && mayGoAt(entry, now) <= now)) {
      entry = this.#passed.pop();
    }
    if (entry === undefined && now >= this.#nextPassed) {
      // Looked for all at once: what passes later than these comes after them.
      this.#nextPassed = Infinity;
      for (const entry of this.#kept) {
        const at = mayGoAt(entry, now);
        if (at <= now) this.#passed.push(entry);
        else this.#nextPassed = Math.min(this.#nextPassed, at);
      }
      this.#passed.sort((a, b) => b.openUntil! - a.openUntil!);
      entry = this.#passed.pop();
    }
    return entry ?? null;
  }

  /** An override that has run out keeps no closed circuit, though nobody has written since. */
  #relist(now: number): void {
    if (now < this.#overrideEnds) return;
    this.#overrideEnds = Infinity;
    for (const entry of this.#kept) {
      if (entry.state === "CLOSED" && !isOverridden(entry, now)) {
        this.#rank(entry, true);
      } else this.#expect(entry);
    }
  }

  #expect({ override, openUntil }: Entry): void {
    this.#overrideEnds = Math.min(this.#overrideEnds, override?.until ?? Infinity);
    this.#nextPassed = Math.min(this.#nextPassed, openUntil ?? Infinity);
  }

  #rank(entry: Entry, evictable: boolean): void {
    (evictable ? this.#kept : this.#closed).delete(entry);
    (evictable ? this.#closed : this.#kept).add(entry);
  }
}

function isOverridden({ override }: Entry, now: number): boolean {
  return override !== null && (override.until === null || override.until > now);
}

/** When a record that is not closed may go: its cooldown over, no trial out, no override. */
function mayGoAt(entry: Entry, now: number): number {
  if (isOverridden(entry, now)) return entry.override!.until ?? Infinity;
  const passes = entry.openUntil ?? Infinity;
  if (!entry.leases?.size) return passes;
  return Math.max(passes, asked(entry, now, entry.shape).halfOpen.freeAt ?? passes);
}
