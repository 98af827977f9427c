/**
 * Converts between the contract's data and the arguments and answers of the script.
 *
 * @module
 */

import type {
  Admission,
  CircuitRecord,
  OverrideRecord,
  PolicyRecord,
  Segment,
  Shape,
  Snapshot,
  StoreRequest,
  UntoldRow,
} from "../../src/contract.ts";
import {
  absentSnapshot,
  CIRCUIT_STATES,
  ID_MEMORY_MS,
  inOrder,
  lastOf,
  OVERRIDES,
  requestsPerSecond,
  slotsOf,
  SNAPSHOT_COUNTS,
  SNAPSHOT_TIMES,
  withoutExpiredOverride,
} from "../../src/records.ts";
import {
  checkFields,
  failureNoteOf,
  isCount,
  isMoment,
  isOneOf,
  isOption,
  isOutcomes,
  isTime,
} from "../../src/rules/stored_fields.ts";
import { nonsense, REDIS } from "./client.ts";
import { SCRIPT } from "./script.ts";

/**
 * An answer of the script: `ok` if it did as requested, the moment, and the circuit if there is
 * one.
 */
export interface Reply {
  readonly ok: boolean;
  readonly moved: boolean;
  readonly now: number;
  readonly fields: Fields | null;
}

/** The part of a request that decides how its answer is read. */
type Asked = Pick<StoreRequest, "shape" | "outbox">;

const checked = checkFields(REDIS);

/**
 * The counts in an answer: those of the window, and those that the script keeps. Their names are read from its
 * text, so that the two cannot differ; if the text had no such list, this module could not be imported.
 */
const COUNTS = [
  ...["ok", "window.successes", "window.failures", "window.slow", "outcomes"],
  ...SCRIPT.match(/halfOpen[^}]*?floor/)![0].split(/['\n,]+/),
];

/** A circuit, field by field. */
export type Fields = Readonly<Record<string, string | undefined>>;

/**
 * @throws {Error} If it is not an answer of the script: a circuit has a life, whatever else is
 * invalid.
 */
export function parseReply(reply: unknown): Reply {
  const [ok, moved, now, , , metrics = "", ...flat] = Array.isArray(reply)
    ? reply as unknown[]
    : [];
  const told = String(metrics).slice(1).split(" ");
  const fits = typeof ok === "number" && Number.isFinite(now) && flat.length % 2 === 0 &&
    flat.every((one) => typeof one === "string" || typeof one === "number");
  if (!fits) throw nonsense();
  const fields: Record<string, string> = {};
  for (let i = 0; i < flat.length; i += 2) fields[String(flat[i])] = String(flat[i + 1]).slice(1);
  COUNTS.forEach((field, i) => fields[field] = told[i]!);
  if (flat.length > 0) {
    checked("epoch", fields.epoch, Boolean);
    // Somebody has written a space into one of them.
    checked("metrics", told, () => told.length === COUNTS.length);
  }
  return {
    ok: ok === 1,
    moved: moved === 1,
    now: now as number,
    fields: flat.length > 0 ? fields : null,
  };
}

/** The circuit as a reader sees it at this moment. */
export function snapshotOf(reply: Reply, { shape, outbox }: Asked): Snapshot {
  const snapshot = withoutExpiredOverride(storedOf(reply, shape), reply.now);
  return outbox === "hand" ? { ...snapshot, untold: untoldOf(reply.fields ?? {}) } : snapshot;
}

/**
 * Returns the caller's words, or none if somebody has altered them: a row must not make a circuit
 * fail.
 */
function wordsOf(json: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(json));
  } catch {
    return {};
  }
}

const COUNTERS = [
  ...["consecutiveFailures", "consecutiveSuccesses", "failures", "successes", "slow"],
  ...["totalFailures", "totalSuccesses", "totalRejected", "totalSlow"],
  ...["trialSuccesses", "trialFailures"],
];

/** Returns the name of a row in the outbox. */
export function rowField({ epoch, generation, began }: Admission): string {
  return `row:${generation} ${began} ${epoch}`;
}

