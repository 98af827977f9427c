/**
 * The command `what-if`: tuning a policy on the calls that were really made.
 *
 * @module
 */

import type { CircuitEvent } from "../contract.ts";
import type { CircuitPolicy } from "../rules/policy.ts";
import { namedBy, type NamedOptions } from "./circuits.ts";
import { find } from "./fleet.ts";
import { type RecordedCall, replay } from "./replay.ts";
import { CliError, type Terminal } from "./terminal.ts";
import { connectTrail, reader } from "./trail.ts";

/** The options of a policy that a replay can tell apart. */
const POLICY = [
  ...["strategy", "failureThreshold", "successThreshold", "halfOpenMaxConcurrent"] as const,
  ...["minimumThroughput", "percentageThreshold", "windowSize", "windowMs"] as const,
  ...["cooldownMs", "maxCooldownMs"] as const,
];

/** Options of `what-if`. */
export type WhatIfOptions = NamedOptions & Pick<CircuitPolicy, typeof POLICY[number]> & {
  readonly since?: number;
};

/** Says when the circuit would have opened, for how long, and how many calls it would have refused. */
export async function whatIf(
  terminal: Terminal,
  name: string,
  options: WhatIfOptions,
): Promise<void> {
  const policy: CircuitPolicy = Object.fromEntries(
    POLICY.filter((option) => options[option] !== undefined)
      .map((option) => [option, options[option]]),
  );
  const { fleet, name: store } = await connectTrail(terminal, options);
  const query = options.since === undefined ? {} : { from: new Date(Date.now() - options.since) };
  const calls: RecordedCall[] = [];
  let recorded = 0;
  for await (const event of reader(fleet, store, name, options)(query)) {
    if (event.event === "success" || event.event === "failure") calls.push(callOf(event));
    else if (event.event === "opened" && event.metadata?.from === "CLOSED") recorded++;
    terminal.progress(`Read ${calls.length} calls`);
  }
  if (calls.length === 0) {
    // A circuit that is not there is the more likely mistake.
    await find(fleet, [store], namedBy(name, options));
    throw new CliError(
      `The trail has no calls of this circuit: it records them with audit: "calls", FUSE_AUDIT=calls`,
    );
  }
  // A trail is read latest first.
  const openings = await replay(calls.reverse(), policy);
  if (terminal.json) {
    return terminal.document({ openings, calls: calls.length, recorded, policy });
  }
  for (const { at, untilMs, refused, refusedFailures, reopened, reason } of openings) {
    const took = untilMs === null ? "not closed since" : `for ${untilMs} ms`;
    const again = reopened === 0 ? "" : `, reopened ${reopened} times`;
    terminal.line(
      `opened ${at} ${took}${again} (${reason}): ${refused} calls refused, ` +
        `${refusedFailures} of which had failed`,
    );
  }
  const refused = openings.reduce((sum, opening) => sum + opening.refused, 0);
  terminal.line(
    `${calls.length} calls: ${openings.length} openings, where ${recorded} are recorded; ` +
      `${refused} calls refused`,
  );
}

function callOf({ at, event, metadata }: CircuitEvent): RecordedCall {
  return { at: at.getTime(), failed: event === "failure", slow: metadata?.slow === true };
}
