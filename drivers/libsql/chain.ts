/**
 * The hash chain of the trail: the input of a row's hash, and its verification.
 *
 * The rows of transitions and operator actions of a key are one chain, over all lives of the
 * circuit. SQL has no SHA-256, so the isolate that requests a change hashes its row, from the last
 * answer about the circuit. The batch appends the row only if epoch, generation and the end of the
 * chain are still the same, and otherwise changes nothing.
 *
 * @module
 */

import { type SQL, sql } from "drizzle-orm";
import { textOf } from "./metadata.ts";
import { TRIGGERED } from "./statements/dialect.ts";

/** A row of the chain: the part that is hashed. */
export interface Link {
  readonly key: string;
  readonly circuit: number;
  readonly epoch: string;
  readonly generation: number;
  /** When the generation began, on the store's clock, in ms. */
  readonly began: number;
  readonly event: string;
  /** On the store's clock, in ms. */
  readonly at: number;
  /** The exact text in the database. */
  readonly metadata: string | null;
}

/** The end of a chain: the hash, place and id of its last row. */
export interface Head {
  readonly hash: string;
  readonly sequence: number;
  /** `null` if the row is appended in the same batch as the next one, which then has the next id. */
  readonly id: number | null;
}

/** The end of a chain without rows. */
export const GENESIS: Head = { hash: "", sequence: 0, id: 0 };

/** SHA-256 or, with a key, HMAC-SHA-256, in hex. */
export interface Digest {
  (text: string): Promise<string>;
  /** Of the keys that only verify. */
  readonly older?: readonly Digest[];
}

/** Makes a {@linkcode Digest} of the first key, with those of the others. */
export async function makeDigests([key, ...keys]: readonly string[]): Promise<Digest> {
  const digest = await makeDigest(key);
  return Object.assign(digest, { older: await Promise.all(keys.map(makeDigest)) });
}

/** Returns `true` if a hash is what one of the keys gives. */
export async function isHash(
  digest: Digest,
  hash: unknown,
  of: (digest: Digest) => Promise<string>,
): Promise<boolean> {
  for (const one of [digest, ...digest.older ?? []]) if (await of(one) === hash) return true;
  return false;
}

/** Makes a {@linkcode Digest}. The key is imported once for each unit of work. */
export async function makeDigest(trailKey: string | undefined): Promise<Digest> {
  const { subtle } = crypto;
  const bytes = (text: string) => new TextEncoder().encode(text);
  if (trailKey === undefined) {
    return async (text) => hex(await subtle.digest("SHA-256", bytes(text)));
  }
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await subtle.importKey("raw", bytes(trailKey), algorithm, false, ["sign"]);
  return async (text) => hex(await subtle.sign("HMAC", key, bytes(text)));
}

function hex(buffer: ArrayBuffer): string {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Returns the hash of a row that follows `before`. */
export function linkHash(digest: Digest, link: Link, before: Head): Promise<string> {
  const { key, circuit, epoch, generation, began, event, at, metadata } = link;
  return digest(JSON.stringify([
    ...["fuse trail 1", before.hash, before.id, before.sequence + 1],
    ...[key, circuit, epoch, generation, began, event, at, metadata],
  ]));
}

/** Hashes a row that is appended after `before`, and returns the new end of the chain. */
export async function append(digest: Digest, link: Link, before: Head): Promise<Head> {
  return { hash: await linkHash(digest, link, before), sequence: before.sequence + 1, id: null };
}

/** Returns the hash that authenticates the place up to which a chain was pruned. */
export function anchorSeal(digest: Digest, key: string, anchor: Head): Promise<string> {
  return digest(
    JSON.stringify(["fuse trail anchor 1", key, anchor.sequence, anchor.id, anchor.hash]),
  );
}

/** A row of the chain, as a statement with {@linkcode LINK_COLUMNS} returns it. */
export type LinkRow = Readonly<Record<string, unknown>>;

/** The columns of a row `e` that verifying needs: texts as bytes, which {@linkcode linkOf} reads. */
export const LINK_COLUMNS: SQL = sql`
  e.id, cast(e.key as blob) as "key", e.circuit_breaker_id as circuit,
  cast(e.epoch as blob) as epoch, e.generation, e.began, e.sequence,
  cast(e.event as blob) as "event", e.created_at as at, cast(e.metadata as blob) as metadata,
  cast(e.hash as blob) as hash, e.event <> 'edited' or ${TRIGGERED} as triggered`;

/** Returns a row with its texts as texts. */
export function linkOf(row: LinkRow): LinkRow {
  const texts = ["key", "epoch", "event", "metadata", "hash"]
    .map((column) => [column, row[column] === null ? null : textOf(row[column])]);
  return { ...row, ...Object.fromEntries(texts) };
}

/**
 * The same columns of no row, in the same order: the first line of an answer has other contents.
 */
export const NO_LINK: SQL = sql.raw(
  [
    ...["id", '"key"', "circuit", "epoch", "generation", "began", "sequence", '"event"', "at"],
    ...["metadata", "hash", "triggered"],
  ].map((name) => `null as ${name}`).join(", "),
);

/** Returns `false` for a row of an edit by hand with other metadata than the trigger writes. */
export function isTriggered({ triggered }: LinkRow): boolean {
  return Number(triggered) === 1;
}

/** Resolves to `true` if a row has the hash of its content, and follows `before`. */
export async function follows(digest: Digest, row: LinkRow, before: Head): Promise<boolean> {
  const id = Number(row.id);
  if (id <= before.id!) return false;
  const link: Link = {
    key: String(row.key),
    circuit: Number(row.circuit),
    epoch: String(row.epoch),
    generation: Number(row.generation),
    began: Number(row.began),
    event: String(row.event),
    at: Number(row.at),
    metadata: row.metadata as string | null,
  };
  const isAfter = (head: Head) => isHash(digest, row.hash, (one) => linkHash(one, link, head));
  if (await isAfter(before)) return true;
  // If both were appended in one batch, the id of the first was not known yet, and is the one before.
  return id === before.id! + 1 && await isAfter({ ...before, id: null });
}
