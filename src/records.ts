/**
 * The constants of the contract, copies, and the order of records, shared by all drivers.
 *
 * @module
 */

import type {
  Admission,
  CircuitState,
  Driver,
  Override,
  ReadRequest,
  Snapshot,
  StoreRequest,
  UntoldRow,
} from "./contract.ts";

/** The states of a circuit. */
export const CIRCUIT_STATES: readonly CircuitState[] = ["CLOSED", "OPEN", "HALF_OPEN"];

/** The overrides that an operator can set over a state. */
export const OVERRIDES: readonly Override[] = [
  ...["forced_open", "forced_closed", "disabled", "metrics_only"] as const,
];

/** The generation of tallies that add to lifetime totals only: no record ever has it. */
export const TOTALS_ONLY: number = -1;

/** The largest number of rows in the outbox of a circuit. */
export const OUTBOX_LENGTH: number = 64;

/** How long a store remembers the id of a request, in ms. */
export const ID_MEMORY_MS: number = 60_000;

/** Sends a driver several requests at once, in one trip if the driver can. */
export function together<T>(driver: Driver, work: () => T): T {
  return driver.together === undefined ? work() : driver.together(work);
}

/** Returns a store's answer about an unknown circuit: closed, without calls. */
export function absentSnapshot(now: number): Snapshot {
  return {
    state: "CLOSED",
    epoch: "",
    generation: 0,
    began: 0,
    reason: "",
    openedAt: null,
    openUntil: null,
    cooldownMs: null,
    lastFailure: null,
    closedAt: null,
    reopenCount: 0,
    consecutiveFailures: 0,
    consecutiveSuccesses: 0,
    totals: { successes: 0, failures: 0, rejected: 0, slow: 0 },
    window: { successes: 0, failures: 0, slow: 0 },
    sinceClosed: { successes: 0, failures: 0, slow: 0 },
    last: { size: 0, failures: 0 },
    halfOpen: { inFlight: 0, successes: 0, failures: 0, freeAt: null },
    lastFailureAt: null,
    lastSuccessAt: null,
    override: null,
    policy: null,
    policyHash: "",
    requestsPerSecond: 0,
    now,
  };
}

/** Returns the answer to a `read`: it names the tallies that the Snapshot contains, if the request did. */
export function withHeld(
  s: Snapshot,
  { unconfirmed }: ReadRequest,
  isHeld: (id: string) => boolean,
): Snapshot {
  return unconfirmed === undefined ? s : { ...s, holds: unconfirmed.filter(isHeld) };
}

/** A number holds a second and the tallies in it: the second times this factor, plus their count. */
export const SECOND = 1e6;

/**
 * Returns how many tallies a second a circuit gets: those of the last full second or, if there are more
 * already, those of the current one.
 *
 * @param traffic The second of the last tally since the epoch, times `SECOND`, plus the count in it.
 * @param before How many came in the second before it.
 * @param now The store's clock, in ms.
 */
export function requestsPerSecond(traffic: number, before: number, now: number): number {
  const passed = Math.floor(now / 1000) - Math.floor(traffic / SECOND);
  const count = traffic % SECOND;
  return passed === 0 ? Math.max(count, before) : passed === 1 ? count : 0;
}

/** Counts the last `windowSize` of some outcomes: `S` and `F` for each success and failure, oldest first. */
export function lastOf(outcomes: string, windowSize: number): Snapshot["last"] {
  const last = windowSize > 0 ? outcomes.slice(-windowSize) : "";
  return { size: last.length, failures: last.split("F").length - 1 };
}

/**
 * Returns the number of half-open slots that are taken, and when the next one is free.
 *
 * @param ends The ends of their leases, in ms.
 */
export function slotsOf(
  ends: readonly number[],
): Pick<Snapshot["halfOpen"], "inFlight" | "freeAt"> {
  return { inFlight: ends.length, freeAt: ends.length > 0 ? Math.min(...ends) : null };
}

/** Returns `true` for a circuit that is CLOSED, without an override: most are, most of the time. */
export function isPlain({ state, override }: Pick<Snapshot, "state" | "override">): boolean {
  return state === "CLOSED" && override === null;
}

/** The fields of a Snapshot that are times, in ms. */
export const SNAPSHOT_TIMES: readonly [
  "openedAt",
  "openUntil",
  "closedAt",
  "lastFailureAt",
  "lastSuccessAt",
] = ["openedAt", "openUntil", "closedAt", "lastFailureAt", "lastSuccessAt"];

