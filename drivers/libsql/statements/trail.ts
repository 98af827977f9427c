/**
 * The statements that append to the trail and keep its hash chain.
 *
 * @module
 */

import { type SQL, sql, type SQLChunk } from "drizzle-orm";
import {
  CHAINED,
  CLEAR_EVIDENCE,
  type Dialect,
  END_TRIALS,
  FRESH,
  GENERATION,
  ranOut,
  type Tables,
  UNTOUCHED,
  update,
  WINNING,
} from "./dialect.ts";
import { $, prepare, type Statement } from "./prepare.ts";

/** The statements of the trail that are no part of one operation. */
export interface TrailStatements {
  /** Takes edits by hand into the chain, before the rows that this request appends. */
  readonly seal: Statement;
  /** Takes edits by hand into the chain, and appends nothing. */
  readonly sealEdits: readonly Statement[];
  /** Releases an override that has run out, before the request is applied. */
  readonly expire: readonly Statement[];
  /** Moves the end of the chain to the last row that this request has appended. */
  readonly mark: Statement;
}

/** Builds the statements of the trail. */
export function trailStatements(dialect: Dialect): TrailStatements {
  return {
    seal: seal(dialect),
    sealEdits: sealEdits(dialect),
    expire: expire(dialect),
    mark: mark(dialect),
  };
}

/** Appends the row that records a change. It goes before the change itself, which ends its premises. */
export function appendChange(tables: Tables): Statement {
  return append(tables, "change", $("event"), $("changeEpoch"), $("moment"), WINNING);
}

/** Appends a row. Its metadata, generation, place and hash are bound under names with a prefix. */
function append(
  { circuits, events, requests }: Tables,
  prefix: string,
  event: SQLChunk,
  epoch: SQLChunk,
  began: SQLChunk,
  where: SQL,
): Statement {
  return prepare(sql`
    insert into ${events} (
      circuit_breaker_id, event, metadata, created_at, key, epoch, generation, began, sequence, hash
    )
    select b.id, ${event}, ${$(`${prefix}Metadata`)}, ${$("stamp")}, b.key, ${epoch},
      ${$(`${prefix}Generation`)}, ${began}, ${$(`${prefix}Sequence`)}, ${$(`${prefix}Hash`)}
    from ${circuits} b, ${requests} r where ${where}`);
}

/** The condition that an override has run out, which the request releases first. */
const EXPIRING = sql`${UNTOUCHED} and ${ranOut(sql.raw("r.at"))}`;

function expire(tables: Tables): Statement[] {
  return [
    append(tables, "release", sql`'released'`, sql`b.epoch`, sql`b.override_until`, EXPIRING),
    update(
      tables,
      sql`${END_TRIALS}, ${CLEAR_EVIDENCE},
        revision = r.revision - 1, generation = ${GENERATION} + 1, began = override_until,
        released_by = r.id,
        released = json_object(
          'kind', override, 'until', override_until,
          'reason', override_reason, 'actor', override_actor
        ),
        override = null, override_until = null, override_reason = null, override_actor = null`,
      EXPIRING,
    ),
  ];
}

function seal({ circuits, events, requests }: Tables): Statement {
  return prepare(sql`
    ${sealing(events)}
      and key = ${$("key")} and exists (
        select 1 from ${circuits} b, ${requests} r
        where ${UNTOUCHED} and (r.won or ${ranOut(sql.raw("r.at"))})
      )`);
}

/**
 * Gives edits by hand their places and hashes. Turso's engine knows no UPDATE from `json_each`, and no
 * alias for a table with partial indexes.
 *
 * @returns The statement up to its condition.
 */
export function sealing(events: Tables["events"]): SQL {
  const of = (field: number) =>
    sql`(
      select s.value ->> ${sql.raw(`${field}`)} from json_each(${$("edits")}) s
      where s.value ->> 0 = ${events}.id
    )`;
  return sql`
    update ${events} set sequence = ${of(1)}, hash = ${of(2)}
    where id in (select s.value ->> 0 from json_each(${$("edits")}) s) and sequence is null`;
}

function sealEdits({ events, trails }: Tables): Statement[] {
  return [
    prepare(sql`
      update ${trails} as t set
        head = ${$("editHead")}, sequence = ${$("editSequence")},
        last_id = ${$("editId")}, last_at = ${$("editAt")},
        unsealed = t.unsealed - ${$("editCount")}
      where t.key = ${$("key")} and t.head || ' ' || t.unsealed = ${$("sealTrail")}`),
    // Only if the first statement has moved the end of the chain.
    prepare(sql`
      ${sealing(events)}
        and key = ${$("key")} and exists (
          select 1 from ${trails} t where t.key = ${$("key")} and t.head = ${$("editHead")}
        )`),
  ];
}

/** Moves the end of the chain to the last row that this request has appended. */
export function mark({ events, trails }: Tables): Statement {
  return prepare(sql`
    insert into ${trails} (key, head, sequence, last_id, last_at)
    select e.key, e.hash, e.sequence, e.id, e.created_at from ${events} e
    where ${CHAINED} and e.key = ${$("key")} and e.sequence > ${$("sealSequence")}
      and e.hash in (${$("changeHash")}, ${$("releaseHash")})
    order by e.sequence desc limit 1
    on conflict (key) do update set
      head = excluded.head, sequence = excluded.sequence,
      last_id = excluded.last_id, last_at = excluded.last_at,
      unsealed = unsealed - ${$("editCount")}
    where sequence = ${$("sealSequence")}`);
}

/** A row of the trail for each call of a tally. Such rows are in no chain. */
export function appendCalls({ circuits, events, requests }: Tables): Statement {
  return prepare(sql`
    insert into ${events} (circuit_breaker_id, event, metadata, created_at, key)
    select b.id,
      iif(n.value ->> '$[0]', 'failure', 'success'),
      case
        when r.won then '{"generation":' || ${GENERATION}
        when ${$("generation")} < 0 then '{"uncounted":true'
        else '{"generation":' || ${$("generation")} || ',"late":true' end
        || iif(n.value ->> '$[2]', ',"slow":true', '')
        || iif(n.value ->> '$[3]' is null, '', ',"error":' || json_quote(n.value ->> '$[3]')) || '}',
      r.at - (n.value ->> '$[1]'),
      b.key
    from ${circuits} b join ${requests} r join json_each(${$("calls")}) n where ${FRESH}`);
}
