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
import { READS } from "./contract_reads.ts";
import { TOGETHER } from "./contract_together.ts";
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
  /**
   * The trait that a store must have for the case to apply. By default, the case applies to every
   * store.
   */
  readonly needs?: ContractNeed;
  /**
   * Creates a store and checks that it keeps the promise, on separate circuits, which it removes in
   * the end. Needs no `this`. Ends at once if the store lacks the required trait.
   *
   * @throws {Error} If the promise is broken: what was checked, what was expected, what came.
   */
  readonly run: () => Promise<void>;
}

/**
 * Returns the suite that every driver must pass: the promises of `Driver`, case by case, for any
 * test framework. Cases are independent of one another and may run concurrently on one server; they
 * never sleep, because time passes on the clock that `make` receives.
 *
 * @param make Creates the store under test, or the driver, which must use `clock` for all times.
 * Called once for each case; it may return stores on one server, or the same store if its clock can
 * be replaced.
 * @returns The cases, in reading order.
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
  ...READS,
  ...COUNTING,
  ...WINDOWS,
  ...TRIALS,
  ...TRANSITIONS,
  ...OVERRIDES,
  ...RECORDS,
  ...TOGETHER,
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
      `Cannot run the contract: "make" must return a store or a driver, it returned ${
        received(made)
      }`,
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
