/**
 * Keeps the last answer about each circuit in the isolate's memory. Values only.
 *
 * @module
 */

import { cooldownPassed } from "../../src/rules/machine.ts";
import type { Row } from "./rows.ts";

/** An answer, and when it came in on this isolate's clock. */
export interface Known {
  readonly row: Row;
  readonly heardAt: number;
}

/** The number of circuits whose last answer is kept. */
const REMEMBERED = 500;

/** Every 16th record also purges. */
const PURGE_EVERY = 16;

/** The last answer about each circuit, the latest at the end. */
export class Answers {
  readonly #known = new Map<string, Known>();
  /** Records since the last purge, by circuit. */
  readonly #records = new Map<string, number>();

  /** Returns the last answer about a circuit. */
  get(key: string): Known | undefined {
    return this.#known.get(key);
  }

  /** Keeps an answer. The last one counts: a database may go back, to a backup. */
  learn(key: string, row: Row): void {
    this.#known.delete(key);
    this.#known.set(key, heard(row));
    if (this.#known.size > REMEMBERED) this.forget(this.#known.keys().next().value!);
  }

  /** Drops the last answer about a circuit. */
  forget(key: string): void {
    this.#known.delete(key);
  }

  /**
   * Counts a record of a circuit, and returns whether it purges: the first record does, since an
   * isolate may not live to see another, and then one in 16. Each circuit has its own count,
   * because with a common one some of several alternating circuits would never be purged.
   */
  purges(key: string): boolean {
    const records = this.#records.get(key) ?? 0;
    this.#records.delete(key);
    this.#records.set(key, (records + 1) % PURGE_EVERY);
    if (this.#records.size > REMEMBERED) this.#records.delete(this.#records.keys().next().value!);
    return records === 0;
  }
}

/** Returns an answer that has just come in. */
export function heard(row: Row): Known {
  return { row, heardAt: Date.now() };
}

/** Returns the time on the store's clock: `now` if it is given, else estimated from an answer. */
export function timeOf({ row, heardAt }: Known, now: number | undefined): number {
  return Math.round(now ?? row.now + Math.max(0, Date.now() - heardAt));
}

/** Returns `true` if the override has run out. */
export function hasExpired({ override, override_until: until }: Row, now: number): boolean {
  return override != null && until != null && until as number <= now;
}

/** Returns `true` if an OPEN circuit is due to become half-open. */
export function isDue(row: Row, now: number): boolean {
  const openUntil = row.open_until as number | null;
  const cooldownMs = row.cooldown_ms as number | null;
  return row.state === "OPEN" && (row.override === null || hasExpired(row, now)) &&
    cooldownPassed({ openUntil, cooldownMs }, now);
}
