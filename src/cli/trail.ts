/**
 * The commands about the trail: `history`, `tail`, `verify` and `prune`.
 *
 * @module
 */

import { setTimeout } from "node:timers/promises";
import type { LibsqlStore } from "../../drivers/libsql/options.ts";
import { inLine, quote } from "../checks.ts";
import type { CircuitEvent, EventQuery } from "../contract.ts";
import { storesOf } from "../known.ts";
import { lineOf, namedBy, type NamedOptions } from "./circuits.ts";
import { chosen, connectOwn, type GlobalOptions } from "./connect.ts";
import { find, keyOf, type OwnFleet } from "./fleet.ts";
import { CliError, type Terminal } from "./terminal.ts";

/** Opens the stores, and returns that of `--store`, or else the first one with a trail. */
export async function connectTrail(
  terminal: Terminal,
  options: GlobalOptions,
): Promise<{ fleet: OwnFleet; name: string; trail: LibsqlStore }> {
  const fleet = await connectOwn(terminal, options);
  const stores = storesOf(fleet.fuse);
  if (stores.size === 0) {
    throw new CliError(
      "The Fuse of --config is of another copy of @fuse/edge: give both the same version",
    );
  }
  for (const name of await chosen(fleet, options)) {
    const store = stores.get(name)!;
    if (isTrail(store)) return { fleet, name, trail: store };
  }
  if (options.store === undefined) {
    throw new CliError("No store keeps a trail: a database does, alone or in a tiered store");
  }
  const keepers = [...stores].filter(([, store]) => isTrail(store)).map(([name]) => quote(name));
  throw new CliError(
    `Store ${quote(options.store)} keeps no trail` +
      (keepers.length === 0 ? "" : `, only ${keepers.join(", ")}`),
  );
}

function isTrail(store: unknown): store is LibsqlStore {
  const { verifyTrail, prune } = Object(store) as Partial<LibsqlStore>;
  return typeof verifyTrail === "function" && typeof prune === "function";
}

/** Prints the trail, latest first. */
export async function history(
  terminal: Terminal,
  name: string | undefined,
  options: NamedOptions & { readonly limit: number },
): Promise<void> {
  const { fleet, name: store } = await connectTrail(terminal, options);
  const { limit } = options;
  const events: CircuitEvent[] = [];
  for await (const event of reader(fleet, store, name, options)({ limit })) events.push(event);
  if (name !== undefined && events.length === 0) {
    // A removed circuit has a trail, too, so an unknown one is refused only now.
    await find(fleet, [store], namedBy(name, options));
  }
  if (terminal.json) terminal.document(events);
  else for (const event of events) terminal.line(lineOf(event));
}

/** Returns a function that reads the trail of a circuit, or of all. */
export function reader(
  { fuse }: OwnFleet,
  store: string,
  name: string | undefined,
  options: NamedOptions,
): (query: EventQuery) => AsyncIterable<CircuitEvent> {
  if (name === undefined) return (query) => fuse.store(store).history(query);
  const breaker = fuse.circuit({ store, key: keyOf(namedBy(name, options)) });
  return (query) => breaker.history(query);
}

/** The longest time between a row's time and its commit, in ms. Every look goes back this far. */
const OVERLAP_MS = 30_000;

/** Follows the trail, each row once, until the user interrupts it. */
export async function tail(
  terminal: Terminal,
  options: GlobalOptions & { readonly since?: number; readonly interval: number },
): Promise<void> {
  const { fleet, name } = await connectTrail(terminal, options);
  const signal = terminal.process.interrupted();
  const view = fleet.fuse.store(name);
  const seen = new Map<string, number>();
  // Uses the store's clock, by the newest row, and not this machine's.
  let newest = -Infinity;
  for await (const { at } of view.history({ limit: 1 })) newest = at.getTime();
  // Rows later than this have not been printed yet.
  const start = options.since === undefined ? newest : Date.now() - options.since - 1;
  let from = Math.min(start, newest - OVERLAP_MS);
  let first = true;
  let failing = false;
  while (!signal.aborted) {
    try {
      const fresh: CircuitEvent[] = [];
      const query = Number.isFinite(from) ? { from: new Date(from) } : {};
      for await (const event of view.history(query)) {
        const at = event.at.getTime();
        newest = Math.max(newest, at);
        if (!seen.has(event.id)) fresh.unshift(event);
      }
      // Only now: a look that breaks off has printed nothing.
      for (const event of fresh) {
        const at = event.at.getTime();
        seen.set(event.id, at);
        if (first && at <= start) continue;
        if (terminal.json) terminal.document(event, 0);
        else terminal.line(lineOf(event));
      }
      first = false;
      from = newest - OVERLAP_MS;
      for (const [id, at] of seen) if (at < from) seen.delete(id);
      if (failing) terminal.note(`store ${inLine(name)} answers again`);
      failing = false;
    } catch (error) {
      if (!failing) terminal.note(`error: ${terminal.reasonOf(error)}; trying on`);
      failing = true;
    }
    await setTimeout(options.interval, undefined, { signal }).catch(() => {});
  }
}

/** Verifies the trail. Returns the exit code. */
export async function verify(
  terminal: Terminal,
  options: GlobalOptions & { readonly head?: string },
): Promise<number> {
  const { trail, name } = await connectTrail(terminal, options);
  terminal.progress(`Verifying the trail of ${inLine(name)}`);
  const proof = await trail.verifyTrail({
    head: options.head,
    onProgress: (checked) => terminal.progress(`Verified ${checked} rows`),
  });
  if (terminal.json) terminal.document(proof);
  else {
    terminal.line(
      proof.ok
        ? `The trail is intact: ${proof.checked} rows of ${
          Object.keys(proof.heads).length
        } circuits`
        : `The trail is broken at row ${inLine(proof.brokenAt!.id) || "-"} of circuit ${
          quote(proof.brokenAt!.circuit)
        }: ${proof.brokenAt!.problem}: ${inLine(proof.brokenAt!.detail)}`,
    );
  }
  return proof.ok ? 0 : 1;
}

/** Deletes old rows. */
export async function prune(
  terminal: Terminal,
  options: GlobalOptions & { readonly olderThan: number; readonly keepTransitions?: boolean },
): Promise<void> {
  const { trail, name } = await connectTrail(terminal, options);
  const { olderThan: olderThanMs, keepTransitions } = options;
  let deleted = 0;
  terminal.progress(`Pruning the trail of ${inLine(name)}`);
  for (let more = true; more;) {
    const pruned = await trail.prune({ olderThanMs, keepTransitions });
    deleted += pruned.deleted;
    more = pruned.more;
    terminal.progress(`Deleted ${deleted} rows`);
  }
  if (terminal.json) terminal.document({ deleted });
  else terminal.line(`Deleted ${deleted} rows`);
}
