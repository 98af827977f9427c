/**
 * Pruning the trail of the libSQL store.
 *
 * @module
 */

import { type SQL, sql } from "drizzle-orm";
import { check, known, refuse } from "../../src/checks.ts";
import {
  anchorSeal,
  type Digest,
  follows,
  type Head,
  isHash,
  isTriggered,
  LINK_COLUMNS,
  linkOf,
  type LinkRow,
} from "./chain.ts";
import { type Connection, send } from "./client.ts";
import type { FuseSchema } from "./schema.ts";
import { CHAINED, nowTerm, type Tables, tablesOf } from "./statements/dialect.ts";
import { $, prepare, type Statement, type Values } from "./statements/prepare.ts";

/** Options of `prune()`. */
export interface PruneOptions {
  /** The age in ms, by the store's clock, beyond which a row is deleted. An integer of at least 0. */
  olderThanMs: number;
  /**
   * Deletes only rows of calls, and keeps those of transitions and operator actions.
   *
   * @default {false}
   */
  keepTransitions?: boolean | undefined;
  /**
   * How many rows to delete at most. A positive integer.
   *
   * @default {1000}
   */
  limit?: number | undefined;
}

/** The result of `prune()`. */
export interface PruneResult {
  /** How many rows were deleted. */
  deleted: number;
  /** `true` if there is more to prune: call again. */
  more: boolean;
}

/** The most that a request covers: circuits, and rows of their chains. */
const CIRCUITS = 100;
const PAGE = 500;

const SUBJECT = "pruning";

/**
 * Deletes old rows. Rows of calls are in no chain and are simply deleted. The beginning of a hash chain
 * is deleted as far as it verifies, except for the newest row. The same transaction records its end,
 * authenticated, and the rest is verified from there. Each circuit is pruned separately, so that a
 * broken chain does not block the others.
 *
 * @param now The time on the store's clock, if the store was given one.
 * @param digest Makes the digest, if there are chains to prune.
 */
export async function pruneTrail(
  connection: Connection,
  schema: FuseSchema,
  now: number | undefined,
  digest: () => Promise<Digest>,
  options: PruneOptions,
): Promise<PruneResult> {
  known(SUBJECT, options, ["olderThanMs", "keepTransitions", "limit"]);
  const olderThanMs = check(SUBJECT, "olderThanMs", options.olderThanMs ?? NaN, 0, 0);
  const limit = check(SUBJECT, "limit", options.limit, 1_000);
  const { keepTransitions = false } = options;
  if (typeof keepTransitions !== "boolean") {
    refuse(SUBJECT, "keepTransitions", "true or false", keepTransitions);
  }
  const pruning: Pruning = {
    connection,
    statements: makeStatements(schema, now !== undefined),
    values: { now: now ?? 0, olderThanMs },
  };
  const calls = await pruneCalls(pruning, limit);
  if (calls === limit || keepTransitions) return { deleted: calls, more: calls === limit };
  const { deleted, more } = await pruneChains(pruning, digest, limit - calls);
  return { deleted: calls + deleted, more };
}

/** The inputs of both kinds of pruning. */
interface Pruning {
  readonly connection: Connection;
  readonly statements: ReturnType<typeof makeStatements>;
  readonly values: Values;
}

/** Deletes rows of calls, oldest first, and returns how many. */
async function pruneCalls(
  { connection, statements, values }: Pruning,
  limit: number,
): Promise<number> {
  const { calls, count } = statements;
  const results = await send(connection, [calls({ ...values, limit }), count({})]);
  return Number(results.at(-1)!.rows[0]!.n);
}

/** Deletes the beginnings of chains, circuit by circuit. */
async function pruneChains(
  { connection, statements, values }: Pruning,
  digest: () => Promise<Digest>,
  limit: number,
): Promise<PruneResult> {
  const { chains, count, cut, move } = statements;
  let after = "";
  let deleted = 0;
  let hash: Digest | undefined;
  for (;;) {
    const size = Math.min(limit - deleted, PAGE);
    const [page] = await send(connection, chains({ ...values, after, size }));
    const rows = Array.from(page!.rows, linkOf);
    if (rows.length === 0) return { deleted, more: false };
    const byKey = groupByKey(rows);
    const cuts = await cutsOf(hash ??= await digest(), byKey);
    let gone = 0;
    if (cuts.length > 0) {
      const bound = { cuts: JSON.stringify(cuts) };
      const results = await send(connection, [move(bound), cut(bound), count({})]);
      gone = Number(results.at(-1)!.rows[0]!.n);
    }
    deleted += gone;
    const planned = cuts.reduce((sum, { ids }) => sum + ids.length, 0);
    // If another isolate prunes, too, the rest is left to the next call.
    if (deleted >= limit || gone < planned) return { deleted, more: true };
    if (rows.length < size && byKey.size < CIRCUITS) return { deleted, more: false };
    after = lastDone(byKey, cuts, rows.length === size) ?? after;
  }
}

/** Groups rows by their circuit, in the order they came. Node 20 has no `Map.groupBy`. */
function groupByKey(rows: readonly LinkRow[]): Map<string, LinkRow[]> {
  const byKey = new Map<string, LinkRow[]>();
  for (const row of rows) {
    const key = String(row.key);
    const group = byKey.get(key);
    if (group) group.push(row);
    else byKey.set(key, [row]);
  }
  return byKey;
}

/**
 * Returns the last circuit of a page that needs no further look. A full page may have ended within the
 * last chain: that one comes again, unless it is stuck.
 */
