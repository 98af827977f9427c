/**
 * State as JSON, from one store to another: a tripped circuit stays open for its remaining time.
 *
 * @module
 */

import { type CircuitIdentity, fromKey, identify, isName, toKey } from "./key.ts";
import { wrong } from "./checks.ts";
import type {
  CircuitRecord,
  FailureNote,
  OverrideRecord,
  PolicyRecord,
  Snapshot,
} from "./contract.ts";
import {
  absentSnapshot,
  CIRCUIT_STATES,
  OVERRIDES,
  SNAPSHOT_COUNTS,
  SNAPSHOT_TIMES,
} from "./records.ts";

/** The result of `exportState`: plain JSON. */
export interface FuseExport {
  /** The version of the format. */
  readonly version: 1;
  /** The time of the export, in ISO 8601. */
  readonly exportedAt: string;
  /** An entry for each circuit. */
  readonly circuits: readonly unknown[];
}

/** An entry of an export: a record whose times are on the exporting Fuse's clock. */
export interface Imported {
  readonly identity: CircuitIdentity;
  readonly record: CircuitRecord;
}

const IDENTITY = ["store", "name", "context", "boundary"] as const;

/** Returns an entry for a record; `offset` is the store's clock minus the Fuse's. */
export function toEntry(
  identity: CircuitIdentity,
  { snapshot: s, segments, outcomes }: CircuitRecord,
  offset: number,
): Record<string, unknown> {
  const entry: Record<string, unknown> = {};
  for (const field of IDENTITY) entry[field] = identity[field];
  for (const field of ["state", "reason", "policyHash", ...SNAPSHOT_COUNTS] as const) {
    entry[field] = s[field];
  }
  for (const field of SNAPSHOT_TIMES) entry[field] = shift(s[field], -offset);
  const { totals, sinceClosed, override, lastFailure } = s;
  return {
    ...entry,
    lastFailure: lastFailure && { ...lastFailure },
    // In a fixed order: Redis keeps none.
    policy: s.policy && Object.fromEntries(Object.entries(s.policy).sort()),
    totals: { ...totals },
    sinceClosed: { ...sinceClosed },
    override: override && { ...override, until: shift(override.until, -offset) },
    segments: segments.map((segment) => ({ ...segment, start: segment.start - offset })),
    outcomes,
  };
}

function shift(at: number | null, by: number): number | null {
  return at === null ? null : at + by;
}

/**
 * Reads an export.
 *
 * @throws {TypeError} If any part of it is invalid: the part, its place, what came, what is
 * allowed.
 */
export function readExport(data: unknown): Imported[] {
  const { version, circuits } = object(data, "data");
  if (version !== 1) refuse("version", "1", version);
  if (!Array.isArray(circuits)) refuse("circuits", "an array", circuits);
  const seen = new Set<string>();
  // Not `map`, which skips holes.
  return Array.from(circuits, (entry, i) => {
    const path = `circuits[${i}]`;
    const read = readEntry(object(entry, path), path);
    const id = JSON.stringify([read.identity.store, read.identity.key]);
    if (seen.has(id)) refuse(path, "another circuit than those before", read.identity.name);
    seen.add(id);
    return read;
  });
}

function readEntry(entry: Record<string, unknown>, path: string): Imported {
  const { store, name, context, boundary, segments, outcomes, override } = entry;
  for (const [field, of] of [["store", "store"], ["name", "circuit"]] as const) {
    if (text(entry, field, 255, path) === "") {
      refuse(`${path}.${field}`, `the name of a ${of}`, "");
    }
  }
  for (const dimension of ["context", "boundary"]) {
    const scope = entry[dimension];
    if (scope !== null && !isScopeText(text(entry, dimension, 10_000, path))) {
      refuse(`${path}.${dimension}`, "null or a scope as snapshots show it", scope);
    }
  }
  const key = toKey({ name, context, boundary } as CircuitIdentity);
  const snapshot: Record<string, unknown> = {
    ...absentSnapshot(0),
    state: word(entry.state, CIRCUIT_STATES, `${path}.state`),
    reason: text(entry, "reason", 1000, path),
    policyHash: text(entry, "policyHash", 64, path),
    totals: counts(entry, "totals", ["successes", "failures", "rejected", "slow"], path),
    sinceClosed: counts(entry, "sinceClosed", ["successes", "failures", "slow"], path),
    override: override === null ? null : readOverride(object(override, `${path}.override`), path),
  };
  // An export of before has none.
  if (entry.lastFailure != null) {
    snapshot.lastFailure = readFailure(object(entry.lastFailure, `${path}.lastFailure`), path);
  }
  if (entry.policy != null) snapshot.policy = readPolicy(entry.policy, `${path}.policy`);
  for (const field of SNAPSHOT_TIMES) snapshot[field] = time(entry[field], `${path}.${field}`);
  for (const field of SNAPSHOT_COUNTS) snapshot[field] = count(entry[field], `${path}.${field}`);
  const { state, openedAt, openUntil } = snapshot as unknown as Snapshot;
  if (state === "OPEN") {
    if (openUntil === null) refuse(`${path}.openUntil`, "a time while OPEN", null);
    // How long it was to last, by its own two times.
    if (openedAt !== null) snapshot.cooldownMs = Math.max(0, openUntil - openedAt);
  }
  if (!Array.isArray(segments) || segments.length > 100) {
    refuse(`${path}.segments`, "an array of at most 100", segments);
  }
  let after = -Infinity;
  const window = Array.from(segments, (value, i) => {
    const at = `${path}.segments[${i}]`;
    const segment = object(value, at);
    const start = time(segment.start, `${at}.start`);
    if (start === null || start <= after) {
      refuse(`${at}.start`, "later than the one before", segment.start);
    }
    after = start;
    const counted = ["successes", "failures", "slow"] as const;
    const tally = counted.map((field) => [field, count(segment[field], `${at}.${field}`)]);
    return { start, ...Object.fromEntries(tally) };
  });
  if (typeof outcomes !== "string" || !/^[SF]{0,10000}$/.test(outcomes)) {
    refuse(`${path}.outcomes`, `a text of at most 10000 "S" and "F"`, outcomes);
  }
  return {
    identity: identify(store as string, key),
    record: {
      key,
      snapshot: snapshot as unknown as Snapshot,
      segments: window as CircuitRecord["segments"],
      outcomes,
    },
  };
}

