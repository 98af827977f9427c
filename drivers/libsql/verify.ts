/**
 * Verifying the hash chains of the trail.
 *
 * @module
 */

import { sql } from "drizzle-orm";
import { known, refuse } from "../../src/checks.ts";
import { type Line, send } from "./client.ts";
import { CHAINED, type FuseSchema } from "./schema.ts";
import { prepare, type Statement, TRIGGERED } from "./statements.ts";
import { anchorSeal, type Digest, type Head, linkHash } from "./chain.ts";

/** Options of `verifyTrail()`. */
export interface VerifyOptions {
  /** Key of the only circuit to look at. Left out: all. */
  circuit?: string | undefined;
  /**
   * A hash that was in the trail, of an event of a circuit: it has to be there still. Finds an end
   * that was cut off, which leaves a shorter trail that is right in itself. Left out: such an end is
   * not found.
   */
  head?: string | undefined;
}

/** What `verifyTrail()` found. */
export interface TrailProof {
  /** Whether nothing is wrong. */
  ok: boolean;
  /** How many rows were looked at. */
  checked: number;
  /** Where the first thing is wrong: a row, or the last one before what is missing. */
  brokenAt: TrailBreak | null;
  /** The newest hash of each circuit, by its key. Keep it elsewhere, to verify against. */
  heads: Record<string, string>;
}

/** Where a trail is broken. */
export interface TrailBreak {
  /** Id of the row; `""` if none is left. */
  id: string;
  /** Key of the circuit. */
  circuit: string;
  /** What has become of the row, or of one before it. */
  problem: "changed" | "removed" | "inserted";
}

/** Rows, and circuits, a request. */
const PAGE = 500;
/** The trail goes on while it is verified: a chain that moved is looked at again, so often. */
const TRIES = 5;

/** What is taken down of a chain. */
interface Chain {
  readonly head: Head;
  readonly anchor: Head;
  readonly anchorSeal: string;
  readonly unsealed: number;
  /** Rows that are in no chain: id, whether the trigger wrote it, epoch, generation. */
  readonly loose: readonly (readonly [number, 0 | 1, string | null, number | null])[];
  /** A row from before the anchor. */
  readonly stray: number | null;
  /** The circuit as it is. */
  readonly epoch: string | null;
  readonly generation: number;
}

interface Found {
  checked: number;
  head: string;
  problem: Pick<TrailBreak, "id" | "problem"> | null;
  hasHead: boolean;
}

interface Reading {
  keys(after: string): Promise<string[]>;
  chain(key: string): Promise<Chain>;
  rows(key: string, after: Head): Promise<readonly Record<string, unknown>[]>;
}

/** Goes through all chains, or one, in the order of their rows, a page at a time. */
export async function verifyTrail(
  line: Line,
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
  const reading = readingOf(line, schema);
  const proof: TrailProof = { ok: true, checked: 0, brokenAt: null, heads: {} };
  let hasHead = head === undefined;
  let last = "";
  for (;;) {
    const keys = circuit === undefined ? await reading.keys(last) : [circuit];
    for (const key of keys) {
      const found = await verifyChain(reading, digest, key, head);
      proof.checked += found.checked;
      if (found.head !== "") proof.heads[key] = found.head;
      if (found.problem !== null) proof.brokenAt ??= { ...found.problem, circuit: key };
      hasHead ||= found.hasHead;
      last = key;
    }
    if (circuit !== undefined || keys.length < PAGE) break;
  }
  if (!hasHead) {
    proof.brokenAt ??= { id: "", circuit: circuit ?? "", problem: "removed" };
  }
  proof.ok = proof.brokenAt === null;
  return proof;
}

async function verifyChain(
  reading: Reading,
  digest: Digest,
  key: string,
  wanted: string | undefined,
): Promise<Found> {
  for (let tries = 1;; tries++) {
    const start = await reading.chain(key);
    const found = await walk(reading, digest, key, start, wanted);
    if (found.problem === null || tries === TRIES) return found;
    // What was written, sealed or pruned in between may look like a break.
    const { stray: _, ...now } = await reading.chain(key);
    const { stray: __, ...before } = start;
    if (JSON.stringify(now) === JSON.stringify(before)) return found;
  }
}

