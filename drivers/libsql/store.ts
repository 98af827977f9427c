/**
 * The libSQL store itself: each primitive as one batch.
 *
 * @module
 */

import type {
  Acquired,
  AcquireRequest,
  Answer,
  Changed,
  CircuitEvent,
  Clock,
  Driver,
  EventQuery,
  ListPage,
  ListRequest,
  OverrideRequest,
  Recorded,
  RestoreRequest,
  Shape,
  Snapshot,
  StoreRequest,
  Tally,
  TransitionRequest,
} from "../../src/contract.ts";
import { CIRCUITS, type OpeningStore } from "../../src/circuit.ts";
import { SHARED } from "../../src/shared/mod.ts";
import { eventsOf } from "../../src/history.ts";
import { identify } from "../../src/key.ts";
import { segmentMs } from "../../src/rules/window.ts";
import { check, known, oneOf, refuse } from "../../src/checks.ts";
import type { LibsqlOptions, LibsqlStore } from "../libsql.ts";
import {
  APPEND,
  type Appended,
  appendRows,
  type ForeignRow,
  type TrailAppender,
} from "./append.ts";
import { connector, type Line, send } from "./client.ts";
import { connectorTo } from "./web_client.ts";
import { type PruneOptions, type PruneResult, pruneTrail, readTrail } from "./history.ts";
import { recordOf, releasedBy, restoredValues, type Row, rowOf, snapshotOf } from "./rows.ts";
import * as standard from "./schema.ts";
import {
  type Change,
  EDITS,
  makeStatements,
  type Statement,
  type Statements,
  type Values,
} from "./statements.ts";
import {
  Answers,
  editsOf,
  hasExpired,
  heard,
  isDue,
  jsonOf,
  type Known,
  makeDigest,
  redacted,
  seal,
  type Sealed,
  sealEdits,
  slowCallsOf,
  type Telling,
  timeOf,
} from "./chain.ts";
import { type TrailProof, type VerifyOptions, verifyTrail } from "./verify.ts";

const SUBJECT = "libsql store";
const OPTIONS = [
  ...["client", "url", "authToken", "replica", "schema", "audit", "trailKey", "redact"],
  ...["busyTimeoutMs", "clock"],
];
/** A request that others overtake is sent again, with rows hashed anew, so often. */
const MAX_TRIES = 64;

/** Of a circuit that nothing but records happens to, a record takes so many edits into the chain. */
const MANY_EDITS = 20;

/** Nothing to append to the trail. */
const UNSEALED: Sealed = { values: {}, edits: false, expired: false };

/** See `libsql()`. */
export class Database implements LibsqlStore, OpeningStore, TrailAppender {
  readonly [CIRCUITS] = SHARED;
  readonly name = "libsql";
  readonly traits = { persistent: true, shared: true, audited: true } as const;
  readonly #line: Line;
  readonly #replica: Line;
  readonly #clock: Clock | undefined;
  readonly #schema: standard.FuseSchema;
  readonly #audits: boolean;
  readonly #trailKey: string | undefined;
  readonly #answers = new Answers();
  /** What may be told of a failed call's error. There if calls are audited. */
  readonly describe?: NonNullable<Driver["describe"]>;
  #built: Statements | undefined;

