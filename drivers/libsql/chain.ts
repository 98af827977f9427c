/**
 * The hash chain of the trail: what a row is hashed over, and what has to be known of a circuit to
 * do so before a batch is sent. SQL has no SHA-256.
 *
 * The transition and operator rows of a key are one chain, over all its lives. A row is hashed by
 * whoever asks for the change, from what the last answer said of the circuit; the batch appends it
 * only if epoch, generation and head are still those, and else changes nothing.
 *
 * @module
 */

import type { AuditEventName, Tally } from "../../src/contract.ts";
import type { Row } from "./rows.ts";
import type { Values } from "./statements.ts";

/** A row of the chain, as far as it is hashed. */
export interface Link {
  readonly key: string;
  readonly circuit: number;
  readonly epoch: string;
  readonly generation: number;
  readonly event: string;
  /** On the store's clock, in ms. */
  readonly at: number;
  /** As the database has it, to the letter. */
  readonly metadata: string | null;
}

/** Where a chain stands: the hash, the place and the id of a row. */
export interface Head {
  readonly hash: string;
  readonly sequence: number;
  /** `null`: appended in the same batch as the row after it, which then has the next id. */
  readonly id: number | null;
}

/** Before the first row. */
export const GENESIS: Head = { hash: "", sequence: 0, id: 0 };

/** SHA-256 or, under a key, HMAC-SHA-256, in hex. */
export type Digest = (text: string) => Promise<string>;

/** Makes a {@linkcode Digest}. The key is imported once for each unit of work. */
export async function makeDigest(trailKey: string | undefined): Promise<Digest> {
  const { subtle } = crypto;
  const bytes = (text: string) => new TextEncoder().encode(text);
  if (trailKey === undefined) {
    return async (text) => hex(await subtle.digest("SHA-256", bytes(text)));
  }
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await subtle.importKey("raw", bytes(trailKey), algorithm, false, ["sign"]);
  return async (text) => hex(await subtle.sign("HMAC", key, bytes(text)));
}

/** The hash of a row that follows `before`. */
export function linkHash(digest: Digest, link: Link, before: Head): Promise<string> {
  const { key, circuit, epoch, generation, event, at, metadata } = link;
  return digest(JSON.stringify([
    ...["fuse trail 1", before.hash, before.id, before.sequence + 1],
    ...[key, circuit, epoch, generation, event, at, metadata],
  ]));
}

/** What keeps the place authentic up to which a chain was pruned. */
export function anchorSeal(digest: Digest, key: string, anchor: Head): Promise<string> {
  return digest(
    JSON.stringify(["fuse trail anchor 1", key, anchor.sequence, anchor.id, anchor.hash]),
  );
}

