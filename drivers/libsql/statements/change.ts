/**
 * The statements that change a circuit on request: transitions, overrides and restored records.
 *
 * @module
 */

import { type SQL, sql } from "drizzle-orm";
import {
  BEGIN_GENERATION,
  type Change,
  CLEAR_EVIDENCE,
  decide,
  type Dialect,
  GENERATION,
  OVERRIDDEN,
  type Tables,
  translated,
  update,
  WINNING,
} from "./dialect.ts";
import { $, prepare, type Statement } from "./prepare.ts";
import { KEPT, KEPT_TIMES } from "./read.ts";
import { appendChange } from "./trail.ts";

/** The statements of `transition`, `override` and `restore`. */
export interface ChangeStatements {
  readonly open: Change;
  readonly close: Change;
  readonly override: Change;
  readonly restore: Change;
}

/** Builds the statements of `transition`, `override` and `restore`. */
export function changeStatements(dialect: Dialect): ChangeStatements {
  return {
    open: open(dialect),
    close: close(dialect),
    override: override(dialect),
    restore: restore(dialect),
  };
}

function change(dialect: Dialect, won: SQL, ...apply: Statement[]): Change {
  return { decide: decide(dialect, won), apply: [appendChange(dialect), ...apply] };
}

/** The condition that the circuit is as the caller expects it. An operator's request expects nothing. */
function expected({ current }: Dialect): SQL {
  return sql`(not ${$("expects")} or ${current})`;
}

function open(dialect: Dialect): Change {
  return change(
    dialect,
    expected(dialect),
    update(
      dialect,
      sql`${BEGIN_GENERATION},
        state = 'OPEN',
        reason = ${$("reason")},
        opened_at = ${$("moment")},
        open_until = ${$("moment")} + ${$("cooldownMs")},
        cooldown_ms = ${$("cooldownMs")},
        last_failure = ${$("lastFailure")},
        policy = coalesce(${$("policy")}, policy),
        reopen_count = iif(state = 'HALF_OPEN', reopen_count + 1, 0)`,
    ),
  );
}

function close(dialect: Dialect): Change {
  return change(
    dialect,
    // A circuit of which too many trials have failed does not close.
    sql`${expected(dialect)} and (
      ${$("event")} <> 'closed' or ${dialect.expired}
      or b.half_open_failures < ${$("failuresBelow")}
    )`,
    update(
      dialect,
      sql`${BEGIN_GENERATION}, ${CLEAR_EVIDENCE},
        state = 'CLOSED',
        reason = ${$("reason")},
        reopen_count = 0,
        policy = coalesce(${$("policy")}, policy),
        closed_at = iif(state = 'CLOSED', closed_at, r.at),
        open_until = null,
        cooldown_ms = null`,
    ),
  );
}

function override(dialect: Dialect): Change {
  return change(
    dialect,
    // Without a kind the request releases an override, if there is one.
    sql`${$("kind")} is not null or (${OVERRIDDEN} and not ${dialect.expired})`,
    update(
      dialect,
      sql`${BEGIN_GENERATION}, ${CLEAR_EVIDENCE},
        override = ${$("kind")},
        override_until = ${translated("until")},
        override_reason = iif(${$("kind")} is null, null, ${$("reason")}),
        override_actor = iif(${$("kind")} is null, null, ${$("actor")})`,
    ),
  );
}

/** The generation of a restored record: later than that of the record, and than what was there. */
const RESTORED = sql`max(${GENERATION}, ${$("generation")}) + 1`;

function restore(dialect: Dialect): Change {
  const columns = [
    ...KEPT.map((column) => sql`${sql.raw(column)} = ${$(column)}`),
    ...KEPT_TIMES.map((column) => sql`${sql.raw(column)} = ${translated(column)}`),
  ];
  return change(
    dialect,
    // A record that this very request has created was not there before.
    sql`${$("replace")} or (
      b.generation = 1 and substr(b.epoch, 1, length(${$("id")}) + 1) = ${$("id")} || '.'
    )`,
    restoreWindow(dialect),
    update(
      dialect,
      sql`${BEGIN_GENERATION},
        epoch = ${$("changeEpoch")},
        generation = ${RESTORED},
        evidence_since = ${RESTORED},
        reason = ${$("restoredReason")},
        request_second = 0,
        ${sql.join(columns, sql.raw(", "))}`,
    ),
  );
}

function restoreWindow({ circuits, requests, windows }: Tables): Statement {
  return prepare(sql`
    insert into ${windows} (circuit_breaker_id, start, since, successes, failures, slow)
    select b.id, s.value ->> 0 + r.at - ${$("at")}, ${RESTORED},
      s.value ->> 1, s.value ->> 2, s.value ->> 3
    from ${circuits} b, ${requests} r, json_each(${$("segments")}) s where ${WINNING}
    on conflict (circuit_breaker_id, start) do update set
      since = excluded.since,
      successes = excluded.successes, failures = excluded.failures, slow = excluded.slow`);
}
