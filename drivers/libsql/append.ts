/**
 * Rows of the trail that tell of a circuit whose state is kept in another store. For drivers of this
 * package: no entry point exports it.
 *
 * @module
 */

import { sql } from "drizzle-orm";
import type { AuditEventName } from "../../src/contract.ts";
import type { Row } from "./rows.ts";
import { CHAINED, type FuseSchema } from "./schema.ts";
import type { SqlResult, SqlStatement } from "./client.ts";
import { prepare } from "./statements.ts";
import { type Digest, editsOf, headOf, jsonOf, linkHash } from "./chain.ts";

/** A transition or operator action of a circuit that another store keeps. */
export interface ForeignRow {
  /** Key of the circuit. */
  readonly key: string;
  /** The life of the circuit and its generation AFTERWARDS: no two rows of a key have both alike. */
  readonly epoch: string;
  readonly generation: number;
  readonly event: Exclude<AuditEventName, "success" | "failure">;
  /** When, in ms. */
  readonly at: number;
  readonly metadata: Record<string, unknown> | null;
}

/** What came of it. */
export interface Appended {
  /** How many rows were not there before. */
  readonly appended: number;
  /** The newest hash of each circuit, by key. */
  readonly heads: Readonly<Record<string, string>>;
}

/** What a store offers to other drivers of this package. */
export interface TrailAppender {
  /**
   * Appends rows to the chains of their keys, in the order given. One that is there already is passed
   * over, so the same rows may be sent again, whatever came of them; several writers may. Where the
   * circuit has no row in `circuit_breakers` yet, it gets one, CLOSED and without counts, so that
   * rows can be found by name.
   *
   * Cost: for each key one round trip; one more for a key that this isolate knows nothing of, or
   * whose chain somebody else has continued.
   *
   * @throws {Error} If the database failed: nothing, or the rows of some keys, were appended.
   */
  [APPEND](rows: readonly ForeignRow[]): Promise<Appended>;
}

/** Names the method. */
export const APPEND: unique symbol = Symbol("append to the trail");

/** What appending needs of a store. */
export interface AppendingStore {
  readonly schema: FuseSchema;
  readonly digest: Digest;
  /**
   * What is known of a circuit: as a request that learns it, if nothing is. Where it has no row, it
   * gets one, under an epoch that no other store knows: edits of that row by hand are told with it,
   * and with generations that count from 2, as those of the rows that are handed in do.
   */
  look(key: string): Promise<Row>;
  /** Sends a batch, and then reads the circuit, too. */
  send(key: string, statements: SqlStatement[]): Promise<readonly SqlResult[]>;
}

const MAX_TRIES = 64;

/** See {@linkcode TrailAppender}. */
export async function appendRows(
  store: AppendingStore,
  rows: readonly ForeignRow[],
): Promise<Appended> {
  const byKey = new Map<string, ForeignRow[]>();
  for (const row of rows) {
    const same = byKey.get(row.key);
    if (same === undefined) byKey.set(row.key, [row]);
    else same.push(row);
  }
  let appended = 0;
  const heads: Record<string, string> = {};
  for (const [key, rows] of byKey) {
    const { added, head } = await appendTo(store, key, unique(rows));
    appended += added;
    heads[key] = head;
  }
  return { appended, heads };
}

