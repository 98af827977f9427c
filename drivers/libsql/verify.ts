/**
 * Verifying the hash chains of the trail.
 *
 * @module
 */

import { type SQL, sql } from "drizzle-orm";
import { known, mayBeFunction, refuse } from "../../src/checks.ts";
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
  NO_LINK,
} from "./chain.ts";
import { type Connection, send } from "./client.ts";
import { isUtf8, textOf } from "./metadata.ts";
import type { FuseSchema } from "./schema.ts";
import { type Circuit, differenceOf, type LastRow } from "./proof.ts";
import { CHAINED, inJson, type Tables, tablesOf, TRIGGERED } from "./statements/dialect.ts";
import { $, prepare, type Statement, type Values } from "./statements/prepare.ts";
import { brokenTrigger } from "./triggers.ts";

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
  /** Called after each circuit with the number of verified rows. By default, there is no report. */
  onProgress?: ((checked: number) => void) | undefined;
}

/** The result of `verifyTrail()`. */
export interface TrailProof {
  /** `true` if nothing is wrong. */
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
  /** Key of the circuit; `""` if a trigger of the table is missing or altered. */
  circuit: string;
  /**
   * The problem: this row or one before it was `changed`, `removed` or `inserted`; the `circuit` is not as
   * its newest row says; it has changed without a row (`unchained`); or a `trigger` that records changes
   * by hand is missing or altered.
   */
  problem: "changed" | "removed" | "inserted" | "circuit" | "trigger" | "unchained";
  /** A sentence that describes the problem. */
  detail: string;
}

/** Rows, or circuits, of a request. */
const PAGE = 500;

/**
 * Verifies the triggers, and all chains or one, in the order of their rows, a page at a time.
 *
 * @throws {TypeError} If an option is not a string.
 */
export async function verifyTrail(
  connection: Connection,
  schema: FuseSchema,
  digest: Digest,
  options: VerifyOptions = {},
): Promise<TrailProof> {
  known("verification", options, ["circuit", "head", "onProgress"]);
  const { circuit, head, onProgress } = options;
  for (const [option, value] of [["circuit", circuit], ["head", head]] as const) {
    if (value !== undefined && typeof value !== "string") {
      refuse("verification", option, "a text", value);
    }
  }
  mayBeFunction("verification", "onProgress", onProgress);
  const reader = new Reader(connection, schema);
  const proof: TrailProof = { ok: true, checked: 0, brokenAt: null, heads: {} };
  const trigger = await brokenTrigger(connection, schema);
  if (trigger !== null) proof.brokenAt = { ...broken(null, "trigger", trigger), circuit: "" };
  let hasHead = head === undefined;
  const keys = circuit === undefined ? reader.allKeys() : [{ key: circuit, isText: true }];
  for await (const { key, isText } of keys) {
    if (!isText) proof.brokenAt ??= { ...broken(null, "inserted"), circuit: key };
    const found = await verifyChain(reader, digest, key, head);
    proof.checked += found.checked;
    if (found.head !== "") proof.heads[key] = found.head;
    if (found.problem !== null) proof.brokenAt ??= { ...found.problem, circuit: key };
    hasHead ||= found.hasHead;
    onProgress?.(proof.checked);
  }
  if (!hasHead) {
    proof.brokenAt ??= { ...broken(null, "removed"), circuit: circuit ?? "" };
  }
  proof.ok = proof.brokenAt === null;
  return proof;
}

/** The result of verifying a chain. */
interface Found {
  readonly checked: number;
  /** The newest hash. */
  readonly head: string;
  /** `true` if the hash that the caller knows is in the chain. */
  readonly hasHead: boolean;
  readonly problem: Problem | null;
}

type Problem = Omit<TrailBreak, "circuit">;

/**
 * Verifies a chain at one moment: one statement reads where it begins and ends, the circuit, and
 * the first rows. Later rows are read up to that end, whatever is appended meanwhile.
 */
async function verifyChain(
  reader: Reader,
  digest: Digest,
  key: string,
  wanted: string | undefined,
): Promise<Found> {
  const { chain, rows } = await reader.chain(key);
  const walk = new Walk(digest, key, wanted);
  const problem = await walk.begin(chain.anchor) ?? await walkChain(reader, walk, chain, rows) ??
    walk.end(chain);
  return { checked: walk.checked, head: walk.before.hash, hasHead: walk.hasHead, problem };
}

async function walkChain(
  reader: Reader,
  walk: Walk,
  { head }: Chain,
  rows: readonly LinkRow[],
): Promise<Problem | null> {
  for (let page = rows;;) {
    for (const [i, row] of page.entries()) {
      const problem = await walk.step(row, page[i + 1]);
      if (problem !== null) return problem;
    }
    if (page.length < PAGE || walk.before.sequence >= head.sequence) return null;
    const { anchor, rows: next } = await reader.rows(walk.key, walk.before, head);
    // The rows may have been pruned meanwhile.
    if (anchor.sequence > walk.before.sequence) {
      const problem = await walk.begin(anchor);
      if (problem !== null) return problem;
    }
    page = next;
  }
}

