/**
 * Appending rows about circuits whose state another store keeps. For drivers of this package: no entry
 * point exports it.
 *
 * @module
 */

import { type SQL, sql } from "drizzle-orm";
import type { AuditEventName } from "../../src/contract.ts";
import { append, type Digest } from "./chain.ts";
import { type SqlResult, type SqlStatement, untilApplied } from "./client.ts";
import { jsonOf } from "./metadata.ts";
import {
  afterOf,
  forget,
  type Mirror,
  mirror,
  mirrorAfter,
  mirrorOf,
  mirrorValues,
} from "./mirror.ts";
import type { Row } from "./rows.ts";
import type { FuseSchema } from "./schema.ts";
import { headOf, sealEdits } from "./seal.ts";
import { CHAINED, type Tables, tablesOf } from "./statements/dialect.ts";
import { sealing } from "./statements/trail.ts";
import { $, prepare, type Statement, type Values } from "./statements/prepare.ts";

/** A transition or operator action of a circuit that another store keeps. */
export interface ForeignRow {
  /** Key of the circuit. */
  readonly key: string;
  /** The generation of the circuit after the change. No two rows of a key share all three. */
  readonly epoch: string;
  readonly generation: number;
  readonly began: number;
  readonly event: Exclude<AuditEventName, "success" | "failure">;
  /** The time of the change, in ms. */
  readonly at: number;
  readonly metadata: Record<string, unknown> | null;
}

/** The result of appending rows. */
export interface Appended {
  /** How many of the rows were not in the trail yet. */
  readonly appended: number;
  /** The newest hash of each circuit, by key. */
  readonly heads: Readonly<Record<string, string>>;
}

/** A store that other drivers of this package can append rows to. */
export interface TrailAppender {
  /**
   * Appends rows to the chains of their keys, in the order given. Rows that are in the trail already
   * are skipped, so several writers may send the same rows, and again after a failure. The circuit's
   * row in `circuit_breakers`, which is made if there is none, says in the same transaction what the
   * last of them says: state, generation and override, without counts.
   *
   * Cost: one round trip for each key; one more for a key that this isolate does not know, or whose
   * chain another writer has continued.
   *
   * @throws {Error} If the database failed. The rows of some keys may have been appended.
   */
  [APPEND](rows: readonly ForeignRow[]): Promise<Appended>;
}

/** The name of the method. */
export const APPEND: unique symbol = Symbol("append to the trail");

/** The part of a store that appending uses. */
export interface AppendingStore {
  readonly schema: FuseSchema;
  readonly digest: Digest;
  /** Returns the last answer about a circuit, or asks for it. A circuit without a row gets one. */
  look(key: string): Promise<Row>;
  /** Sends a batch, and reads the circuit after it. */
  send(
    key: string,
    statements: SqlStatement[],
  ): Promise<{ results: readonly SqlResult[]; row: Row }>;
}

/** Appends rows. See {@linkcode TrailAppender}. */
export async function appendRows(
  store: AppendingStore,
  rows: readonly ForeignRow[],
): Promise<Appended> {
  const byKey = new Map<string, ForeignRow[]>();
  for (const row of rows) {
    const group = byKey.get(row.key);
    if (group === undefined) byKey.set(row.key, [row]);
    else group.push(row);
  }
  const statements = makeStatements(store.schema);
  let appended = 0;
  const heads: Record<string, string> = {};
  for (const [key, rows] of byKey) {
    const { added, head } = await appendTo(store, statements, key, unique(rows));
    appended += added;
    heads[key] = head;
  }
  return { appended, heads };
}

function unique(rows: readonly ForeignRow[]): ForeignRow[] {
  return [...new Map(rows.map((row) => [placeOf(row), row])).values()];
}

/** Identifies a row among those of its key. */
function placeOf(row: { epoch?: unknown; generation?: unknown; began?: unknown }): string {
  return `${row.generation} ${row.began} ${row.epoch}`;
}

/** Appends rows to one chain. */
async function appendTo(
  store: AppendingStore,
  { append, appendAfterEdits, keep, remove, check }: Statements,
  key: string,
  rows: readonly ForeignRow[],
): Promise<{ added: number; head: string }> {
  let missing = rows;
  return await untilApplied(async () => {
    const values = await valuesOf(store.digest, key, await store.look(key), rows, missing);
    const statements = [
      ...values.editCount ? appendAfterEdits : append,
      ...values.removes ? remove : keep,
      ...check,
    ];
    const { results, row } = await store.send(key, statements.map((bind) => bind(values)));
    const there = new Set(Array.from(results.at(-1)!.rows, placeOf));
    const { hash: head } = headOf(row);
    const rest = rows.filter((row) => !there.has(placeOf(row)));
    const appended = results[0]!.rows.length > 0;
    if (rest.length === 0) return { added: appended ? missing.length : 0, head };
    missing = rest;
    return undefined;
  });
}

