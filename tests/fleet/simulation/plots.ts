/**
 * The measured outages as plots, drawn by Apache ECharts, which needs no browser for SVG.
 *
 * @module
 */
import { init } from "echarts";
import { seeded, VirtualTime } from "../../support/virtual_time.ts";
import type { Outage } from "./measure.ts";
import { inVirtualTime } from "./virtual_globals.ts";

/** A plot to be written to a file. */
export interface Plot {
  readonly file: string;
  readonly svg: string;
}

const PLOTS: readonly {
  readonly file: string;
  readonly title: string;
  readonly unit: string;
  readonly of: (outage: Outage) => number;
}[] = [
  {
    file: "sent_to_dead_upstream.svg",
    title: "Calls sent to a dead upstream",
    unit: "calls of the fleet",
    of: ({ sent }) => sent,
  },
  {
    file: "time_to_open.svg",
    title: "From the upstream's death to the opening",
    unit: "ms",
    of: ({ openMs }) => openMs,
  },
  {
    file: "time_to_stop.svg",
    title: "From the upstream's death to the last call that is no trial",
    unit: "ms",
    of: ({ stopMs }) => stopMs,
  },
  {
    file: "time_to_close.svg",
    title: "From the upstream's recovery to the closing",
    unit: "ms",
    of: ({ closeMs }) => closeMs,
  },
  {
    file: "late_calls.svg",
    title: "Calls sent after the opening, by isolate",
    unit: "calls in the mean",
    of: ({ late }) => late,
  },
];

/** Returns all plots: by number of isolates, with a line for each consistency and rate. */
export function draw(outages: readonly Outage[]): Promise<Plot[]> {
  // A chart requests an animation frame that does not exist here: that timer must never fire.
  return inVirtualTime(new VirtualTime(), seeded(1), () => Promise.resolve(drawAll(outages)));
}

function drawAll(outages: readonly Outage[]): Plot[] {
  return PLOTS.map(({ file, title, unit, of }) => {
    const chart = init(null, null, { renderer: "svg", ssr: true, width: 760, height: 460 });
    const lines = Map.groupBy(
      outages,
      ({ consistency, rate }) => `${consistency}, ${rate} calls/s`,
    );
    chart.setOption({
      animation: false,
      backgroundColor: "#ffffff",
      title: { text: title, left: "center" },
      // The widths of texts are estimates without a browser.
      legend: { bottom: 0, itemGap: 36 },
      grid: { left: 70, right: 30, top: 50, bottom: 90 },
      xAxis: { type: "log", name: "isolates", nameLocation: "middle", nameGap: 28 },
      // A logarithmic axis has no zero: values of 0 are left out.
      yAxis: { type: "log", name: unit },
      series: [...lines].map(([name, line]) => ({
        name,
        type: "line",
        lineStyle: { type: name.startsWith("strong") ? "dashed" : "solid" },
        data: line.map((outage): [number, number | null] => {
          const value = of(outage);
          return [outage.isolates, value > 0 ? value : null];
        }),
      })),
    });
    const svg = chart.renderToSVGString();
    chart.dispose();
    return { file, svg };
  });
}
