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
 * In all of them `b` is the circuit, `e` a row of the trail, `w` a segment of the window, `l` a
 * lease, `r` what was decided, and `t` where a hash chain stands.
 *
 * @module
 */

import { is, Placeholder, type SQL, sql } from "drizzle-orm";
import { SQLiteSyncDialect } from "drizzle-orm/sqlite-core";
import { ID_MEMORY_MS } from "../../src/records.ts";
import type { SqlStatement } from "./client.ts";
import { CHAINED, type FuseSchema } from "./schema.ts";

/** What placeholders stand for. Numbers are whole. */
export type Values = Readonly<Record<string, string | number | null>>;

/** Binds a statement. */
export type Statement = (values: Values) => SqlStatement;

/** A change of state: what decides whether it wins, and what then happens. */
export interface Change {
  readonly decide: Statement;
  readonly apply: readonly Statement[];
}

/** All statements of a store. */
export interface Statements {
  readonly create: Statement;
  /** Takes rows of edits by hand into the chain, with the rows that this request appends. */
  readonly seal: Statement;
  /** Takes only such rows into the chain. */
  readonly sealEdits: readonly Statement[];
  /** What a request goes through, before it is applied, that finds an override past its end. */
  readonly expire: readonly Statement[];
  /** Takes down where the chain stands now. */
  readonly mark: Statement;
  readonly read: Statement;
  readonly answer: Statement;
  readonly list: Statement;
  readonly record: Change & {
    readonly window: Statement;
    readonly endLease: Statement;
    /** A row of the trail for each call. */
    readonly calls: Statement;
    readonly purge: readonly Statement[];
  };
  readonly acquire: Change & { readonly lease: readonly Statement[] };
  readonly open: Change;
  readonly close: Change;
  readonly override: Change;
  readonly restore: Change;
  readonly remove: readonly Statement[];
}

/** What a restored record brings along, by column. */
export const KEPT: readonly string[] = [
  ...["state", "reopen_count", "consecutive_failures", "consecutive_successes", "failure_count"],
  ...["success_count", "slow_count", "total_successes", "total_failures", "total_rejected"],
  ...["total_slow", "override", "override_reason", "override_actor", "policy_hash", "outcomes"],
];

/** Its times, which are on the caller's clock. */
export const KEPT_TIMES: readonly string[] = [
  ...["opened_at", "open_until", "closed_at", "last_failure_at", "last_success_at"],
  "override_until",
];

/** The columns of a circuit that an answer has. */
const ANSWERED = [
  ...["id", "key", "epoch", "generation", "reason", "half_open_successes", "half_open_failures"],
  ...["previous_policy_hash", "released", "released_by", ...KEPT, ...KEPT_TIMES],
];

/**
 * Whether the metadata of an edit by hand is what the trigger writes, which knows neither why nor by
 * whom: anything else was put in by hand itself.
 */
export const TRIGGERED: SQL = sql.raw(`case when json_valid(e.metadata) then
  e.metadata ->> '$.from' in ('CLOSED', 'OPEN', 'HALF_OPEN')
  and e.metadata ->> '$.to' in ('CLOSED', 'OPEN', 'HALF_OPEN')
  and e.metadata = json_object('from', e.metadata ->> '$.from', 'to', e.metadata ->> '$.to',
    'generation', e.generation, 'reason', null, 'actor', null) else 0 end`);

/** Kinds of an override, as in `Override`. */
const OVERRIDES = "'forced_open', 'forced_closed', 'disabled', 'metrics_only'";

/** Rows of edits by hand that an answer has at most: the oldest. */
export const EDITS = 100;

const $ = (name: string) => sql.placeholder(name);

