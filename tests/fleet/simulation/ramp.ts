/**
 * Measures a recovery: an upstream that was dead recovers gradually, and a fleet of the real core
 * returns to it, at once or by a ramp.
 *
 * @module
 */
import { init } from "echarts";
import { type CircuitBreaker, type CircuitPolicy, createFuse } from "@fuse/edge";
import { integer, type Table } from "../../tools/bench/table.ts";
import { chaos, memory } from "../../support/drivers.ts";
import { seeded, VirtualTime } from "../../support/virtual_time.ts";
import type { Plot } from "./plots.ts";
import { inVirtualTime } from "./virtual_globals.ts";

/** The figures of a fleet during the recovery of its upstream. */
export interface Recovery {
  readonly isolates: number;
  /** `undefined`: without a ramp. */
  readonly rampMs: number | undefined;
  /** Calls that the upstream refused after it had begun to recover. */
  readonly refused: number;
  /** Openings of a circuit that had closed since the upstream began to recover. */
  readonly reopenings: number;
  /**
   * From the beginning of the recovery until 95 % of each second's calls were answered for good, in
   * s.
   */
  readonly fullAfterS: number;
  /** Calls answered in each second of the recovery. */
  readonly answered: readonly number[];
}

/** The ramps that are compared. */
export const RAMPS: readonly (number | undefined)[] = [undefined, 15_000, 30_000, 60_000];

/** Calls per second of each isolate. */
const RATE = 0.5;
const DEAD_MS = 10_000;
const WATCHED_S = 120;
/**
 * The duration of the upstream's recovery, and the factor by which its capacity then exceeds the
 * fleet's calls.
 */
const RECOVERY_MS = 30_000;
const ROOM = 1.25;

const POLICY: CircuitPolicy = {
  strategy: "rolling_window",
  windowMs: 5_000,
  minimumThroughput: 20,
  percentageThreshold: 50,
  cooldownMs: 5_000,
  rampFromPercentage: 5,
};

/** The upstream: dead, then with a capacity that grows linearly. */
class Recovering {
  readonly #full: number;
  readonly #from: number;
  #asked: number;
  #left = 0;

  constructor(full: number, from: number) {
    this.#full = full;
    this.#from = this.#asked = from;
  }

  /** Returns the calls a second that it can answer at a moment. */
  capacity(now: number): number {
    return this.#full * Math.min(1, Math.max(0, now - this.#from) / RECOVERY_MS);
  }

