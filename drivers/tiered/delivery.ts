/**
 * Delivers rows to a trail that may be unreachable: the undelivered rows, the time of the next
 * attempt, and the reports. Holds values only. A running delivery is marked by a moment, which
 * expires.
 *
 * @module
 */

import type { Driver, Trouble, UntoldRow } from "../../src/contract.ts";
import { isStoreAnswerError } from "../../src/errors.ts";
import { inOrder, OUTBOX_LENGTH } from "../../src/records.ts";
import { isUnderWay } from "../../src/shared/deadline.ts";
import { APPEND, type TrailAppender } from "../libsql/append.ts";
import { Backoffs } from "./backoffs.ts";
import { withAfter } from "./rows.ts";

/** How long a change is left to the isolate that made it, in ms. */
export const GRACE_MS = 1_000;

/** How many circuits may have rows under way at once, and how many others one operation delivers. */
const MOST_AT_ONCE = 8;
const MOST_IN_TURN = 4;
/** How many circuits are remembered that are owed rows. */
const MOST_OWED = 500;

/** How many delivered rows are remembered. */
const MOST_TOLD = 1_000;

/** The deliveries of one tiered store. */
export class Delivery {
  readonly #state: Driver;
  readonly #audit: TrailAppender;
  readonly #timeoutMs: number;
  /** The circuits with undelivered rows, and those rows that only this isolate remembers. */
  readonly #owed = new Map<string, readonly UntoldRow[]>();
  /** The circuits whose rows are under way, and until when. */
  readonly #busy = new Map<string, number>();
  /** The rows delivered lately, and when. An answer from before may still show them. */
  readonly #told = new Map<string, number>();
  #troubles: Trouble[] = [];
  readonly #backoffs: Backoffs;
  #losing = false;
  /** The latest time of the caller's clock. */
  #at = 0;

  constructor(state: Driver, audit: TrailAppender, timeoutMs: number) {
    this.#state = state;
    this.#audit = audit;
    this.#timeoutMs = timeoutMs;
    this.#backoffs = new Backoffs(timeoutMs, MOST_OWED);
  }

  /** Returns `true` during a back-off of the trail: for a circuit, or for all if none is named. */
  down(at: number, key?: string): boolean {
    this.#at = at;
    return this.#backoffs.down(at, key);
  }

  /** `true` if rows wait to be delivered. */
  get owes(): boolean {
    return this.#owed.size > 0;
  }

  /** Returns what there is to report since the last call. */
  takeTroubles(): readonly Trouble[] {
    const troubles = this.#troubles;
    if (troubles.length > 0) this.#troubles = [];
    return troubles;
  }

  /** Returns those of the rows that were not delivered just now. */
  untold(key: string, rows: readonly UntoldRow[], at: number): readonly UntoldRow[] {
    return rows.filter((row) => {
      const told = this.#told.get(idOf(key, row));
      return told === undefined || !(at >= told && at - told < GRACE_MS);
    });
  }