/** A statement that is built once. */
export function prepare(query: SQL): Statement {
  const { sql: text, params } = new SQLiteSyncDialect().sqlToQuery(query);
  const compact = text.replace(/\s+/g, " ");
  return (values) => ({
    sql: compact,
    args: params.map((param) => {
      const value = is(param, Placeholder) ? values[param.name] ?? null : param;
      // A JavaScript number would arrive as a REAL.
      if (typeof value === "number") return BigInt(Math.round(value));
      // A server does not accept half a character.
      return typeof value === "string" ? value.toWellFormed() : value as null;
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
  const {
    circuitBreakers: B,
    circuitBreakerEvents: E,
    circuitBreakerWindows: W,
    circuitBreakerLeases: L,
    circuitBreakerRequests: R,
    circuitBreakerTrails: T,
  } = schema;
  const now = clock ? sql`${$("now")}` : sql`cast(unixepoch('subsec') * 1000 as integer)`;
  const [id, key] = [$("id"), $("key")];
  const raw = sql.raw;

  // What somebody has spoilt reads as src/rules/stored_fields.ts has it: as the row does that decides with these.
  const whole = (column: string) =>
    raw(`iif(typeof(${column}) = 'integer' and ${column} between 0 and ${Number.MAX_SAFE_INTEGER},
      ${column}, 0)`);
  const [generation, revision] = [whole("b.generation"), whole("b.revision")];
  const time = (column: string) => `iif(${column} between -1.7e308 and 1.7e308, ${column}, null)`;
  const laid = raw(`coalesce(b.override in (${OVERRIDES}), 0)`);
  const memory = sql.raw(`${ID_MEMORY_MS}`);
  const mine = sql`b.key = ${key}`;
  const mineId = sql`(select b.id from ${B} b where ${mine})`;
  const decided = sql`r.circuit_breaker_id = b.id and r.id = ${id}`;
  /** The decision of this request, while it is not applied yet. */
  const fresh = sql`${mine} and ${decided} and r.revision > ${revision}`;
  const winning = sql`${fresh} and r.won`;
  /** Whether an override has run out: before the decision, and by it. */
  const lapsed = (at: SQL) =>
    sql`(${laid} and coalesce(${raw(time("b.override_until"))} <= ${at}, 0))`;
  const expired = lapsed(now);
  const expiring = sql`${fresh} and ${revision} = r.revision - 2 and ${lapsed(raw("r.at"))}`;

  const begun = sql`half_open_successes = 0, half_open_failures = 0, updated_at = r.at`;
  const begin = sql`${begun}, revision = r.revision, generation = ${generation} + 1`;
  const clear = sql`consecutive_failures = 0, consecutive_successes = 0, failure_count = 0,
    success_count = 0, slow_count = 0, outcomes = '', evidence_since = ${generation} + 1`;
  const update = (set: SQL, where = winning) =>
    prepare(sql`update ${B} as b set ${set} from ${R} r where ${where}`);

  /**
   * Whether the rows of the trail that come with this request were hashed upon what stands. SQL has no
   * SHA-256: they were hashed before, and another row in between would break the chain.
   */
  const sealed = sql`(${$("sealed")} and b.epoch = ${$("sealEpoch")}
    and ${generation} = ${$("sealGeneration")} and ${expired} = ${$("sealExpired")}
    and abs(${now} - ${$("stamp")}) <= ${$("slackMs")}
    and coalesce((select t.head || ' ' || t.unsealed from ${T} t where t.key = b.key), ' 0')
      = ${$("sealTrail")})`;
  /** Nothing is decided that would append a row, unless that row is there, hashed. */
  const decide = (won: SQL, where = sql`(not (${won} or ${expired}) or ${sealed})`) =>
    prepare(sql`insert into ${R} as r (circuit_breaker_id, id, at, won, revision)
      select b.id, ${id}, ${now}, ${won}, ${revision} + 2 from ${B} b where ${mine} and ${where}
      on conflict (circuit_breaker_id, id) do update set
      at = excluded.at, won = excluded.won, revision = excluded.revision
      where r.at <= excluded.at - ${memory}`);
  /** A row of the trail. It goes before what it tells of. */
  const append = (
    where: SQL,
    event: SQL,
    metadata: string,
    epoch: SQL,
    generation: string,
    sequence: string,
    hash: string,
  ) =>
    prepare(sql`insert into ${E} (circuit_breaker_id, event, metadata, created_at, key, epoch,
        generation, sequence, hash)
      select b.id, ${event}, ${$(metadata)}, ${$("stamp")}, b.key, ${epoch}, ${$(generation)},
        ${$(sequence)}, ${$(hash)} from ${B} b, ${R} r where ${where}`);
  const tell = append(
    winning,
    $("event") as unknown as SQL,
    "told",
    $("toldEpoch") as unknown as SQL,
    ...["toldGeneration", "toldSequence", "toldHash"] as [string, string, string],
  );
  const chained = sql.raw(CHAINED);
  const change = (won: SQL, ...apply: Statement[]): Change => ({ decide: decide(won), apply });
  /** A moment on the caller's clock, on the database's. */
  const translated = (moment: string) => sql`${$(moment)} + r.at - ${$("at")}`;

  const newest = sql`(select max(w.start) from ${W} w
    where w.circuit_breaker_id = b.id and w.since = b.evidence_since)`;
  /** The circuit as one JSON text: to a local client, a column costs as much as a statement. */
  const circuit = (from: SQL, more = sql``) =>
    prepare(
      sql`select json_object('now', c.now, ${
        sql.raw(ANSWERED.map((column) => `'${column}', b.${column}, `).join(""))
      }${more} 'segments', (select json_group_array(json_array(w.start, w.successes, w.failures,
        w.slow)) from ${W} w where w.circuit_breaker_id = b.id and w.since = b.evidence_since),
      'leases', (select json_group_array(l.until) from ${L} l where l.circuit_breaker_id = b.id
        and l.generation = b.generation and not l.ended)) as circuit
      from (select ${now} as now) c ${from}`,
    );

  const trail = sql`left join ${T} t on t.key = ${key}`;
  const trailed = sql`'head', t.head, 'sequence', t.sequence, 'last_id', t.last_id,
    'last_at', t.last_at, 'unsealed', t.unsealed, 'edits', case when t.unsealed > 0 then (select json_group_array(json_array(
      n.id, n.circuit_breaker_id, n.epoch, n.generation, n.event, n.created_at, n.metadata))
      from (select * from ${E} e where e.event ${chained} and e.key = ${key} and e.sequence is null
        and +e.event = 'edited' and ${TRIGGERED} order by e.id limit ${EDITS}) n) end,`;

  const due = sql`(b.state = 'OPEN' and (not ${laid} or ${expired})
    and not coalesce(${raw(time("b.open_until"))} > ${now}
      and b.open_until - ${now} <= ${$("maxCooldownMs")}, 0))`;
  const current = sql`b.epoch = ${$("epoch")} and ${generation} + ${expired} = ${$("generation")}`;
  const expected = sql`(not ${$("expected")} or ${current})`;
  const imported = sql`max(${generation}, ${$("generation")}) + 1`;

  return {
    // A life has the id of the request that began it, and the moment: sent again after a removal, the
    // request begins another one.
    create: prepare(sql`insert into ${B} (key, name, context, boundary, epoch, created_at,
      updated_at) select ${key}, ${$("name")}, ${$("context")}, ${$("boundary")},
      ${id} || '.' || c.now, c.now, c.now from (select ${now} as now) c
      where true on conflict (key) do nothing`),
    expire: [
      append(
        expiring,
        sql`'released'`,
        "released",
        sql`b.epoch`,
        ...["releasedGeneration", "releasedSequence", "releasedHash"] as [string, string, string],
      ),
      update(
        sql`${begun}, ${clear}, revision = r.revision - 1, generation = ${generation} + 1, released_by = r.id,
          released = json_object('kind', override, 'until', override_until,
            'reason', override_reason, 'actor', override_actor),
          override = null, override_until = null, override_reason = null, override_actor = null`,
        expiring,
      ),
    ],
    seal: prepare(sql`update ${E} as e set sequence = s.value ->> 1, hash = s.value ->> 2
      from json_each(${
      $("edits")
    }) s, ${B} b, ${R} r where ${fresh} and ${revision} = r.revision - 2
      and (r.won or ${lapsed(raw("r.at"))})
      and e.id = s.value ->> 0 and e.key = b.key and e.sequence is null`),
    sealEdits: [
      prepare(sql`update ${T} as t set head = ${$("editHead")}, sequence = ${$("editSequence")},
        last_id = ${$("editId")}, last_at = ${$("editAt")}, unsealed = t.unsealed - ${
        $("editCount")
      }
        where t.key = ${key} and t.head || ' ' || t.unsealed = ${$("sealTrail")}`),
      prepare(sql`update ${E} as e set sequence = s.value ->> 1, hash = s.value ->> 2
        from json_each(${$("edits")}) s, ${T} t where t.key = ${key} and t.head = ${$("editHead")}
        and e.id = s.value ->> 0 and e.key = t.key and e.sequence is null`),
    ],
    // To the last row that this request has appended.
    mark: prepare(sql`insert into ${T} as t (key, head, sequence, last_id, last_at)
      select e.key, e.hash, e.sequence, e.id, e.created_at from ${E} e
      where e.event ${chained} and e.key = ${key} and e.sequence > ${$("sealSequence")}
      and e.hash in (${$("toldHash")}, ${$("releasedHash")}) order by e.sequence desc limit 1
      on conflict (key) do update set head = excluded.head, sequence = excluded.sequence,
      last_id = excluded.last_id, last_at = excluded.last_at,
      unsealed = t.unsealed - ${$("editCount")}
      where t.sequence = ${$("sealSequence")}`),
    read: circuit(sql`left join ${B} b on ${mine} ${trail}`, trailed),
    answer: circuit(
      sql`left join ${B} b on ${mine} left join ${R} r on ${decided} and +r.at > c.now - ${memory}
        ${trail}`,
      sql`${trailed} 'won', r.won, 'leased', exists (select 1 from ${L} l where l.circuit_breaker_id = b.id
        and l.token = ${$("token")} and l.generation = b.generation and not l.ended),`,
    ),
    list: circuit(sql`join ${B} b where b.id > ${$("cursor")} order by b.id limit ${$("limit")}`),
    record: {
      decide: decide(
        sql`iif(${$("epoch")} = '',
        ${$("generation")} = 0 and ${generation} + ${expired} = 1, ${current})`,
        sql`(not ${expired} or ${sealed})`,
      ),
      // Where the newest segment covers this moment, it takes the outcome, wherever it began. Time
      // that went back counts as standing still.
      window: prepare(sql`insert into ${W} as w
        (circuit_breaker_id, start, since, successes, failures, slow)
        select id, iif(${$("ageMs")} = 0 and at < newest + ${$("segmentMs")}, newest,
            (upto - ${$("ageMs")}) / ${$("segmentMs")} * ${$("segmentMs")}) as begun,
          since, ${$("successes")}, ${$("failures")}, ${$("slow")}
        from (select *, max(at, coalesce(newest, at)) as upto
          from (select b.id, r.at, b.evidence_since as since, ${newest} as newest
            from ${B} b, ${R} r where ${winning}))
        where begun > upto - ${$("windowMs")}
        on conflict (circuit_breaker_id, start) do update set since = excluded.since,
        successes = (w.since = excluded.since) * successes + excluded.successes,
        failures = (w.since = excluded.since) * failures + excluded.failures,
        slow = (w.since = excluded.since) * slow + excluded.slow`),
      endLease: prepare(sql`update ${L} as l set ended = 1 from ${B} b, ${R} r
        where ${fresh} and l.circuit_breaker_id = b.id and l.token = ${$("lease")}
        and l.generation = b.generation`),
      calls: prepare(sql`insert into ${E} (circuit_breaker_id, event, metadata, created_at, key)
        with recursive n (i) as
          (select 0 union all select i + 1 from n where i + 1 < ${$("calls")}),
        x (i, text) as materialized
          (select key + ${$("successes")}, value from json_each(${$("errors")}))
        select b.id, iif(n.i < ${$("successes")}, 'success', 'failure'),
          case when r.won then '{"generation":' || ${generation}
            when ${$("generation")} < 0 then '{"uncounted":true'
            else '{"generation":' || ${$("generation")} || ',"late":true' end
          || iif(n.i in (select value from json_each(${$("slowCalls")})), ',"slow":true', '')
          || iif(x.text is null, '', ',"error":' || json_quote(x.text)) || '}',
          r.at - ${$("ageMs")}, b.key
        from ${B} b join ${R} r join n left join x on x.i = n.i where ${fresh}`),
      apply: [counting()],
      purge: [
        prepare(sql`delete from ${R} as r where r.circuit_breaker_id = ${mineId}
          and r.at <= ${now} - ${memory}`),
        prepare(sql`delete from ${W} as w where w.circuit_breaker_id = ${mineId}
          and (select w.since <> b.evidence_since
            or w.start <= max(${now}, coalesce(${newest}, 0)) - ${$("windowMs")}
            from ${B} b where ${mine})`),
      ],
    },
    acquire: {
      // A request that finds nothing to do leaves no trace.
      decide: decide(due, sql`(${due} or ${expired}) and ${sealed}`),
      apply: [tell, update(sql`${begin}, state = 'HALF_OPEN', reason = 'cooldown_passed'`)],
      lease: [
        // Further off than that, a lease was granted by a clock that has since gone back.
        prepare(sql`delete from ${L} as l where l.circuit_breaker_id = ${mineId}
          and (coalesce(${
          raw(time("l.until"))
        }, 0) <= ${now} or (not l.ended and l.until - ${now} > 2 * l.lease_ms)
            or l.generation <> (select b.generation from ${B} b where ${mine}))`),
        prepare(sql`insert into ${L} (circuit_breaker_id, token, generation, until, lease_ms, ended)
          select b.id, ${$("token")}, b.generation, ${now} + ${$("leaseMs")}, ${$("leaseMs")}, 0
          from ${B} b where ${mine} and b.state = 'HALF_OPEN' and not ${laid}
          and (select count(*) from ${L} l where l.circuit_breaker_id = b.id and not l.ended)
            < ${$("max")}
          on conflict do nothing`),
      ],
    },
    open: change(
      expected,
      tell,
      update(sql`${begin}, state = 'OPEN', reason = ${$("reason")}, opened_at = r.at,
        open_until = r.at + ${$("cooldownMs")},
        reopen_count = iif(state = 'HALF_OPEN', max(reopen_count, 0) + 1, 0)`),
    ),
    close: change(
      // A trial that has failed leaves one way only.
      sql`${expected} and (${
        $("event")
      } <> 'closed' or ${expired} or not max(b.half_open_failures, 0))`,
      tell,
      update(sql`${begin}, ${clear}, state = 'CLOSED', reason = ${$("reason")}, reopen_count = 0,
        override = iif(${laid}, override, null),
        closed_at = iif(state = 'CLOSED', closed_at, r.at), open_until = null`),
    ),
    override: change(
      sql`${$("kind")} is not null or (${laid} and not ${expired})`,
      tell,
      update(sql`${begin}, ${clear}, override = ${$("kind")},
        override_until = ${translated("until")},
        override_reason = iif(${$("kind")} is null, null, ${$("reason")}),
        override_actor = iif(${$("kind")} is null, null, ${$("actor")})`),
    ),
    restore: change(
      // A record that this very request has made was not there before.
      sql`${$("replace")} or (b.generation = 1
        and substr(b.epoch, 1, length(${id}) + 1) = ${id} || '.')`,
      tell,
      prepare(sql`insert into ${W} (circuit_breaker_id, start, since, successes, failures, slow)
        select b.id, s.value ->> 0 + r.at - ${$("at")}, ${imported}, s.value ->> 1, s.value ->> 2,
          s.value ->> 3 from ${B} b, ${R} r, json_each(${$("segments")}) s where ${winning}
        on conflict (circuit_breaker_id, start) do update set since = excluded.since,
        successes = excluded.successes, failures = excluded.failures, slow = excluded.slow`),
      update(
        sql`${begin}, epoch = ${
          $("toldEpoch")
        }, generation = ${imported}, evidence_since = ${imported},
          reason = ${$("because")}, ${
          sql.join([
            ...KEPT.map((column) => sql`${raw(column)} = ${$(column)}`),
            ...KEPT_TIMES.map((column) => sql`${raw(column)} = ${translated(column)}`),
          ], raw(", "))
        }`,
      ),
    ),
    remove: [
      prepare(sql`delete from ${W} where circuit_breaker_id = ${mineId}`),
      prepare(sql`delete from ${L} where circuit_breaker_id = ${mineId}`),
      prepare(sql`delete from ${R} where circuit_breaker_id = ${mineId}`),
      prepare(sql`delete from ${B} as b where ${mine} returning id`),
    ],
  };

  /** A tally: totals in any case, the rest if it is current. */
  function counting(): Statement {
    // The later of two moments, unless the held one was booked by a clock that has since gone back.
    const latest = (held: string, count: string) =>
      raw(`iif(c.${count} > 0,
        iif(b.${held} > c.ended and b.${held} <= c.at, b.${held}, c.ended), ${time(`b.${held}`)})`);
    // A failure that ended before the last success does not lengthen the run.
    return prepare(sql`with c as materialized (select c.*, c.failures > 0
        and coalesce(max(c.at, c.succeeded) - ${$("ageMs")} >= c.succeeded, 1) as lengthens
      from (select c.*, ${latest("last_success_at", "successes")} as succeeded,
          ${latest("last_failure_at", "failures")} as failed
        from (select b.id, r.at, r.won, r.revision, r.at - ${$("ageMs")} as ended,
            r.won * ${$("successes")} as successes, r.won * ${$("failures")} as failures,
            r.won * ${$("slow")} as slow
          from ${B} b, ${R} r where ${fresh}) c join ${B} b on b.id = c.id) c)
      update ${B} as b set
        total_successes = max(total_successes, 0) + ${$("successes")},
        total_failures = max(total_failures, 0) + ${$("failures")},
        total_rejected = max(total_rejected, 0) + ${$("rejected")},
        total_slow = max(total_slow, 0) + ${$("slow")},
        previous_policy_hash = policy_hash, policy_hash = ${$("policyHash")},
        success_count = max(success_count, 0) + c.successes,
        failure_count = max(failure_count, 0) + c.failures,
        slow_count = max(slow_count, 0) + c.slow,
        consecutive_failures = iif(c.successes > 0, 0, max(consecutive_failures, 0))
          + c.lengthens * c.failures,
        consecutive_successes = iif(c.lengthens, 0, max(consecutive_successes, 0) + c.successes),
        last_success_at = c.succeeded,
        last_failure_at = c.failed,
        half_open_successes = max(half_open_successes, 0) + (state = 'HALF_OPEN') * c.successes,
        half_open_failures = max(half_open_failures, 0) + (state = 'HALF_OPEN') * c.failures,
        outcomes = iif(c.won and ${$("marks")} <> '',
          substr(outcomes || ${$("marks")}, -${$("windowSize")}), outcomes),
        updated_at = c.at, revision = c.revision
      from c where b.id = c.id`);
  }
}
