/**
 * Logs events of circuits: a line for each transition, operator's action and failure of a store,
 * and none for a call.
 *
 * @example
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { logTo } from "@fuse/edge/log";
 * import { assertEquals } from "@std/assert";
 *
 * const fuse = createFuse();
 * const lines: unknown[] = [];
 * const log = (line: unknown) => lines.push(line);
 * const stop = logTo(fuse, { info: log, warn: log, error: log });
 *
 * await fuse.make("payments").forceOpen({ reason: "maintenance", actor: "ada" });
 * assertEquals(lines, [`Fuse: circuit "payments" forced_open by "ada": "maintenance"`]);
 * stop();
 * ```
 *
 * @module
 */

import { known, mustBeObject, quote, refuse } from "./checks.ts";
import type { FuseEvent } from "./events.ts";
import type { Fuse } from "./fuse.ts";
import { dateOf } from "./rules/snapshot.ts";

/** The target of lines: `console`, or a logger such as pino's. */
export interface Logger {
  /** Receives a line about a circuit that recovered, or that an operator acted on. */
  info(...data: unknown[]): void;
  /** Receives a line about a circuit that opened, and about a probable mistake. */
  warn(...data: unknown[]): void;
  /** Receives a line about a store, or a user's function, that failed. */
  error(...data: unknown[]): void;
}

/** Options of {@linkcode logTo}. */
export interface LogOptions {
  /**
   * Writes each line as JSON with fields, rather than as a sentence.
   *
   * @default {false}
   */
  json?: boolean | undefined;
}

/** How serious an event is. */
type Level = keyof Logger;

/** The events that are logged. Calls and rejections are not. */
const LEVELS: Readonly<Partial<Record<FuseEvent["type"], Level>>> = {
  opened: "warn",
  would_open: "warn",
  half_opened: "info",
  closed: "info",
  forced_open: "warn",
  forced_closed: "warn",
  disabled: "warn",
  metrics_only: "info",
  released: "info",
  reset: "info",
  imported: "info",
  removed: "info",
  reborn: "warn",
  evicted: "warn",
  nested: "warn",
  config_mismatch: "warn",
  unconfirmed: "warn",
  store_error: "error",
  store_recovered: "info",
  listener_error: "error",
};

/**
 * Logs this isolate's transitions, operators' actions, and failures of stores. Lines contain the
 * circuit's identity, the reason and the actor; of an error only its name and code, because a
 * message may repeat an address or a token. A Fuse that is logged prints no warnings of its own.
 *
 * @param fuse The Fuse, or a view of it.
 * @param logger By default `console`.
 * @param options See {@linkcode LogOptions}.
 * @returns Stops logging.
 * @throws {TypeError} If the logger or an option is invalid. `listener_error` reports what a logger
 * throws.
 */
export function logTo(
  fuse: Fuse,
  logger: Logger = console,
  options: LogOptions = {},
): () => void {
  mustBeObject("log", logger);
  for (const level of ["info", "warn", "error"] as const) {
    if (typeof logger[level] !== "function") refuse("log", level, "a function", logger[level]);
  }
  known("log", options, ["json"]);
  const { json = false } = options;
  if (typeof json !== "boolean") refuse("log", "json", "true or false", json);
  // Not "*": a listener for the ends of calls makes the core measure them.
  const stops = Object.entries(LEVELS).map(([type, level]) =>
    fuse.on(type as "opened", (event) => {
      const fields = fieldsOf(event as unknown as Record<string, unknown>);
      logger[level](json ? JSON.stringify({ level, ...fields }) : sentenceOf(fields));
    })
  );
  return () => stops.forEach((stop) => stop());
}

/** The fields of a line, in order. Empty fields are left out. */
interface Fields {
  readonly event: string;
  readonly at: string;
  readonly store?: string;
  readonly circuit?: string;
  readonly context?: string;
  readonly boundary?: string;
  readonly [field: string]: unknown;
}

/** Fields of events that are copied as they are. Others may be large, or confidential. */
const PLAIN = ["from", "to", "reason", "actor", "operation", "source"]
  .concat("options", "tallies", "successes", "failures", "rejected", "retryAfterMs", "local");

function fieldsOf(event: Record<string, unknown>): Fields {
  const of = (event["circuit"] ?? event) as Record<string, unknown>;
  const snapshot = event["snapshot"] as Record<string, unknown> | undefined;
  const fields: Record<string, unknown> = {
    event: event["type"],
    at: isoOf(event["at"]) ?? dateOf(Date.now()).toISOString(),
    store: event["store"],
    circuit: of["name"],
    context: of["context"],
    boundary: of["boundary"],
  };
  for (const field of PLAIN) {
    fields[field] = event[field];
    if (field === "to" && "to" in event) fields["generation"] = event["generation"];
  }
  fields["until"] = isoOf(event["until"]);
  if (event["type"] === "opened") {
    fields["openUntil"] = isoOf(snapshot?.["openUntil"]);
    fields["lastFailure"] = snapshot?.["lastFailure"];
  }
  fields["error"] = "error" in event ? kindOf(event["error"]) : undefined;
  const held = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(held) as unknown as Fields;
}

function isoOf(value: unknown): string | undefined {
  return value instanceof Date ? value.toISOString() : undefined;
}

/** Returns the name and the code of an error. Its message may contain anything. */
function kindOf(error: unknown): string {
  try {
    const { name, code } = error as { name?: unknown; code?: unknown };
    const words = [name, code].filter((word) =>
      typeof word === "string" && /^\w{1,64}$/.test(word)
    );
    return words.join(" ") || typeof error;
  } catch {
    return "unreadable";
  }
}

/** Returns a line for people, with foreign words in quotes. */
function sentenceOf(fields: Fields): string {
  const { event, at: _, store, circuit, context, boundary, reason, actor, lastFailure, ...rest } =
    fields;
  const where = circuit === undefined ? `store ${quote(store ?? "")}` : `circuit ${quote(circuit)}`;
  const scopes = [context, boundary].filter((scope) => scope !== undefined).map(quote).join(", ");
  const words = Object.entries(rest).map(([field, value]) =>
    `${field} ${typeof value === "string" ? quote(value) : JSON.stringify(value)}`
  );
  return `Fuse: ${where}${scopes === "" ? "" : ` (${scopes})`} ${event}` +
    (actor === undefined ? "" : ` by ${quote(String(actor))}`) +
    (reason === undefined ? "" : `: ${quote(String(reason))}`) +
    (words.length === 0 ? "" : `, ${words.join(", ")}`) +
    (lastFailure === undefined ? "" : `, last failure ${JSON.stringify(lastFailure)}`);
}
