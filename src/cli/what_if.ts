/**
 * The command `what-if`: tunes a policy with recorded calls.
 *
 * @module
 */

import type { CircuitEvent } from "../contract.ts";
import type { CircuitPolicy } from "../rules/policy.ts";
import { BUILT_IN } from "../rules/strategies.ts";
import { namedBy, type NamedOptions } from "./circuits.ts";
import { find, keyOf } from "./fleet.ts";
import { type RecordedCall, replay } from "./replay.ts";
import { CliError, type Terminal } from "./terminal.ts";
import { connectTrail, reader } from "./trail.ts";

/** The options of a policy that change a replay. */
const POLICY = [
  ...["strategy", "failureThreshold", "successThreshold", "halfOpenMaxConcurrent"] as const,
  ...["minimumThroughput", "percentageThreshold", "windowSize", "windowMs"] as const,
  ...["cooldownMs", "maxCooldownMs", "halfOpenFailureThreshold"] as const,
];

/** Options of `what-if`. */
export type WhatIfOptions = NamedOptions & Pick<CircuitPolicy, typeof POLICY[number]> & {
  readonly since?: number;
};

/**
 * Prints when the circuit would have opened, for how long, and how many calls it would have rejected.
 * Options that are not given are those of the circuit's record.
 */
export async function whatIf(
  terminal: Terminal,
  name: string,
  options: WhatIfOptions,
): Promise<void> {
  const given: CircuitPolicy = Object.fromEntries(
    POLICY.filter((option) => options[option] !== undefined)
      .map((option) => [option, options[option]]),
  );
  const { fleet, name: store } = await connectTrail(terminal, options);
  const query = options.since === undefined ? {} : { from: new Date(Date.now() - options.since) };
  const calls: RecordedCall[] = [];
  let opened = 0;
  for await (const event of reader(fleet, store, name, options)(query)) {
    if (event.event === "success" || event.event === "failure") calls.push(callOf(event));
    else if (event.event === "opened" && event.metadata?.from === "CLOSED") opened++;
    terminal.progress(`Read ${calls.length} calls`);
  }
  if (calls.length === 0) {
    // An unknown circuit is the more likely mistake.
    await find(fleet, [store], namedBy(name, options));
    throw new CliError(
      `The trail has no calls of this circuit: it records them with audit: "calls", FUSE_AUDIT=calls`,
    );
  }
  const key = keyOf(namedBy(name, options));
  // `null` once it is removed, which leaves its trail.
  const shown = await fleet.show({ store, key });
  const policy = { ...recordedPolicy(shown?.circuit.policy ?? null, given), ...given };
  // A trail returns the latest row first.
  const openings = await replay(calls.reverse(), policy);
  if (terminal.json) {
    return terminal.document({ openings, calls: calls.length, recorded: opened, policy });
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
    `${calls.length} calls: ${openings.length} openings, where ${opened} are recorded; ` +
      `${refused} calls refused`,
  );
}

/**
 * Returns the options of the recorded policy that change a replay.
 *
 * @throws {CliError} If an option is a function, which only the application has, and is not given.
 */
function recordedPolicy(
  recorded: Readonly<Record<string, unknown>> | null,
  given: CircuitPolicy,
): CircuitPolicy {
  const policy: Record<string, unknown> = {};
  for (const option of POLICY) {
    const value = recorded?.[option];
    if (value === undefined || given[option] !== undefined) continue;
    const names = option === "strategy" ? String(value).split(",") : [];
    const isKnown = option === "strategy"
      ? names.every((name) => Object.hasOwn(BUILT_IN, name))
      : typeof value === "number";
    if (!isKnown) {
      throw new CliError(
        `The "${option}" of this circuit is a function of the application: give another one`,
      );
    }
    policy[option] = option === "strategy" ? names : value;
  }
  return policy;
}

function callOf({ at, event, metadata }: CircuitEvent): RecordedCall {
  return { at: at.getTime(), failed: event === "failure", slow: metadata?.slow === true };
}