/** Goes through the rows of a chain, from its anchor to its end. */
class Walk {
  readonly key: string;
  readonly #digest: Digest;
  readonly #wanted: string | undefined;
  checked = 0;
  hasHead = false;
  /** The last row that is valid. */
  before: Head = { hash: "", sequence: 0, id: 0 };

  constructor(digest: Digest, key: string, wanted: string | undefined) {
    this.#digest = digest;
    this.key = key;
    this.#wanted = wanted;
  }

  /** Begins at the place up to which the chain was pruned, if that is authentic. */
  async begin({ seal, ...anchor }: Anchor): Promise<Problem | null> {
    const isAnchored = anchor.sequence === 0 ||
      await isHash(this.#digest, seal, (one) => anchorSeal(one, this.key, anchor));
    this.before = anchor;
    this.hasHead ||= anchor.hash !== "" && anchor.hash === this.#wanted;
    return isAnchored ? null : broken(anchor.id, "changed");
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
    // A writer who can hash rows could add an edit to the chain that the trigger did not write.
    if (!isTriggered(row)) return broken(id, "inserted");
    this.before = { hash: String(row.hash), sequence, id };
    this.hasHead ||= this.before.hash === this.#wanted;
    return null;
  }

  /** Verifies the recorded end of the chain, the rows that are not in it yet, and the circuit. */
  end(chain: Chain): Problem | null {
    const { head, unchained, unsealed, outside } = chain;
    const { hash, id, sequence } = this.before;
    if (outside !== null) return broken(outside, "inserted");
    // Rows pruned meanwhile, up to this end and beyond, were verified by the isolate that did so.
    if (head.sequence > sequence) return broken(id, "removed");
    if (head.sequence === sequence && (head.hash !== hash || head.id !== id)) {
      return broken(id, "changed");
    }
    for (const [edit, triggered] of unchained) {
      if (!triggered || edit < id!) return broken(edit, "inserted");
    }
    if (unchained.length > unsealed) return broken(unchained.at(-1)![0], "inserted");
    if (unchained.length < unsealed) return broken(id, "removed");
    const difference = differenceOf(chain.circuit, chain.last);
    return difference && broken(chain.last?.id ?? id, difference.problem, difference.detail);
  }

  #follows(row: LinkRow): Promise<boolean> {
    return follows(this.#digest, row, this.before);
  }
}

const DETAILS: Readonly<Record<TrailBreak["problem"], string>> = {
  changed: "The row, or what is recorded of the chain there, is not as it was written",
  removed: "A row that followed is gone",
  inserted: "The row was put there by hand",
  circuit: "The circuit is not as its last row says",
  trigger: "A trigger that tells changes by hand is not as the migration made it",
  unchained: "The circuit has changed, and no row says how",
};

function broken(id: number | null, problem: TrailBreak["problem"], more?: string): Problem {
  const detail = DETAILS[problem] + (more === undefined ? "" : `: ${more}`);
  return { id: String(id || ""), problem, detail };
}

/** The place up to which a chain was pruned, and the hash that authenticates it. */
interface Anchor extends Head {
  readonly seal: string;
}

/** The record of a chain, the rows that are not in it, and the circuit, all at one moment. */
interface Chain {
  readonly head: Head;
  readonly anchor: Anchor;
  /** How many edits by hand the trigger has counted that are not in the chain yet. */
  readonly unsealed: number;
  /** The rows that are not in the chain. */
  readonly unchained: readonly (readonly [id: number, triggered: 0 | 1])[];
  /** A row before the anchor or after the head, if there is one. */
  readonly outside: number | null;
  readonly circuit: Circuit | null;
  /** The newest row; `null` if there is none. */
  readonly last: LastRow | null;
}

/** The key of a chain or of a circuit. */
interface Key {
  readonly key: string;
  /** `false` for a key that is not UTF-8, which is not ours. */
  readonly isText: boolean;
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

  /** Reads the keys that have a chain, or a circuit that should have one, in order. */
  async *allKeys(): AsyncGenerator<Key, void, undefined> {
    for (let after = "";;) {
      const page = await this.#ask(this.#keys, { after });
      const before = after;
      for (const { key } of page) yield { key: after = textOf(key), isText: isUtf8(key) };
      if (page.length < PAGE || after === before) return;
    }
  }

  /** Reads the record of a chain, the circuit, and the first rows. */
  async chain(key: string): Promise<{ chain: Chain; rows: readonly LinkRow[] }> {
    const [said, ...rows] = await this.#links(this.#chain, { key });
    const { head, anchor, ...rest } = JSON.parse(textOf(said!.said));
    const chain = {
      ...rest,
      head: headOf(head),
      anchor: anchorOf(anchor),
      unsealed: rest.unsealed ?? 0,
      unchained: rest.unchained.sort((a: number[], b: number[]) => a[0]! - b[0]!),
    };
    return { chain, rows };
  }

