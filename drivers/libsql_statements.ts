/**
 * The statements of the libSQL store, built by Drizzle once and bound for each request.
 *
 * A request that writes is one batch. Its first statement decides: it puts down, in
 * `circuit_breaker_requests`, when the request came, whether it wins, and which `revision` the
 * circuit will have once it is applied. The others go by that row and do nothing when the circuit
 * has that revision already. So a request that arrives twice changes nothing the second time, and
 * all statements of a batch share one moment, though the database's clock moves between them.
 *
 * A request raises the revision by two: by one when it releases an override that has run out, and
 * to the full when it is applied.
 *
 * @module
 */

import { type Column, is, Placeholder, type SQL, sql } from "drizzle-orm";
import { alias, SQLiteSyncDialect, type SQLiteTable } from "drizzle-orm/sqlite-core";
import { ID_MEMORY_MS } from "../src/store.ts";
import type { CircuitBreakerColumns, FuseSchema } from "./libsql_schema.ts";

/** A statement and its values, as a client takes them. */
export interface Bound {
  readonly sql: string;
  readonly args: (string | number | bigint | null)[];
}

/** What placeholders stand for. Numbers are whole. */
export type Values = Readonly<Record<string, string | number | null>>;

/** Binds a statement. */
export type Statement = (values: Values) => Bound;

/** All statements of a store. */
export interface Statements {
  readonly create: Statement;
  /** What each request that changes something goes through before it is applied. */
  readonly expire: readonly Statement[];
  readonly read: Statement;
  readonly answer: Statement;
  readonly list: Statement;
  readonly record: {
    readonly decide: Statement;
    readonly window: Statement;
    readonly endLease: Statement;
    readonly apply: Statement;
    readonly purge: readonly Statement[];
  };
  readonly acquire: { readonly decide: Statement; readonly apply: readonly Statement[] };
  readonly open: Change;
  readonly close: Change;
  readonly override: Change;
  readonly restore: Change;
  readonly remove: readonly Statement[];
}

/** A change of state: what decides whether it wins, and what then happens. */
export interface Change {
  readonly decide: Statement;
  readonly apply: readonly Statement[];
}

/** The fields of a circuit that an answer has. */
const FIELDS = [
  ...["key", "state", "epoch", "generation", "reason", "openedAt", "openUntil", "closedAt"],
  ...["reopenCount", "consecutiveFailures", "consecutiveSuccesses", "failureCount"],
  ...["successCount", "slowCount", "totalSuccesses", "totalFailures", "totalRejected"],
  ...["totalSlow", "halfOpenSuccesses", "halfOpenFailures", "lastFailureAt", "lastSuccessAt"],
  ...["override", "overrideUntil", "overrideReason", "overrideActor", "policyHash"],
  ...["previousPolicyHash", "outcomes", "released", "releasedBy", "id"],
] as (keyof CircuitBreakerColumns)[];

type Expressions = Partial<Record<keyof CircuitBreakerColumns, SQL>>;

const $ = (name: string) => sql.placeholder(name);
const name = (column: Column) => sql.identifier(column.name);
const list = (parts: SQL[]) => sql.join(parts, sql`, `);
const pairs = (object: Record<string, SQL>) =>
  list(Object.entries(object).map(([key, value]) => sql`${sql.raw(`'${key}'`)}, ${value}`));

/** A statement that is built once. */
export function prepare(query: SQL): Statement {
  const { sql: text, params } = new SQLiteSyncDialect().sqlToQuery(query);
  return (values) => ({
    sql: text,
    args: params.map((param) => {
      const value = is(param, Placeholder) ? values[param.name] : param;
      // A JavaScript number would arrive as a REAL.
      return typeof value === "number" ? BigInt(Math.round(value)) : value as string | null;
    }),
  });
}

/**
 * Builds them all.
 *
 * @param schema On which tables.
 * @param clock Whether the time is bound, as `now`; else it is the database's.
 */
