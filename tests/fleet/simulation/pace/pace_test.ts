// Large fleets on a store that answers 5 000 requests a second: they leave it room.
import { assert, assertEquals, assertGreater, assertLess, assertStringIncludes } from "@std/assert";
import { policyOf } from "../../../support/units.ts";
import { IN_FULL } from "../../../support/scale.ts";
import { newSeed } from "../../../support/virtual_time.ts";
import { CAPACITY, LATENCY_MS } from "./busy_store.ts";
import { LARGE, largePlan, PLAN } from "./plan.ts";
import { busiest, drawPace, heard, largeTable, paceTable } from "./report.ts";
import { Ticks } from "./ticks.ts";
import { type Crowd, playCrowd, type Played, UNPACED } from "./world.ts";

/** The goal for 10 000 isolates at 1 call a second, in any second but the first of an outage. */
const MOST_REQUESTS = 2_000;

/** The same world each time, so that a red gate is red for all. */
const SEED = Deno.env.has("SEED") ? newSeed() : 1;

Deno.test("10 000 isolates at 1 call a second leave a store of 5 000 requests a second room", async () => {
  const played = await playCrowd({ isolates: 10_000, rate: 1 }, SEED);
  const { start, "outage's first second": first, ...others } = busiest(played);
  console.log({ start, first, ...others }, heard(played));
  for (const [scene, requests] of Object.entries(others)) {
    assert(requests <= MOST_REQUESTS, `${requests} requests in a second of "${scene}"`);
  }
  // 500 isolates begin in each second of the start, and know nothing of each other.
  assertLess(start!, CAPACITY / 2);
  // Ten thousand calls a second fail until then.
  assertLess(played.openedAt - PLAN.deadAt, 1_000);
  judge(played);
});

for (const isolates of [100, 1_000, 10_000]) {
  for (const rate of [0.1, 1, 10]) {
    if (isolates === 10_000 && rate === 1) continue;
    // These are ten million calls.
    const heavy = isolates * rate > 10_000 ? IN_FULL : {};
    Deno.test({
      ...heavy,
      name: `${isolates} isolates at ${rate} calls a second spare the store, and count truly`,
      fn: async () => judge(await playCrowd({ isolates, rate }, SEED)),
    });
  }
}

for (const rate of [0.1, 1, 10]) {
  Deno.test(`100 isolates at ${rate} calls a second notice nothing of the limit`, async () => {
    const crowd: Crowd = { isolates: 100, rate };
    const [paced, unpaced] = [
      await playCrowd(crowd, SEED),
      await playCrowd({ ...crowd, policy: UNPACED }, SEED),
    ];
    assertEquals({ ...paced, policy: null }, { ...unpaced, policy: null });
  });
}

Deno.test("a herd of isolates makes a healthy store look dead when nothing limits them", async () => {
  // A tenth of everything.
  const crowd: Crowd = { isolates: 1_000, rate: 1, capacity: CAPACITY / 10 };
  const limited = await playCrowd({ ...crowd, policy: { maxRequestsPerSecond: 100 } }, SEED);
  judge(limited);
  const { standIns } = await playCrowd({ ...crowd, policy: UNPACED }, SEED);
  assertGreater(standIns.sum(0, PLAN.endAt), crowd.isolates / 2);
});

for (const rate of [1, 10]) {
  Deno.test(`1000 isolates at ${rate} calls a second spare the store when an outage does not open their circuit`, async () => {
    // A tenth of everything. Most calls since it closed have succeeded, also at the outage's end.
    const policy = { maxRequestsPerSecond: 100, strategy: "percentage_failures" } as const;
    const crowd: Crowd = { isolates: 1_000, rate, capacity: CAPACITY / 10, policy };
    const { standIns, trips, requests } = await playCrowd(crowd, SEED);
    assertEquals([trips, standIns.sum(0, PLAN.endAt)], [0, 0], "trips and stand-ins");
    assertLess(requests.most(0, PLAN.endAt), CAPACITY / 10);
  });
}

Deno.test("2 000 isolates leave a store of 100 requests a second room when their views may be a minute old", async () => {
  // A fiftieth of 100 000 isolates on the store of the others. A tenth of `windowMs` is 12 s.
  const capacity = CAPACITY / 50;
  const policy = { ...LARGE, maxRequestsPerSecond: 20 };
  const plan = largePlan(2_000, capacity);
  const crowd: Crowd = { isolates: 2_000, rate: 0.1, capacity, policy, plan };
  const played = await playCrowd(crowd, SEED);
  judge(played);
  // By the formula of the page: 2 000 isolates, each once in seven tenths of a minute.
  const { requests } = played;
  const seconds = (plan.failingAt - plan.healthyAt) / 1_000;
  assertLess(requests.sum(plan.healthyAt, plan.failingAt) / seconds, 1.3 * 2_000 / (0.7 * 60));
});

Deno.test("playCrowd() goes the same way when it plays a fleet again", async () => {
  const crowd: Crowd = { isolates: 50, rate: 1 };
  const first = await playCrowd(crowd, SEED);
  assertEquals(await playCrowd(crowd, SEED), first);
  assert((await playCrowd(crowd, SEED + 1)).calls !== first.calls);
});

Deno.test("Ticks counts in any second, also in one that begins between two seconds", () => {
  const ticks = new Ticks();
  for (const at of [0, 950, 1_000, 1_100, 1_850, 1_899, 1_950, 3_000]) ticks.add(at);
  assertEquals(ticks.seconds(4_000), [2, 5, 0, 1]);
  assertEquals(ticks.most(0, 4_000), 5, "from 0.9 s on");
  assertEquals(ticks.most(2_000, 3_000), 0);
  assertEquals(ticks.sum(900, 2_000), 6);
});

Deno.test("paceTable(), largeTable() and drawPace() show what was played", async () => {
  const crowd: Crowd = { isolates: 5, rate: 1 };
  const played = await playCrowd(crowd, SEED);
  const pairs = [{ before: played, after: played }];
  const { columns, rows } = paceTable(pairs);
  assertEquals(rows.length, 1);
  assertEquals(rows[0]!.length, columns.length);
  assertEquals(rows[0]!.slice(0, 2), ["5", "1"]);
  const large = largeTable([{ ...played, policy: LARGE }]);
  assertEquals(large.rows[0]!.length, large.columns.length);
  assertStringIncludes(large.notes!.join(), "maxStalenessMs 60 000, cooldownMs 60 000");
  const [{ file, svg }] = await drawPace(pairs) as [{ file: string; svg: string }];
  assertEquals(file, "pace_5.svg");
  for (const text of ["1 calls/s, paced", "capacity"]) assert(svg.includes(text), text);
});

/** Holds a paced fleet to what is promised whatever its size. */
function judge(played: Played): void {
  const { standIns, trialsAtOnce, leasesAtOnce, openedAt, closedAt, trips, miscounted } = played;
  const { plan, policy } = played;
  assertEquals(standIns.sum(0, plan.endAt), 0, "stand-ins");
  assertEquals([trialsAtOnce, leasesAtOnce], [1, 1], "trials at once");
  assertEquals(trips, 1);
  assertEquals(miscounted, 0, "totals that differ from what was done");
  assertGreater(openedAt, plan.deadAt);
  assertGreater(closedAt, plan.wellAt);
  const { openingMs, closingMs } = heard(played);
  // An answer that was given just before is learnt a little later.
  const limitMs = policyOf({ ...policy }).maxStalenessMs + LATENCY_MS;
  assertLess(openingMs, limitMs);
  assertLess(closingMs, limitMs);
}