async function appendTo(
  store: AppendingStore,
  key: string,
  rows: readonly ForeignRow[],
): Promise<{ added: number; head: string }> {
  const { digest } = store;
  let missing = rows;
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const known = await store.look(key);
    const edits: [number, number, string][] = [];
    let head = headOf(known);
    const before = head;
    for (const edit of editsOf(known)) {
      const hash = await linkHash(digest, { ...edit, key }, head);
      head = { hash, sequence: head.sequence + 1, id: edit.id };
      edits.push([edit.id, head.sequence, hash]);
    }
    const links: (string | number | null)[][] = [];
    for (const { epoch, generation, event, at: moment, metadata: data } of missing) {
      const at = Math.round(moment);
      const metadata = data && jsonOf(data);
      const link = { key, circuit: known.id!, epoch, generation, event, at, metadata };
      const hash = await linkHash(digest, link, head);
      head = { hash, sequence: head.sequence + 1, id: null };
      links.push([known.id, event, metadata, at, epoch, generation, head.sequence, hash]);
    }
    const [opened, ...others] = await store.send(
      key,
      makeStatements(store.schema).map((statement) =>
        statement({
          ...{ key, circuit: known.id, head: head.hash, sequence: head.sequence, old: before.hash },
          ...{ links: JSON.stringify(links), edits: JSON.stringify(edits) },
          ...{ editCount: edits.length, unsealed: Number(known.unsealed ?? 0) },
          ...{ at: Number(links.at(-1)![3]), all: JSON.stringify(rows.map(lifeOf)) },
        })
      ),
    );
    const found = Array.from(others.at(-1)!.rows);
    const there = new Set(found.map(({ epoch, generation }) => `${generation} ${epoch}`));
    const after = headOf(await store.look(key));
    const rest = rows.filter(({ epoch, generation }) => !there.has(`${generation} ${epoch}`));
    if (rest.length === 0) {
      return { added: opened!.rows.length > 0 ? missing.length : 0, head: after.hash };
    }
    missing = rest;
  }
  throw new Error(
    `Cannot use the database: other writers changed the circuit first, ${MAX_TRIES} times in a row`,
  );
}

function unique(rows: readonly ForeignRow[]): ForeignRow[] {
  return [...new Map(rows.map((row) => [`${row.generation} ${row.epoch}`, row])).values()];
}

function lifeOf({ epoch, generation }: ForeignRow): [string, number] {
  return [epoch, generation];
}

function makeStatements(
  { circuitBreakers: B, circuitBreakerEvents: E, circuitBreakerTrails: T }: FuseSchema,
) {
  const $ = (name: string) => sql.placeholder(name);
  const chained = sql`e.event ${sql.raw(CHAINED)} and e.key = ${$("key")}`;
  // While the batch runs, and for nobody else.
  const open = sql`t.key = ${$("key")} and t.last_id = -1`;
  // An edit by hand is of this database's own row: it is none of the rows that were handed in,
  // whatever epoch that row has.
  const lives = (rows: string, epoch: string, generation: string) =>
    sql`from json_each(${$(rows)}) j join ${E} e on ${chained} and e.event <> 'edited'
      and e.epoch = j.value ->> ${sql.raw(epoch)} and e.generation = j.value ->> ${
      sql.raw(generation)
    }`;
  return [
    prepare(sql`insert into ${T} as t (key, head, sequence, last_id, last_at)
      select ${$("key")}, ${$("head")}, ${$("sequence")}, -1, ${$("at")}
      where (${$("old")} = '' or exists (select 1 from ${T} t where t.key = ${$("key")}))
      and exists (select 1 from ${B} b where b.key = ${$("key")} and b.id = ${$("circuit")})
      and not exists (select 1 ${lives("links", "4", "5")})
      on conflict (key) do update set head = excluded.head, sequence = excluded.sequence,
      last_id = -1, last_at = excluded.last_at, unsealed = t.unsealed - ${$("editCount")}
      where t.head = ${$("old")} and t.unsealed = ${$("unsealed")} returning key`),
    prepare(sql`update ${E} as e set sequence = s.value ->> 1, hash = s.value ->> 2
      from json_each(${$("edits")}) s, ${T} t where ${open} and e.id = s.value ->> 0
      and e.key = ${$("key")} and e.sequence is null`),
    prepare(sql`insert into ${E} (circuit_breaker_id, event, metadata, created_at, key, epoch,
        generation, sequence, hash)
      select j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, t.key, j.value ->> 4,
        j.value ->> 5, j.value ->> 6, j.value ->> 7
      from json_each(${$("links")}) j, ${T} t where ${open} order by j.key`),
    prepare(sql`update ${T} as t set last_id = (select max(e.id) from ${E} e where ${chained}
      and e.sequence = t.sequence) where ${open}`),
    prepare(sql`select e.epoch, e.generation ${lives("all", "0", "1")}`),
  ];
}
