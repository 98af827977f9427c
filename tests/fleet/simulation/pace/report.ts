/**
 * How fleets pace themselves, as a table and as plots.
 *
 * @module
 */
import { init } from "echarts";
import { integer, type Table } from "../../../tools/bench/table.ts";
import { seeded, VirtualTime } from "../../../support/virtual_time.ts";
import type { Plot } from "../plots.ts";
import { inVirtualTime } from "../virtual_globals.ts";
import { CAPACITY, LATENCY_MS } from "./busy_store.ts";
import { PLAN, type Plan } from "./plan.ts";
import type { Played } from "./world.ts";

/** The same fleet, with and without a limit of requests. */
export interface Pair {
  readonly before: Played;
  readonly after: Played;
}

/** Returns the most requests that reached the store in a second of each scene. */
export function busiest({ requests, cooledAt, plan }: Played): Record<string, number> {
  const { healthyAt, failingAt, deadAt, wellAt, endAt } = plan;
  return {
    start: requests.most(0, healthyAt),
    healthy: requests.most(healthyAt, failingAt),
    "1 % fail": requests.most(failingAt, deadAt),
    "outage's first second": requests.most(deadAt, deadAt + 1_000),
    outage: requests.most(deadAt + 1_000, cooledAt),
    "cooldown's end": requests.most(cooledAt, wellAt),
    recovery: requests.most(wellAt, endAt),
  };
}

/** Returns how long after the opening, and after the closing, the last isolate heard of it, in ms. */
export function heard(played: Played): { readonly openingMs: number; readonly closingMs: number } {
  const { openedAt, lastLateAt, closedAt, lastRejectedAt } = played;
  return {
    openingMs: Number.isNaN(lastLateAt) ? 0 : lastLateAt - openedAt,
    closingMs: Number.isNaN(lastRejectedAt) ? 0 : lastRejectedAt - closedAt,
  };
}

/** The scenes of a play. */
const SCENES = [
  ...["start", "healthy", "1 % fail", "outage's first second", "outage", "cooldown's end"],
  "recovery",
];

/** The columns about a play, and what stands in them. */
const COLUMNS: readonly (readonly [column: string, show: (played: Played) => string])[] = [
  ...SCENES.map((scene) => [scene, (played: Played) => integer(busiest(played)[scene]!)] as const),
  ["stand-ins", ({ standIns, plan }) => integer(standIns.sum(0, plan.endAt))],
  ["trials at once", ({ trialsAtOnce }) => integer(trialsAtOnce)],
  ["late calls an isolate", ({ late, isolates }) => (late / isolates).toFixed(2)],
  ["of the worst", ({ mostLate }) => integer(mostLate)],
  ["opens after, ms", ({ openedAt, plan }) => integer(openedAt - plan.deadAt)],
  ["opening known after, ms", (played) => integer(heard(played).openingMs)],
  ["closing known after, ms", (played) => integer(heard(played).closingMs)],
];

const FLEET = ["isolates", "calls/s each"];

/** The columns that a page shows. */
const README = [
  ...FLEET,
  ...SCENES.filter((scene) => scene !== "start"),
  ...["stand-ins", "late calls an isolate", "opens after, ms", "closing known after, ms"],
];

function fleetOf({ isolates, rate }: Played): string[] {
  return [integer(isolates), String(rate)];
}

const TERMS =
  "Stand-ins are isolates that turned to a breaker of their own because the store was " +
  'late. Late calls ran after the opening, trials apart; "known": until the last of these, and until ' +
  "the last rejection after the closing.";

/** Returns when things happen in a play, as a sentence. */
function sentence({ startMs, failingAt, deadAt, wellAt, cooldownMs }: Plan): string {
  const s = (ms: number) => `${ms / 1_000} s`;
  return `Isolates start over ${s(startMs)}; 1 % of the calls fail from ${
    s(failingAt)
  } on, all from ` +
    `${s(deadAt)} to ${s(wellAt)}; a cooldown of ${s(cooldownMs)}; calls at random moments.`;
}

/** Requests at the store, and what came of them: without and with a limit. */
export function paceTable(pairs: readonly Pair[]): Table {
  return {
    name: "pace",
    title: "Most requests a second at the store, by scene: without a limit / with it",
    columns: [...FLEET, ...COLUMNS.map(([column]) => column)],
    rows: pairs.map(({ before, after }) => [
      ...fleetOf(before),
      ...COLUMNS.map(([, show]) => `${show(before)} / ${show(after)}`),
    ]),
    readme: README,
    notes: [
      `In virtual time. The store answers ${
        integer(CAPACITY)
      } requests a second, ${LATENCY_MS} ms ` +
      `after they were sent, and later what comes beyond; default policy and deadlines. ` +
      `${sentence(PLAN)} ${TERMS}`,
    ],
  };
}

/** The same of fleets that are too large for the default policy, with a limit alone. */
export function largeTable(plays: readonly Played[]): Table {
  return {
    name: "pace-large",
    title: "Most requests a second at the store, by scene, of a fleet whose views may be older",
    columns: [...FLEET, ...COLUMNS.map(([column]) => column)],
    rows: plays.map((played) => [
      ...fleetOf(played),
      ...COLUMNS.map(([, show]) => show(played)),
    ]),
    readme: README,
    notes: plays.slice(0, 1).map(({ plan, policy }) =>
      `As above, with ${
        Object.entries(policy!).map(([option, value]) => `${option} ${integer(Number(value))}`)
          .join(", ")
      }. ${sentence(plan)}`
    ),
  };
}

/** A plot for each size: requests at the store, second by second, at the rate that is the busiest. */
export function drawPace(pairs: readonly Pair[]): Promise<Plot[]> {
  return inVirtualTime(new VirtualTime(), seeded(1), () => {
    const sizes = Map.groupBy(pairs, ({ before }) => before.isolates);
    return Promise.resolve(
      [...sizes].map(([isolates, pairs]) => ({ file: `pace_${isolates}.svg`, svg: draw(pairs) })),
    );
  });
}

function draw(pairs: readonly Pair[]): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width: 760, height: 460 });
  const { isolates } = pairs[0]!.before;
  const seconds = PLAN.endAt / 1_000;
  chart.setOption({
    animation: false,
    backgroundColor: "#ffffff",
    title: { text: `Requests a second of ${integer(isolates)} isolates`, left: "center" },
    // Without a browser the widths of texts are guessed.
    legend: { bottom: 0, itemGap: 36 },
    grid: { left: 70, right: 30, top: 50, bottom: 90 },
    xAxis: { type: "value", name: "s", nameLocation: "middle", nameGap: 28, max: seconds },
    yAxis: { type: "value", name: "requests/s" },
    series: [
      ...pairs.flatMap(({ before, after }) => [
        line(`${before.rate} calls/s`, before.requests.seconds(PLAN.endAt), "dashed"),
        line(`${after.rate} calls/s, paced`, after.requests.seconds(PLAN.endAt), "solid"),
      ]),
      line("capacity", Array(seconds).fill(CAPACITY), "dotted"),
    ],
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

function line(name: string, figures: readonly number[], type: "solid" | "dashed" | "dotted") {
  const data = figures.map((figure, second) => [second, figure]);
  return { name, type: "line", showSymbol: false, lineStyle: { type }, data };
}
