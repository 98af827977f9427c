// Operations over very many circuits, which let calls go on meanwhile.
import { assertEquals, assertGreaterOrEqual } from "@std/assert";
import { createFuse, type Fuse } from "@fuse/edge";
import { health } from "@fuse/edge/hono";
import { otel } from "@fuse/edge/otel";
import { prometheusText } from "@fuse/edge/prometheus";
import { Hono } from "hono";
import { inTurns, MOST_IN_TURN } from "../../src/turns.ts";
import { startSdk } from "../support/otel.ts";

const MANY = 5 * MOST_IN_TURN;
const [many, few] = await Promise.all([fuseOf(MANY), fuseOf(10)]);
const states = new Map([[many, await many.exportState()], [few, await few.exportState()]]);

/** Operations over all circuits of a Fuse. */
const OPERATIONS: Record<string, (fuse: Fuse) => Promise<unknown>> = {
  "health()": async (fuse) => {
    const response = await new Hono().get("/", health({ fuse })).request("/");
    await response.body?.cancel();
  },
  "prometheusText()": (fuse) => prometheusText(fuse),
  "prometheusText({ scopeLabels })": (fuse) => prometheusText(fuse, { scopeLabels: true }),
  "otel()": async (fuse) => {
    await using sdk = startSdk();
    const stop = otel(fuse, sdk.to);
    await sdk.collect();
    stop();
  },
  "list()": (fuse) => Array.fromAsync(fuse.list()),
  "listPage()": (fuse) => fuse.listPage({ limit: 1, name: "none of them" }),
  "exportState()": (fuse) => fuse.exportState(),
  "importState()": (fuse) => fuse.importState(states.get(fuse)),
  "resetAll()": (fuse) => fuse.resetAll(),
};

for (const [name, operate] of Object.entries(OPERATIONS)) {
  Deno.test(`${name} lets other work run after each ${MOST_IN_TURN} circuits`, async () => {
    const turns = await timersOf(() => operate(many));
    assertGreaterOrEqual(turns, MANY / MOST_IN_TURN - 1);
    assertEquals(await timersOf(() => operate(few)), 0, "of a few circuits");
  });
}

Deno.test("inTurns() yields all items in order, and reads them before the first turn ends", async () => {
  const items = Array.from({ length: MANY + 1 }, (_, i) => i);
  const expected = [...items];
  const sizes: number[] = [];
  const seen: number[] = [];
  for await (const slice of inTurns(items)) {
    sizes.push(slice.length);
    seen.push(...slice);
    items.push(-1);
  }
  assertEquals(seen, expected);
  assertEquals(sizes, [...Array(5).fill(MOST_IN_TURN), 1]);
});

async function fuseOf(circuits: number): Promise<Fuse> {
  const fuse = createFuse();
  for (let tenant = 0; tenant < circuits; tenant++) {
    await fuse.make(`tenant-${tenant}`).call(() => 1);
  }
  return fuse;
}

/** Counts the timers that an operation starts. */
async function timersOf(work: () => Promise<unknown>): Promise<number> {
  const { setTimeout } = globalThis;
  let timers = 0;
  globalThis.setTimeout = ((...args: Parameters<typeof setTimeout>) => {
    timers++;
    return setTimeout(...args);
  }) as typeof setTimeout;
  try {
    await work();
  } finally {
    globalThis.setTimeout = setTimeout;
  }
  return timers;
}
