import type { Clock, Driver, Store } from "../contract.ts";
import { received } from "../checks.ts";
import { isDriver } from "../records.ts";
import { COUNTING } from "./contract_counting.ts";
import { HISTORY } from "./contract_history.ts";
import { IDENTITY } from "./contract_identity.ts";
import { OUTBOX } from "./contract_outbox.ts";
import { OVERRIDES } from "./contract_overrides.ts";
import { RECORDS } from "./contract_records.ts";
import { type ContractNeed, type Scenario, Subject } from "./contract_subject.ts";
import { TRAFFIC } from "./contract_traffic.ts";
import { TRANSITIONS } from "./contract_transitions.ts";
import { TRIALS } from "./contract_trials.ts";
import { WINDOWS } from "./contract_windows.ts";
import { FakeClock } from "./fake_clock.ts";

export type { ContractNeed };

/** A promise that a driver must keep. */
export interface ContractCase {
  /** The promise, as a sentence. Unique within the suite. */
  readonly name: string;
  /** The trait without which it does not apply; left out: it applies to every store. */
  readonly needs?: ContractNeed;
  /**
   * Makes a store and holds it to the promise, on circuits of its own, which it removes in the
   * end. Needs no `this`. It ends at once where the store lacks the trait it needs.
   *
   * @throws {Error} If the promise is broken: what was looked at, what was expected, what came.
   */
  readonly run: () => Promise<void>;
}

/**
 * The suite that every driver must pass: what `Driver` promises, case by case, in no framework's
 * terms. Cases are independent of one another and may run side by side on one server; they sleep
 * nowhere, time passes on the clock that `make` is given.
 *
 * @param make Makes the store under test, or the driver, which must take its time from `clock` alone. Called once
 * for each case; it may answer with stores on one server, or with the same store if it can be given
 * another clock.
 * @returns The cases, in order of reading.
 *
 * @example Usage
 * ```ts
 * import { memory } from "@fuse/edge";
 * import { storeContract } from "@fuse/edge/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const broken: string[] = [];
 * for (const { name, run } of storeContract(({ clock }) => memory({ clock }))) {
 *   await run().catch((error) => broken.push(`${name}: ${error.message}`));
 * }
 * assertEquals(broken, []);
 * ```
 */
export function storeContract(
  make: (options: { clock: Clock }) => Store | Driver | Promise<Store | Driver>,
): ContractCase[] {
  return SCENARIOS.map((scenario) => {
    const { name, needs } = scenario;
    const run = () => runScenario(scenario, make);
    return needs === undefined ? { name, run } : { name, needs, run };
  });
}

const SCENARIOS: readonly Scenario[] = [
  ...IDENTITY,
  ...COUNTING,
  ...WINDOWS,
  ...TRIALS,
  ...TRANSITIONS,
  ...OVERRIDES,
  ...RECORDS,
  ...HISTORY,
  ...OUTBOX,
  ...TRAFFIC,
];

async function runScenario(
  { needs, run }: Scenario,
  make: (options: { clock: Clock }) => Store | Driver | Promise<Store | Driver>,
): Promise<void> {
  const clock = new FakeClock();
  const made = await make({ clock: clock.now });
  if (!isDriver(made)) {
    throw new TypeError(
      `Cannot run the contract: "make" must give a store or a driver, it gave ${received(made)}`,
    );
  }
  const store: Driver = made;
  if (needs !== undefined && !store.traits[needs]) return;
  const subject = new Subject(store, clock);
  try {
    await run(subject);
  } finally {
    await subject.cleanUp();
  }
}
