/**
 * The commands about circuits: `status`, `show` and what operators do.
 *
 * @module
 */

import { userInfo } from "node:os";
import { inLine } from "../checks.ts";
import type { CircuitEvent, CircuitState } from "../contract.ts";
import { type Action, byUrgency, isShut, NEEDS_END } from "../operator.ts";
import { type CircuitSnapshot, dateOf } from "../rules/snapshot.ts";
import { chosen, connect, type GlobalOptions } from "./connect.ts";
import { find, type LeftOut, locate, type Named, type Shown } from "./fleet.ts";
import { CliError, type Terminal } from "./terminal.ts";
import { titleOf } from "./values.ts";

/** Options of a command about one circuit. */
export interface NamedOptions extends GlobalOptions {
  readonly context?: Named["context"];
  readonly boundary?: Named["boundary"];
}

/** Options of an action. */
export interface ActionOptions extends NamedOptions {
  readonly reason?: string;
  readonly actor?: string;
  readonly for?: number;
  readonly until?: Date;
  /** `false` with `--no-end`. */
  readonly end?: boolean;
  readonly create?: boolean;
}

/** Lists circuits, those that are not plainly CLOSED first. Returns the exit code. */
export async function status(
  terminal: Terminal,
  options: GlobalOptions & { readonly state?: CircuitState; readonly fail?: boolean },
): Promise<number> {
  const fleet = await connect(terminal, options);
  const stores = await chosen(fleet, options);
  const { circuits, refused, missing } = await fleet.list(stores, { state: options.state });
  const sorted = circuits.toSorted(byUrgency);
  if (terminal.json) terminal.document(sorted);
  else tell(terminal, sorted);
  for (const { store, error } of missing) {
    terminal.note(`error: store ${inLine(store)} is missing: ${terminal.reasonOf(error)}`);
  }
  noteRefused(terminal, refused);
  await fleet.close();
  if (missing.length > 0 || refused.length > 0) return 1;
  return options.fail && sorted.some(isShut) ? 2 : 0;
}

/** Reports circuits that a list has left out. */
export function noteRefused(terminal: Terminal, refused: readonly LeftOut[]): void {
  for (const { error, ...one } of refused) {
    const title = `circuit ${titleOf(one)} of store ${inLine(one.store)}`;
    terminal.note(`error: ${title} is missing: ${terminal.reasonOf(error)}`);
  }
}

function tell(terminal: Terminal, circuits: readonly CircuitSnapshot[]): void {
  if (circuits.length > 0) {
    const rows = circuits.map((one) => [
      wordFor(one),
      titleOf(one),
      inLine(one.store),
      `${Math.round(one.metrics.failureRate)} %`,
      detailOf(one),
    ]);
    terminal.table([["STATE", "CIRCUIT", "STORE", "FAILURES", "DETAIL"], ...rows]);
  }
  const open = circuits.filter(isShut).length;
  const overridden = circuits.filter(({ override }) => override !== null).length;
  terminal.line(`${circuits.length} circuits, ${open} open, ${overridden} overridden`);
}

/** Shows one circuit. Returns the exit code. */
export async function show(
  terminal: Terminal,
  name: string,
  options: NamedOptions,
): Promise<number> {
  const fleet = await connect(terminal, options);
  const { shown, place } = await find(fleet, await chosen(fleet, options), named(name, options));
  await fleet.close();
  const { trouble, ...answered } = shown;
  if (terminal.json) terminal.document(answered);
  else describe(terminal, answered);
  if (trouble === undefined) return 0;
  const why = terminal.reasonOf(trouble);
  terminal.note(`error: the trail of store ${inLine(place.store)} is missing: ${why}`);
  return 1;
}

function describe(terminal: Terminal, { circuit, explanation, events }: Shown): void {
  const { metrics, trials } = circuit;
  terminal.line(inLine(explanation));
  terminal.table([
    ["circuit", titleOf(circuit)],
    ["store", inLine(circuit.store)],
    ["state", wordFor(circuit)],
    ["detail", detailOf(circuit) || "-"],
    ["opened", time(circuit.openedAt)],
    ["open until", time(circuit.openUntil)],
    ["closed", time(circuit.closedAt)],
    ["generation", `${circuit.generation}, reopened ${circuit.reopenCount} times`],
    ["window", `${metrics.window.calls} calls, ${metrics.window.failures} failed`],
    ["in a row", `${metrics.consecutiveFailures} failures`],
    [
      "trials",
      `${trials.inFlight} in flight, ${trials.successes} succeeded, ${trials.failures} failed`,
    ],
    [
      "lifetime",
      `${metrics.totalSuccesses} succeeded, ${metrics.totalFailures} failed, ` +
      `${metrics.totalRejected} rejected`,
    ],
  ]);
  for (const event of events) terminal.line(lineOf(event));
}

