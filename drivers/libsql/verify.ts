/**
 * Verifying the hash chains of the trail.
 *
 * @module
 */

import { type SQL, sql } from "drizzle-orm";
import { known, refuse } from "../../src/checks.ts";
import {
  anchorSeal,
  type Digest,
  follows,
  type Head,
  isHash,
  isTriggered,
  LINK_COLUMNS,
  type LinkRow,
} from "./chain.ts";
import { type Connection, send } from "./client.ts";
import type { FuseSchema } from "./schema.ts";
import { CHAINED, type Tables, tablesOf, TRIGGERED } from "./statements/dialect.ts";
import { $, prepare, type Statement, type Values } from "./statements/prepare.ts";

/** Options of `verifyTrail()`. */
export interface VerifyOptions {
  /** Key of the only circuit to verify. By default, all circuits are verified. */
  circuit?: string | undefined;
  /**
   * The hash of a row that was in the trail, taken from an event of a circuit: the row must still be
   * there. Finds an end that was cut off, which leaves a shorter trail that is valid in itself. By
   * default, such an end is not found.
   */
  head?: string | undefined;
}

/** The result of `verifyTrail()`. */
export interface TrailProof {
  /** Whether nothing is wrong. */
  ok: boolean;
  /** How many rows were verified. */
  checked: number;
  /** Where the trail is broken first: at a row, or at the last row before missing ones. */
  brokenAt: TrailBreak | null;
  /** The newest hash of each circuit, by its key. Keep it elsewhere, to verify against later. */
  heads: Record<string, string>;
}

/** A place where a trail is broken. */
export interface TrailBreak {
  /** Id of the row; `""` if there is no row left. */
  id: string;
  /** Key of the circuit. */
  circuit: string;
  /** What happened to the row, or to one before it. */
  problem: "changed" | "removed" | "inserted" | "circuit" | "unchained";
  /** What is wrong, in a sentence. */
  detail: string;
}

/** Rows, or circuits, of a request. */
const PAGE = 500;

/** How often a chain is verified that is written, sealed or pruned meanwhile. */
const MAX_TRIES = 5;

/**
 * Verifies all chains, or one, in the order of their rows, a page at a time.
 *
 * @throws {TypeError} If an option is not a string.
 */
export async function verifyTrail(
  connection: Connection,
  schema: FuseSchema,
  digest: Digest,
  options: VerifyOptions = {},
): Promise<TrailProof> {
  known("verification", options, ["circuit", "head"]);
  const { circuit, head } = options;
  for (const [option, value] of [["circuit", circuit], ["head", head]] as const) {
    if (value !== undefined && typeof value !== "string") {
      refuse("verification", option, "a text", value);
    }
  }
  const reader = new Reader(connection, schema);
  const proof: TrailProof = { ok: true, checked: 0, brokenAt: null, heads: {} };
  let hasHead = head === undefined;
  for await (const key of circuit === undefined ? reader.allKeys() : [circuit]) {
    const found = await verifyChain(reader, digest, key, head);
    proof.checked += found.checked;
    if (found.head !== "") proof.heads[key] = found.head;
    if (found.problem !== null) proof.brokenAt ??= { ...found.problem, circuit: key };
    hasHead ||= found.hasHead;
  }
  if (!hasHead) {
    proof.brokenAt ??= { ...broken(null, "removed"), circuit: circuit ?? "" };
  }
  proof.ok = proof.brokenAt === null;
  return proof;
}

/** What verifying a chain has found. */
interface Found {
  readonly checked: number;
  /** The newest hash. */
  readonly head: string;
  /** Whether the hash that the caller knows is in the chain. */
  readonly hasHead: boolean;
  readonly problem: Problem | null;
}

type Problem = Omit<TrailBreak, "circuit">;

/** Verifies a chain. What is written, sealed or pruned meanwhile may look like a break: verifies again. */
async function verifyChain(
  reader: Reader,
  digest: Digest,
  key: string,
  wanted: string | undefined,
): Promise<Found> {
  for (let tries = 1;; tries++) {
    const start = await reader.chain(key);
    const walk = new Walk(digest, start.anchor, wanted);
    const problem = await isAnchored(digest, key, start)
      ? await walkChain(reader, key, walk)
      : broken(start.anchor.id, "changed");
    const { checked, before: { hash: head }, hasHead } = walk;
    const found = { checked, head, hasHead, problem };
    if (problem === null || tries === MAX_TRIES) return found;
    const { beforeAnchor: _, ...now } = await reader.chain(key);
    const { beforeAnchor: __, ...then } = start;
    if (JSON.stringify(now) === JSON.stringify(then)) return found;
  }
}

/** Whether the place up to which a chain was pruned is authentic. */
async function isAnchored(digest: Digest, key: string, chain: Chain): Promise<boolean> {
  const { anchor } = chain;
  return anchor.sequence === 0 ||
    await isHash(digest, chain.anchorSeal, (one) => anchorSeal(one, key, anchor));
}