function lastDone(
  byKey: ReadonlyMap<string, readonly LinkRow[]>,
  cuts: readonly Cut[],
  full: boolean,
): string | undefined {
  const keys = [...byKey.keys()];
  const last = keys.at(-1)!;
  const cut = cuts.at(-1);
  const goesOn = full && cut?.key === last && cut.ids.length === byKey.get(last)!.length;
  return goesOn ? keys.at(-2) : last;
}

/** The beginning of a chain that is deleted. */
interface Cut {
  readonly key: string;
  /** The new anchor: the last row that is deleted. */
  readonly sequence: number;
  readonly id: number;
  readonly hash: string;
  readonly seal: string;
  /** The anchor so far. */
  readonly fromSequence: number;
  readonly fromHash: string;
  /** The rows that are deleted. */
  readonly ids: readonly number[];
}

async function cutsOf(
  digest: Digest,
  byKey: ReadonlyMap<string, readonly LinkRow[]>,
): Promise<Cut[]> {
  const cuts: Cut[] = [];
  for (const [key, rows] of byKey) {
    const cut = await cutOf(digest, key, rows);
    if (cut !== null) cuts.push(cut);
  }
  return cuts;
}

/**
 * Returns how much of a chain's beginning is deleted: as far as it verifies. An anchor at an
 * altered row would make the rest of the chain valid again.
 */
async function cutOf(
  digest: Digest,
  key: string,
  rows: readonly LinkRow[],
): Promise<Cut | null> {
  const from: Head = {
    hash: String(rows[0]!.anchor_hash),
    sequence: Number(rows[0]!.anchor_sequence),
    id: Number(rows[0]!.anchor_id),
  };
  const isAnchored = () =>
    isHash(digest, rows[0]!.anchor_seal, (one) => anchorSeal(one, key, from));
  if (from.sequence > 0 && !await isAnchored()) return null;
  const ids: number[] = [];
  let end = from;
  for (const [i, row] of rows.entries()) {
    const sequence = Number(row.sequence);
    // A row whose predecessor has to stay, stays; so do two rows that claim the same place.
    if (sequence !== end.sequence + 1 || Number(rows[i + 1]?.sequence) === sequence) break;
    if (!isTriggered(row) || !await follows(digest, row, end)) break;
    end = { hash: String(row.hash), sequence, id: Number(row.id) };
    ids.push(end.id!);
  }
  if (ids.length === 0) return null;
  return {
    ...{ key, sequence: end.sequence, id: end.id!, hash: end.hash },
    seal: await anchorSeal(digest, key, end),
    ...{ fromSequence: from.sequence, fromHash: from.hash, ids },
  };
}

function makeStatements(schema: FuseSchema, bindsNow: boolean) {
  const tables = tablesOf(schema);
  const old = sql`e.created_at < ${nowTerm(bindsNow)} - ${$("olderThanMs")}`;
  return {
    calls: deleteCalls(tables, old),
    chains: oldChains(tables, old),
    move: moveAnchors(tables),
    cut: deleteCut(tables),
    count: prepare(sql`select changes() as n`),
  };
}

function deleteCalls({ events }: Tables, old: SQL): Statement {
  const calls = (event: string) =>
    sql`select * from (
      select e.id, e.created_at from ${events} e where e.event = ${event} and ${old}
      order by e.created_at limit ${$("limit")}
    )`;
  return prepare(sql`
    delete from ${events} where id in (
      select id from (${calls("success")} union all ${calls("failure")})
      order by created_at limit ${$("limit")}
    )`);
}

/**
 * Only circuits whose oldest row is old: others may have old rows later in the chain, which stay. The
 * newest row of a chain stays: `verifyTrail()` compares the circuit with it.
 */
function oldChains({ events, trails }: Tables, old: SQL): Statement {
  return prepare(sql`
    select ${LINK_COLUMNS}, t.anchor_sequence, t.anchor_id, t.anchor_hash, t.anchor_seal
    from (
      select * from ${trails} t
      where t.key > ${$("after")} and exists (
        select 1 from ${events} e
        where ${CHAINED} and e.key = t.key and e.sequence = t.anchor_sequence + 1
          and e.sequence < t.sequence and ${old}
      )
      order by t.key limit ${CIRCUITS}
    ) t
    join ${events} e on ${CHAINED} and e.key = t.key
      and e.sequence > t.anchor_sequence and e.sequence <= t.anchor_sequence + ${$("size")}
      and e.sequence < t.sequence
      and ${old}
    order by t.key, e.sequence, e.id limit ${$("size")}`);
}

/** Only anchors that no other isolate has moved since. */
function moveAnchors({ trails }: Tables): Statement {
  return prepare(sql`
    update ${trails} as t set
      anchor_sequence = c.value ->> 'sequence', anchor_id = c.value ->> 'id',
      anchor_hash = c.value ->> 'hash', anchor_seal = c.value ->> 'seal'
    from json_each(${$("cuts")}) c
    where t.key = c.value ->> 'key'
      and t.anchor_sequence = c.value ->> 'fromSequence'
      and t.anchor_hash = c.value ->> 'fromHash'`);
}

/** Only the rows that were verified, and none that was inserted beside them. */
function deleteCut({ events, trails }: Tables): Statement {
  return prepare(sql`
    delete from ${events} where id in (
      select e.id from json_each(${$("cuts")}) c
      join ${trails} t on t.key = c.value ->> 'key'
        and t.anchor_sequence = c.value ->> 'sequence' and t.anchor_hash = c.value ->> 'hash'
      join json_each(c.value, '$.ids') i
      join ${events} e on e.id = i.value and e.key = t.key
    )`);
}
