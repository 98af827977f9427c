/**
 * Two stores as one: decisions in the first, the trail in the second.
 *
 * @module
 */

import type {
  Acquired,
  AcquireRequest,
  Answer,
  Awaitable,
  Changed,
  CircuitEvent,
  CircuitRecord,
  Driver,
  EventQuery,
  ListPage,
  ListRequest,
  OutboxRequest,
  OverrideRequest,
  ReadRequest,
  Recorded,
  RemoveRequest,
  RestoreRequest,
  Shape,
  Snapshot,
  Store,
  StoreRequest,
  StoreTraits,
  Tally,
  TransitionRequest,
  Trouble,
  UntoldRow,
} from "../src/contract.ts";
import { eventsOf } from "../src/history.ts";
import { check, known, MAX_TIMER_MS, refuseUnseen } from "../src/checks.ts";
import { CIRCUITS, type OpeningStore, openingStore } from "../src/circuit.ts";
import { type KeepsTrails, TRAILS, type Trails } from "../src/cursors.ts";
import { absentSnapshot, copySnapshot, newId, together } from "../src/records.ts";
import { isNonsense } from "../src/rules/stored_fields.ts";
import { SHARED } from "../src/shared/kind.ts";
import { APPEND, type TrailAppender } from "./libsql/append.ts";
import type { LibsqlStore } from "./libsql/options.ts";
import type { PruneOptions, PruneResult } from "./libsql/prune.ts";
import type { TrailProof, VerifyOptions } from "./libsql/verify.ts";
import { Delivery, GRACE_MS } from "./tiered/delivery.ts";
import { changeRow, halfOpenRow, releaseRow, removedRow, withAfter } from "./tiered/rows.ts";

/** Options of {@linkcode tiered}. */
export interface TieredOptions {
  /** The store that decides: `upstash(…)`. */
  state: Store;
  /** The store that keeps the trail: `libsql(…)`. Its `audit: "calls"` has no effect here. */
  audit: LibsqlStore;
  /**
   * How long after its beginning an operation that changed something stops waiting for the trail, in
   * ms. An operation for which `state` took longer does not wait at all. The operation succeeds
   * either way, and the row follows later. A positive integer below the `storeTimeoutMs` of the Fuse,
   * which is for both stores together: the difference is what `state` may take beyond this without
   * failing.
   *
   * @default {250}
   */
  auditTimeoutMs?: number | undefined;
}

/**
 * Keeps circuits in one store and their trail in another: decisions as fast as Redis, and exactly
 * one row in libSQL for every transition and operator action.
 *
 * Up to 64 changes wait in the circuit's own record in Redis until the trail has confirmed them. If
 * an isolate dies, the next one that uses the circuit delivers them. Over a `state` other than
 * `upstash()` and `redis()`, they wait in this isolate, and are lost with it. If the database fails,
 * calls still run: `store_error` with the operation `audit` reports it, and `store_recovered` its end.
 *
 * Cost: that of `state`. A change costs one more request to the database (two, if this isolate has
 * not written about the circuit before), and one to Redis, of two commands.
 *
 * @param options See {@linkcode TieredOptions}.
 * @returns A store for `createFuse({ stores: { cache: tiered({ state, audit }) } })`. Making it performs
 * no I/O.
 * @throws {TypeError} If `audit` was not made by `libsql()`, or `state` is not a store.
 */
export function tiered(options: TieredOptions): LibsqlStore {
  return new Tiered(options);
}

const SUBJECT = "tiered store";

class Tiered implements LibsqlStore, OpeningStore, Partial<KeepsTrails> {
  readonly [CIRCUITS] = SHARED;
  readonly [TRAILS]?: Trails;
  readonly name = "tiered";
  readonly traits: StoreTraits;
  readonly #state: Driver;
  readonly #audit: LibsqlStore;
  readonly #delivery: Delivery;
  /** `true` if the state store remembers undelivered changes. */
  readonly #hasOutbox: boolean;