async function walkChain(reader: Reader, key: string, walk: Walk): Promise<Problem | null> {
  for (;;) {
    const page = await reader.rows(key, walk.before);
    for (const [i, row] of page.entries()) {
      const problem = await walk.step(row, page[i + 1]);
      if (problem !== null) return problem;
    }
    if (page.length === PAGE) continue;
    const end = await reader.chain(key);
    // Else rows were appended since the page was read.
    if (page.length === 0 || end.head.sequence <= walk.before.sequence) return walk.end(end);
  }
}

/** Goes through the rows of a chain, from its anchor to its end. */
class Walk {
  readonly #digest: Digest;
  readonly #wanted: string | undefined;
  /** The newest generation of each life that has a row, by epoch. */
  readonly #newest = new Map<string, number>();
  checked = 0;
  hasHead: boolean;
  /** The last row that is valid. */
  before: Head;

  constructor(digest: Digest, anchor: Head, wanted: string | undefined) {
    this.#digest = digest;
    this.#wanted = wanted;
    this.before = anchor;
    this.hasHead = anchor.hash !== "" && anchor.hash === wanted;
  }

  /** Verifies the next row; `next` is the row after it. */
  async step(row: LinkRow, next: LinkRow | undefined): Promise<Problem | null> {
    this.checked++;
    const id = Number(row.id);
    const sequence = Number(row.sequence);
    if (sequence <= this.before.sequence) return broken(id, "inserted");
    if (sequence > this.before.sequence + 1) return broken(id, "removed");
    if (!await this.#follows(row)) {
      const isTwin = next !== undefined && Number(next.sequence) === sequence;
      return broken(id, isTwin && await this.#follows(next) ? "inserted" : "changed");
    }
    // Whoever can hash a row can also take an edit into the chain that the trigger did not write.
    if (!isTriggered(row)) return broken(id, "inserted");
    this.before = { hash: String(row.hash), sequence, id };
    this.hasHead ||= this.before.hash === this.#wanted;
    this.#note(row.epoch as string | null, Number(row.generation));
    return null;
  }

  /** Verifies the recorded end of the chain, and the rows that are not in it yet. */
  end(chain: Chain): Problem | null {
    const { head, unchained, unsealed, beforeAnchor, epoch, generation, differs } = chain;
    const pruned = chain.anchor.sequence > 0;
    const { hash, id, sequence } = this.before;
    if (beforeAnchor !== null) return broken(beforeAnchor, "inserted");
    if (head.sequence > sequence) return broken(id, "removed");
    if (head.sequence < sequence) return broken(id, "inserted");
    if (head.hash !== hash || head.id !== id) return broken(id, "changed");
    for (const [edit, triggered, epoch, generation] of unchained) {
      if (!triggered || edit < id!) return broken(edit, "inserted");
      this.#note(epoch, generation);
    }
    if (unchained.length > unsealed) return broken(unchained.at(-1)![0], "inserted");
    if (unchained.length < unsealed) return broken(id, "removed");
    // Each generation has a row, so the circuit is not further than its last row.
    const newest = epoch === null ? undefined : this.#newest.get(epoch);
    if (newest !== undefined && generation > newest) return broken(id, "removed");
    if (epoch === null) return null;
    // A change of the circuit is a row; what was pruned proves nothing.
    if (newest === undefined && generation > 1 && !pruned) return broken(id, "unchained");
    return differs === null ? null : broken(id, "circuit", `its ${differs}`);
  }

  #follows(row: LinkRow): Promise<boolean> {
    return follows(this.#digest, row, this.before);
  }

  #note(epoch: string | null, generation: number | null): void {
    const newest = this.#newest.get(String(epoch)) ?? 0;
    this.#newest.set(String(epoch), Math.max(newest, Number(generation)));
  }
}

const DETAILS: Readonly<Record<TrailBreak["problem"], string>> = {
  changed: "The row, or what is recorded of the chain there, is not as it was written",
  removed: "A row that followed is gone",
  inserted: "The row was put there by hand",
  circuit: "The circuit is not as its last row says",
  unchained: "The circuit has changed, and no row says how",
};

function broken(id: number | null, problem: TrailBreak["problem"], more?: string): Problem {
  const detail = DETAILS[problem] + (more === undefined ? "" : `: ${more}`);
  return { id: String(id || ""), problem, detail };
}

/** What is recorded of a chain, and the rows that are not in it. */
interface Chain {
  readonly head: Head;
  readonly anchor: Head;
  readonly anchorSeal: string;
  /** How many edits by hand the trigger has counted that are not in the chain yet. */
  readonly unsealed: number;
  /** The rows that are not in the chain. */
  readonly unchained: readonly (readonly [
    id: number,
    triggered: 0 | 1,
    epoch: string | null,
    generation: number | null,
  ])[];
  /** A row that should have been pruned, if there is one. */
  readonly beforeAnchor: number | null;
  /** The epoch of the circuit, or `null` if it was removed. */
  readonly epoch: string | null;
  readonly generation: number;
  /** What of the circuit is not as its newest row says; `null` if all is, or there is nothing to compare. */
  readonly differs: string | null;
}

