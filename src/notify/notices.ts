/**
 * Makes notices of changes, with the command that undoes each.
 *
 * @module
 */

import { inLine, quote } from "../checks.ts";
import type { Admission, AuditEventName } from "../contract.ts";
import type { DeliveredRow } from "../cursors.ts";
import type { FuseEvent } from "../events.ts";
import { type CircuitIdentity, identify } from "../key.ts";
import { scopeTitle } from "../operator.ts";
import { dateOf } from "../rules/snapshot.ts";
import { commandOf } from "./command.ts";

/** A message about a change of a circuit, or about several changes of the same circuit. */
export interface Notice {
  /** The change, or the last of several. */
  readonly event: AuditEventName;
  /** The name of the circuit. */
  readonly circuit: string;
  /** The name of the store, in `createFuse({ stores })`. */
  readonly store: string;
  /** The time of the change, on the store's clock. */
  readonly at: Date;
  /** For people: what happened, why, where, until when, and the command that undoes it, on one line. */
  readonly text: string;
  /**
   * Fields for programs, as in the JSON: `id` (the same if the notice is sent again), `key`, `context`, `boundary`,
   * `from`, `to`, `generation`, `reason`, `actor`, `until`, `lastFailure`, `instance`, `undo`, and
   * `changes` and `since` if there are several changes. Unknown fields are left out.
   */
  readonly data: Record<string, unknown>;
}

/** The events that an isolate announces as they happen. */
export type LiveEvent = Extract<
  FuseEvent,
  { type: Exclude<AuditEventName, "edited" | "success" | "failure"> }
>;

/** A change, and its notice. */
export interface Telling {
  readonly notice: Notice;
  /** The circuit: its store and its key. */
  readonly circuit: CircuitIdentity;
  /**
   * The identity of the change among those of the circuit, for cursors; `null` if no trail has it.
   */
  readonly change: string | null;
  /** All changes that it sums up, if there are several. */
  readonly all?: readonly Telling[];
}

/** A change from any source. */
interface Change {
  readonly event: AuditEventName;
  readonly circuit: CircuitIdentity;
  readonly at: Date;
  readonly generation: Admission | null;
  readonly from?: unknown;
  readonly to?: unknown;
  readonly reason?: unknown;
  readonly actor?: unknown;
  readonly until?: unknown;
  readonly lastFailure?: unknown;
  readonly instance?: unknown;
  readonly local?: boolean;
}

/** Returns the notice of an event, which this isolate has announced. */
export function ofEvent(event: LiveEvent, instance: string | null): Telling {
  const { type, key, store, name, context, boundary } = event;
  const circuit = { key, store, name, context, boundary };
  if (event.type === "reborn") {
    return tellingOf({ event: type, circuit, at: dateOf(Date.now()), generation: null, instance });
  }
  const { at, epoch, generation, began, reason } = event;
  const common = {
    ...{ event: type, circuit, at, reason, instance },
    generation: { epoch, generation, began: began.getTime() },
  };
  if (!("snapshot" in event)) {
    return tellingOf({ ...common, actor: event.actor, until: event.until });
  }
  const { from, to, snapshot: { openUntil, lastFailure }, local = false } = event;
  return tellingOf({
    ...{ ...common, from, to, local },
    ...to === "OPEN" ? { until: openUntil, lastFailure } : null,
  });
}

/** Returns the notice of a row of a trail, under the Fuse's name of the store. */
export function ofRow(row: DeliveredRow, store: string): Telling {
  const { event, at, key, generation, metadata } = row;
  const { from, to, reason, actor, until, lastFailure, instance, after } = metadata ?? {};
  const { openUntil } = Object(after) as { openUntil?: unknown };
  return tellingOf({
    ...{ event, at, generation, from, to, reason, actor, lastFailure, instance },
    circuit: identify(store, key),
    until: event === "opened" ? openUntil : until,
  });
}