/** The fields of a Snapshot that are counts. */
export const SNAPSHOT_COUNTS: readonly [
  "generation",
  "reopenCount",
  "consecutiveFailures",
  "consecutiveSuccesses",
] = ["generation", "reopenCount", "consecutiveFailures", "consecutiveSuccesses"];

/** Returns a Snapshot that does not change with a live record, and has no other fields. */
export function copySnapshot(s: Snapshot): Snapshot {
  const copy: Record<string, unknown> = { ...absentSnapshot(0) };
  for (const field in copy) {
    const value = s[field as keyof Snapshot];
    copy[field] = typeof value === "object" && value !== null ? { ...value } : value;
  }
  return copy as unknown as Snapshot;
}

/**
 * Returns the Snapshot once an override's `until` has passed: the state that the next write will
 * create. Readers use it, so that calls admitted from then on count.
 */
export function withoutExpiredOverride(s: Snapshot, now: number): Snapshot {
  if (s.override === null || s.override.until === null || s.override.until > now) return s;
  const { window, sinceClosed, last, halfOpen } = absentSnapshot(now);
  return {
    ...copySnapshot(s),
    generation: s.generation + 1,
    began: s.override.until,
    override: null,
    ...{ consecutiveFailures: 0, consecutiveSuccesses: 0, window, sinceClosed, last, halfOpen },
    now,
  };
}

/**
 * Sorts rows in the order of their changes: by the beginning of each life, and by generation within a
 * life. After a removal generations start again, and do not order lives; within a life they do,
 * whatever the clock did.
 */
export function inOrder(rows: Iterable<UntoldRow>): UntoldRow[] {
  const all = [...rows];
  const began = new Map<string, UntoldRow>();
  const before = (a: UntoldRow, b: UntoldRow) => a.at - b.at || a.generation - b.generation;
  for (const row of all) {
    const first = began.get(row.epoch);
    if (first === undefined || before(row, first) < 0) began.set(row.epoch, row);
  }
  return all.sort((a, b) =>
    a.epoch === b.epoch
      ? a.generation - b.generation || a.began - b.began
      : before(began.get(a.epoch)!, began.get(b.epoch)!) || (a.epoch < b.epoch ? -1 : 1)
  );
}

export type { Admission } from "./contract.ts";

/** Returns `true` if two generations are the same one: by epoch, number and the moment of its beginning. */
export function isSame(a: Admission, b: Admission): boolean {
  return a.generation === b.generation && a.began === b.began && a.epoch === b.epoch;
}

/** Returns the generation of a Snapshot, as calls are admitted under it. */
export function admissionOf({ epoch, generation, began }: Admission): Admission {
  return { epoch, generation, began };
}

/** Returns `true` if outcomes admitted under this generation are not current in the Snapshot. */
export function isLate(under: Admission, s: Snapshot): boolean {
  const { epoch, generation } = under;
  if (generation === TOTALS_ONLY) return true;
  if (epoch === "" || s.epoch === "") return generation !== 0 || s.generation > 1;
  return !isSame(under, s);
}

let isolate = "";
let requests = 0;

/** Returns an id that no other request of any isolate has. */
export function newId(): string {
  // Drawn at the first request, never at import: Workers forbid randomness there.
  if (isolate === "") {
    const drawn = crypto.getRandomValues(new Uint32Array(2));
    // With its hyphen, so that an id is one concatenation: very many may wait at once.
    isolate = `${Array.from(drawn, (n) => n.toString(36)).join("")}-`;
  }
  return isolate + (++requests).toString(36);
}

/** Returns the part of a row about the origin of its request. */
export function originOf({ id, instance }: Pick<StoreRequest, "id" | "instance">): {
  isolate: string;
  instance?: string;
} {
  return { isolate: isolateOf(id), ...instance === undefined ? null : { instance } };
}

/** Returns the isolate that sent a request: the id of the request, without its number. */
export function isolateOf(id: string): string {
  return id.replace(/-[^-]*$/, "");
}

/** Returns `true` for an object with the primitives of a {@linkcode Driver}. */
export function isDriver(value: unknown): value is Driver {
  const driver = value as Partial<Driver> | null | undefined;
  for (const primitive of ["read", "record", "acquire", "transition"] as const) {
    if (typeof driver?.[primitive] !== "function") return false;
  }
  return true;
}