/** Acts on a circuit, and prints its new state. */
export async function act(
  terminal: Terminal,
  action: Action,
  name: string,
  options: ActionOptions,
): Promise<void> {
  const forMs = endOf(action, options);
  const reason = options.reason?.trim();
  if (!reason) throw new CliError(`A reason is required: --reason "why you ${action} it"`);
  if (options.api !== undefined && options.actor !== undefined) {
    throw new CliError("--actor does not go with --api: the dashboard knows who you are");
  }
  const actor = options.api === undefined ? options.actor?.trim() || userName(terminal) : undefined;
  const fleet = await connect(terminal, options);
  const stores = await chosen(fleet, options);
  const create = options.create ? stores[0]! : null;
  const { place } = await locate(fleet, stores, named(name, options), create);
  await fleet.act(place, action, { reason, actor, forMs });
  const shown = action === "remove" ? null : await fleet.show(place);
  await fleet.close();
  if (terminal.json) {
    const { circuit = null, explanation = null } = shown ?? {};
    return terminal.document({ action, ...place, circuit, explanation });
  }
  const title = titleOf({ name, ...scopesOf(place.key) });
  terminal.line(
    shown === null
      ? `Circuit ${title} is removed from ${inLine(place.store)}`
      : inLine(shown.explanation),
  );
}

/** Returns the duration of an override in ms, or `undefined` if it has no end. */
function endOf(action: Action, options: ActionOptions): number | undefined {
  const { until, end } = options;
  const given = [options.for !== undefined, until !== undefined, end === false];
  if (given.filter(Boolean).length > 1) {
    throw new CliError("--for, --until and --no-end exclude each other");
  }
  if (NEEDS_END.includes(action) && !given.includes(true)) {
    throw new CliError(
      `${action} switches protection off: say until when, with --for 10m or --until, or --no-end`,
    );
  }
  if (until === undefined) return options.for;
  const forMs = until.getTime() - Date.now();
  if (forMs <= 0) throw new CliError(`--until is in the past: ${until.toISOString()}`);
  return forMs;
}

/** Returns the name of the user that runs this process. */
function userName({ process }: Terminal): string {
  const env = process.env as Readonly<Record<string, string | undefined>>;
  try {
    const { username } = userInfo();
    if (username) return username;
  } catch {
    // A container may have no entry for its user.
  }
  const name = env.USER || env.LOGNAME || env.USERNAME;
  if (name) return name;
  throw new CliError("This system does not say who you are: give --actor");
}

function named(name: string, { context, boundary }: NamedOptions): Named {
  if (name === "" || name.length > 255) {
    throw new CliError("The name of a circuit has 1-255 characters");
  }
  return { name, context, boundary };
}

export { named as namedBy };

function scopesOf(key: string): { context: string | null; boundary: string | null } {
  const [, context = null] = /:for:([^:]*:[^:]*)/.exec(key) ?? [];
  const [, boundary = null] = /:in:([^:]*:[^:]*)/.exec(key) ?? [];
  return { context, boundary };
}

function wordFor({ state, override }: CircuitSnapshot): string {
  return override === null ? state : override.kind.toUpperCase();
}

function detailOf({ state, override, openUntil, openedAt, lastFailure }: CircuitSnapshot): string {
  const parts: string[] = [];
  if (override !== null) {
    parts.push(override.until === null ? "no end" : `until ${time(override.until)}`);
    if (override.actor !== null) parts.push(`by ${inLine(override.actor)}`);
    if (override.reason !== null) parts.push(inLine(override.reason));
    if (state !== "CLOSED") parts.push(`${state} beneath`);
  } else if (state !== "CLOSED") {
    parts.push(`since ${time(openedAt)}`);
    if (state === "OPEN") parts.push(`until ${time(openUntil)}`);
    if (lastFailure !== null) {
      const { kind, status, instance } = lastFailure;
      parts.push(
        (status === null ? inLine(kind) : `status ${status}`) +
          (instance === null ? "" : ` in ${inLine(instance)}`),
      );
    }
  }
  return parts.join(", ");
}

function time(at: Date | null): string {
  return at === null ? "-" : dateOf(at.getTime()).toISOString();
}

/** Returns an event on one line. */
export function lineOf(event: CircuitEvent): string {
  const { actor, reason, from, to, until } = event.metadata ?? {};
  const parts = [time(event.at), event.event, titleOf(event)];
  if (typeof from === "string" && typeof to === "string") parts.push(`${from} → ${to}`);
  if (typeof until === "number") parts.push(`until ${dateOf(until).toISOString()}`);
  if (typeof actor === "string") parts.push(`by ${actor}`);
  if (typeof reason === "string" && reason !== "") parts.push(reason);
  return inLine(parts.join("  "));
}