/** Returns the rows in the outbox, oldest first. */
function untoldOf(fields: Fields): UntoldRow[] {
  const rows: UntoldRow[] = [];
  for (const field in fields) {
    const [, generation, began, epoch] = /^row:(\d+) (-?\d+) (.*)$/s.exec(field) ?? [];
    const [missed, event, from, to, at, kind, until, ...rest] = fields[field]!.split(" ");
    // An invalid row must not keep the others from the trail.
    if (generation === undefined || !event || !Number.isFinite(Number(at || NaN))) continue;
    // Trials are counted only in HALF_OPEN.
    const counted = COUNTERS.slice(0, from === "HALF_OPEN" ? undefined : -2);
    const { reason = null, actor = null, isolate, instance, ...more } = wordsOf(
      rest.slice(COUNTERS.length).join(" "),
    );
    rows.push({
      epoch: epoch!,
      generation: Number(generation),
      began: Number(began),
      event: event as UntoldRow["event"],
      at: Number(at),
      metadata: {
        ...{ from, to, generation: Number(generation), reason, actor, ...more },
        ...kind === "-" ? null : { until: until === "-" ? null : Number(until), kind },
        counters: Object.fromEntries(counted.map((name, i) => [name, Number(rest[i])])),
        ...{ isolate, ...instance === undefined ? null : { instance } },
        ...missed === "0" ? null : { missed: Number(missed) },
      },
    });
  }
  return inOrder(rows);
}

function storedOf({ now, fields: f }: Reply, { windowSize }: Shape): Snapshot {
  const absent = absentSnapshot(now);
  if (f === null) return absent;
  const numberOf = (field: string) => Number(f[field] || 0);
  const count = (field: string): number => checked(field, numberOf(field), isCount);
  const time = (field: string): number | null =>
    checked(field, f[field] ? numberOf(field) : null, isTime);
  const counts = <T extends object>(like: T, group: string) =>
    assemble(Object.keys(like), (name) => count(`${group}.${name}`)) as T;
  for (const field of ["state", "generation", "began"]) checked(field, f[field], Boolean);
  time("expires");
  const outcomes: string = checked("outcomes", f.outcomes ?? "", isOutcomes);
  const leases = Object.keys(f).filter((field) => field.startsWith("lease:"))
    .map((field) =>
      f[field]!.split(" ").map((part): number => checked(field, Number(part), isMoment))
    )
    // The length of a lease whose trial has ended is 0.
    .filter(([ends, length]) => ends! > now && length! > 0)
    .map(([ends]) => ends!);
  return {
    ...absent,
    ...assemble(SNAPSHOT_TIMES, time),
    ...assemble(SNAPSHOT_COUNTS, count),
    state: checked("state", f.state, isOneOf(CIRCUIT_STATES)),
    epoch: f.epoch!,
    began: time("began")!,
    reason: f.reason ?? "",
    cooldownMs: f.cooldownMs ? count("cooldownMs") : null,
    lastFailure: failureNoteOf(f.lastFailure),
    policy: policyOf(f),
    policyHash: f.policyHash ?? "",
    totals: counts(absent.totals, "totals"),
    window: counts(absent.window, "window"),
    sinceClosed: counts(absent.sinceClosed, "sinceClosed"),
    last: lastOf(outcomes, windowSize),
    halfOpen: { ...counts(absent.halfOpen, "halfOpen"), ...slotsOf(leases) },
    override: overrideOf(f, "override"),
    requestsPerSecond: requestsPerSecond(count("traffic"), count("traffic.before"), now),
  };
}

/** Returns `true` if the circuit was changed by the request of this id, and the script knows it. */
export function isRemembered({ now, fields }: Reply, id: string): boolean {
  // The time, and in the last bit the answer.
  return now - Math.floor(Number(fields?.[`id:${id}`] || NaN) / 2) < ID_MEMORY_MS;
}

/** Returns the policy from a field for each option and a field that says that there is a policy. */
function policyOf(f: Fields): PolicyRecord | null {
  if (!f.policy) return null;
  const policy: Record<string, number | string | null> = {};
  for (const field in f) {
    if (!field.startsWith("policy.")) continue;
    policy[field.slice(7)] = checked(field, optionOf(f[field]!), isOption);
  }
  return policy;
}

/** A text follows "=", and "-" is nothing. */
function optionOf(value: string): number | string | null {
  return value === "-" ? null : value[0] === "=" ? value.slice(1) : Number(value);
}

/** Returns an option of a policy as {@linkcode optionOf} reads it. */
function textOf(option: number | string | null): number | string {
  return option === null ? "-" : typeof option === "string" ? `=${option}` : option;
}

/** Returns the fields of a policy and their values, or none without a policy. */
export function policyFields(
  policy: PolicyRecord | null | undefined,
): (readonly [string, string | number])[] {
  if (policy == null) return [];
  const options = Object.entries(policy).map(([option, value]) =>
    [`policy.${option}`, textOf(value)] as const
  );
  return [["policy", 1], ...options];
}

