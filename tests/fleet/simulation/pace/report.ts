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
import { COOLDOWN_MS, PLAN, type Played } from "./world.ts";

/** The same fleet, with and without a limit of requests. */
export interface Pair {
  readonly before: Played;
  readonly after: Played;
}

/** Returns the most requests that reached the store in a second of each scene. */
export function busiest({ requests, cooledAt }: Played): Record<string, number> {
  const { healthyAt, failingAt, deadAt, wellAt, endAt } = PLAN;
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

/** Requests at the store, and what came of them: without and with a limit. */
export function paceTable(pairs: readonly Pair[]): Table {
  const scenes = pairs.length === 0 ? [] : Object.keys(busiest(pairs[0]!.before));
  return {
    name: "pace",
    title: "Most requests a second at the store, by scene: without a limit / with it",
    columns: [
      ...["isolates", "calls/s each", ...scenes, "stand-ins", "trials at once"],
      ...["late calls an isolate", "of the worst", "opens after, ms"],
      ...["opening known after, ms", "closing known after, ms"],
    ],
    rows: pairs.map(({ before, after }) => {
      const both = (show: (played: Played) => string) => `${show(before)} / ${show(after)}`;
      const { isolates, rate } = before;
      return [
        integer(isolates),
        String(rate),
        ...scenes.map((scene) => both((played) => integer(busiest(played)[scene]!))),
        both(({ standIns }) => integer(standIns.sum(0, PLAN.endAt))),
        both(({ trialsAtOnce }) => integer(trialsAtOnce)),
        both(({ late, isolates }) => (late / isolates).toFixed(2)),
        both(({ mostLate }) => integer(mostLate)),
        both(({ openedAt }) => integer(openedAt - PLAN.deadAt)),
        both((played) => integer(heard(played).openingMs)),
        both((played) => integer(heard(played).closingMs)),
      ];
    }),
    readme: [
      ...["isolates", "calls/s each", ...scenes.filter((scene) => scene !== "start")],
      ...["stand-ins", "late calls an isolate", "opens after, ms", "closing known after, ms"],
    ],
    notes: [
      `In virtual time. The store answers ${
        integer(CAPACITY)
      } requests a second, ${LATENCY_MS} ms ` +
      `after they were sent, and later what comes beyond; default policy and deadlines, a cooldown of ` +
      `${COOLDOWN_MS / 1_000} s; calls at random moments. Isolates start over ` +
      `${PLAN.startMs / 1_000} s; 1 % of the calls fail from ${PLAN.failingAt / 1_000} s on, all ` +
      `from ${PLAN.deadAt / 1_000} s to ${PLAN.wellAt / 1_000} s. Stand-ins are isolates that ` +
      "turned to a breaker of their own because the store was late. Late calls ran after the opening, " +
      'trials apart; "known": until the last of these, and until the last rejection after the closing.',
    ],
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
