/**
 * The libSQL store itself: each primitive as one batch.
 *
 * @module
 */

import type {
  Acquired,
  AcquireRequest,
  Changed,
  CircuitEvent,
  CircuitRecord,
  Driver,
  EventQuery,
  ListPage,
  ListRequest,
  OverrideRequest,
  ReadRequest,
  Recorded,
  RemoveRequest,
  RestoreRequest,
  Snapshot,
  SpoiltCircuit,
  StoreRequest,
  Tally,
  TransitionRequest,
} from "../../src/contract.ts";
import { CIRCUITS, type OpeningStore } from "../../src/circuit.ts";
import { type KeepsTrails, TRAILS, type Trails } from "../../src/cursors.ts";
import { SHARED } from "../../src/shared/kind.ts";
import { eventsOf } from "../../src/history.ts";
import { absentSnapshot, admissionOf, withHeld } from "../../src/records.ts";
import { isNonsense } from "../../src/rules/stored_fields.ts";
import { segmentMs } from "../../src/rules/window.ts";
import { hasExpired, heard, isDue, type Known, timeOf } from "./answers.ts";
import {
  APPEND,
  type Appended,
  appendRows,
  type ForeignRow,
  type TrailAppender,
} from "./append.ts";
import { untilApplied } from "./client.ts";
import { DatabaseTrail } from "./cursors.ts";
import { readTrail } from "./history.ts";
import { callsOf, jsonOf, textOf } from "./metadata.ts";
import type { Configuration, LibsqlStore } from "./options.ts";
import { type PruneOptions, type PruneResult, pruneTrail } from "./prune.ts";
import { ANONYMOUS, answerOf, Requests } from "./requests.ts";
import { recordOf, restoredValues, type Row, rowOf, snapshotOf } from "./rows.ts";
import { type ChangeRow, type Sealed, UNSEALED } from "./seal.ts";
import type { Change } from "./statements/dialect.ts";
import type { Statement, Values } from "./statements/prepare.ts";
import { type TrailProof, type VerifyOptions, verifyTrail } from "./verify.ts";

/** A record takes edits by hand into the chain if there are this many. */
const MANY_EDITS = 20;

/** The row of the trail for the end of a cooldown. */
const HALF_OPENED: ChangeRow = {
  ...{ event: "half_opened", to: "HALF_OPEN", reason: "cooldown_passed", actor: null },
  after: () => ({ reason: "cooldown_passed" }),
};

/** The store that `libsql()`, `d1()` and `durableObject()` make. */
export class LibsqlDatabase implements LibsqlStore, OpeningStore, TrailAppender, KeepsTrails {
  readonly [CIRCUITS] = SHARED;
  readonly [TRAILS]: Trails;
  readonly name: string;
  readonly traits = { persistent: true, shared: true, audited: true } as const;
  readonly #configuration: Configuration;
  readonly #requests: Requests;
  /** Returns what may be shown of a failed call's error. Given if calls are audited. */
  readonly describe?: NonNullable<Driver["describe"]>;

  constructor(configuration: Configuration) {
    this.name = configuration.name;
    this.#configuration = configuration;
    this.#requests = new Requests(configuration);
    const trail = new DatabaseTrail(configuration);
    this[TRAILS] = { all: [trail], of: () => trail };
    if (configuration.describe !== undefined) this.describe = configuration.describe;
  }

  async read(key: string, request: ReadRequest): Promise<Snapshot> {
    const row = await this.#requests.read(key, request.unconfirmed);
    const held = new Set(row.held as string[] | undefined);
    return withHeld(snapshotOf(row, request.shape), request, (id) => held.has(id));
  }

  async record(key: string, tally: Tally): Promise<Recorded> {
    const requests = this.#requests;
    const purges = requests.answers.purges(key);
    let known = requests.answers.get(key);
    // If nothing but records happens to a circuit, no other request takes its edits into the chain.
    if (known !== undefined) known = await requests.sealEdits(key, known, MANY_EDITS);
    return await untilApplied(async () => {
      // Rows are hashed only for a record that is known to append some.
      const expired = known !== undefined && hasExpired(known.row, timeOf(known, requests.time()));
      const sealed = expired ? await requests.seal(key, known!, tally, null) : UNSEALED;
      const statements = this.#recording(tally, { known, sealed, purges });
      const calls = this.describe === undefined ? null : callsOf(tally);
      const values = { ...tallyValues(tally), ...sealed.values, calls };
      const row = await requests.write(key, tally, statements, values);
      if (row.won !== null) return recordedBy(row, tally);
      known = heard(row);
      return undefined;
    });
  }

