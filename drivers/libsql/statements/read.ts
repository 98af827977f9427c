/**
 * The statements that read circuits.
 *
 * @module
 */

import { type SQL, sql } from "drizzle-orm";
import { ANSWERED, TEXTS } from "../rows.ts";
import {
  CHAINED,
  DECIDED,
  type Dialect,
  inJson,
  MEMORY_MS,
  OWN,
  TRIGGERED,
  VALID,
} from "./dialect.ts";
import { $, prepare, type Statement } from "./prepare.ts";

/** How many edits by hand are taken into the chain at once, at most. */
export const EDITS = 100;

/** The statements that answer. */
export interface ReadStatements {
  /** The circuit of a key, and where its trail stands. */
  readonly read: Statement;
  /** The same, and which of the tallies in `named` it contains. */
  readonly readNaming: Statement;
  /** The circuit, and the result of this request. The last statement of every batch. */
  readonly answer: Statement;
  /** The edits by hand that an answer counts. */
  readonly edits: Statement;
  /** A page of circuits. */
  readonly list: Statement;
}

/** Builds the statements that answer. */
export function readStatements(dialect: Dialect): ReadStatements {
  const { circuits, leases, requests, trails } = dialect;
  const trail = sql`left join ${trails} t on t.key = ${$("key")}`;
  const leased = sql`exists (
    select 1 from ${leases} l
    where l.circuit_breaker_id = b.id and l.token = ${$("token")}
      and ${VALID} and not l.ended
  )`;
  const read = (more: SQL) =>
    prepare(circuit(
      dialect,
      sql`left join ${circuits} b on ${OWN} ${trail}`,
      sql`${NAMED}, ${TRAIL} ${more}`,
    ));
  return {
    read: read(sql``),
    readNaming: read(sql`'held', (
      select json_group_array(r.id) from ${requests} r
      where r.circuit_breaker_id = b.id and r.id in (select value from json_each(${$("named")}))
        and +r.at > c.now - ${MEMORY_MS}
    ),`),
    answer: prepare(circuit(
      dialect,
      // The plus keeps SQLite from the index on the time: the request is found by its id.
      sql`left join ${circuits} b on ${OWN}
        left join ${requests} r on ${DECIDED} and +r.at > c.now - ${MEMORY_MS}
        ${trail}`,
      sql`${NAMED}, ${TRAIL} 'won', r.won, 'leased', ${leased},`,
    )),
    edits: edits(dialect),
    list: prepare(sql`
      select cast(json_object('now', c.now, ${NAMED}, 'id', null) as blob) as circuit,
        null as id, null as "key"
      from (select ${dialect.now} as now) c
      union all select * from (${
      circuit(
        dialect,
        sql`join ${circuits} b where b.id > ${$("cursor")} and (${
          $("open")
        } = 0 or ${OPEN}) order by b.id limit ${$("limit")}`,
        sql``,
        sql`, b.id as id, cast(b.key as blob) as "key"`,
      )
    })`),
  };
}

/** Circuits that are not plainly CLOSED. */
const OPEN: SQL = sql`b.state <> 'CLOSED' or b.override is not null`;

/** The request and the key of an answer: a client or a proxy may deliver it to another request. */
const NAMED: SQL = sql`'request', ${$("id")}, 'asked', ${$("key")}`;

/** The columns that hold texts. A blob in place of one is read as one. */
const TEXTUAL: readonly string[] = [
  ...[...TEXTS, "state", "outcomes", "last_failure", "policy"],
  ...["override", "override_reason", "override_actor", "released", "released_by"],
];

/** How many columns an array holds: a function takes 32 arguments. */
const COLUMNS = 32;

/**
 * A circuit as one JSON text: to the local client, a column costs as much as a statement. As bytes,
 * because the client ends the process at a text that is not UTF-8.
 *
 * @param beside The columns of a list. In a list, a number that is a blob, which JSON does not
 * support, must not hide the other circuits.
 */
function circuit(
  { leases, now, windows }: Dialect,
  from: SQL,
  more: SQL = sql``,
  beside?: SQL,
): SQL {
  const number = (name: string) => beside === undefined ? name : inJson(name);
  const valueOf = (column: string) =>
    TEXTUAL.includes(column) ? `cast(b.${column} as text)` : number(`b.${column}`);
  const groups: string[] = [];
  for (let i = 0; i < ANSWERED.length; i += COLUMNS) {
    groups.push(`json_array(${ANSWERED.slice(i, i + COLUMNS).map(valueOf).join(", ")})`);
  }
  const columns = sql.raw(`'columns', json_array(${groups.join(", ")}), `);
  const segment = sql.raw(
    ["w.start", "w.successes", "w.failures", "w.slow"].map(number).join(", "),
  );
  return sql`
    select cast(json_object('now', c.now, ${columns}${more}
      'segments', (
        select json_group_array(json_array(${segment}))
        from ${windows} w
        where w.circuit_breaker_id = b.id and w.since = b.evidence_since
      ),
      'leases', (
        select json_group_array(${sql.raw(number("l.until"))}) from ${leases} l
        where l.circuit_breaker_id = b.id and ${VALID} and not l.ended
      )
    ) as blob) as circuit${beside ?? sql``}
    from (select ${now} as now) c ${from}`;
}

/** The end of the circuit's chain, and how many edits by hand are not in it yet. */
const TRAIL: SQL = sql.raw(`
  'head', t.head, 'sequence', t.sequence, 'last_id', t.last_id, 'last_at', t.last_at,
  'unsealed', t.unsealed,`);

/** The edits by hand that are not in the chain yet, oldest first. Nothing else of the circuit. */
function edits({ events }: Dialect): Statement {
  return prepare(sql`
    select cast(json_object('now', 0, 'id', null, ${NAMED}, 'edits', (
      select json_group_array(json_array(
        n.id, n.circuit_breaker_id, n.epoch, n.generation, n.began, n.event, n.created_at, n.metadata
      ))
      from (
        select * from ${events} e
        where ${CHAINED} and e.key = ${$("key")} and e.sequence is null
          and +e.event = 'edited' and ${TRIGGERED}
        order by e.id limit ${EDITS}
      ) n
    )) as blob) as circuit`);
}