  /** Remembers a circuit, and rows that no other store or isolate has. */
  owe(key: string, rows: readonly UntoldRow[]): void {
    this.#owed.set(key, this.#bounded(this.#owed.get(key) ?? [], rows));
    if (this.#owed.size <= MOST_OWED) return;
    const [[oldest, lost]] = this.#owed as unknown as [[string, readonly UntoldRow[]]];
    this.#owed.delete(oldest);
    this.#backoffs.forget(oldest);
    if (lost.length > 0) this.#lose();
  }

  /**
   * Delivers the rows of a circuit, and of a few others. Waits for as long as the trail may take, and
   * never rejects. If the operation has taken that long by itself, the rows wait: the operation must
   * not fail because of them.
   *
   * @param key The circuit to begin with, or `null` for any.
   * @param fresh The content of the circuit's outbox, as an answer has just shown it.
   * @param began When the operation began, by `performance.now()`.
   * @returns The newest hash of that circuit, if the trail answered in time.
   */
  async deliver(
    key: string | null,
    fresh: readonly UntoldRow[],
    at: number,
    began: number = performance.now(),
  ): Promise<string | undefined> {
    if (key !== null) this.owe(key, []);
    const patienceMs = this.#timeoutMs - (performance.now() - began);
    if (this.down(at) || patienceMs <= 0) return undefined;
    for (const [busy, until] of this.#busy) {
      if (!isUnderWay(until, at, this.#timeoutMs)) this.#busy.delete(busy);
    }
    const first = key !== null && !this.#backoffs.down(at, key) ? key : this.#next(at, 1)[0];
    if (first === undefined || this.#busy.has(first)) return undefined;
    if (this.#busy.size >= MOST_AT_ONCE) return undefined;
    const probing = this.#backoffs.probe(at);
    const attempt: Attempt = { at, first, probing, asking: false, late: false, head: undefined };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const deadline = new Promise<void>((resolve) => timer = setTimeout(resolve, patienceMs));
    await Promise.race([this.#work(fresh, attempt), deadline]);
    clearTimeout(timer);
    attempt.late = true;
    // A delivery that had little time left says nothing about the trail.
    if (attempt.asking && patienceMs >= this.#timeoutMs / 2) {
      const error = new Error(`The trail gave no answer within ${this.#timeoutMs} ms`);
      this.#failed(first, attempt, error, true);
    }
    return first === key ? attempt.head : undefined;
  }

  /** Returns some circuits whose rows can be delivered now: first those that have not failed. */
  #next(at: number, most: number): string[] {
    const ready = [...this.#owed.keys()].filter((key) =>
      !this.#busy.has(key) && !this.#backoffs.down(at, key)
    );
    const failed = (key: string) => Number(this.#backoffs.hasFailed(key));
    return ready.sort((a, b) => failed(a) - failed(b)).slice(0, most);
  }

  /** Delivers all rows, circuit by circuit, except during a back-off. */
  async deliverAll(at: number): Promise<void> {
    for (const key of [...this.#owed.keys()]) {
      if (this.#owed.has(key)) await this.deliver(key, [], at);
    }
  }

  /** Delivers the outbox of a circuit that is about to be removed, or else keeps its rows here. */
  async rescue(key: string): Promise<void> {
    const began = performance.now();
    if (this.#state.confirm !== undefined) {
      const rows = this.untold(key, await this.#outboxOf(key, this.#at), this.#at);
      if (rows.length > 0) this.owe(key, rows);
    }
    if (this.#owed.has(key)) await this.deliver(key, [], this.#at, began);
  }

  /** Delivers the rows of the first circuit, and of a few others. Never rejects. */
  async #work(fresh: readonly UntoldRow[], attempt: Attempt): Promise<void> {
    await this.#deliverOne(attempt.first, fresh, attempt);
    for (const key of this.#next(attempt.at, MOST_IN_TURN)) {
      if (attempt.late || this.#backoffs.down(attempt.at)) return;
      if (!this.#busy.has(key)) await this.#deliverOne(key, [], attempt);
    }
  }

  /** Delivers the rows of one circuit. */
  async #deliverOne(
    key: string,
    fresh: readonly UntoldRow[],
    attempt: Attempt,
  ): Promise<void> {
    this.#busy.set(key, attempt.at + this.#timeoutMs);
    try {
      let held: readonly UntoldRow[] | null = fresh.length > 0 ? fresh : null;
      for (;;) {
        const kept = this.#owed.get(key);
        if (kept === undefined) return;
        if (!await this.#tell(key, kept, held, attempt)) return;
        // If the circuit has changed meanwhile, its new rows are left to this delivery.
        if (this.#owed.get(key) === kept) this.#owed.delete(key);
        held = null;
      }
    } finally {
      this.#busy.delete(key);
    }
  }

  /** Appends the rows that are kept here and those of the outbox to the trail. Reads the outbox if needed. */
  async #tell(
    key: string,
    kept: readonly UntoldRow[],
    held: readonly UntoldRow[] | null,
    attempt: Attempt,
  ): Promise<boolean> {
    const { at, first } = attempt;
    let rows: readonly UntoldRow[];
    try {
      rows = this.untold(key, merged(held ?? await this.#outboxOf(key, at), kept), at);
    } catch {
      // The guard of the state store reports that.
      return false;
    }
    if (rows.length === 0) {
      // Another isolate has delivered the rows that this one could not.
      this.#answered(this.#backoffs.settled(at, key));
      return true;
    }
    const probing = this.#backoffs.probe(at, key) || attempt.probing;
    try {
      attempt.asking = key === first;
      const { appended, heads } = await this.#audit[APPEND](
        rows.map((row) => ({ ...row, key, metadata: { ...row.metadata } })),
      );
      if (key === first) attempt.head = heads[key];
      if (appended > 0) this.#tellMissed(rows);
    } catch (error) {
      const isWide = isStoreAnswerError(error) && error.scope === "store";
      if (!attempt.late) this.#failed(key, { at, probing }, error as Error, isWide);
      return false;
    } finally {
      attempt.asking = false;
    }
    this.#remember(key, rows, at);
    if (!attempt.late) this.#answered(this.#backoffs.answered(at, key));
    try {
      await this.#state.confirm?.(key, rows);
    } catch {
      // The rows are delivered once more, and skipped then.
    }
    return true;
  }

  async #outboxOf(key: string, at: number): Promise<readonly UntoldRow[]> {
    if (this.#state.confirm === undefined) return [];
    const shape = { windowMs: 1, windowSize: 0 };
    const { untold = [], ...snapshot } = await this.#state.read(key, { at, shape, outbox: "hand" });
    return withAfter(untold, snapshot);
  }

  #remember(key: string, rows: readonly UntoldRow[], at: number): void {
    for (const row of rows) this.#told.set(idOf(key, row), at);
    for (const id of this.#told.keys()) {
      if (this.#told.size <= MOST_TOLD) break;
      this.#told.delete(id);
    }
  }

  /** Reports the end of an outage. */
  #answered(recovered: boolean): void {
    if (!recovered) return;
    this.#losing = false;
    this.#report(null, 0);
  }

  #failed(
    key: string,
    { at, probing }: Pick<Attempt, "at" | "probing">,
    error: Error,
    isWide: boolean,
  ): void {
    const begins = !this.#backoffs.failing;
    const leftMs = this.#backoffs.failed(at, key, { probing, isWide });
    // Once for each outage: later failures are the same.
    if (begins) this.#report(error, Math.ceil(leftMs));
  }

  /** Joins rows, and drops the oldest beyond the length of an outbox. */
  #bounded(held: readonly UntoldRow[], rows: readonly UntoldRow[]): readonly UntoldRow[] {
    const all = merged(held, rows);
    while (all.length > OUTBOX_LENGTH) {
      const [gone, next] = all.splice(0, 2) as [UntoldRow, UntoldRow];
      const missed = missedBefore(gone) + missedBefore(next) + 1;
      all.unshift({ ...next, metadata: { ...next.metadata, missed } });
      this.#lose();
    }
    return all;
  }

  /** Reports once an outage that rows are lost for good. */
  #lose(): void {
    if (this.#losing) return;
    this.#losing = true;
    const lost = "The trail was unreachable for too long: changes are dropped, oldest first";
    this.#report(new Error(lost), Math.max(0, this.#backoffs.leftMs(this.#at)));
  }

  #tellMissed(rows: readonly UntoldRow[]): void {
    const missed = rows.reduce((sum, row) => sum + missedBefore(row), 0);
    if (missed === 0) return;
    this.#report(new Error(`The trail lacks ${missed} changes: the outbox was full`), 0);
  }

  #report(error: Error | null, retryAfterMs: number): void {
    this.#troubles.push({ operation: "audit", error, retryAfterMs });
    // If nobody has read the reports for long, the last ones matter.
    if (this.#troubles.length > 16) this.#troubles.shift();
  }
}

/** A delivery with a waiting caller. */
interface Attempt {
  /** When the delivery began, on the caller's clock. */
  readonly at: number;
  /** The circuit to begin with. */
  readonly first: string;
  /** `true` if the delivery probes whether the trail is back. */
  readonly probing: boolean;
  /** `true` while a request to the trail is under way for that circuit. */
  asking: boolean;
  /** `true` once the time is up, and the caller no longer waits. */
  late: boolean;
  head: string | undefined;
}

function idOf(key: string, { epoch, generation, began }: UntoldRow): string {
  return `${generation} ${began} ${key} ${epoch}`;
}

function missedBefore({ metadata }: UntoldRow): number {
  return Number(metadata.missed ?? 0);
}

/** Returns all rows, each once, in the order of the changes. */
function merged(some: readonly UntoldRow[], others: readonly UntoldRow[]): UntoldRow[] {
  if (others.length === 0) return [...some];
  const rows = new Map([...some, ...others].map((row) => [idOf("", row), row]));
  return inOrder(rows.values());
}