  /** Returns the statements that a tally needs. */
  #recording(
    { successes, failures, lease }: Tally,
    { known, sealed, purges }: { known: Known | undefined; sealed: Sealed; purges: boolean },
  ): Statement[] {
    const { create, record, mark, answer } = this.#requests.statements;
    const counts = successes + failures > 0;
    return [
      ...known?.row.id == null ? [create] : [],
      sealed.expired ? record.decideRelease : record.decide,
      ...this.#requests.before(sealed),
      ...counts ? [record.window] : [],
      ...lease === null ? [] : [record.endLease],
      ...counts && this.describe !== undefined ? [record.calls] : [],
      ...record.apply,
      ...sealed.expired ? [mark] : [],
      ...purges ? record.purge : [],
      answer,
    ];
  }

  async acquire(key: string, request: AcquireRequest): Promise<Acquired> {
    const requests = this.#requests;
    const { acquire, mark, answer } = requests.statements;
    const { token, max, leaseMs } = request;
    const moves = (row: Row, now: number) =>
      row.id !== null && (isDue(row, now) || hasExpired(row, now));
    let known = requests.answers.get(key);
    // A circuit that lets everybody through is only read: that takes no lock.
    if (known !== undefined && isOpenToAll(known.row)) {
      const row = await requests.read(key);
      if (isOpenToAll(row)) return { granted: true, moved: false, ...answerOf(row, request) };
      known = heard(row);
    }
    return await untilApplied(async () => {
      const moving = known !== undefined && moves(known.row, timeOf(known, requests.time()));
      const sealed = moving ? await requests.seal(key, known!, request, HALF_OPENED) : UNSEALED;
      const row = await requests.write(key, request, [
        ...moving ? [acquire.decide, ...requests.before(sealed), ...acquire.apply, mark] : [],
        ...acquire.lease,
        answer,
      ], { token, max, leaseMs, ...sealed.values });
      if (row.won === null && moves(row, row.now)) {
        known = heard(row);
        return undefined;
      }
      return { granted: isGranted(row), moved: row.won === 1, ...answerOf(row, request) };
    });
  }

  transition(key: string, request: TransitionRequest): Promise<Changed> {
    const { to, event, reason, actor, expected, lastFailure = null, failuresBelow = 1 } = request;
    const cooldownMs = Math.round(request.cooldownMs);
    const { open, close } = this.#requests.statements;
    return this.#change(key, request, {
      renews: expected === null,
      change: to === "OPEN" ? open : close,
      creates: expected === null,
      values: {
        ...{ event, cooldownMs, reason, actor, expects: expected === null ? 0 : 1 },
        ...admissionOf(expected ?? absentSnapshot(0)),
        lastFailure: lastFailure && jsonOf(lastFailure),
        failuresBelow,
        policy: request.policy === undefined ? null : jsonOf(request.policy),
      },
      row: {
        ...{ event, to, reason, actor },
        after: (moment) => ({
          ...to === "OPEN"
            ? { openUntil: moment + cooldownMs, cooldownMs }
            : { openUntil: null, cooldownMs: null },
          reason,
        }),
        ...to === "OPEN" ? { more: () => ({ cooldownMs, lastFailure }) } : {},
      },
    });
  }

  override(key: string, request: OverrideRequest): Promise<Changed> {
    const { kind, reason, actor, at } = request;
    const until = kind && request.until;
    return this.#change(key, request, {
      renews: false,
      change: this.#requests.statements.override,
      creates: kind !== null,
      values: { kind, until, reason, actor, at },
      row: {
        ...{ event: kind ?? "released", reason, actor },
        after: (moment) => ({
          override: kind && { kind, until: translated(until, moment, at), reason, actor },
        }),
        more: (row, stamp) => ({
          until: translated(until, stamp, at),
          kind: kind ?? row.override,
        }),
      },
    });
  }

  restore(key: string, asked: RestoreRequest): Promise<Changed> {
    // The epoch of the restored circuit begins with the id of the request.
    const request = { ...asked, id: asked.id || crypto.randomUUID() };
    const { existing, reason, actor, at, record: { snapshot } } = request;
    return this.#change(key, request, {
      renews: existing === "replace",
      change: this.#requests.statements.restore,
      creates: true,
      values: {
        ...{ replace: existing === "replace" ? 1 : 0, reason, actor, at },
        ...restoredValues(request),
      },
      row: {
        ...{ event: "imported", to: snapshot.state, reason, actor },
        after: (moment) => ({
          openUntil: translated(snapshot.openUntil, moment, at),
          cooldownMs: snapshot.cooldownMs && Math.round(snapshot.cooldownMs),
          reason: snapshot.reason,
          override: snapshot.override && {
            ...snapshot.override,
            until: translated(snapshot.override.until, moment, at),
          },
        }),
        // With the moment: if the request is sent again after a removal, it begins another life.
        epoch: (stamp) => `${request.id}.${stamp}`,
        generation: (next) => Math.max(next - 1, snapshot.generation) + 1,
      },
    });
  }

  #change(key: string, request: StoreRequest, plan: ChangePlan): Promise<Changed> {
    const make = () => this.#make(key, request, plan);
    return plan.renews ? this.#anew(key, make) : make();
  }

  /** Repeats the request with a new circuit, if the existing one is invalid. */
  async #anew<T>(key: string, ask: () => Promise<T>): Promise<T> {
    const requests = this.#requests;
    try {
      return await ask();
    } catch (error) {
      if (!isNonsense(error)) throw error;
      const { renew, answer } = requests.statements;
      await requests.write(key, ANONYMOUS, [...renew, answer], {});
      return await ask();
    }
  }

  /** Sends one request; one more if the circuit is unknown, or another isolate was faster. */
  async #make(
    key: string,
    request: StoreRequest,
    { change, creates, values, row: told }: ChangePlan,
  ): Promise<Changed> {
    const requests = this.#requests;
    const { create, mark, answer } = requests.statements;
    let known = requests.answers.get(key);
    return await untilApplied(async () => {
      let statements = [...creates ? [create] : [], answer];
      let sealed = UNSEALED;
      const isKnown = known !== undefined && known.row.id !== null;
      if (isKnown) {
        sealed = await requests.seal(key, known!, request, told);
        const before = requests.before(sealed);
        statements = [change.decide, ...before, ...change.apply, mark, answer];
      }
      const row = await requests.write(key, request, statements, { ...values, ...sealed.values });
      if (row.won !== null || (!isKnown && row.id === null)) {
        return { won: row.won === 1, ...answerOf(row, request) };
      }
      known = heard(row);
      return undefined;
    });
  }

  async list({ cursor, limit, shape, open }: ListRequest): Promise<ListPage> {
    // A cursor of another store begins anew.
    const after = Number.isSafeInteger(Number(cursor)) ? Number(cursor) : 0;
    const values = { cursor: after, limit, open: open ? 1 : 0 };
    const rows = await this.#requests.list(values);
    const records: CircuitRecord[] = [];
    const spoilt: SpoiltCircuit[] = [];
    for (const row of rows) {
      try {
        records.push(recordOf(rowOf(row), shape));
      } catch (error) {
        if (!isNonsense(error)) throw error;
        spoilt.push({ key: textOf(row.key), error });
      }
    }
    return {
      ...{ records, spoilt },
      cursor: rows.length < limit ? null : String(rows.at(-1)!.id),
    };
  }

  /** Costs one request, and another if the circuit is unknown, or another isolate was faster. */
  remove(key: string, request: RemoveRequest = ANONYMOUS): Promise<boolean> {
    return this.#anew(key, () => this.#remove(key, request));
  }

  async #remove(key: string, request: RemoveRequest): Promise<boolean> {
    const requests = this.#requests;
    const { answers, statements: { answer, remove } } = requests;
    const { reason, actor } = request;
    let known = answers.get(key);
    return await untilApplied(async () => {
      known ??= heard(await requests.read(key));
      const { id: circuit } = known.row;
      if (circuit === null) return false;
      const sealed = await requests.seal(key, known, request, {
        ...{ event: "removed", reason, actor, removes: true },
      });
      known = undefined;
      const statements = [remove.decide, ...requests.before(sealed), ...remove.apply, answer];
      const { results } = await requests.sendAll(key, request, statements, {
        ...{ circuit, ...sealed.values },
      });
      answers.forget(key);
      // The circuits' row goes before those that belong to it.
      return results.at(-4)!.rows.length > 0 ? true : undefined;
    });
  }

  /** Costs one request. */
  async check(): Promise<void> {
    const { check, answer } = this.#requests.statements;
    const values = { key: "", id: crypto.randomUUID() };
    await this.#requests.send([...check, answer].map((statement) => statement(values)));
  }

  history(query: EventQuery & { readonly key?: string } = {}): AsyncIterableIterator<CircuitEvent> {
    const { replica, schema } = this.#configuration;
    return eventsOf(this.name, readTrail(replica, schema.circuitBreakerEvents, query));
  }

  async prune(options: PruneOptions): Promise<PruneResult> {
    const { connection, schema } = this.#configuration;
    const digest = () => this.#requests.digest();
    return await pruneTrail(connection, schema, this.#requests.time(), digest, options);
  }

  async verifyTrail(options?: VerifyOptions): Promise<TrailProof> {
    const { connection, schema } = this.#configuration;
    return await verifyTrail(connection, schema, await this.#requests.digest(), options);
  }

  async [APPEND](rows: readonly ForeignRow[]): Promise<Appended> {
    return await appendRows({
      schema: this.#configuration.schema,
      digest: await this.#requests.digest(),
      look: (key) => this.#requests.look(key),
      send: (key, statements) => this.#requests.sendFor(key, statements),
    }, rows);
  }
}

/** The parts of a change of state. */
interface ChangePlan {
  /** `true` if the change replaces an invalid circuit by a new one. */
  readonly renews: boolean;
  readonly change: Change;
  /** `true` if the change creates a circuit that does not exist. */
  readonly creates: boolean;
  readonly values: Values;
  /** The row that records the change. */
  readonly row: ChangeRow;
}

/** Translates a time on the caller's clock, which is `at`, to the store's, which is `moment`. */
function translated(time: number | null, moment: number, at: number): number | null {
  return time === null ? null : Math.round(time) + moment - Math.round(at);
}

/** Returns the values of a tally. */
function tallyValues(tally: Tally): Values {
  const { successes, failures, shape: { windowMs, windowSize } } = tally;
  const ageMs = Math.max(0, tally.ageMs);
  return {
    ...{ epoch: tally.epoch, generation: tally.generation, began: tally.began },
    ...{ successes, failures, lease: tally.lease },
    ...{ rejected: tally.rejected, slow: tally.slow },
    ...{ ageMs, firstAgeMs: Math.max(ageMs, tally.firstFailureAgeMs ?? 0) },
    ...{ windowMs, windowSize, segmentMs: segmentMs(windowMs) },
    marks: "S".repeat(Math.min(successes, windowSize)) + "F".repeat(Math.min(failures, windowSize)),
    policyHash: tally.policyHash,
    policy: tally.policy === undefined ? null : jsonOf(tally.policy),
  };
}

function recordedBy(row: Row, tally: Tally): Recorded {
  const { snapshot, ...rest } = answerOf(row, tally);
  const policyHash = String(row.previous_policy_hash);
  return { current: row.won === 1, snapshot: { ...snapshot, policyHash }, ...rest };
}

/** Returns `true` if a call may run, by an answer to `acquire`. */
function isGranted({ id, leased, override, state }: Row): boolean {
  if (id === null) return true;
  if (override !== null) return override !== "forced_open";
  return state === "CLOSED" || (state === "HALF_OPEN" && leased === 1);
}

/** Returns `true` for a circuit that admits every call, and that no override may change with time. */
function isOpenToAll({ id, override, state }: Row): boolean {
  return id !== null && override === null && state === "CLOSED";
}