/** Hashes the missing rows, and returns the values for the statements, which write the circuit, too. */
async function valuesOf(
  digest: Digest,
  key: string,
  known: Row,
  rows: readonly ForeignRow[],
  missing: readonly ForeignRow[],
): Promise<Values> {
  const circuit = known.id!;
  const edits = await sealEdits(digest, key, known);
  let { head } = edits;
  let circuitAfter: Mirror | null = mirrorOf(known);
  const links: (string | number | null)[][] = [];
  for (const row of missing) {
    const { epoch, generation, began, event } = row;
    const at = Math.round(row.at);
    circuitAfter = mirrorAfter(circuitAfter, row);
    const metadata = jsonOf({ ...row.metadata, after: afterOf(circuitAfter) });
    head = await append(
      digest,
      { key, circuit, epoch, generation, began, event, at, metadata },
      head,
    );
    links.push([circuit, event, metadata, at, epoch, generation, began, head.sequence, head.hash]);
  }
  return {
    ...{ key, circuit, head: head.hash, sequence: head.sequence, old: headOf(known).hash },
    ...{ edits: edits.values.edits, editCount: edits.values.editCount },
    ...circuitAfter && mirrorValues(circuitAfter, missing.at(-1)!),
    ...{ links: JSON.stringify(links), at: links.at(-1)![3]!, removes: circuitAfter ? 0 : 1 },
    unsealed: Number(known.unsealed ?? 0),
    all: JSON.stringify(rows.map(({ epoch, generation, began }) => [epoch, generation, began])),
  };
}

/** The statements of a batch. */
interface Statements {
  /** Append rows. The first one answers whether there are any. */
  readonly append: readonly Statement[];
  /** Take edits by hand into the chain, and append rows. */
  readonly appendAfterEdits: readonly Statement[];
  /** Write the circuit, or remove it. */
  readonly keep: readonly Statement[];
  readonly remove: readonly Statement[];
  /** The last one answers which of the rows are in the trail. */
  readonly check: readonly Statement[];
}

function makeStatements(schema: FuseSchema): Statements {
  const tables = tablesOf(schema);
  const appended = sql`exists (select 1 from ${tables.trails} t where ${OPEN})`;
  return {
    append: [moveEnd(tables), insertRows(tables)],
    appendAfterEdits: [moveEnd(tables), sealRows(tables), insertRows(tables)],
    keep: [mirror(tables, appended)],
    remove: forget(tables, appended),
    check: [
      noteLastId(tables),
      prepare(sql`select e.epoch, e.generation, e.began ${present(tables, "all", 0)}`),
    ],
  };
}

/** Marks a chain that this batch appends to. The mark is gone when the batch ends. */
const OPEN = sql`t.key = ${$("key")} and t.last_id = -1`;

/**
 * Those of the given rows that are in the trail. An edit by hand is not one of them, whatever epoch it
 * has: it is an edit of this database's own row.
 */
function present({ events }: Tables, rows: string, first: number): SQL {
  return sql`
    from json_each(${$(rows)}) j join ${events} e
      on ${CHAINED} and e.key = ${$("key")} and e.event <> 'edited'
      and e.epoch = j.value ->> ${sql.raw(`${first}`)}
      and e.generation = j.value ->> ${sql.raw(`${first + 1}`)}
      and e.began = j.value ->> ${sql.raw(`${first + 2}`)}`;
}

/**
 * Moves the end of the chain, if the chain is as it was known, the circuit is still there, and none of
 * the rows is in the trail yet.
 */
function moveEnd(tables: Tables): Statement {
  const { circuits, trails } = tables;
  return prepare(sql`
    insert into ${trails} (key, head, sequence, last_id, last_at)
    select ${$("key")}, ${$("head")}, ${$("sequence")}, -1, ${$("at")}
    where (${$("old")} = '' or exists (select 1 from ${trails} t where t.key = ${$("key")}))
      and exists (
        select 1 from ${circuits} b where b.key = ${$("key")} and b.id = ${$("circuit")}
      )
      and not exists (select 1 ${present(tables, "links", 4)})
    on conflict (key) do update set
      head = excluded.head, sequence = excluded.sequence,
      last_id = -1, last_at = excluded.last_at,
      unsealed = unsealed - ${$("editCount")}
    where head = ${$("old")} and unsealed = ${$("unsealed")}
    returning key`);
}

/** Takes edits by hand into the chain, before the rows. */
function sealRows({ events, trails }: Tables): Statement {
  return prepare(sql`
    ${sealing(events)}
      and key = ${$("key")} and exists (select 1 from ${trails} t where ${OPEN})`);
}

function insertRows({ events, trails }: Tables): Statement {
  return prepare(sql`
    insert into ${events} (
      circuit_breaker_id, event, metadata, created_at, key, epoch, generation, began,
      sequence, hash
    )
    select j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, t.key,
      j.value ->> 4, j.value ->> 5, j.value ->> 6, j.value ->> 7, j.value ->> 8
    from json_each(${$("links")}) j, ${trails} t where ${OPEN} order by j.key`);
}

function noteLastId({ events, trails }: Tables): Statement {
  return prepare(sql`
    update ${trails} as t set last_id = (
      select max(e.id) from ${events} e
      where ${CHAINED} and e.key = ${$("key")} and e.sequence = t.sequence
    )
    where ${OPEN}`);
}
