/**
 * State as JSON, from one store to another: a tripped circuit stays open for its remaining time.
 *
 * @module
 */

import { type CircuitIdentity, fromKey, identify, isName, toKey } from "./key.ts";
import { MAX_DATE_MS, wrong } from "./checks.ts";
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

const COUNTED = ["successes", "failures", "slow"] as const;
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
 * Reads an export, circuit by circuit.
 *
 * @throws {TypeError} If any part of it is invalid: the part, its place, what came, what is
 * allowed.
 */
export function* readExport(data: unknown): Generator<Imported, void, void> {
  const { version, circuits } = new Part(data, "data").fields;
  if (version !== 1) refuse("version", "1", version);
  if (!Array.isArray(circuits)) refuse("circuits", "an array", circuits);
  const seen = new Set<string>();
  for (const [i, entry] of circuits.entries()) {
    const path = `circuits[${i}]`;
    const read = readEntry(new Part(entry, path));
    const id = JSON.stringify([read.identity.store, read.identity.key]);
    if (seen.has(id)) refuse(path, "another circuit than those before", read.identity.name);
    seen.add(id);
    yield read;
  }
}

function readEntry(entry: Part): Imported {
  const { store, name, context, boundary, segments, outcomes } = entry.fields;
  for (const [field, of] of [["store", "store"], ["name", "circuit"]] as const) {
    if (entry.text(field, 255) === "") entry.refuse(field, `the name of a ${of}`);
  }
  for (const dimension of ["context", "boundary"]) {
    const scope = entry.words(dimension, 10_000);
    if (scope !== null && !isScopeText(scope)) {
      entry.refuse(dimension, "null or a scope as snapshots show it");
    }
  }
  const key = toKey({ name, context, boundary } as CircuitIdentity);
  const snapshot: Record<string, unknown> = {
    ...absentSnapshot(0),
    state: entry.word("state", CIRCUIT_STATES),
    reason: entry.text("reason", 1000),
    policyHash: entry.text("policyHash", 64),
    totals: entry.part("totals").counts([...COUNTED, "rejected"]),
    sinceClosed: entry.part("sinceClosed").counts(COUNTED),
    override: entry.fields.override === null ? null : readOverride(entry.part("override")),
    // An export of before has neither.
    lastFailure: entry.fields.lastFailure == null ? null : readFailure(entry.part("lastFailure")),
    policy: entry.fields.policy == null ? null : readPolicy(entry.part("policy")),
    ...entry.counts(SNAPSHOT_COUNTS),
  };
  for (const field of SNAPSHOT_TIMES) snapshot[field] = entry.time(field);
  const { state, openedAt, openUntil } = snapshot as unknown as Snapshot;
  if (state === "OPEN") {
    if (openUntil === null) entry.refuse("openUntil", "a time while OPEN");
    // How long it was to last, by its own two times.
    if (openedAt !== null) snapshot.cooldownMs = Math.max(0, openUntil - openedAt);
  }
  if (!Array.isArray(segments) || segments.length > 100) {
    entry.refuse("segments", "an array of at most 100");
  }
  let after = -Infinity;
  const window = Array.from(segments, (value, i) => {
    const segment = new Part(value, `${entry.path}.segments[${i}]`);
    const start = segment.time("start");
    if (start === null || start <= after) {
      return segment.refuse("start", "later than the one before");
    }
    after = start;
    return { start, ...segment.counts(COUNTED) };
  });
  if (typeof outcomes !== "string" || !/^[SF]{0,10000}$/.test(outcomes)) {
    entry.refuse("outcomes", `a text of at most 10000 "S" and "F"`);
  }
  return {
    identity: identify(store as string, key),
    record: { key, snapshot: snapshot as unknown as Snapshot, segments: window, outcomes },
  };
}

/** Returns `true` for `type:id`, each part escaped: exactly the texts of `scopeText`. */
function isScopeText(text: string): boolean {
  const parts = text.split(":");
  return parts.length === 2 && parts.every((part) => isName(fromKey(part)?.name));
}

function readOverride(override: Part): OverrideRecord {
  return {
    kind: override.word("kind", OVERRIDES) as OverrideRecord["kind"],
    until: override.time("until"),
    reason: override.words("reason", 1000),
    actor: override.words("actor", 1000),
  };
}

function readPolicy({ fields, path }: Part): PolicyRecord {
  const policy = { ...fields };
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

function readFailure(failure: Part): FailureNote {
  return {
    at: failure.time("at") ?? failure.refuse("at", "a time in ms"),
    kind: failure.text("kind", 64),
    status: failure.fields.status === null ? null : failure.count("status"),
    instance: failure.words("instance", 100),
  };
}

/** Leaves room: what is imported goes on counting. */
const MAX_COUNT = 1e15;

/** An object of an export, whose fields are refused by the path at which they stand there. */
class Part {
  declare readonly fields: Readonly<Record<string, unknown>>;
  declare readonly path: string;

  constructor(value: unknown, path: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      refuse(path, "an object", value);
    }
    this.fields = value as Record<string, unknown>;
    this.path = path;
  }

  refuse(field: string, allowed: string): never {
    return refuse(`${this.path}.${field}`, allowed, this.fields[field]);
  }

  part(field: string): Part {
    return new Part(this.fields[field], `${this.path}.${field}`);
  }

  text(field: string, most: number, otherwise = ""): string {
    const value = this.fields[field];
    return typeof value === "string" && value.length <= most
      ? value.toWellFormed()
      : this.refuse(field, `${otherwise}a text of at most ${most} characters`);
  }

  words(field: string, most: number): string | null {
    return this.fields[field] === null ? null : this.text(field, most, "null or ");
  }

  word(field: string, words: readonly string[]): string {
    const value = this.fields[field] as string;
    return words.includes(value) ? value : this.refuse(field, `one of ${words.join(", ")}`);
  }

  count(field: string): number {
    const value = this.fields[field] as number;
    return Number.isSafeInteger(value) && value >= 0 && value <= MAX_COUNT
      ? value
      : this.refuse(field, `a count of at most ${MAX_COUNT}`);
  }

  counts<F extends string>(fields: readonly F[]): Record<F, number> {
    const counted = fields.map((field) => [field, this.count(field)]);
    return Object.fromEntries(counted) as Record<F, number>;
  }

  time(field: string): number | null {
    const value = this.fields[field] as number | null;
    if (value === null) return value;
    // Whole, as Redis and SQL keep them.
    return Number.isFinite(value) && Math.abs(value) <= MAX_DATE_MS
      ? Math.round(value)
      : this.refuse(field, "null or a time in ms");
  }
}

function refuse(path: string, allowed: string, value: unknown): never {
  throw new TypeError(wrong("import state", path, allowed, value));
}
