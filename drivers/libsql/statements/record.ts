/**
 * The statements that count a tally.
 *
 * @module
 */

import { type SQL, sql } from "drizzle-orm";
import {
  type Change,
  CURRENT,
  decide,
  type Dialect,
  FRESH,
  GENERATION,
  MEMORY_MS,
  OWN,
  type Tables,
  VALID,
  WINNING,
} from "./dialect.ts";
import { $, prepare, type Statement } from "./prepare.ts";
import { appendCalls } from "./trail.ts";

/** The statements of `record`. A tally "wins" if it is of the current generation. */
export interface RecordStatements extends Change {
  /** The decision of a tally that finds an override that has run out, and appends its release. */
  readonly decideRelease: Statement;
  /** Adds to the time window. */
  readonly window: Statement;
  /** Ends the lease of a trial. */
  readonly endLease: Statement;
  /** Appends a row to the trail for each call. */
  readonly calls: Statement;
  /** Deletes segments and requests that are too old to matter. */
  readonly purge: readonly Statement[];
}

/** Builds the statements of `record`. */
export function recordStatements(dialect: Dialect): RecordStatements {
  const { circuits, current, expired, leases, requests, sealed } = dialect;
  return {
    decide: decide(dialect, counts(GENERATION, CURRENT), sql`not ${expired}`),
    decideRelease: decide(
      dialect,
      counts(sql`${GENERATION} + ${expired}`, current),
      sql`(not ${expired} or ${sealed})`,
    ),
    window: addToWindow(dialect),
    endLease: prepare(sql`
      update ${leases} as l set ended = 1
      from ${circuits} b, ${requests} r
      where ${FRESH} and l.circuit_breaker_id = b.id
        and l.token = ${$("lease")} and ${VALID}`),
    calls: appendCalls(dialect),
    apply: [count(dialect)],
    purge: purge(dialect),
  };
}

/**
 * True if a tally counts. A call admitted while the circuit was unknown counts in the first
 * generation.
 */
function counts(generation: SQL, current: SQL): SQL {
  return sql`iif(${$("epoch")} = '', ${$("generation")} = 0 and ${generation} = 1, ${current})`;
}

/**
 * If the newest segment covers this moment, the outcomes are added to it, wherever it began. A clock
 * that was set back counts as standing still.
 */
function addToWindow({ circuits, newestSegment, requests, windows }: Dialect): Statement {
  return prepare(sql`
    insert into ${windows} (circuit_breaker_id, start, since, successes, failures, slow)
    select id,
      iif(
        ${$("ageMs")} = 0 and at < newest + ${$("segmentMs")},
        newest,
        (upto - ${$("ageMs")}) / ${$("segmentMs")} * ${$("segmentMs")}
      ) as begun,
      since, ${$("successes")}, ${$("failures")}, ${$("slow")}
    from (
      select *, max(at, coalesce(newest, at)) as upto
      from (
        select b.id, r.at, b.evidence_since as since, ${newestSegment} as newest
        from ${circuits} b, ${requests} r where ${WINNING}
      )
    )
    where begun > upto - ${$("windowMs")}
    on conflict (circuit_breaker_id, start) do update set
      since = excluded.since,
      successes = (since = excluded.since) * successes + excluded.successes,
      failures = (since = excluded.since) * failures + excluded.failures,
      slow = (since = excluded.since) * slow + excluded.slow`);
}

/** Counts the tally: in the totals in any case, in all else if it is of the current generation. */
function count(tables: Tables): Statement {
  return prepare(sql`
    with c as materialized (${effect(tables)})
    update ${tables.circuits} as b set
      total_successes = total_successes + ${$("successes")},
      total_failures = total_failures + ${$("failures")},
      total_rejected = total_rejected + ${$("rejected")},
      total_slow = total_slow + ${$("slow")},
      previous_policy_hash = policy_hash,
      policy_hash = coalesce(nullif(${$("policyHash")}, ''), policy_hash),
      policy = iif(c.won, coalesce(${$("policy")}, policy), policy),
      success_count = success_count + c.successes,
      failure_count = failure_count + c.failures,
      slow_count = slow_count + c.slow,
      consecutive_failures =
        iif(c.successes > 0, 0, consecutive_failures) + c.lengthens,
      consecutive_successes =
        iif(c.lengthens > 0, 0, consecutive_successes + c.successes),
      last_success_at = c.succeeded,
      last_failure_at = c.failed,
      half_open_successes = half_open_successes + (state = 'HALF_OPEN') * c.successes,
      half_open_failures = half_open_failures + (state = 'HALF_OPEN') * c.failures,
      outcomes = iif(
        c.won and ${$("marks")} <> '',
        substr(outcomes || ${$("marks")}, -${$("windowSize")}),
        outcomes
      ),
      request_second = c.at / 1000,
      request_count = iif(request_second = c.at / 1000, request_count, 0) + 1,
      requests_before = case c.at / 1000 - request_second
        when 0 then requests_before when 1 then request_count else 0 end,
      updated_at = c.at,
      revision = c.revision
    from c where b.id = c.id`);
}

/**
 * The effect of the tally: its counts, or zeros if it is late; the times of the last success and the
 * last failure; and by how many of its failures the run is longer.
 */
function effect({ circuits, requests }: Tables): SQL {
  const counts = sql`
    select b.id, r.at, r.won, r.revision,
      r.won * ${$("successes")} as successes,
      r.won * ${$("failures")} as failures,
      r.won * ${$("slow")} as slow
    from ${circuits} b, ${requests} r where ${FRESH}`;
  // Failures that ended before the last success do not lengthen the run. If it ended after the first
  // one, only the last one surely followed it. A success in the future was written before the clock
  // was set back.
  return sql`
    select c.*,
      case
        when ${$("ageMs")} > c.since then 0
        when ${$("firstAgeMs")} > c.since then min(c.failures, 1)
        else c.failures end as lengthens
    from (
      select c.*, max(0, c.at - coalesce(c.succeeded, -1e15)) as since
      from (
        select c.*,
          ${latest("last_success_at", "successes", "firstAgeMs")} as succeeded,
          ${latest("last_failure_at", "failures", "ageMs")} as failed
        from (${counts}) c join ${circuits} b on b.id = c.id
      ) c
    ) c`;
}

/** The later of the recorded time and the tally's, unless a clock that went back recorded it. */
function latest(recorded: string, counted: string, ageMs: string): SQL {
  const [held, count] = [sql.raw(`b.${recorded}`), sql.raw(`c.${counted}`)];
  const ended = sql`c.at - ${$(ageMs)}`;
  return sql`iif(
    ${count} > 0,
    iif(${held} > ${ended} and ${held} <= c.at, ${held}, ${ended}),
    ${held}
  )`;
}

function purge({ circuits, newestSegment, now, ownId, requests, windows }: Dialect): Statement[] {
  return [
    prepare(sql`
      delete from ${requests} as r
      where r.circuit_breaker_id = ${ownId} and r.at <= ${now} - ${MEMORY_MS}`),
    prepare(sql`
      delete from ${windows} as w
      where w.circuit_breaker_id = ${ownId} and (
        select w.since <> b.evidence_since
          or w.start <= max(${now}, coalesce(${newestSegment}, 0)) - ${$("windowMs")}
        from ${circuits} b where ${OWN}
      )`),
  ];
}
