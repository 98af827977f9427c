/**
 * Circuits that move between two stores, for `exportState` and `importState` of any pair.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  type CircuitBreaker,
  type CircuitDefaults,
  createFuse,
  type Fuse,
  type FuseExport,
  type Store,
} from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { fail, succeed } from "./setups.ts";

/** Multiples of a window's segment, so that both stores divide their windows alike. */
const SKEWS = [3_600_000, -86_400_000] as const;

/** Creates a store whose clock is off by a number of ms. */
export type MakeStore = (clock: FakeClock, skewMs: number) => Store;

/** Strong: a pending request to a real store must not find that the fake clock has jumped. */
export function fuseOf(clock: FakeClock, store: Store, options: CircuitDefaults = {}): Fuse {
  return createFuse({
    clock: clock.now,
    stores: { main: store },
    defaults: { consistency: "strong", ...options },
    storeTimeoutMs: 30_000,
  });
}

/** As read from a file. */
export async function exported(fuse: Fuse): Promise<FuseExport> {
  return JSON.parse(JSON.stringify(await fuse.exportState()));
}

/** Everything that a Fuse shows of its circuits; times are relative to the store's clock. */
async function shown(fuse: Fuse, storeNow: number): Promise<unknown[]> {
  await fuse.flush();
  const relative = (at: Date | null) => at && at.getTime() - storeNow;
  const circuits = await Array.fromAsync(fuse.list());
  return circuits
    .map((
      { override, openedAt, openUntil, closedAt, metrics, generation: _, ...rest },
    ) => ({
      ...rest,
      override: override && { ...override, until: relative(override.until) },
      openedAt: relative(openedAt),
      openUntil: relative(openUntil),
      closedAt: relative(closedAt),
      metrics: {
        ...metrics,
        lastSuccessAt: relative(metrics.lastSuccessAt),
        lastFailureAt: relative(metrics.lastFailureAt),
      },
    }))
    .sort((a, b) => a.key < b.key ? -1 : 1);
}

export interface Scenario {
  readonly name: string;
  readonly options?: CircuitDefaults;
  prepare(breaker: CircuitBreaker, clock: FakeClock): Promise<unknown>;
}

/** The histories of circuits that move. */
export const SCENARIOS: Scenario[] = [
  {
    name: "a run of failures and totals",
    async prepare(breaker) {
      await succeed(breaker, 3);
      await fail(breaker, 4);
    },
  },
  {
    name: "a tripped circuit with rejections",
    async prepare(breaker, clock) {
      await fail(breaker, 5);
      clock.advance(20_123);
      for (let i = 0; i < 3; i++) await breaker.tryCall(() => 1);
    },
  },
  {
    name: "a circuit that reopened",
    options: { cooldownMs: (reopenCount) => 10_000 * (reopenCount + 1) },
    async prepare(breaker, clock) {
      await fail(breaker, 5);
      for (const ms of [10_000, 20_000]) {
        clock.advance(ms);
        await fail(breaker);
      }
      clock.advance(7);
    },
  },
  {
    name: "a half-open circuit",
    async prepare(breaker, clock) {
      await fail(breaker, 5);
      clock.advance(60_000);
      await (await breaker.admit()).ignore();
    },
  },
  {
    name: "a circuit that closed",
    async prepare(breaker, clock) {
      await fail(breaker, 5);
      clock.advance(60_000);
      await succeed(breaker, 2);
      clock.advance(300);
    },
  },
  {
    name: "a time window",
    options: { strategy: "rolling_window", minimumThroughput: 8 },
    async prepare(breaker, clock) {
      for (let i = 0; i < 4; i++) {
        await succeed(breaker);
        clock.advance(13_000);
        await fail(breaker, 1);
      }
      await succeed(breaker, 3);
    },
  },
  {
    name: "a count window",
    options: { strategy: "count_window", windowSize: 10, minimumThroughput: 8 },
    async prepare(breaker) {
      for (let i = 0; i < 4; i++) {
        await succeed(breaker, 2);
        await fail(breaker);
      }
    },
  },
  {
    name: "a share since it closed",
    options: { strategy: "percentage_failures", minimumThroughput: 8 },
    async prepare(breaker) {
      await succeed(breaker, 4);
      await fail(breaker, 3);
    },
  },
  {
    name: "slow calls",
    options: { strategy: "slow_calls", slowCallMs: 100, minimumThroughput: 4 },
    async prepare(breaker, clock) {
      for (const ms of [100, 5, 7]) await breaker.call(() => clock.advance(ms));
    },
  },
  ...(["forceOpen", "forceClose", "disable", "metricsOnly"] as const).map((act): Scenario => ({
    name: `an override by ${act}() that ends`,
    async prepare(breaker, clock) {
      await fail(breaker, 5);
      await breaker[act]({ forMs: 50_000, reason: "a drill", actor: "ada" });
      clock.advance(11_000);
    },
  })),
  {
    name: "an override that stays",
    prepare: (breaker) => breaker.forceOpen(),
  },
];

/** Prepares a circuit on one store, moves it to another, and continues on both in the same way. */
export async function goesOn(
  { options, prepare }: Scenario,
  from: MakeStore,
  to: MakeStore,
): Promise<void> {
  const clock = new FakeClock();
  const [ahead, behind] = SKEWS;
  const one = fuseOf(clock, from(clock, ahead), options);
  await prepare(one.make("a"), clock);
  await one.flush();
  const other = fuseOf(clock, to(clock, behind), options);
  assertEquals(await other.importState(await exported(one)), { imported: 1, kept: 0 });
  const same = async (when: string) =>
    assertEquals(
      await shown(other, clock.now() + behind),
      await shown(one, clock.now() + ahead),
      when,
    );
  await same("at once");
  // Both continue in the same way from here.
  for (const ms of [0, 1_000, 18_876, 20_000, 11_000, 60_000, 120_000]) {
    clock.advance(ms);
    await same(`${ms} ms later`);
    const kinds: string[] = [];
    for (const fuse of [one, other]) {
      const breaker = fuse.make("a");
      await breaker.snapshot();
      const result = await breaker.tryCall(() => Promise.reject(new Error("down")));
      kinds.push(!result.ok && result.rejected ? "rejected" : "ran");
      await fuse.flush();
    }
    assertEquals(kinds[1], kinds[0], `the call ${ms} ms later`);
    await same(`after the call ${ms} ms later`);
  }
}