/** Returns an object of some fields. */
function assemble<K extends string, V>(names: readonly K[], of: (name: K) => V): Record<K, V> {
  return Object.fromEntries(names.map((name) => [name, of(name)])) as Record<K, V>;
}

/** Returns an override that stands, or one that was found past its end. */
export function overrideOf(f: Fields, at: "override" | "released"): OverrideRecord | null {
  const until = `${at}.until`;
  // Words begin with "=".
  const words = (field: string) => f[`${at}.${field}`] ? f[`${at}.${field}`]!.slice(1) : null;
  return f[at]
    ? {
      kind: checked(at, f[at], isOneOf(OVERRIDES)),
      until: checked(until, f[until] ? Number(f[until]) : null, isTime),
      reason: words("reason"),
      actor: words("actor"),
    }
    : null;
}

/** Returns a whole record from the answer of `dump`. */
export function recordOf(key: string, reply: Reply, asked: Asked): CircuitRecord {
  const snapshot = snapshotOf(reply, asked);
  const f = reply.fields;
  // The counts of an expired override are dropped with it.
  if (f === null || snapshot.generation !== Number(f.generation)) {
    return { key, snapshot, segments: [], outcomes: "" };
  }
  const segments = new Map<string, { -readonly [K in keyof Segment]: number }>();
  const put = (start: string, kind: "successes" | "failures" | "slow", n: string | undefined) => {
    const segment = segments.get(start) ??
      { start: checked("start", Number(start), isMoment), successes: 0, failures: 0, slow: 0 };
    segments.set(start, segment);
    segment[kind] = checked(`${kind}:${start}`, Number(n || 0), isCount);
  };
  for (const field in f) {
    const [, kind, slow, start] = /^(successes|failures):(s?)(-?\d+)$/.exec(field) ?? [];
    if (start === undefined || f[`${kind}:of`] !== `${f.epoch}:${f.since}`) continue;
    if (f.floor && Number(start) <= Number(f.floor)) continue;
    put(start, slow ? "slow" : kind as "successes" | "failures", f[field]);
  }
  for (const kind of ["successes", "failures", "slow"] as const) {
    if (f.start) put(f.start, kind, f[`newest.${kind}`]);
  }
  const oldestFirst = [...segments.values()].sort((a, b) => a.start - b.start);
  return { key, snapshot, segments: oldestFirst, outcomes: f.outcomes ?? "" };
}

/**
 * Returns the arguments of `restore`: the number of fields, their names and values, and the segments.
 * Texts begin with "=" and times with "@", so that neither is taken for the other. The state is first.
 */
export function contentsOf(
  { snapshot: s, segments, outcomes }: CircuitRecord,
): (string | number)[] {
  const time = (at: number | null) => at === null ? "" : `@${Math.round(at)}`;
  const text = (words: string | undefined) => words ? `=${words}` : "";
  const { state, reason, policyHash, totals, sinceClosed, override, cooldownMs } = s;
  const [, ...counted] = SNAPSHOT_COUNTS;
  const group = (name: string, counts: object) =>
    Object.entries(counts).map(([kind, n]) => [`${name}.${kind}`, n]);
  const contents = Object.entries({
    ...{ state: text(state), reason: text(reason) },
    ...{ policyHash: text(policyHash), outcomes: text(outcomes) },
    ...assemble(SNAPSHOT_TIMES, (field) => time(s[field])),
    ...assemble(counted, (field) => s[field]),
    cooldownMs: cooldownMs === null ? "" : Math.round(cooldownMs),
    lastFailure: s.lastFailure === null ? "" : text(JSON.stringify(s.lastFailure)),
    ...Object.fromEntries([
      ...policyFields(s.policy).map(([field, value]) => [field, `=${value}`]),
      ...group("totals", totals),
      ...group("sinceClosed", sinceClosed),
    ]),
    "override": text(override?.kind),
    "override.until": time(override?.until ?? null),
    "override.reason": text(quoted(override?.reason ?? null)),
    "override.actor": text(quoted(override?.actor ?? null)),
  }).filter(([, value]) => value) as [string, string | number][];
  const rows = segments.flatMap((one) => [time(one.start), one.successes, one.failures, one.slow]);
  return [contents.length, ...contents.flat(), ...rows];
}

/** Returns optional words: nothing is the empty string, and the empty string is not nothing. */
export function quoted(text: string | null): string {
  return text === null ? "" : `=${text}`;
}