  /** Reads the rows between two, and where the chain begins by now. */
  async rows(
    key: string,
    before: Head,
    { sequence: upTo }: Head,
  ): Promise<{ anchor: Anchor; rows: readonly LinkRow[] }> {
    const { sequence, id } = before;
    const [said, ...rows] = await this.#links(this.#rows, { key, sequence, id, upTo });
    return { anchor: anchorOf(JSON.parse(textOf(said!.said))), rows };
  }

  async #links(statement: Statement, values: Values): Promise<LinkRow[]> {
    return (await this.#ask(statement, values)).map(linkOf);
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

function anchorOf({ seal, ...head }: { [F in keyof Anchor]: Anchor[F] | null }): Anchor {
  return { ...headOf(head), seal: seal ?? "" };
}

/** Chains with a record, chains that have rows, and circuits that have changed. */
function selectKeys({ circuits, events, trails }: Tables): Statement {
  return prepare(sql`
    select cast(key as blob) as "key" from (
    select key from (
      select t.key from ${trails} t where t.key > ${$("after")} order by t.key limit ${PAGE}
    )
    union
    select key from (
      select distinct e.key from ${events} e
      where ${CHAINED} and e.key > ${$("after")} order by e.key limit ${PAGE}
    )
    union
    select key from (
      select b.key from ${circuits} b
      where b.key > ${$("after")}
        and (b.generation <> 1 or b.state <> 'CLOSED' or b.override is not null)
      order by b.key limit ${PAGE}
    )
    ) order by key limit ${PAGE}`);
}

const ANCHOR = jsonOf({
  ...{ hash: "t.anchor_hash", sequence: "t.anchor_sequence", id: "t.anchor_id" },
  seal: "t.anchor_seal",
});

/** A JSON object of columns. A blob, which JSON does not hold, is in it as a text. */
function jsonOf(columns: Readonly<Record<string, string>>): SQL {
  const fields = Object.entries(columns).map(([name, of]) => `'${name}', ${inJson(of)}`);
  return sql.raw(`json_object(${fields.join(", ")})`);
}

function selectRows({ events, trails }: Tables): Statement {
  return prepare(sql`
    select cast(${ANCHOR} as blob) as said, ${NO_LINK}
    from (select 1) left join ${trails} t on t.key = ${$("key")}
    union all
    select null, page.* from (
      select ${LINK_COLUMNS} from ${events} e
      where ${CHAINED} and e.key = ${$("key")}
        and e.sequence >= ${$("sequence")} and e.sequence <= ${$("upTo")}
        and (e.sequence > ${$("sequence")} or e.id > ${$("id")})
      order by e.sequence, e.id limit ${PAGE}
    ) page
    order by sequence, id`);
}

/** Returns a single statement, which sees one moment. */
function selectChain({ circuits, events, trails }: Tables): Statement {
  const mine = sql`${CHAINED} and e.key = ${$("key")}`;
  const anchored = sql`(select t.anchor_sequence from ${trails} t where t.key = ${$("key")})`;
  return prepare(sql`
    select cast(json_object(
        'head', ${jsonOf({ hash: "t.head", sequence: "t.sequence", id: "t.last_id" })},
        'anchor', ${ANCHOR},
        'unsealed', t.unsealed,
        'circuit', case when b.id is not null then ${
    jsonOf({
      ...{ epoch: "b.epoch", generation: "b.generation", began: "b.began", state: "b.state" },
      ...{ openUntil: "b.open_until", cooldownMs: "b.cooldown_ms", reason: "b.reason" },
      ...{ kind: "b.override", until: "b.override_until" },
      ...{ overrideReason: "b.override_reason", actor: "b.override_actor" },
    })
  } end,
        'last', (
          select ${
    jsonOf({
      ...{ id: "e.id", epoch: "e.epoch", generation: "e.generation", began: "e.began" },
      ...{ event: "e.event", metadata: "e.metadata" },
    })
  }
          from ${events} e where ${mine} and e.id = coalesce(
            case when t.unsealed > 0 then (
              select max(e.id) from ${events} e
              where ${mine} and e.sequence is null and +e.event = 'edited' and ${TRIGGERED}
            ) end,
            t.last_id
          )
        ),
        'unchained', (
          select json_group_array(json_array(e.id, e.event = 'edited' and ${TRIGGERED}))
          from ${events} e where ${mine} and e.sequence is null
        ),
        'outside', coalesce(
          (
            select min(e.id) from ${events} e
            where ${mine} and e.sequence <= coalesce(t.anchor_sequence, 0)
          ),
          (
            select min(e.id) from ${events} e
            where ${mine} and e.sequence > coalesce(t.sequence, 0)
          )
        )
      ) as blob) as said, ${NO_LINK}
    from (select 1)
    left join ${trails} t on t.key = ${$("key")}
    left join ${circuits} b on b.key = ${$("key")}
    union all
    select null, page.* from (
      select ${LINK_COLUMNS} from ${events} e
      where ${mine} and e.sequence > coalesce(${anchored}, 0)
      order by e.sequence, e.id limit ${PAGE}
    ) page
    order by sequence, id`);
}
