/**
 * Hashing the rows that a request appends to the trail, before the request is sent.
 *
 * @module
 */

import type { Admission, AuditEventName, OverrideRecord } from "../../src/contract.ts";
import { hasExpired, type Known, timeOf } from "./answers.ts";
import { append, type Digest, GENESIS, type Head, type Link, linkHash } from "./chain.ts";
import { countersOf, jsonOf } from "./metadata.ts";
import { type Row, storedSnapshot } from "./rows.ts";
import type { Values } from "./statements/prepare.ts";

/** The row that records a change. */
export interface ChangeRow {
  readonly event: AuditEventName;
  /** The state afterwards. By default, the same as before. */
  readonly to?: string;
  /** Returns the epoch afterwards. By default, the same as before. */
  readonly epoch?: (at: number) => string;
  /** Returns the generation afterwards, given the next one. By default, that one. */
  readonly generation?: (next: number) => number;
  readonly reason: string | null;
  readonly actor: string | null;
  /** Returns what the change alters in what the row says of the circuit afterwards. */
  readonly after?: (moment: number) => Partial<After>;
  /** `true` if the change leaves no circuit. */
  readonly removes?: boolean;
  /** Returns further metadata. */
  readonly more?: (row: Row, moment: number) => Record<string, unknown>;
}

/** The state that a row gives the circuit, beside its generation. `verifyTrail()` compares it. */
export interface After {
  readonly state: string;
  readonly openUntil: number | null;
  readonly cooldownMs: number | null;
  /** Why the circuit is in this state. */
  readonly reason: string;
  readonly override: OverrideRecord | null;
}

/** The hashed rows of a request. */
export interface Sealed {
  /** Values for the statements that append the rows. */
  readonly values: Values;
  /** `true` if edits by hand are taken into the chain first. */
  readonly edits: boolean;
  /** `true` if an override that has run out is released first. */
  readonly expired: boolean;
}

/** A request that appends nothing to the trail. */
export const UNSEALED: Sealed = { values: {}, edits: false, expired: false };

/** The appender of rows, and its chain. */
export interface Sealing {
  readonly digest: Digest;
  readonly key: string;
  readonly known: Known;
  /** The time on the store's clock, if the store was given one. */
  readonly now: number | undefined;
  /** The isolate that sends the request. */
  readonly origin: Readonly<Record<string, string>>;
}

/** How far the time of a row may be off the database's clock, in ms. */
const SLACK_MS = 10_000;

/**
 * Hashes the rows of a request from the last answer about the circuit: the edits by hand that are not in
 * the chain yet, the release of an override that has run out, and the change itself.
 */
export async function seal(sealing: Sealing, change: ChangeRow | null): Promise<Sealed> {
  const { digest, key, known, now } = sealing;
  const { row } = known;
  const time = timeOf(known, now);
  const at = stampOf(row, time);
  const expired = hasExpired(row, time);
  const edits = await sealEdits(digest, key, row);
  const values: Record<string, string | number | null> = {
    ...edits.values,
    ...{ sealed: 1, stamp: at, moment: time, slackMs: SLACK_MS },
    ...{ sealEpoch: String(row.epoch), sealGeneration: row.generation as number },
    ...{ sealBegan: row.began as number, sealSequence: headOf(row).sequence },
    sealExpired: expired ? 1 : 0,
  };
  let head = edits.head;
  let generation = row.generation as number;
  if (expired) {
    const release = releaseOf(sealing, at);
    head = await append(digest, release, head);
    generation = release.generation;
    Object.assign(values, {
      ...{ releaseMetadata: release.metadata, releaseGeneration: generation },
      ...{ releaseSequence: head.sequence, releaseHash: head.hash },
    });
  }
  if (change !== null) {
    const link = changeOf(sealing, at, generation + 1, time, change);
    head = await append(digest, link, head);
    Object.assign(values, {
      ...{ event: link.event, changeMetadata: link.metadata, changeEpoch: link.epoch },
      ...{ changeGeneration: link.generation },
      ...{ changeSequence: head.sequence, changeHash: head.hash },
    });
  }
  return { values, edits: edits.values.editCount > 0, expired };
}