  /** Returns `true` if it answers a call at this moment. A second's calls may come at once. */
  answers(now: number): boolean {
    const capacity = this.capacity(now);
    const more = capacity * Math.max(0, now - this.#asked) / 1_000;
    this.#asked = now;
    this.#left = Math.min(Math.max(1, capacity), this.#left + more);
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}

/** Plays one recovery in virtual time. */
export function recover(
  isolates: number,
  rampMs: number | undefined,
  seed: number,
): Promise<Recovery> {
  const time = new VirtualTime();
  const random = seeded(seed);
  return inVirtualTime(time, seeded(~seed), async () => {
    const begun = time.now() + DEAD_MS;
    const until = begun + WATCHED_S * 1_000;
    const upstream = new Recovering(ROOM * isolates * RATE, begun);
    const store = memory({ clock: time.now });
    const answered = Array<number>(WATCHED_S).fill(0);
    const failed = Array<number>(WATCHED_S).fill(0);
    let [refused, reopenings, closed] = [0, 0, false];

    const call = (breaker: CircuitBreaker) => {
      const at = time.now();
      const second = Math.floor((at - begun) / 1_000);
      void breaker.tryCall(async () => {
        const ok = upstream.answers(time.now());
        await time.sleep(5 + random() * 95);
        if (!ok) throw new Error("Too many calls");
      }).then((result) => {
        if (second < 0) return;
        if (!result.ok && !result.rejected) refused++;
        (result.ok ? answered : failed)[second]!++;
      });
      next(breaker);
    };
    const next = (breaker: CircuitBreaker) => {
      const gapMs = -Math.log(1 - random()) * 1_000 / RATE;
      if (time.now() + gapMs < until) time.after(gapMs, () => call(breaker));
    };
    for (let isolate = 0; isolate < isolates; isolate++) {
      const latencyMs = () => 10 + random() * 40;
      const stores = { shared: chaos(store, { latencyMs }) };
      const fuse = createFuse({ clock: time.now, random, stores });
      fuse.on("closed", () => closed = true);
      fuse.on("opened", ({ from }) => {
        if (closed && from === "CLOSED" && time.now() >= begun) reopenings++;
      });
      next(fuse.make("upstream", { ...POLICY, rampMs }));
    }
    await time.run(() => time.now() > until);
    // Rejections are among the failures.
    const lacks = (calls: number, second: number) => calls > 0.05 * (calls + answered[second]!);
    const fullAfterS = failed.findLastIndex(lacks) + 1;
    return { isolates, rampMs, refused, reopenings, fullAfterS, answered };
  });
}

/** Returns the figures of a fleet whose circuit lets it return at once, and by ramps. */
export function rampTable(recoveries: readonly Recovery[]): Table {
  return {
    name: "ramp",
    title: "A recovery of the upstream, little by little",
    columns: [
      "isolates",
      "ramp",
      "refused by the upstream",
      "opens again",
      "answers all after, s",
    ],
    rows: recoveries.map(({ isolates, rampMs, refused, reopenings, fullAfterS }) => [
      integer(isolates),
      nameOf(rampMs),
      integer(refused),
      integer(reopenings),
      integer(fullAfterS),
    ]),
    notes: [
      `${RATE} calls/s of each isolate. The upstream is dead for ${DEAD_MS / 1_000} s; then its ` +
      `capacity grows from 0 to ${ROOM} times the fleet's calls in ${RECOVERY_MS / 1_000} s. The ` +
      "circuit opens when half of the calls of 5 s fail, its cooldown takes 5 s, and a ramp begins " +
      "at 5 %. All is counted from the beginning of the recovery; " +
      '"answers all": 95 % of the calls of each second, from then on.',
    ],
  };
}

/** Draws the answered calls of each second. */
export function drawRamps(recoveries: readonly Recovery[]): Promise<Plot> {
  return inVirtualTime(new VirtualTime(), seeded(1), () => {
    const chart = init(null, null, { renderer: "svg", ssr: true, width: 760, height: 460 });
    const { isolates } = recoveries[0]!;
    const upstream = new Recovering(ROOM * isolates * RATE, 0);
    const capacity = Array.from({ length: WATCHED_S }, (_, s) => upstream.capacity(s * 1_000));
    chart.setOption({
      animation: false,
      backgroundColor: "#ffffff",
      title: { text: `Calls answered to ${isolates} isolates after an outage`, left: "center" },
      legend: { bottom: 0, itemGap: 36 },
      grid: { left: 70, right: 30, top: 50, bottom: 90 },
      xAxis: { type: "value", name: "s", nameLocation: "middle", nameGap: 28, max: WATCHED_S },
      yAxis: { type: "value", name: "calls/s" },
      series: [
        ...recoveries.map(({ rampMs, answered }) => line(nameOf(rampMs), answered, "solid")),
        line("capacity", capacity, "dashed"),
      ],
    });
    const svg = chart.renderToSVGString();
    chart.dispose();
    return Promise.resolve({ file: "ramp.svg", svg });
  });
}

function line(name: string, figures: readonly number[], type: "solid" | "dashed") {
  const data = figures.map((figure, second) => [second, figure]);
  return { name, type: "line", showSymbol: false, lineStyle: { type }, data };
}

function nameOf(rampMs: number | undefined): string {
  return rampMs === undefined ? "none" : `${rampMs / 1_000} s`;
}