  constructor(options: TieredOptions) {
    known(SUBJECT, options, ["state", "audit", "auditTimeoutMs"]);
    const { state, audit } = options;
    const driver = openingStore(state) ??
      refuseUnseen(SUBJECT, "state", "a store such as upstash() makes", state);
    if (typeof (audit as Partial<TrailAppender> | undefined)?.[APPEND] !== "function") {
      refuseUnseen(SUBJECT, "audit", "a store that libsql() made", audit);
    }
    const timeoutMs = check(
      SUBJECT,
      "auditTimeoutMs",
      options.auditTimeoutMs,
      250,
      1,
      MAX_TIMER_MS,
    );
    this.traits = { ...state.traits, audited: true };
    this.#state = driver;
    this.#audit = audit;
    this.#hasOutbox = driver.confirm !== undefined;
    this.#delivery = new Delivery(driver, audit as LibsqlStore & TrailAppender, timeoutMs);
    const { [TRAILS]: trails } = audit as Partial<KeepsTrails>;
    if (trails !== undefined) this[TRAILS] = { ...trails, gather: (at) => this.#gather(at) };
  }

  together<T>(work: () => T): T {
    return together(this.#state, work);
  }

  async read(key: string, request: ReadRequest): Promise<Snapshot> {
    const began = performance.now();
    const said = this.#state.read(key, this.#asking(request, key));
    const snapshot = said instanceof Promise ? await said : plainRead(said);
    return (await this.#tell(key, request.at, began, { snapshot }, [])).snapshot;
  }

  async record(key: string, tally: Tally): Promise<Recorded> {
    const began = performance.now();
    const answer = await heard(this.#state.record(key, this.#asking(tally, key)));
    const { epoch, generation, state } = answer.snapshot;
    const rows = this.#lapsed(answer, tally, { epoch, generation, state });
    return this.#reporting(await this.#tell(key, tally.at, began, answer, rows));
  }

  async acquire(key: string, request: AcquireRequest): Promise<Acquired> {
    const began = performance.now();
    const answer = await heard(this.#state.acquire(key, this.#asking(request, key)));
    const { moved, snapshot: { epoch, generation, state } } = answer;
    const rows = this.#lapsed(answer, request, {
      epoch,
      ...moved ? { generation: generation - 1, state: "OPEN" } : { generation, state },
    });
    if (moved) rows.push(halfOpenRow(answer, request));
    return this.#reporting(await this.#tell(key, request.at, began, answer, rows, moved));
  }

  transition(key: string, request: TransitionRequest): Promise<Changed> {
    const { event, to, cooldownMs, lastFailure = null } = request;
    const more = to === "OPEN" ? { cooldownMs: Math.round(cooldownMs), lastFailure } : {};
    return this.#change(key, request, (sent) => this.#state.transition(key, sent), event, more);
  }

  override(key: string, request: OverrideRequest): Promise<Changed> {
    const { kind, until } = request;
    const change = (sent: OverrideRequest) => this.#state.override(key, sent);
    const more = { until: kind && until };
    return this.#change(key, request, change, kind ?? "released", more);
  }

  restore(key: string, request: RestoreRequest): Promise<Changed> {
    return this.#change(
      key,
      request,
      (sent) => this.#state.restore(key, sent),
      "imported",
      {},
    );
  }

  /** Finds undelivered changes on the way. A `flush()` after it delivers them. */
  async list(request: ListRequest): Promise<ListPage> {
    if (!this.#hasOutbox) return await this.#state.list(request);
    const began = performance.now();
    const { records, ...rest } = await this.#state.list(this.#asking(request));
    const plain = records.map((record): CircuitRecord => {
      const { untold = [], ...snapshot } = record.snapshot;
      const rows = this.#delivery.untold(record.key, untold, request.at);
      if (isLeft(rows, snapshot.now)) this.#delivery.owe(record.key, []);
      return { ...record, snapshot };
    });
    // Some now, the others with later operations: a page must not wait for all of them.
    if (this.#delivery.owes) await this.#delivery.deliver(null, [], request.at, began);
    return { records: plain, ...rest };
  }

  /** Delivers the circuit's outbox first, which is removed with the record. */
  async remove(key: string, request: RemoveRequest = NOBODY): Promise<boolean> {
    const began = performance.now();
    await this.#delivery.rescue(key).catch(mustBeNonsense);
    const before = await this.#before(key, request);
    const removed = await this.#state.remove(key, request);
    if (removed) {
      this.#delivery.owe(key, [removedRow(before, request)]);
      await this.#delivery.deliver(key, [], request.at, began);
    }
    return removed;
  }

  /** Reads the circuit before a change: a new one in place of an invalid one, which the change may rewrite. */
  #before(key: string, request: StoreRequest): Awaitable<Snapshot> {
    const anew = (error: unknown): Snapshot => {
      mustBeNonsense(error);
      return { ...absentSnapshot(request.at || Date.now()), epoch: newId() };
    };
    try {
      const said = this.#state.read(key, request);
      // A store of this process answers in the same turn.
      return said instanceof Promise ? said.then(copySnapshot, anew) : copySnapshot(said);
    } catch (error) {
      return anew(error);
    }
  }

  /** Checks both stores. */
  async check(): Promise<void> {
    await Promise.all([this.#state.check?.(), (this.#audit as LibsqlStore & Driver).check?.()]);
  }

  async flush({ at }: { readonly at: number }): Promise<readonly Trouble[]> {
    await this.#delivery.deliverAll(at);
    return this.#delivery.takeTroubles();
  }

  /** Delivers the rows of dead isolates for circuits that are not plainly CLOSED. */
  async #gather(at: number): Promise<void> {
    const shape = () => SHAPE;
    let cursor: string | null = null;
    do {
      ({ cursor } = await this.list({ cursor, limit: 100, at, shape, open: true, brief: true }));
    } while (cursor !== null);
    await this.#delivery.deliverAll(at);
  }

  history(query?: EventQuery & { readonly key?: string }): AsyncIterableIterator<CircuitEvent> {
    return eventsOf(this.name, this.#audit.history(query));
  }

  prune(options: PruneOptions): Promise<PruneResult> {
    return this.#audit.prune(options);
  }

  verifyTrail(options?: VerifyOptions): Promise<TrailProof> {
    return this.#audit.verifyTrail(options);
  }

  /**
   * Adds the treatment of the outbox to a request: during a back-off of the trail, rows stay there.
   */
  #asking<R extends OutboxRequest & { readonly at: number }>(request: R, key?: string): R {
    if (!this.#hasOutbox) return request;
    return { ...request, outbox: this.#delivery.down(request.at, key) ? "keep" : "hand" };
  }

  /** Makes a change. Without an outbox, the circuit before the change is read first. */
  async #change<R extends StoreRequest & Pick<OverrideRequest, "reason" | "actor">>(
    key: string,
    request: R,
    change: (sent: R) => Awaitable<Changed>,
    event: UntoldRow["event"],
    more: Record<string, unknown>,
  ): Promise<Changed> {
    const began = performance.now();
    const said = this.#hasOutbox ? null : this.#before(key, request);
    const before = said instanceof Promise ? await said : said;
    const answer = await heard(change(this.#asking(request, key)));
    const rows: UntoldRow[] = [];
    if (before !== null) {
      rows.push(...this.#lapsed(answer, request, before));
      if (answer.won) rows.push(changeRow(before, answer, request, event, more));
    }
    return this.#reporting(await this.#tell(key, request.at, began, answer, rows, answer.won));
  }

  /** Without an outbox, returns the row of an override that this request found to have run out. */
  #lapsed(
    answer: Answer,
    request: StoreRequest,
    before: Pick<Snapshot, "epoch" | "generation" | "state">,
  ): UntoldRow[] {
    const { released } = answer;
    return released && !this.#hasOutbox ? [releaseRow(answer, released, request, before)] : [];
  }

  /**
   * Delivers the undelivered changes that an answer shows: the request's own at once, and those of
   * others once they have had the time to deliver them.
   *
   * @returns The answer for the caller.
   */
  async #tell<A extends Answer>(
    key: string,
    at: number,
    began: number,
    answer: A,
    made: readonly UntoldRow[],
    won = false,
  ): Promise<A> {
    const { untold, ...snapshot } = answer.snapshot;
    const changed = won || !!answer.released;
    const rows = this.#delivery.untold(key, withAfter(untold ?? [], snapshot), at);
    const left = isLeft(rows, snapshot.now);
    if (made.length > 0) this.#delivery.owe(key, made);
    let head: string | undefined;
    if (changed || left) head = await this.#delivery.deliver(key, rows, at, began);
    else if (this.#delivery.owes) await this.#delivery.deliver(null, [], at, began);
    return { ...answer, snapshot, ...changed && head !== undefined ? { head } : null };
  }

  /** Adds what there is to report to an answer. */
  #reporting<A extends Answer>(answer: A): A {
    const troubles = this.#delivery.takeTroubles();
    return troubles.length > 0 ? { ...answer, troubles } : answer;
  }
}

/** The minimum of a request about a circuit. */
const SHAPE: Shape = { windowMs: 1, windowSize: 0 };

/** A removal without a reason. */
const NOBODY: RemoveRequest = { id: "", at: 0, shape: SHAPE, reason: null, actor: null };

/** Returns `true` if rows wait that their own isolate has left undelivered. */
function isLeft(rows: readonly UntoldRow[], now: number): boolean {
  return rows.some(({ at }) => now - at >= GRACE_MS || at > now);
}

/** @throws The error, unless it says that a record is invalid. */
function mustBeNonsense(error: unknown): void {
  if (!isNonsense(error)) throw error;
}

function plainRead(said: Snapshot): Snapshot {
  return { ...copySnapshot(said), ...said.holds && { holds: said.holds } };
}

/** Copies the answer of a store of this process, before other code runs. */
function heard<A extends Answer>(said: Awaitable<A>): Awaitable<A> {
  return said instanceof Promise ? said : { ...said, snapshot: copySnapshot(said.snapshot) };
}