function hex(buffer: ArrayBuffer): string {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What the last answer said of a circuit, and when it was heard, on this isolate's clock. */
export interface Known {
  readonly row: Row;
  readonly heardAt: number;
}

/** Of so many circuits the last answer is kept. */
const REMEMBERED = 500;

/** One record in so many also purges what its circuit has had its time of. */
const PURGE_EVERY = 16;

/** The last answers, those heard last at the end. Values only. */
export class Answers {
  readonly #known = new Map<string, Known>();
  /** Records since a purge. */
  readonly #records = new Map<string, number>();

  get(key: string): Known | undefined {
    return this.#known.get(key);
  }

  /** Takes an answer over: the last one counts, for a database may go back, to a backup. */
  learn(key: string, row: Row): void {
    this.#known.delete(key);
    this.#known.set(key, heard(row));
    if (this.#known.size > REMEMBERED) this.forget(this.#known.keys().next().value!);
  }

  forget(key: string): void {
    this.#known.delete(key);
  }

  /**
   * Counts a record, and answers whether it is to purge: the first of a circuit, for an isolate may
   * not live to see another, and then one in so many. Counted for each circuit, as each is purged by itself: with a
   * common count, of circuits that take turns some would never be.
   */
  purges(key: string): boolean {
    const records = this.#records.get(key) ?? 0;
    this.#records.delete(key);
    this.#records.set(key, (records + 1) % PURGE_EVERY);
    if (this.#records.size > REMEMBERED) this.#records.delete(this.#records.keys().next().value!);
    return records === 0;
  }
}

/** An answer, as it comes in. */
export function heard(row: Row): Known {
  return { row, heardAt: Date.now() };
}

/** The row that tells of a change. */
export interface Telling {
  readonly event: AuditEventName;
  /** The state afterwards; left out: the same as before. */
  readonly to?: string;
  /** The life afterwards; left out: the same as before. */
  readonly epoch?: (at: number) => string;
  /** The generation afterwards; left out: the next one. */
  readonly generation?: (next: number) => number;
  readonly reason: string | null;
  readonly actor: string | null;
  /** What else there is to say. */
  readonly more?: (row: Row, at: number) => Record<string, unknown>;
}

/** How far a row's time may be off the database's clock, in ms. */
const SLACK_MS = 10_000;

/** The store's clock now: the one that was given, or what the last answer said of it. */
export function timeOf({ row, heardAt }: Known, now: number | undefined): number {
  return Math.round(now ?? row.now + Math.max(0, Date.now() - heardAt));
}

/** Whether an override has run out. */
export function hasExpired({ override_until: until }: Row, now: number): boolean {
  return until !== null && until !== undefined && until as number <= now;
}

/** Whether an OPEN circuit is to go half-open. */
export function isDue(row: Row, now: number, maxCooldownMs: number): boolean {
  const until = row.open_until as number | null;
  return row.state === "OPEN" && (row.override === null || hasExpired(row, now)) &&
    (until === null || until <= now || until - now > maxCooldownMs);
}

/** Rows to append, hashed: what statements are bound to, and which of them there are. */
export interface Sealed {
  readonly values: Values;
  /** Rows of edits by hand are taken into the chain first. */
  readonly edits: boolean;
  /** An override that has run out is released first. */
  readonly expired: boolean;
}

/**
 * Hashes the rows of a change, upon what is known: those of edits that wait to be sealed, the end of
 * an override that has run out, and the one that tells of the change itself.
 */
export async function seal(
  digest: Digest,
  key: string,
  known: Known,
  now: number | undefined,
  isolate: string,
  telling: Telling | null,
): Promise<Sealed> {
  const { row } = known;
  const time = timeOf(known, now);
  // Not before the row that it follows, unless a clock has gone back by much.
  const lastAt = row.last_at as number | null ?? 0;
  const at = lastAt > time && lastAt - time <= SLACK_MS / 2 ? lastAt : time;
  const { head: sealedHead, values: edits } = await sealEdits(digest, key, row);
  let head = sealedHead;
  const [from, epoch] = [String(row.state), String(row.epoch)];
  const link = { key, circuit: row.id!, at };
  let generation = row.generation as number;
  const values: Record<string, string | number | null> = {
    ...{ sealed: 1, sealEpoch: epoch, sealGeneration: generation, stamp: at, slackMs: SLACK_MS },
    ...{ sealSequence: headOf(row).sequence, ...edits },
  };

  const expired = hasExpired(row, time);
  values.sealExpired = expired ? 1 : 0;
  if (expired) {
    generation++;
    const metadata = jsonOf({
      ...{ from, to: from, generation, reason: "expired", actor: null, kind: row.override },
      ...{ counters: countersOf(row), isolate },
    });
    head = await follow({ ...link, epoch, generation, event: "released", metadata }, head);
    Object.assign(values, {
      ...{ released: metadata, releasedSequence: head.sequence, releasedHash: head.hash },
      releasedGeneration: generation,
    });
  }

  if (telling !== null) {
    const { event, to = from, reason, actor, more } = telling;
    generation = (telling.generation ?? ((next: number) => next))(generation + 1);
    const metadata = jsonOf({
      ...{ from, to, generation, reason, actor, ...more?.(row, at) },
      ...{ counters: countersOf(row), isolate },
    });
    const told = { ...link, epoch: telling.epoch?.(at) ?? epoch, generation, event, metadata };
    head = await follow(told, head);
    Object.assign(values, {
      ...{ event, told: metadata, toldEpoch: told.epoch, toldGeneration: generation },
      ...{ toldSequence: head.sequence, toldHash: head.hash },
    });
  }
  return { values, edits: edits.editCount > 0, expired };

  async function follow(next: Link, before: Head): Promise<Head> {
    const hash = await linkHash(digest, next, before);
    return { hash, sequence: before.sequence + 1, id: null };
  }
}

/** Hashes rows of edits by hand: those that an answer has. */
export async function sealEdits(digest: Digest, key: string, row: Row) {
  const before = headOf(row);
  let head = before;
  let at = row.last_at as number | null ?? 0;
  const edits: [number, number, string][] = [];
  for (const edit of editsOf(row)) {
    const hash = await linkHash(digest, { ...edit, key }, head);
    head = { hash, sequence: head.sequence + 1, id: edit.id };
    at = edit.at;
    edits.push([edit.id, head.sequence, hash]);
  }
  const values = {
    ...{ edits: JSON.stringify(edits), editCount: edits.length, editAt: at },
    ...{ editHead: head.hash, editSequence: head.sequence, editId: head.id },
    sealTrail: `${before.hash} ${row.unsealed ?? 0}`,
  };
  return { head, values };
}

/** Where the chain stands, by an answer. */
export function headOf(row: Row): Head {
  if (typeof row.head !== "string") return GENESIS;
  return { hash: row.head, sequence: row.sequence as number, id: row.last_id as number };
}

/** Rows of edits by hand that are not in the chain yet, oldest first; no more than were counted. */
export function editsOf({ edits, unsealed }: Row): (Omit<Link, "key"> & { readonly id: number })[] {
  const rows = edits as
    | [number, number, string, number, string, number, string | null][]
    | null
    | undefined;
  return (rows ?? [])
    .map(([id, circuit, epoch, generation, event, at, metadata]) => (
      { id, circuit, epoch, generation, event, at, metadata }
    ))
    .sort((a, b) => a.id - b.id)
    .slice(0, Math.max(0, unsealed as number));
}

/** What was counted, as far as the isolate that decided had heard. */
function countersOf(row: Row): Record<string, unknown> {
  const trials = row.state === "HALF_OPEN"
    ? { trialSuccesses: row.half_open_successes, trialFailures: row.half_open_failures }
    : {};
  return {
    consecutiveFailures: row.consecutive_failures,
    consecutiveSuccesses: row.consecutive_successes,
    failures: row.failure_count,
    successes: row.success_count,
    slow: row.slow_count,
    totalFailures: row.total_failures,
    totalSuccesses: row.total_successes,
    totalRejected: row.total_rejected,
    totalSlow: row.total_slow,
    ...trials,
  };
}

/** Which calls of a tally were slow, as JSON; of a caller that does not say, only if all were. */
export function slowCallsOf({ slowCalls, slow, successes, failures }: Tally): string {
  const all = slow > 0 && slow === successes + failures;
  return JSON.stringify(slowCalls ?? (all ? Array.from({ length: slow }, (_, i) => i) : []));
}

/**
 * JSON without half characters. A lone surrogate would be stored as text that is no UTF-8, once SQL
 * takes the JSON apart: a server cannot send that, and a local client cannot read it.
 */
export function jsonOf(value: unknown): string {
  return JSON.stringify(value, (_, one) => typeof one === "string" ? one.toWellFormed() : one);
}

/** Of the text of an error, in characters. */
const MAX_TEXT = 1_000;

/** What the row of a failed call says of its error. */
export function redacted(
  redact: ((error: unknown) => string | undefined) | undefined,
  error: unknown,
): string | undefined {
  try {
    const text: unknown = redact?.(error);
    // The cut may go through a character.
    return typeof text === "string" ? text.slice(0, MAX_TEXT).toWellFormed() : undefined;
  } catch {
    // What it threw may hold what it was to keep back.
    return undefined;
  }
}
