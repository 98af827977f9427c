/**
 * A circuit for each of 100 000 tenants, on a shared store: what they weigh, and for how long this isolate
 * does nothing else.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { createFuse } from "@fuse/edge";
import { health } from "@fuse/edge/hono";
import { prometheusText } from "@fuse/edge/prometheus";
import { Hono } from "hono";
import { tenantStore } from "../../support/tenant_store.ts";
import { collect } from "./harness.ts";
import type { Section } from "./section.ts";
import { budget, integer } from "./table.ts";

const LATENCY_MS = 20;
/** Circuits that are called in each second. */
const BUSY = 1_000;
const LONGEST_PAUSE_MS = 50;
const BYTES = 1_024;

const served = () => Promise.resolve("served");

/** Section `tenants`. */
export const section: Section = {
  async *run({ quick }) {
    const circuits = quick ? 20_000 : 100_000;
    const seconds = quick ? 3 : 10;
    yield {
      name: "tenants",
      title: `${integer(circuits)} circuits in use, on a store ${LATENCY_MS} ms away`,
      columns: [
        ...["step", "ms", "longest pause, ms", "requests", "tallies in each", "bytes a circuit"],
        "budget",
      ],
      rows: await measure(circuits, seconds),
      notes: [
        "A pause is the time between two turns of the event loop, collections of garbage included.",
        `"${integer(BUSY)} a second": each second as many other circuits are called three times.`,
        "Bytes: heap after full collections, with the circuits less without them, names and keys included.",
      ],
    };
  },
};

async function measure(circuits: number, seconds: number): Promise<string[][]> {
  const tenants = tenantStore(() => new Promise((resolve) => setTimeout(resolve, LATENCY_MS)));
  const fuse = createFuse({
    stores: { tenants: tenants.store },
    maxCircuits: circuits,
    defaults: { failureThreshold: 4 },
  });
  fuse.on("store_error", () => {});
  const call = (tenant: number) => fuse.make(`tenant-${tenant}`).call(served);
  const rows: string[][] = [];
  const step = async (name: string, work: () => Promise<unknown>) => {
    tenants.trips.length = 0;
    await collect();
    const { ms, pauseMs } = await watched(work);
    const { trips } = tenants;
    const tallies = trips.reduce((sum, trip) => sum + trip, 0);
    rows.push([
      name,
      integer(ms),
      integer(pauseMs),
      integer(trips.length),
      trips.length === 0 ? "" : (tallies / trips.length).toFixed(1),
      "",
      budget(Math.round(pauseMs), LONGEST_PAUSE_MS, " ms"),
    ]);
  };
  const weigh = async (name: string, before: number) => {
    const bytes = (await used() - before) / circuits;
    rows.push([name, "", "", "", "", integer(bytes), budget(bytes, BYTES, " B")]);
  };
  const empty = await used();
  await step("first call of each", () => inTurns(circuits, 250, call));
  await step("flush of all", () => fuse.flush());
  await weigh("at rest", empty);
  await step(`${integer(BUSY)} a second`, () => steady(circuits, seconds, call));
  await step("flush of the rest", () => fuse.flush());
  await step("one circuit more", () => call(circuits));
  const app = new Hono().get("/", health({ fuse }));
  await step("health()", async () => (await app.request("/")).body?.cancel());
  tenants.listed = circuits;
  await step("prometheusText()", () => prometheusText(fuse));
  await step("exportState()", () => fuse.exportState());
  tenants.down = true;
  await step("the store goes", () => inTurns(circuits, 50, call));
  await weigh("at rest, with stand-ins", empty);
  tenants.down = false;
  await step("flush once it is back", () => fuse.flush());
  return rows;
}

/** Calls all circuits, so many at once. */
async function inTurns(
  circuits: number,
  atOnce: number,
  call: (tenant: number) => Promise<unknown>,
): Promise<void> {
  for (let from = 0; from < circuits; from += atOnce) {
    await Promise.all(Array.from({ length: atOnce }, (_, i) => call(from + i)));
    await nextTurn();
  }
}

/** As many circuits in each second, each called three times: the last call sends what the others gathered. */
async function steady(
  circuits: number,
  seconds: number,
  call: (tenant: number) => Promise<unknown>,
): Promise<void> {
  const begun = performance.now();
  const done = [0, 0, 0];
  const afterMs = [0, 500, 1_100];
  while (done[2]! < seconds * BUSY) {
    const passedMs = performance.now() - begun;
    for (const [nth, ms] of afterMs.entries()) {
      const due = Math.min(seconds * BUSY, (passedMs - ms) * BUSY / 1_000);
      while (done[nth]! < due) void call((done[nth]!++ * 7) % circuits);
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Does work, and looks how long the event loop is held up. */
async function watched(work: () => Promise<unknown>): Promise<{ ms: number; pauseMs: number }> {
  let [ended, pauseMs] = [false, 0];
  const begun = performance.now();
  const watch = async () => {
    for (let last = begun; !ended;) {
      await nextTurn();
      const now = performance.now();
      pauseMs = Math.max(pauseMs, now - last);
      last = now;
    }
  };
  const watching = watch();
  await work();
  const ms = performance.now() - begun;
  ended = true;
  await watching;
  return { ms, pauseMs };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

async function used(): Promise<number> {
  await collect();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}