  constructor(options: LibsqlOptions) {
    known(SUBJECT, options, OPTIONS);
    const { client, url, authToken, replica, schema = standard, clock } = options as
      & Record<"client" | "url" | "authToken" | "schema" | "replica", unknown>
      & { clock: Clock | undefined };
    const { audit, trailKey, redact } = options;
    if (client !== undefined) {
      if (url !== undefined) refuse(SUBJECT, "url", 'left out beside "client"', {});
      if (authToken !== undefined) refuse(SUBJECT, "authToken", 'left out beside "client"', {});
    }
    const connect = client === undefined
      ? connectorTo(url, authToken)
      : connector(SUBJECT, "client", client);
    const busyTimeoutMs = check(SUBJECT, "busyTimeoutMs", options.busyTimeoutMs, 450, 0);
    this.#line = { connect, busyTimeoutMs, heldUntil: 0 };
    this.#replica = replica === undefined
      ? this.#line
      : { connect: connector(SUBJECT, "replica", replica), busyTimeoutMs, heldUntil: 0 };
    standard.checkSchema(SUBJECT, schema);
    if (clock !== undefined && typeof clock !== "function") {
      refuse(SUBJECT, "clock", "a function", clock);
    }
    this.#audits = oneOf(SUBJECT, "audit", audit, ["transitions", "calls"]) === "calls";
    if (trailKey !== undefined && (typeof trailKey !== "string" || trailKey === "")) {
      // Whatever it is, it is not shown.
      refuse(SUBJECT, "trailKey", "a text that is not empty", trailKey === "" ? "" : undefined);
    }
    if (redact !== undefined && typeof redact !== "function") {
      refuse(SUBJECT, "redact", "a function", redact);
    }
    this.#trailKey = trailKey;
    if (this.#audits) this.describe = (error) => redacted(redact, error);
    this.#schema = schema;
    this.#clock = clock;
  }

  async read(
    key: string,
    { shape }: { readonly shape: Shape; readonly at: number },
  ): Promise<Snapshot> {
    const [result] = await send(this.#line, this.#statements.read({ key, ...this.#now() }));
    const row = rowOf(result!.rows[0]);
    this.#answers.learn(key, row);
    return snapshotOf(row, shape);
  }

  async record(key: string, tally: Tally): Promise<Recorded> {
    const { create, record, mark, answer } = this.#statements;
    const { shape: { windowMs, windowSize }, successes, failures, lease } = tally;
    const calls = successes + failures;
    const purge = this.#answers.purges(key) ? record.purge : [];
    const values = {
      ...{ epoch: tally.epoch, generation: tally.generation, successes, failures, lease },
      ...{ rejected: tally.rejected, slow: tally.slow, ageMs: Math.max(0, tally.ageMs) },
      ...{ windowMs, windowSize, segmentMs: segmentMs(windowMs), calls },
      ...{ slowCalls: slowCallsOf(tally), errors: jsonOf(tally.errors ?? []) },
      marks: "S".repeat(Math.min(successes, windowSize)) +
        "F".repeat(Math.min(failures, windowSize)),
      policyHash: tally.policyHash,
    };
    let known = this.#answers.get(key);
    if (known !== undefined) known = await this.#sealEdits(key, known, MANY_EDITS);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      // Rows are hashed for a record that is known to append some, and no other.
      const lapses = known !== undefined && hasExpired(known.row, timeOf(known, this.#time()));
      const sealed = lapses ? await this.#seal(key, known!, tally, null) : UNSEALED;
      const row = await this.#write(key, tally, [
        ...known?.row.id == null ? [create] : [],
        record.decide,
        ...this.#before(sealed),
        ...calls > 0 ? [record.window] : [],
        ...lease === null ? [] : [record.endLease],
        ...calls > 0 && this.#audits ? [record.calls] : [],
        ...record.apply,
        ...sealed.expired ? [mark] : [],
        ...purge,
        answer,
      ], { ...values, ...sealed.values });
      if (row.won === null) {
        known = heard(row);
        continue;
      }
      const { snapshot, ...rest } = this.#answer(row, tally);
      // Whom this tally follows.
      const policyHash = String(row.previous_policy_hash);
      return { current: row.won === 1, snapshot: { ...snapshot, policyHash }, ...rest };
    }
    throw overtaken();
  }

  async acquire(key: string, request: AcquireRequest): Promise<Acquired> {
    const { acquire, mark, answer } = this.#statements;
    const { token, max, leaseMs, maxCooldownMs } = request;
    const moves = (row: Row, now: number) =>
      row.id !== null && (isDue(row, now, maxCooldownMs) || hasExpired(row, now));
    let known = this.#answers.get(key);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const moving = known !== undefined && moves(known.row, timeOf(known, this.#time()));
      const sealed = moving
        ? await this.#seal(key, known!, request, {
          ...{ event: "half_opened", to: "HALF_OPEN", reason: "cooldown_passed", actor: null },
        })
        : UNSEALED;
      const row = await this.#write(key, request, [
        ...moving ? [acquire.decide, ...this.#before(sealed), ...acquire.apply, mark] : [],
        ...acquire.lease,
        answer,
      ], { token, max, leaseMs, maxCooldownMs, ...sealed.values });
      if (row.won === null && moves(row, row.now)) {
        known = heard(row);
        continue;
      }
      const { id, override, state } = row;
      const granted = id === null ||
        (override === null
          ? state === "CLOSED" || (state === "HALF_OPEN" && row.leased === 1)
          : override !== "forced_open");
      return { granted, moved: row.won === 1, ...this.#answer(row, request) };
    }
    throw overtaken();
  }

  transition(key: string, request: TransitionRequest): Promise<Changed> {
    const { to, event, cooldownMs, reason, actor, expected } = request;
    const change = to === "OPEN" ? this.#statements.open : this.#statements.close;
    const telling: Telling = {
      ...{ event, to, reason, actor },
      ...to === "OPEN" ? { more: () => ({ cooldownMs: Math.round(cooldownMs) }) } : {},
    };
    return this.#change(key, request, change, expected === null, {
      ...{ event, cooldownMs, reason, actor, expected: expected === null ? 0 : 1 },
      ...{ epoch: expected?.epoch ?? "", generation: expected?.generation ?? 0 },
    }, telling);
  }

  override(key: string, request: OverrideRequest): Promise<Changed> {
    const { kind, reason, actor, at } = request;
    const until = kind && request.until;
    const telling: Telling = {
      ...{ event: kind ?? "released", reason, actor },
      more: (row, stamp) => ({
        until: until === null ? null : Math.round(until + stamp - at),
        kind: kind ?? row.override,
      }),
    };
    return this.#change(key, request, this.#statements.override, kind !== null, {
      ...{ kind, until, reason, actor, at },
    }, telling);
  }

  restore(key: string, asked: RestoreRequest): Promise<Changed> {
    // The epoch begins with it.
    const request = { ...asked, id: asked.id || crypto.randomUUID() };
    const { existing, reason, actor, at, record: { snapshot } } = request;
    const telling: Telling = {
      ...{ event: "imported", to: snapshot.state, reason, actor },
      // With the moment: after a removal the request begins another life, as it does in `create`.
      epoch: (stamp) => `${request.id}.${stamp}`,
      generation: (next) => Math.max(next - 1, snapshot.generation) + 1,
    };
    return this.#change(key, request, this.#statements.restore, true, {
      ...{ replace: existing === "replace" ? 1 : 0, reason, actor, at },
      ...restoredValues(request),
    }, telling);
  }

  async list({ cursor, limit, shape }: ListRequest): Promise<ListPage> {
    const values = { ...this.#now(), cursor: Number(cursor ?? 0), limit };
    const [page] = await send(this.#line, this.#statements.list(values));
    const rows = Array.from(page!.rows, rowOf);
    return {
      records: rows.map((row) => recordOf(row, shape)),
      cursor: rows.length < limit ? null : String(rows.at(-1)!.id),
    };
  }

  async remove(key: string): Promise<boolean> {
    const results = await send(this.#line, this.#statements.remove.map((one) => one({ key })));
    this.#answers.forget(key);
    return results.at(-1)!.rows.length > 0;
  }

  history(query: EventQuery & { readonly key?: string } = {}): AsyncIterableIterator<CircuitEvent> {
    const rows = readTrail(this.#replica, this.#schema.circuitBreakerEvents, query);
    return eventsOf(this.name, rows);
  }

  async prune(options: PruneOptions): Promise<PruneResult> {
    const digest = () => makeDigest(this.#trailKey);
    return await pruneTrail(this.#line, this.#schema, this.#time(), digest, options);
  }

  async verifyTrail(options?: VerifyOptions): Promise<TrailProof> {
    return await verifyTrail(this.#line, this.#schema, await makeDigest(this.#trailKey), options);
  }

  async [APPEND](rows: readonly ForeignRow[]): Promise<Appended> {
    const { create, answer } = this.#statements;
    const shape = { windowMs: 1, windowSize: 0 };
    return await appendRows({
      schema: this.#schema,
      digest: await makeDigest(this.#trailKey),
      look: async (key) => {
        const row = this.#answers.get(key)?.row;
        const learnt = row?.id == null
          ? await this.#write(key, { id: "", at: 0, shape }, [create, answer], {})
          : row;
        return await this.#sealAllButAPage(key, learnt);
      },
      send: async (key, statements) => {
        const answering = answer({ ...this.#now(), key, id: "" });
        const results = await send(this.#line, [...statements, answering]);
        this.#answers.learn(key, rowOf(results.at(-1)!.rows[0]));
        return results.slice(0, -1);
      },
    }, rows);
  }

  get #statements(): Statements {
    return this.#built ??= makeStatements(this.#schema, this.#clock !== undefined);
  }

  /** The time on the clock that was given, if one was. */
  #time(): number | undefined {
    return this.#clock?.();
  }

  #now(): Values {
    return this.#clock === undefined ? {} : { now: this.#clock() };
  }

  /** Sends a batch, whose last statement reads the circuit. */
  async #write(
    key: string,
    request: StoreRequest,
    statements: Statement[],
    values: Values,
  ): Promise<Row> {
    const { name, context, boundary } = identify("", key);
    // One that will not be sent again is told from all others all the same.
    const id = request.id || crypto.randomUUID();
    const all = { sealed: 0, ...values, ...this.#now(), key, name, context, boundary, id };
    const results = await send(this.#line, statements.map((statement) => statement(all)));
    const row = rowOf(results.at(-1)!.rows[0]);
    this.#answers.learn(key, row);
    return row;
  }

  /** One request; one more if nothing is known of the circuit, or somebody was faster. */
  async #change(
    key: string,
    request: StoreRequest,
    { decide, apply }: Change,
    creates: boolean,
    values: Values,
    telling: Telling,
  ): Promise<Changed> {
    const { create, mark, answer } = this.#statements;
    let known = this.#answers.get(key);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const blind = known === undefined || known.row.id === null;
      let statements = [...creates ? [create] : [], answer];
      let sealed = UNSEALED;
      if (!blind) {
        sealed = await this.#seal(key, known!, request, telling);
        statements = [decide, ...this.#before(sealed), ...apply, mark, answer];
      }
      const row = await this.#write(key, request, statements, { ...values, ...sealed.values });
      if (row.won !== null || (blind && row.id === null)) {
        return { won: row.won === 1, ...this.#answer(row, request) };
      }
      known = heard(row);
    }
    throw overtaken();
  }

  /** Hashes what a request will append to the trail, upon what is known. */
  async #seal(
    key: string,
    known: Known,
    { id }: StoreRequest,
    telling: Telling | null,
  ): Promise<Sealed> {
    const digest = await makeDigest(this.#trailKey);
    const row = await this.#sealAllButAPage(key, known.row);
    if (row !== known.row) known = heard(row);
    return await seal(digest, key, known, this.#time(), id.replace(/-[^-]*$/, ""), telling);
  }

  /** A row that tells of a change comes after all edits: those that an answer has no room for, too. */
  async #sealAllButAPage(key: string, row: Row): Promise<Row> {
    let known = { row, heardAt: 0 };
    for (let tries = 0; editsOf(known.row).length >= EDITS; tries++) {
      if (tries === MAX_TRIES) throw overtaken();
      known = await this.#sealEdits(key, known, EDITS);
    }
    return known.row;
  }

  /** Takes the oldest edits by hand into the chain, if there are so many: one request. */
  async #sealEdits(key: string, known: Known, many: number): Promise<Known> {
    if (editsOf(known.row).length < many) return known;
    const { sealEdits: apply, answer } = this.#statements;
    const { values } = await sealEdits(await makeDigest(this.#trailKey), key, known.row);
    const asking = { id: "", at: 0, shape: { windowMs: 1, windowSize: 0 } };
    return heard(await this.#write(key, asking, [...apply, answer], values));
  }

  /** What comes between a decision and its being applied. */
  #before({ edits, expired }: Sealed): readonly Statement[] {
    const { seal, expire } = this.#statements;
    return [...edits ? [seal] : [], ...expired ? expire : []];
  }

  #answer(row: Row, { id, shape }: StoreRequest): Answer {
    const { head } = row;
    return {
      ...{ snapshot: snapshotOf(row, shape), released: releasedBy(row, id) },
      ...typeof head === "string" && head !== "" ? { head } : null,
    };
  }
}

function overtaken(): Error {
  return new Error(
    `Cannot use the database: other writers changed the circuit first, ${MAX_TRIES} times in a row`,
  );
}
