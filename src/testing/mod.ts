/**
 * Tools for tests of a circuit breaker: a clock that is set by hand, a store that fails on demand,
 * and the suite that every driver must pass. Nothing here imports Deno or a package.
 *
 * @example An hour passes at once
 * ```ts
 * import { FakeClock } from "@fuse/edge/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const clock = new FakeClock();
 * const begun = clock.now();
 * clock.advance(60 * 60_000);
 *
 * assertEquals(clock.now() - begun, 3_600_000);
 * ```
 *
 * @example A driver proves itself, behind a network
 * ```ts
 * import { memory } from "@fuse/edge";
 * import { chaos, storeContract } from "@fuse/edge/testing";
 * import { assert } from "@std/assert";
 *
 * const cases = storeContract(({ clock }) => chaos(memory({ clock }), {}));
 * // In a test file: for (const { name, run } of cases) Deno.test(name, run);
 * for (const { run } of cases) await run();
 *
 * assert(cases.length > 0);
 * ```
 *
 * @module
 */

export { chaos, type Faults } from "./chaos.ts";
export { type ContractCase, type ContractNeed, storeContract } from "./contract.ts";
export { FakeClock } from "./fake_clock.ts";