/** Returns `true` for `type:id`, each part escaped: exactly the texts of `scopeText`. */
function isScopeText(text: string): boolean {
  const parts = text.split(":");
  return parts.length === 2 && parts.every((part) => isName(fromKey(part)?.name));
}

function readOverride(override: Record<string, unknown>, path: string): OverrideRecord {
  const at = `${path}.override`;
  const words = (field: "reason" | "actor") => {
    const value = override[field];
    const fits = value === null || (typeof value === "string" && value.length <= 1000);
    return fits
      ? value && value.toWellFormed()
      : refuse(`${at}.${field}`, "null or a text of at most 1000 characters", value);
  };
  return {
    kind: word(override.kind, OVERRIDES, `${at}.kind`) as OverrideRecord["kind"],
    until: time(override.until, `${at}.until`),
    reason: words("reason"),
    actor: words("actor"),
  };
}

function readPolicy(value: unknown, path: string): PolicyRecord {
  const policy = { ...object(value, path) };
  for (const option in policy) {
    const told = policy[option];
    const isNumber = typeof told === "number" && Number.isFinite(told);
    const isText = typeof told === "string" && /^.{1,1000}$/s.test(told);
    const fits = /^[a-z]\w{0,40}$/i.test(option) && (told === null || isNumber || isText);
    if (!fits) refuse(path, "options with a number, a text or null", told);
    if (isText) policy[option] = told.toWellFormed();
  }
  return policy as PolicyRecord;
}

function readFailure(failure: Record<string, unknown>, path: string): FailureNote {
  const at = `${path}.lastFailure`;
  const { status, instance } = failure;
  return {
    at: time(failure.at, `${at}.at`) ?? refuse(`${at}.at`, "a time in ms", null),
    kind: text(failure, "kind", 64, at),
    status: status === null ? null : count(status, `${at}.status`),
    instance: instance === null ? null : text(failure, "instance", 100, at),
  };
}

function text(
  entry: Record<string, unknown>,
  field: string,
  most: number,
  path: string,
): string {
  const value = entry[field];
  return typeof value === "string" && value.length <= most
    ? value.toWellFormed()
    : refuse(`${path}.${field}`, `a text of at most ${most} characters`, value);
}

function counts(
  entry: Record<string, unknown>,
  field: string,
  fields: readonly string[],
  path: string,
): Record<string, number> {
  const value = object(entry[field], `${path}.${field}`);
  return Object.fromEntries(fields.map((f) => [f, count(value[f], `${path}.${field}.${f}`)]));
}

function object(value: unknown, path: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    refuse(path, "an object", value);
  }
  return value as Record<string, unknown>;
}

function word(value: unknown, words: readonly string[], path: string): string {
  return words.includes(value as string)
    ? value as string
    : refuse(path, `one of ${words.join(", ")}`, value);
}

/** Leaves room: what is imported goes on counting. */
const MAX_COUNT = 1e15;

function count(value: unknown, path: string): number {
  return Number.isSafeInteger(value) && value as number >= 0 && value as number <= MAX_COUNT
    ? value as number
    : refuse(path, `a count of at most ${MAX_COUNT}`, value);
}

function time(value: unknown, path: string): number | null {
  const fits = value === null || (Number.isFinite(value) && Math.abs(value as number) <= 8.64e15);
  // Whole, as Redis and SQL keep them.
  if (!fits) refuse(path, "null or a time in ms", value);
  return value === null ? null : Math.round(value as number);
}

function refuse(path: string, allowed: string, value: unknown): never {
  throw new TypeError(wrong("import state", path, allowed, value));
}