async function walk(
  reading: Reading,
  digest: Digest,
  key: string,
  start: Chain,
  wanted: string | undefined,
): Promise<Found> {
  const { anchor } = start;
  const found: Found = {
    ...{ checked: 0, head: anchor.hash, problem: null },
    hasHead: anchor.hash !== "" && anchor.hash === wanted,
  };
  const broken = (id: number | string, problem: TrailBreak["problem"]): Found => {
    found.problem = { id: String(id || ""), problem };
    return found;
  };
  if (anchor.sequence > 0 && await anchorSeal(digest, key, anchor) !== start.anchorSeal) {
    return broken(anchor.id!, "changed");
  }
  let before = anchor;
  const newest = new Map<string, number>();
  const note = (epoch: string | null, generation: number | null) => {
    const held = newest.get(String(epoch)) ?? 0;
    newest.set(String(epoch), Math.max(held, Number(generation)));
  };
  let end: Chain;
  for (;;) {
    const page = await reading.rows(key, before);
    for (const [i, row] of page.entries()) {
      found.checked++;
      const id = Number(row.id);
      if (Number(row.sequence) <= before.sequence) return broken(id, "inserted");
      if (Number(row.sequence) > before.sequence + 1) return broken(id, "removed");
      if (!await follows(digest, row, before)) {
        const next = page[i + 1];
        const twin = next !== undefined && Number(next.sequence) === Number(row.sequence);
        return broken(id, twin && await follows(digest, next, before) ? "inserted" : "changed");
      }
      // A store may have taken it into the chain: it cannot tell who has put it in.
      if (!isTriggered(row)) return broken(id, "inserted");
      before = { hash: String(row.hash), sequence: before.sequence + 1, id };
      found.head = before.hash;
      if (before.hash === wanted) found.hasHead = true;
      note(row.epoch as string | null, Number(row.generation));
    }
    if (page.length === PAGE) continue;
    end = await reading.chain(key);
    // Appended since the page was read.
    if (page.length === 0 || end.head.sequence <= before.sequence) break;
  }
  const { head, loose, unsealed, stray, epoch, generation } = end;
  if (stray !== null) return broken(stray, "inserted");
  if (head.sequence > before.sequence) return broken(before.id!, "removed");
  if (head.sequence < before.sequence) return broken(before.id!, "inserted");
  if (head.hash !== before.hash || head.id !== before.id) return broken(before.id!, "changed");
  for (const [id, triggered, epoch, generation] of loose) {
    if (!triggered || id < before.id!) return broken(id, "inserted");
    note(epoch, generation);
  }
  if (loose.length > unsealed) return broken(loose.at(-1)![0], "inserted");
  if (loose.length < unsealed) return broken(before.id!, "removed");
  // Each generation has its row: the circuit itself knows of the last.
  if (epoch !== null && newest.has(epoch) && generation > newest.get(epoch)!) {
    return broken(before.id!, "removed");
  }
  return found;
}

/** Whether a row says nothing of an edit by hand that the trigger does not say. */
export function isTriggered({ triggered }: Record<string, unknown>): boolean {
  return Number(triggered) === 1;
}

/** Whether a row is what was hashed, and comes after the one before. */
export async function follows(
  digest: Digest,
  row: Record<string, unknown>,
  before: Head,
): Promise<boolean> {
  const id = Number(row.id);
  const link = {
    key: String(row.key),
    circuit: Number(row.circuit),
    epoch: String(row.epoch),
    generation: Number(row.generation),
    event: String(row.event),
    at: Number(row.at),
    metadata: row.metadata as string | null,
  };
  if (id <= before.id!) return false;
  if (await linkHash(digest, link, before) === row.hash) return true;
  // Both were appended in one batch, when the first had no id yet: they lie side by side.
  return id === before.id! + 1 &&
    await linkHash(digest, link, { ...before, id: null }) === row.hash;
}

function readingOf(line: Line, schema: FuseSchema): Reading {
  const { circuitBreakers: B, circuitBreakerEvents: E, circuitBreakerTrails: T } = schema;
  const $ = (name: string) => sql.placeholder(name);
  const chained = sql`e.event ${sql.raw(CHAINED)}`;
  const mine = sql`${chained} and e.key = ${$("key")}`;
  const keys = prepare(sql`select key from (select t.key from ${T} t where t.key > ${$("after")}
      order by t.key limit ${PAGE})
    union select key from (select distinct e.key from ${E} e where ${chained}
      and e.key > ${$("after")} order by e.key limit ${PAGE})
    order by key limit ${PAGE}`);
  const rows = prepare(sql`select e.id, e.key as "key", e.circuit_breaker_id as circuit, e.epoch,
      e.generation, e.sequence, e.event as "event", e.created_at as at, e.metadata as metadata,
      e.hash as hash, e.event <> 'edited' or ${TRIGGERED} as triggered from ${E} e
    where ${mine} and e.sequence >= ${$("sequence")}
    and (e.sequence > ${$("sequence")} or e.id > ${$("id")})
    order by e.sequence, e.id limit ${PAGE}`);
  // One statement: it sees one moment.
  const chain = prepare(sql`select json_object('head', t.head, 'sequence', t.sequence,
      'id', t.last_id, 'anchorHash', t.anchor_hash, 'anchorSequence', t.anchor_sequence,
      'anchorId', t.anchor_id, 'anchorSeal', t.anchor_seal, 'unsealed', t.unsealed,
      'epoch', b.epoch, 'generation', b.generation,
      'loose', (select json_group_array(json_array(e.id,
        e.event = 'edited' and ${TRIGGERED}, e.epoch, e.generation))
        from ${E} e where ${mine} and e.sequence is null),
      'stray', (select min(e.id) from ${E} e where ${mine}
        and e.sequence <= coalesce(t.anchor_sequence, 0))) as chain
    from (select 1) left join ${T} t on t.key = ${$("key")} left join ${B} b on b.key = ${
    $("key")
  }`);
  const ask = async (statement: Statement, values: Record<string, string | number | null>) =>
    Array.from((await send(line, statement(values)))[0]!.rows);
  return {
    keys: async (after) => (await ask(keys, { after })).map(({ key }) => String(key)),
    rows: (key, { sequence, id }) => ask(rows, { key, sequence, id }),
    async chain(key) {
      const row = JSON.parse(String((await ask(chain, { key }))[0]!.chain));
      return {
        head: { hash: row.head ?? "", sequence: row.sequence ?? 0, id: row.id ?? 0 },
        anchor: {
          hash: row.anchorHash ?? "",
          sequence: row.anchorSequence ?? 0,
          id: row.anchorId ?? 0,
        },
        anchorSeal: row.anchorSeal ?? "",
        unsealed: row.unsealed ?? 0,
        loose: row.loose.sort((a: number[], b: number[]) => a[0]! - b[0]!),
        ...{ stray: row.stray, epoch: row.epoch, generation: row.generation },
      };
    },
  };
}
