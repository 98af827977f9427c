// The output of `deno task simulate`.
import { assert, assertAlmostEquals, assertEquals, assertGreater } from "@std/assert";
import { type Fleet, mean, measure, type Outage } from "./measure.ts";
import { largeTable, paceTable } from "./pace/report.ts";
import { draw } from "./plots.ts";
import { drawRamps, rampTable, recover } from "./ramp.ts";
import { BLOCKS, costTable, outageTable } from "./tables.ts";

const FLEETS: readonly Fleet[] = [2, 6].flatMap((isolates) =>
  (["eventual", "strong"] as const).map((consistency) => ({ isolates, consistency, rate: 1 }))
);

Deno.test("measure() finds when a fleet opens, stops, closes and sends again", async () => {
  for (const fleet of FLEETS) {
    const outage = await measure(fleet, 1);
    // Five failures open it, and every trial but the last two fails as well.
    assertGreater(outage.sent, 5);
    assertGreater(outage.openMs, 0);
    assertGreater(outage.stopMs, 0);
    assertGreater(outage.closeMs, 0);
    assertGreater(outage.openings, 1);
    assert(outage.late <= outage.mostLate && outage.mostLate <= outage.sent - 5);
    // `strong` asks before and after each call that runs, `eventual` mostly neither.
    assert(outage.consistency === "strong" ? outage.requests > 1 : outage.requests < 1);
    assertEquals(await measure(fleet, 1), outage);
  }
});

Deno.test("recover() finds that a ramp spares an upstream that recovers gradually", async () => {
  const [atOnce, byRamp] = [await recover(60, undefined, 1), await recover(60, 30_000, 1)];
  assertGreater(atOnce.reopenings, 0);
  assertEquals(byRamp.reopenings, 0);
  assertGreater(atOnce.refused, 3 * byRamp.refused);
  const { rows } = rampTable([atOnce, byRamp]);
  assertEquals(rows.map(([isolates, ramp]) => [isolates, ramp]), [["60", "none"], ["60", "30 s"]]);
  const { svg } = await drawRamps([atOnce, byRamp]);
  for (const text of ["none", "30 s", "capacity"]) assert(svg.includes(text), text);
});

Deno.test("mean() averages all runs, and takes the maximum of the worst isolate", () => {
  const runs = [outageOf({ sent: 10, mostLate: 3 }), outageOf({ sent: 20, mostLate: 1 })];
  const { sent, mostLate, runs: counted, isolates } = mean(runs);
  assertEquals([mostLate, counted, isolates], [3, 2, 10]);
  assertAlmostEquals(sent, 15);
});

Deno.test("outageTable() and costTable() have a row for each fleet", () => {
  const outages = [
    outageOf({ consistency: "eventual", sent: 12_345, late: 0.5 }),
    outageOf({ consistency: "strong", sent: 7, late: 0 }),
  ];
  const [first, second] = outageTable(outages).rows;
  assertEquals(first!.slice(0, 4), ["10", "eventual", "1", "12 345"]);
  assertEquals(second!.slice(0, 4), ["10", "strong", "1", "7"]);
  const { rows } = costTable(outages);
  assertEquals(rows, [["10", "1", "2.0 / 2.0", "0.50 / 0.50", "0.50 / 0.00", "1 / 1"]]);
  const paces = [paceTable([]), largeTable([])];
  const tables = [outageTable(outages), costTable(outages), rampTable([]), ...paces];
  assertEquals(tables.map(({ name }) => name), BLOCKS.known);
});

Deno.test("draw() draws a line for each consistency and rate", async () => {
  const outages = [1, 10].flatMap((isolates) => [
    outageOf({ isolates, consistency: "eventual" }),
    outageOf({ isolates, consistency: "strong" }),
  ]);
  const plots = await draw(outages);
  assertEquals(new Set(plots.map(({ file }) => file)).size, plots.length);
  for (const { svg } of plots) {
    assert(svg.startsWith("<svg") && svg.trimEnd().endsWith("</svg>"));
    for (const text of ["eventual, 1 calls/s", "strong, 1 calls/s", "isolates"]) {
      assert(svg.includes(text), text);
    }
  }
});

function outageOf(fields: Partial<Outage>): Outage {
  return {
    ...{
      isolates: 10,
      consistency: "eventual",
      rate: 1,
      runs: 1,
      sent: 9,
      openMs: 100,
      stopMs: 200,
    },
    ...{ closeMs: 300, returnMs: 400, openings: 2, requests: 0.5, late: 0.5, mostLate: 1 },
    ...fields,
  };
}