/** Reads chains, a page at a time. */
class Reader {
  readonly #connection: Connection;
  readonly #keys: Statement;
  readonly #rows: Statement;
  readonly #chain: Statement;

  constructor(connection: Connection, schema: FuseSchema) {
    const tables = tablesOf(schema);
    this.#connection = connection;
    this.#keys = selectKeys(tables);
    this.#rows = selectRows(tables);
    this.#chain = selectChain(tables);
  }

  /** Reads the keys that have a chain, in order. */
  async *allKeys(): AsyncGenerator<string, void, undefined> {
    for (let after = "";;) {
      const page = await this.#ask(this.#keys, { after });
      for (const { key } of page) yield after = String(key);
      if (page.length < PAGE) return;
    }
  }

  /** Reads the rows that follow one. */
  rows(key: string, { sequence, id }: Head): Promise<LinkRow[]> {
    return this.#ask(this.#rows, { key, sequence, id });
  }

  /** Reads what is recorded of a chain. */
  async chain(key: string): Promise<Chain> {
    const [row] = await this.#ask(this.#chain, { key });
    const { head, anchor, ...rest } = JSON.parse(String(row!.chain));
    return {
      head: headOf(head),
      anchor: headOf(anchor),
      anchorSeal: rest.anchorSeal ?? "",
      unsealed: rest.unsealed ?? 0,
      unchained: rest.unchained.sort((a: number[], b: number[]) => a[0]! - b[0]!),
      ...{ beforeAnchor: rest.beforeAnchor, epoch: rest.epoch, generation: rest.generation },
      differs: rest.differs ?? null,
    };
  }

  async #ask(statement: Statement, values: Values): Promise<LinkRow[]> {
    const [result] = await send(this.#connection, statement(values));
    return Array.from(result!.rows);
  }
}

/** A chain that nothing is recorded of is empty. */
function headOf({ hash, sequence, id }: { [F in keyof Head]: Head[F] | null }): Head {
  return { hash: hash ?? "", sequence: sequence ?? 0, id: id ?? 0 };
}

/** Chains of which something is recorded, and chains that have rows. */
function selectKeys({ events, trails }: Tables): Statement {
  return prepare(sql`
    select key from (
      select t.key from ${trails} t where t.key > ${$("after")} order by t.key limit ${PAGE}
    )
    union
    select key from (
      select distinct e.key from ${events} e
      where ${CHAINED} and e.key > ${$("after")} order by e.key limit ${PAGE}
    )
    order by key limit ${PAGE}`);
}

function selectRows({ events }: Tables): Statement {
  return prepare(sql`
    select ${LINK_COLUMNS} from ${events} e
    where ${CHAINED} and e.key = ${$("key")} and e.sequence >= ${$("sequence")}
      and (e.sequence > ${$("sequence")} or e.id > ${$("id")})
    order by e.sequence, e.id limit ${PAGE}`);
}

/** Which field of the circuit is not as its newest row says, or null. */
function differenceTo(after: string): SQL {
  return sql.raw(`case
    when not json_valid(e.metadata) then null
    when e.metadata -> '$.after' is null then null
    when b.generation <> e.generation or b.began <> e.began then 'generation'
    when b.state is not ${after}.state' then 'state'
    when b.open_until is not ${after}.openUntil' then 'open_until'
    when b.override is not ${after}.override.kind' then 'override'
    when b.override_until is not ${after}.override.until' then 'override_until'
    when b.override_reason is not ${after}.override.reason' then 'override_reason'
    when b.override_actor is not ${after}.override.actor' then 'override_actor'
  end`);
}

/** One statement, which sees one moment. */
function selectChain({ circuits, events, trails }: Tables): Statement {
  const mine = sql`${CHAINED} and e.key = ${$("key")}`;
  const difference = differenceTo("e.metadata ->> '$.after");
  return prepare(sql`
    select json_object(
      'head', json_object('hash', t.head, 'sequence', t.sequence, 'id', t.last_id),
      'anchor', json_object(
        'hash', t.anchor_hash, 'sequence', t.anchor_sequence, 'id', t.anchor_id
      ),
      'anchorSeal', t.anchor_seal,
      'unsealed', t.unsealed,
      'epoch', b.epoch,
      'differs', (
        select ${difference} from ${events} e
        where e.id = coalesce(
          case when t.unsealed > 0 then (
            select max(e.id) from ${events} e
            where ${mine} and e.sequence is null and +e.event = 'edited' and ${TRIGGERED}
          ) end,
          t.last_id
        ) and ${mine} and e.epoch = b.epoch
      ),
      'generation', b.generation,
      'unchained', (
        select json_group_array(json_array(
          e.id, e.event = 'edited' and ${TRIGGERED}, e.epoch, e.generation
        ))
        from ${events} e where ${mine} and e.sequence is null
      ),
      'beforeAnchor', (
        select min(e.id) from ${events} e
        where ${mine} and e.sequence <= coalesce(t.anchor_sequence, 0)
      )
    ) as chain
    from (select 1)
    left join ${trails} t on t.key = ${$("key")}
    left join ${circuits} b on b.key = ${$("key")}`);
}