export function makeStatements(schema: FuseSchema, clock: boolean): Statements {
  const { circuitBreakerEvents: e } = schema;
  // Short names: the statements travel with every request.
  const b = alias(schema.circuitBreakers, "b");
  const w = alias(schema.circuitBreakerWindows, "w");
  const l = alias(schema.circuitBreakerLeases, "l");
  const r = alias(schema.circuitBreakerRequests, "r");
  const B = sql`${schema.circuitBreakers} as ${b}`;
  const W = sql`${schema.circuitBreakerWindows} as ${w}`;
  const L = sql`${schema.circuitBreakerLeases} as ${l}`;
  const R = sql`${schema.circuitBreakerRequests} as ${r}`;
  const now = clock ? sql`${$("now")}` : sql`cast(unixepoch('subsec') * 1000 as integer)`;
  const memory = sql.raw(String(ID_MEMORY_MS));

  /** The circuit, and its row's id. */
  const mine = sql`${b.key} = ${$("key")}`;
  const mineId = sql`(select ${b.id} from ${B} where ${mine})`;
  /** The decision of this request, and whether it is not applied yet. */
  const ours = sql`${B} join ${R}`;
  const fresh = sql`${mine} and ${r.circuitBreakerId} = ${b.id} and ${r.id} = ${$("id")}
    and ${r.revision} > ${b.revision}`;
  const winning = sql`${fresh} and ${r.won} = 1`;
  /** Whether an override has run out: before the decision, and by it. */
  const expired = sql`coalesce(${b.overrideUntil} <= ${now}, 0)`;
  const expiring = sql`${fresh} and ${b.revision} = ${r.revision} - 2
    and ${b.overrideUntil} <= ${r.at}`;
  const next = sql`${b.generation} + 1`;

  const set = (expressions: Expressions) =>
    list(
      Object.entries(expressions).map(([key, value]) =>
        sql`${name(b[key as keyof CircuitBreakerColumns])} = ${value}`
      ),
    );
  const update = (expressions: Expressions, where: SQL) =>
    prepare(sql`update ${B} set ${set(expressions)} from ${R} where ${where}`);
  const insert = (table: SQLiteTable | SQL, columns: Column[], rest: SQL) =>
    prepare(sql`insert into ${table} (${list(columns.map((c) => sql`${name(c)}`))}) ${rest}`);

  const decide = (won: SQL, where = sql`true`) =>
    insert(
      R,
      [r.circuitBreakerId, r.id, r.at, r.won, r.revision],
      sql`select ${b.id}, ${$("id")}, ${now}, ${won}, ${b.revision} + 2 from ${B}
        where ${mine} and ${where}
        on conflict (${name(r.circuitBreakerId)}, ${name(r.id)}) do update set
        ${name(r.at)} = excluded.${name(r.at)}, ${name(r.won)} = excluded.${name(r.won)},
        ${name(r.revision)} = excluded.${name(r.revision)}
        where ${r.at} <= excluded.${name(r.at)} - ${memory}`,
    );
  /** A row of the trail. It goes before what it tells of, so that it sees what was. */
  const tell = (event: SQL, metadata: Record<string, SQL>, where: SQL) =>
    insert(
      e,
      [e.circuitBreakerId, e.event, e.metadata, e.createdAt, e.key],
      sql`select ${b.id}, ${event}, json_object(${pairs(metadata)}), ${r.at}, ${b.key}
        from ${ours} where ${where}`,
    );

  const NULL = sql`null`;
  const ZERO = sql`0`;
  const begin: Expressions = { generation: next, halfOpenSuccesses: ZERO, halfOpenFailures: ZERO };
  const clear: Expressions = {
    ...{ consecutiveFailures: ZERO, consecutiveSuccesses: ZERO, failureCount: ZERO },
    ...{ successCount: ZERO, slowCount: ZERO, outcomes: sql`''`, evidenceSince: next },
  };
  const applied: Expressions = { revision: sql`${r.revision}`, updatedAt: sql`${r.at}` };
  const why = { reason: sql`${$("reason")}`, actor: sql`${$("actor")}` };
  /** A moment on the caller's clock, on the database's. */
  const translated = (moment: string) => sql`${$(moment)} + ${r.at} - ${$("at")}`;

  const newest = sql`(select max(${w.start}) from ${W}
    where ${w.circuitBreakerId} = ${b.id} and ${w.since} = ${b.evidenceSince})`;
  /** The circuit as one JSON text: to a local client, a column costs as much as a statement. */
  const circuit = (more: Record<string, SQL> = {}) => {
    const object: Record<string, SQL> = {
      at: sql`${name(r.at)}`,
      segments: sql`(select json_group_array(json_array(${w.start}, ${w.successes}, ${w.failures},
        ${w.slow})) from ${W}
        where ${w.circuitBreakerId} = ${b.id} and ${w.since} = ${b.evidenceSince})`,
      leases: sql`(select json_group_array(${l.until}) from ${L}
        where ${l.circuitBreakerId} = ${b.id} and ${l.generation} = ${b.generation}
        and ${l.ended} = 0)`,
      ...more,
    };
    for (const field of FIELDS) object[field] = sql`${b[field]}`;
    return sql`json_object(${pairs(object)}) as "row"`;
  };
  const clocked = sql`(select ${now} as ${name(r.at)}) left join ${B} on`;

  const segmentColumns = [w.circuitBreakerId, w.start, w.since, w.successes, w.failures, w.slow];
  const openingFrom = (state: string) => sql`${b.state} = ${sql.raw(`'${state}'`)}`;
  const due = sql`(${openingFrom("OPEN")} and (${b.override} is null or ${expired})
    and (${b.openUntil} is null or ${b.openUntil} <= ${now}
    or ${b.openUntil} - ${now} > ${$("maxCooldownMs")}))`;
  const expected = sql`(${$("expected")} = 0 or (${b.epoch} = ${$("epoch")}
    and ${b.generation} + ${expired} = ${$("generation")}))`;
  const moving = (to: SQL) => ({ from: sql`${b.state}`, to, generation: next, ...why });

  const change = (won: SQL, told: Statement, ...apply: Statement[]): Change => ({
    decide: decide(won),
    apply: [told, ...apply],
  });

  return {
    create: insert(
      B,
      [b.key, b.name, b.context, b.boundary, b.epoch, b.createdAt, b.updatedAt],
      sql`values (${$("key")}, ${$("name")}, ${$("context")}, ${$("boundary")}, ${$("id")},
        ${now}, ${now}) on conflict (${name(b.key)}) do nothing`,
    ),
    expire: [
      tell(
        sql`'released'`,
        {
          ...moving(sql`${b.state}`),
          ...{ reason: sql`'expired'`, actor: NULL, kind: sql`${b.override}` },
        },
        expiring,
      ),
      update({
        ...begin,
        ...clear,
        ...{ override: NULL, overrideUntil: NULL, overrideReason: NULL, overrideActor: NULL },
        released: sql`json_object('kind', ${b.override}, 'until', ${b.overrideUntil},
          'reason', ${b.overrideReason}, 'actor', ${b.overrideActor})`,
        releasedBy: sql`${$("id")}`,
        ...applied,
        revision: sql`${r.revision} - 1`,
      }, expiring),
    ],
    read: prepare(sql`select ${circuit()} from ${clocked} ${mine}`),
    answer: prepare(sql`select ${
      circuit({
        won: sql`(select ${r.won} from ${R}
          where ${r.circuitBreakerId} = ${b.id} and ${r.id} = ${$("id")})`,
        leased: sql`exists (select 1 from ${L} where ${l.circuitBreakerId} = ${b.id}
          and ${l.token} = ${$("token")} and ${l.generation} = ${b.generation} and ${l.ended} = 0)`,
      })
    } from ${clocked} ${mine}`),
    list: prepare(sql`select ${circuit()} from (select ${now} as ${name(r.at)}) join ${B}
      where ${b.id} > ${$("cursor")} order by ${b.id} limit ${$("limit")}`),
    record: {
      decide: decide(sql`case when ${$("epoch")} = ''
        then ${$("generation")} = 0 and ${b.generation} + ${expired} = 1
        else ${b.epoch} = ${$("epoch")} and ${b.generation} + ${expired} = ${$("generation")} end`),
      // Where the newest segment covers this moment, it takes the outcome, wherever it began. Time
      // that went back counts as standing still.
      window: insert(
        W,
        segmentColumns,
        sql`select "id", case when ${$("ageMs")} = 0 and "at" < "newest" + ${$("segmentMs")}
            then "newest" else ("upto" - ${$("ageMs")}) / ${$("segmentMs")} * ${$("segmentMs")} end
            as "begun", "since", ${$("successes")}, ${$("failures")}, ${$("slow")}
          from (select *, max("at", coalesce("newest", "at")) as "upto"
            from (select ${b.id} as "id", ${r.at} as "at", ${b.evidenceSince} as "since",
              ${newest} as "newest" from ${ours} where ${winning}))
          where "begun" > "upto" - ${$("windowMs")}
          on conflict (${name(w.circuitBreakerId)}, ${name(w.start)}) do update set
          ${
          list([w.successes, w.failures, w.slow].map((c) =>
            sql`${name(c)} = case when ${w.since} = excluded.${name(w.since)} then ${c} else 0 end
              + excluded.${name(c)}`
          ))
        }, ${name(w.since)} = excluded.${name(w.since)}`,
      ),
      endLease: prepare(sql`update ${L} set ${name(l.ended)} = 1 from ${ours}
        where ${fresh} and ${l.circuitBreakerId} = ${b.id} and ${l.token} = ${$("lease")}
        and ${l.generation} = ${b.generation}`),
      apply: counting(),
      purge: [
        prepare(sql`delete from ${R} where ${r.circuitBreakerId} = ${mineId}
          and ${r.at} <= ${now} - ${memory}`),
        prepare(sql`delete from ${W} where ${w.circuitBreakerId} = ${mineId}
          and (select ${w.since} <> ${b.evidenceSince} or
            ${w.start} <= max(${now}, coalesce(${newest}, 0)) - ${$("windowMs")}
            from ${B} where ${mine})`),
      ],
    },
    acquire: {
      // A request that finds nothing to do leaves no trace.
      decide: decide(due, sql`(${due} or ${expired})`),
      apply: [
        tell(
          sql`'half_opened'`,
          { ...moving(sql`'HALF_OPEN'`), reason: sql`'cooldown_passed'`, actor: NULL },
          winning,
        ),
        update({
          ...begin,
          ...{ state: sql`'HALF_OPEN'`, reason: sql`'cooldown_passed'` },
          ...applied,
        }, winning),
        // Further off than that, a lease was granted by a clock that has since gone back.
        prepare(sql`delete from ${L} where ${l.circuitBreakerId} = ${mineId} and
          (${l.until} <= ${now}
          or (${l.ended} = 0 and ${l.until} - ${now} > 2 * ${l.leaseMs})
          or ${l.generation} <> (select ${b.generation} from ${B} where ${mine}))`),
        insert(
          L,
          [l.circuitBreakerId, l.token, l.generation, l.until, l.leaseMs, l.ended],
          sql`select ${b.id}, ${$("token")}, ${b.generation}, ${now} + ${$("leaseMs")},
            ${$("leaseMs")}, 0 from ${B}
            where ${mine} and ${openingFrom("HALF_OPEN")} and ${b.override} is null
            and (select count(*) from ${L} where ${l.circuitBreakerId} = ${b.id}
              and ${l.ended} = 0) < ${$("max")}
            on conflict do nothing`,
        ),
      ],
    },
    open: change(
      expected,
      tell(sql`${$("event")}`, moving(sql`'OPEN'`), winning),
      update({
        ...begin,
        state: sql`'OPEN'`,
        reason: sql`${$("reason")}`,
        reopenCount: sql`case when ${
          openingFrom("HALF_OPEN")
        } then ${b.reopenCount} + 1 else 0 end`,
        openedAt: sql`${r.at}`,
        openUntil: sql`${r.at} + ${$("cooldownMs")}`,
        ...applied,
      }, winning),
    ),
    close: change(
      // A trial that has failed leaves one way only.
      sql`${expected} and (${$("event")} <> 'closed' or ${expired} or ${b.halfOpenFailures} = 0)`,
      tell(sql`${$("event")}`, moving(sql`'CLOSED'`), winning),
      update({
        ...begin,
        ...clear,
        ...{ state: sql`'CLOSED'`, reason: sql`${$("reason")}`, reopenCount: ZERO },
        closedAt: sql`case when ${openingFrom("CLOSED")} then ${b.closedAt} else ${r.at} end`,
        openUntil: NULL,
        ...applied,
      }, winning),
    ),
    override: change(
      sql`${$("kind")} is not null or (${b.override} is not null and not ${expired})`,
      tell(
        sql`coalesce(${$("kind")}, 'released')`,
        {
          ...moving(sql`${b.state}`),
          ...{ until: translated("until"), kind: sql`coalesce(${$("kind")}, ${b.override})` },
        },
        winning,
      ),
      update({
        ...begin,
        ...clear,
        override: sql`${$("kind")}`,
        overrideUntil: translated("until"),
        overrideReason: sql`${$("reason")}`,
        overrideActor: sql`${$("actor")}`,
        ...applied,
      }, winning),
    ),
    restore: restoring(),
    remove: [
      prepare(sql`delete from ${W} where ${w.circuitBreakerId} = ${mineId}`),
      prepare(sql`delete from ${L} where ${l.circuitBreakerId} = ${mineId}`),
      prepare(sql`delete from ${R} where ${r.circuitBreakerId} = ${mineId}`),
      prepare(sql`delete from ${B} where ${mine} returning ${name(b.id)}`),
    ],
  };

  /** A tally: totals in any case, the rest if it is current. */
  function counting(): Statement {
    const c = (field: string) => sql`"c".${sql.identifier(field)}`;
    const add = (column: Column, count: string) => sql`${column} + ${c(count)}`;
    // The later of two moments, unless the held one was booked by a clock that has since gone back.
    const latest = (held: Column) =>
      sql`case when ${held} > "ended" and ${held} <= "at" then ${held} else "ended" end`;
    const trial = (column: Column, count: string) =>
      sql`${column} + (${openingFrom("HALF_OPEN")}) * ${c(count)}`;
    const sets: Expressions = {
      totalSuccesses: sql`${b.totalSuccesses} + ${$("successes")}`,
      totalFailures: sql`${b.totalFailures} + ${$("failures")}`,
      totalRejected: sql`${b.totalRejected} + ${$("rejected")}`,
      totalSlow: sql`${b.totalSlow} + ${$("slow")}`,
      previousPolicyHash: sql`${b.policyHash}`,
      policyHash: sql`${$("policyHash")}`,
      successCount: add(b.successCount, "successes"),
      failureCount: add(b.failureCount, "failures"),
      slowCount: add(b.slowCount, "slow"),
      consecutiveFailures: sql`case when ${c("successes")} > 0 then 0
        else ${b.consecutiveFailures} end + ${c("lengthens")} * ${c("failures")}`,
      consecutiveSuccesses: sql`case when ${c("lengthens")} then 0
        else ${add(b.consecutiveSuccesses, "successes")} end`,
      lastSuccessAt: c("succeeded"),
      lastFailureAt: c("failed"),
      halfOpenSuccesses: trial(b.halfOpenSuccesses, "successes"),
      halfOpenFailures: trial(b.halfOpenFailures, "failures"),
      outcomes: sql`case when ${c("won")} and ${$("marks")} <> ''
        then substr(${b.outcomes} || ${$("marks")}, -${$("windowSize")}) else ${b.outcomes} end`,
      revision: c("revision"),
      updatedAt: c("at"),
    };
    // A failure that ended before the last success does not lengthen the run.
    return prepare(sql`update ${B} set ${set(sets)} from (select *, "failures" > 0 and
        coalesce(max("at", "succeeded") - ${$("ageMs")} >= "succeeded", 1) as "lengthens"
      from (select *,
          case when "successes" > 0 then ${latest(b.lastSuccessAt)} else ${b.lastSuccessAt} end
            as "succeeded",
          case when "failures" > 0 then ${latest(b.lastFailureAt)} else ${b.lastFailureAt} end
            as "failed"
        from (select ${r.circuitBreakerId} as "circuit", ${r.at}, ${r.won}, ${r.revision},
          ${r.at} - ${$("ageMs")} as "ended", ${r.won} * ${$("successes")} as "successes",
          ${r.won} * ${$("failures")} as "failures", ${r.won} * ${$("slow")} as "slow"
          from ${ours} where ${fresh}) join ${B} on ${b.id} = "circuit")) as "c"
      where ${b.id} = ${c("circuit")}`);
  }

  function restoring(): Change {
    const generation = sql`max(${b.generation}, ${$("generation")}) + 1`;
    const at = (index: number) => sql`json_extract("value", ${sql.raw(`'$[${index}]'`)})`;
    const same: Expressions = {};
    for (const field of KEPT) same[field] = sql`${$(field)}`;
    for (const field of KEPT_TIMES) same[field] = translated(field);
    return change(
      // A record that this very request has made was not there before.
      sql`${$("replace")} or ${b.epoch} = ${$("id")}`,
      tell(
        sql`'imported'`,
        { from: sql`${b.state}`, to: sql`${$("state")}`, generation, ...why },
        winning,
      ),
      insert(
        W,
        segmentColumns,
        sql`select ${b.id}, ${at(0)} + ${r.at} - ${$("at")}, ${generation}, ${at(1)}, ${at(2)},
          ${at(3)} from ${ours}, json_each(${$("segments")}) where ${winning}
          on conflict do update set
          ${list(segmentColumns.slice(2).map((c) => sql`${name(c)} = excluded.${name(c)}`))}`,
      ),
      update({
        ...begin,
        ...same,
        reason: sql`${$("because")}`,
        epoch: sql`${$("id")}`,
        generation,
        evidenceSince: generation,
        ...applied,
      }, winning),
    );
  }
}

/** What a restored record brings along. */
export const KEPT = [
  ...["state", "reopenCount", "consecutiveFailures", "consecutiveSuccesses", "failureCount"],
  ...["successCount", "slowCount", "totalSuccesses", "totalFailures", "totalRejected"],
  ...["totalSlow", "override", "overrideReason", "overrideActor", "policyHash", "outcomes"],
] as (keyof CircuitBreakerColumns)[];

/** Its times, which are on the caller's clock. */
export const KEPT_TIMES = [
  ...["openedAt", "openUntil", "closedAt", "lastFailureAt", "lastSuccessAt", "overrideUntil"],
] as (keyof CircuitBreakerColumns)[];
