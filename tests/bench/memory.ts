/**
 * What an idle circuit weighs.
 *
 * @module
 */
import { createFuse, memory } from "@fuse/edge";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { collect } from "./harness.ts";
import { cockatielConsecutive, cockatielSampling, consecutive, opossum, rolling } from "./peers.ts";
import type { Section } from "./section.ts";
import { budget, integer } from "./table.ts";

const LIMIT = 1024;

/** Section `memory`. */
export const section: Section = {
  async *run({ quick }) {
    const circuits = quick ? 5_000 : 20_000;
    const rows: string[][] = [];
    for (const { name, limit, fill } of cases()) {
      const bytes = await weigh(fill, circuits);
      rows.push([name, integer(bytes), limit === undefined ? "" : budget(bytes, limit, " B")]);
    }
    yield {
      title: `Memory: bytes per idle circuit, ${integer(circuits)} circuits, each called once`,
      columns: ["circuit", "bytes", "budget"],
      rows,
      notes: [
        "Heap and external memory after full collections, with the circuits less without them.",
        "Names and keys are part of it. Handles: what make returned is kept in an array, or dropped.",
      ],
    };
  },
};

/** Makes circuits and answers with what must stay alive while they are weighed. */
type Fill = (circuits: number) => Promise<unknown>;

function cases(): { name: string; limit?: number; fill: Fill }[] {
  return [
    {
      name: "fuse consecutive_failures, handles kept",
      limit: LIMIT,
      fill: ours({ ...consecutive, keep: true }),
    },
    {
      name: "fuse consecutive_failures, handles dropped",
      limit: LIMIT,
      fill: ours({ ...consecutive, keep: false }),
    },
    {
      name: "fuse rolling_window, handles kept",
      limit: LIMIT,
      fill: ours({ ...rolling, keep: true }),
    },
    {
      name: "fuse rolling_window, handles dropped",
      limit: LIMIT,
      fill: ours({ ...rolling, keep: false }),
    },
    {
      name: "fuse rolling_window, calls in all ten segments, dropped",
      limit: LIMIT,
      fill: ours({ ...rolling, keep: false, segments: 10 }),
    },
    {
      name: "fuse, for({ tenant }).make(), handles dropped",
      limit: LIMIT,
      fill: scoped,
    },
    {
      name: "fuse, view and memory store behind it, handles dropped",
      limit: 2 * LIMIT,
      fill: viewed,
    },
    {
      name: "cockatiel ConsecutiveBreaker",
      fill: peers(() => {
        const breaker = cockatielConsecutive();
        return { call: () => breaker.execute(fn), breaker };
      }),
    },
    {
      name: "cockatiel SamplingBreaker",
      fill: peers(() => {
        const breaker = cockatielSampling();
        return { call: () => breaker.execute(fn), breaker };
      }),
    },
    {
      name: "opossum lean",
      fill: peers(() => {
        const breaker = opossum(fn, "lean");
        return { call: () => breaker.fire(), breaker };
      }),
    },
  ];
}

const fn = () => Promise.resolve(42);

function ours(
  { keep, segments = 1, ...policy }: (typeof consecutive | typeof rolling) & {
    keep: boolean;
    segments?: number;
  },
): Fill {
  return async (circuits) => {
    const clock = new FakeClock();
    const fuse = createFuse({
      stores: { array: memory({ maxCircuits: circuits }) },
      maxCircuits: circuits,
      clock: clock.now,
    });
    const kept = [];
    for (let segment = 0; segment < segments; segment++) {
      for (let i = 0; i < circuits; i++) {
        const handle = fuse.make(`service-${i}`, policy);
        await handle.call(fn);
        if (keep) kept.push(handle);
      }
      clock.advance(1_000);
    }
    return { fuse, kept };
  };
}

const scoped: Fill = async (circuits) => {
  const fuse = createFuse({
    stores: { array: memory({ maxCircuits: circuits }) },
    maxCircuits: circuits,
  });
  for (let i = 0; i < circuits; i++) {
    await fuse.for({ type: "tenant", id: `tenant-${i}` }).make("service").call(fn);
  }
  return fuse;
};

const viewed: Fill = async (circuits) => {
  const store = chaos(memory({ maxCircuits: circuits }), {});
  const fuse = createFuse({ stores: { remote: store }, maxCircuits: circuits });
  for (let i = 0; i < circuits; i++) await fuse.make(`service-${i}`).call(fn);
  await fuse.flush();
  return fuse;
};

function peers(make: () => { call(): Promise<unknown>; breaker: unknown }): Fill {
  return async (circuits) => {
    const kept = [];
    for (let i = 0; i < circuits; i++) {
      const { call, breaker } = make();
      await call();
      kept.push(breaker);
    }
    return kept;
  };
}

async function weigh(fill: Fill, circuits: number): Promise<number> {
  // Once for what comes with the first circuits: code, maps of shapes, caches.
  held.circuits = await fill(1_000);
  held.circuits = undefined;
  const before = await used();
  held.circuits = await fill(circuits);
  const after = await used();
  held.circuits = undefined;
  return (after - before) / circuits;
}

/** Outside the functions' own frames, where the collector might take it for dead. */
const held: { circuits?: unknown } = {};

async function used(): Promise<number> {
  await collect();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}