function tellingOf(change: Change): Telling {
  const { event, circuit, at, generation, local = false } = change;
  const { key, store, name, context, boundary } = circuit;
  const until = timeOf(change.until);
  const lastFailure = failureOf(change.lastFailure);
  const [reason, actor, instance, from, to] = [
    ...[change.reason, change.actor, change.instance, change.from, change.to],
  ].map((text) => typeof text === "string" && text !== "" ? text : undefined);
  const undo = commandOf(event, circuit);
  const which = changeOf(event, generation);
  const id = [store, key, which, ...which === event ? [at.getTime()] : []].join("/");
  const data = {
    ...{ id, key, context, boundary, from, to },
    ...{ generation: generation?.generation, reason, actor, until: until?.toISOString() },
    ...{ lastFailure, instance, undo, local: local || undefined },
  };
  const known = Object.entries(data).filter(([, value]) => value !== undefined && value !== null);
  const scopes = [context, boundary].flatMap((scope) =>
    scope === null ? [] : [quote(scopeTitle(scope))]
  );
  const words = [
    `Circuit ${quote(name)}${scopes.length === 0 ? "" : ` (${scopes.join(", ")})`}`,
    `of store ${quote(store)} ${WORDS[event]}`,
    ...actor === undefined ? [] : [`by ${quote(actor)}`],
    `at ${at.toISOString()}`,
    ...instance === undefined ? [] : [`in ${quote(instance)}`],
    ...until === undefined ? [] : [`until ${until.toISOString()}`],
  ].join(" ");
  const text = words + (reason === undefined ? "" : `: ${inLine(reason)}`) +
    (lastFailure === undefined ? "" : `, last failure ${textOf(lastFailure)}`) + "." +
    (local ? " This isolate decides alone: the store cannot be used." : "") +
    (undo === undefined ? "" : ` To undo it: ${undo}`);
  return {
    notice: { event, circuit: name, store, at, text, data: Object.fromEntries(known) },
    circuit,
    change: local || generation === null ? null : which,
  };
}

/** Returns one notice for several changes of a circuit, oldest first: the last, and how many. */
export function summaryOf(tellings: readonly Telling[]): Telling {
  const last = tellings.at(-1)!;
  if (tellings.length === 1) return last;
  const { notice } = last;
  const since = tellings[0]!.notice.at.toISOString();
  const text = `${notice.text} It is the last of ${tellings.length} changes since ${since}.`;
  return {
    ...last,
    all: tellings.flatMap((telling) => telling.all ?? [telling]),
    notice: { ...notice, text, data: { ...notice.data, changes: tellings.length, since } },
  };
}

/**
 * Returns the identity of a change among those of a circuit. After a removal there is no generation
 * to identify it.
 */
function changeOf(event: AuditEventName, generation: Admission | null): string {
  if (event === "removed" || generation === null) return event;
  const { epoch, generation: number, began } = generation;
  return `${event}/${epoch}/${number}/${began}`;
}

const WORDS: Readonly<Record<AuditEventName, string>> = {
  opened: "opened",
  closed: "closed",
  half_opened: "lets trials through",
  reset: "was reset",
  forced_open: "was forced open",
  forced_closed: "was forced closed",
  disabled: "was disabled",
  metrics_only: "was set to metrics only",
  released: "was released",
  reborn: "was lost by the store, and begins anew",
  imported: "was imported",
  edited: "was edited by hand",
  removed: "was removed",
  success: "had a call that succeeded",
  failure: "had a call that failed",
};

function timeOf(value: unknown): Date | undefined {
  if (value instanceof Date) return value;
  return typeof value === "number" && Number.isFinite(value) ? dateOf(value) : undefined;
}

/** A failure, as JSON contains it. */
interface Failure {
  readonly at?: string;
  readonly kind: string;
  readonly status?: number;
  readonly instance?: string;
}

/** Reads a failure: a row may have been edited by hand. */
function failureOf(value: unknown): Failure | undefined {
  const { at, kind, status, instance } = Object(value) as Record<string, unknown>;
  if (typeof kind !== "string") return undefined;
  const time = timeOf(at);
  return {
    kind,
    ...time === undefined ? null : { at: time.toISOString() },
    ...typeof status === "number" ? { status } : null,
    ...typeof instance === "string" ? { instance } : null,
  };
}

function textOf({ at, kind, status, instance }: Failure): string {
  return (status === undefined ? inLine(kind) : `status ${status}`) +
    (at === undefined ? "" : ` at ${at}`) +
    (instance === undefined ? "" : ` in ${quote(instance)}`);
}
