import { assert, assertThrows } from "@std/assert";
import { type FleetOptions, type FleetResult, overtaking, simulate } from "../support/fleet.ts";
import { scaled } from "../support/scale.ts";

/** `FLEET_SEED=7 FLEET_SCALE=10` simulates other and longer traffic. */
const SEED = Number(Deno.env.get("FLEET_SEED") ?? 20_251_123);
const SCALE = Number(Deno.env.get("FLEET_SCALE") ?? scaled(0.25, 1));

/** Calls per second of the fleet, by its isolates. */
const FLEETS = {
  // 1, 10 and 100 of the fleet and of each isolate.
  eventual: new Map([
    [1, [1, 10, 100]],
    [10, [1, 10, 100, 1_000]],
    [100, [1, 10, 100, 1_000, 10_000]],
  ]),
  // No isolate holds calls back: only the number of concurrent calls matters.
  strong: new Map([[1, [10]], [10, [1_000]], [100, [100, 10_000]]]),
};

/**
 * The weight of each error rate. The rarer errors are, the further is exact order from ever
 * opening, and the fewer calls it takes to notice a breaker that opens without a reason.
 */
const TRAFFIC = [
  { errorRate: 0.001, calls: 2_000 },
  { errorRate: 0.01, calls: 4_000 },
  { errorRate: 0.03, calls: 6_000 },
  { errorRate: 0.1, calls: 2_000 },
];

// Five failures in a row is the default: exact order hardly ever counts them in a healthy fleet, so
// that any opening is one too many. It counts three now and then, which allows a comparison.
for (const failureThreshold of [5, 3]) {
  for (const consistency of ["eventual", "strong"] as const) {
    const name = `CircuitBreaker() opens a healthy ${consistency} fleet at most ten times as ` +
      `often as exact order does when it takes ${failureThreshold} failures in a row`;
    Deno.test(name, async () => {
      const cells: Cell[] = [];
      for (const [isolates, rates] of FLEETS[consistency]) {
        for (const callsPerSecond of rates) {
          for (const { errorRate, calls } of TRAFFIC) {
            cells.push(
              await cell({
                isolates,
                callsPerSecond,
                errorRate,
                failureThreshold,
                consistency,
                calls: calls * SCALE,
                seed: SEED + cells.length,
              }),
            );
          }
        }
      }
      console.log(table(`${consistency}, ${failureThreshold} in a row, seed ${SEED}`, cells));
      judge(cells);
    });
  }
}

Deno.test("simulate() sees the openings when failures overtake pending successes", async () => {
  const broken = await cell({
    isolates: 100,
    callsPerSecond: 1_000,
    errorRate: 0.01,
    failureThreshold: 5,
    consistency: "eventual",
    calls: 12_000,
    seed: SEED,
    spoil: overtaking,
  });
  assertThrows(() => judge([broken]), Error, "opened");
});

interface Cell extends FleetResult {
  readonly options: FleetOptions;
  /** Returns how often exact order opens on average, over many such fleets. */
  readonly expected: number;
}

async function cell(options: FleetOptions): Promise<Cell> {
  const result = await simulate(options);
  const { errorRate, failureThreshold } = options;
  const expected = result.ran * (1 - errorRate) * errorRate ** failureThreshold;
  return { options, expected, ...result };
}

/** Judges each fleet, and the sum of all, whose larger numbers reveal a small factor. */
function judge(cells: readonly Cell[]): void {
  for (const { options, opened, exact, expected } of cells) {
    const { isolates, callsPerSecond, errorRate } = options;
    const which = `${isolates} isolates at ${callsPerSecond} calls/s, ${errorRate * 100} % errors`;
    compare(which, opened, exact, expected);
  }
  compare(
    "All fleets together",
    cells.reduce((sum, cell) => sum + cell.opened, 0),
    cells.reduce((sum, cell) => sum + cell.exact, 0),
    cells.reduce((sum, cell) => sum + cell.expected, 0),
  );
}

/**
 * Openings are rare and independent, so their number scatters like Poisson's: by about its root. A
 * breaker that opens exactly ten times as often may exceed ten times the openings that exact order
 * HAPPENED to have by three such deviations, and by one where hardly any opening is expected at
 * all.
 */
function compare(which: string, opened: number, exact: number, expected: number): void {
  const allowed = 10 * exact + Math.floor(1 + 3 * Math.sqrt(10 * expected));
  assert(
    opened <= allowed,
    `${which}: opened ${opened} times, exact order ${exact} times; at most ${allowed} allowed`,
  );
}

/**
 * Prints a line for each fleet; for each error rate: openings, those of exact order, requests per
 * call.
 */
function table(title: string, cells: readonly Cell[]): string {
  const lines = [`${title}: opened/exact order (requests per call)`];
  const rates = TRAFFIC.map(({ errorRate, calls }) => `${errorRate * 100} % of ${calls * SCALE}`);
  lines.push(["isolates", "calls/s", ...rates].map((text) => text.padStart(17)).join(""));
  for (let i = 0; i < cells.length; i += TRAFFIC.length) {
    const row = cells.slice(i, i + TRAFFIC.length);
    const { isolates, callsPerSecond } = (row[0] as Cell).options;
    const texts = row.map(({ opened, exact, requests, options }) =>
      `${opened}/${exact} (${(requests / options.calls).toFixed(2)})`
    );
    lines.push([isolates, callsPerSecond, ...texts].map((x) => String(x).padStart(17)).join(""));
  }
  return lines.join("\n");
}