/** The time of the rows: not before the last row, unless the clock has gone back by much. */
function stampOf({ last_at }: Row, time: number): number {
  const lastAt = last_at as number | null ?? 0;
  return lastAt > time && lastAt - time <= SLACK_MS / 2 ? lastAt : time;
}

/** The release of an override that has run out. */
function releaseOf(sealing: Sealing, at: number): Link {
  const { row } = sealing.known;
  const generation = row.generation as number + 1;
  const life = { epoch: String(row.epoch), generation, began: row.override_until as number };
  return linkOf(sealing, at, "released", life, {
    ...{ to: row.state, reason: "expired", actor: null, kind: row.override },
    after: { ...afterOf(row, false), override: null },
  });
}

/** The change itself. */
function changeOf(
  sealing: Sealing,
  at: number,
  next: number,
  began: number,
  change: ChangeRow,
): Link {
  const { row } = sealing.known;
  const { event, to = row.state, reason, actor } = change;
  const epoch = change.epoch?.(at) ?? String(row.epoch);
  const generation = change.generation?.(next) ?? next;
  const expired = next > (row.generation as number) + 1;
  const after = change.removes
    ? null
    : { ...afterOf(row, expired), state: to, ...change.after?.(began) };
  const metadata = { to, reason, actor, ...change.more?.(row, began), after };
  return linkOf(sealing, at, event, { epoch, generation, began }, metadata);
}

/** Returns the circuit before a change, without an expired override. */
function afterOf(row: Row, expired: boolean): After {
  const { state, openUntil, cooldownMs, reason, override } = storedSnapshot(row, {
    ...{ windowMs: 1, windowSize: 0 },
  });
  return { state, openUntil, cooldownMs, reason, override: expired ? null : override };
}

function linkOf(
  { key, known: { row }, origin }: Sealing,
  at: number,
  event: string,
  { epoch, generation, began }: Admission,
  { to, ...more }: Record<string, unknown>,
): Link {
  const counters = countersOf(storedSnapshot(row, { windowMs: 1, windowSize: 0 }));
  const metadata = jsonOf({ from: row.state, to, generation, ...more, counters, ...origin });
  return { key, circuit: row.id!, epoch, generation, began, event, at, metadata };
}

/** Hashes the edits by hand that were read. Returns the end of the chain after them, too. */
export async function sealEdits(digest: Digest, key: string, row: Row) {
  const before = headOf(row);
  let head = before;
  let at = row.last_at as number | null ?? 0;
  const edits: [id: number, sequence: number, hash: string][] = [];
  for (const edit of editsOf(row)) {
    const hash = await linkHash(digest, { ...edit, key }, head);
    head = { hash, sequence: head.sequence + 1, id: edit.id };
    at = edit.at;
    edits.push([edit.id, head.sequence, hash]);
  }
  const values = {
    ...{ edits: JSON.stringify(edits), editCount: edits.length, editAt: at },
    ...{ editHead: head.hash, editSequence: head.sequence, editId: head.id },
    sealTrail: `${before.hash} ${row.unsealed ?? 0}`,
  };
  return { head, values };
}

/** Returns the end of the chain, as an answer shows it. */
export function headOf(row: Row): Head {
  if (typeof row.head !== "string") return GENESIS;
  return { hash: row.head, sequence: row.sequence as number, id: row.last_id as number };
}

/** The row of an edit by hand. */
type Edit = Omit<Link, "key"> & { readonly id: number };

/** Returns the edits by hand that are not in the chain yet, oldest first. */
export function editsOf({ edits, unsealed }: Row): Edit[] {
  const rows = edits as
    | [number, number, string, number, number, string, number, string | null][]
    | null
    | undefined;
  return (rows ?? [])
    .map(([id, circuit, epoch, generation, began, event, at, metadata]) => (
      { id, circuit, epoch, generation, began, event, at, metadata }
    ))
    .sort((a, b) => a.id - b.id)
    // No more than the trigger has counted: others were inserted by hand.
    .slice(0, Math.max(0, unsealed as number));
}
