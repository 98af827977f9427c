/**
 * The memory of an idle circuit.
 *
 * @module
 */
import { createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { collect } from "./harness.ts";
import { cockatielConsecutive, cockatielSampling } from "./peer_cockatiel.ts";
import { opossum } from "./peer_opossum.ts";
import { consecutive, rolling } from "./policies.ts";
import type { Section } from "./section.ts";
import { budget, integer } from "./table.ts";
import { absentSnapshot, type Snapshot } from "@fuse/edge/store";
import { CIRCUITS, memory, type OpeningStore, SHARED } from "../../support/drivers.ts";

const LIMIT = 1024;

/** Section `memory`. */
export const section: Section = {
  async *run({ quick }) {
    const circuits = quick ? 2_500 : 10_000;
    const rows: string[][] = [];
    for (const [index, { name, limit }] of CASES.entries()) {
      const bytes = await weighApart(index, circuits);
      rows.push([name, integer(bytes), limit === undefined ? "" : budget(bytes, limit, " B")]);
    }
    yield {
      name: "memory",
      title: `Memory: bytes per idle circuit, ${integer(circuits)} circuits, each called once`,
      columns: ["circuit", "bytes", "budget"],
      rows,
      notes: [
        "Heap and external memory after full collections, with the circuits less without them.",
        "Names and keys are part of it. Handles: what make returned is kept in an array, or dropped.",
        "View alone: the store behind it keeps nothing.",
      ],
    };
  },
};

/**
 * Runs a process for each, so that the memory that V8 keeps for one is not counted with the next.
 */
async function weighApart(index: number, circuits: number): Promise<number> {
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--v8-flags=--expose-gc",
      import.meta.filename!,
      String(index),
      String(circuits),
    ],
    stderr: "inherit",
  }).output();
  if (code !== 0) throw new Error(`Weighing ${CASES[index]!.name} failed`);
  return Number(new TextDecoder().decode(stdout));
}

/** Creates circuits, and returns the objects that must stay alive during the measurement. */
type Fill = (circuits: number) => Promise<unknown>;

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
  const fuse = createFuse({ stores: { remote: forgetful() }, maxCircuits: circuits });
  for (let i = 0; i < circuits; i++) await fuse.make(`service-${i}`).call(fn);
  await fuse.flush();
  return fuse;
};

/** A shared store that keeps nothing: each circuit is closed, in its first generation. */
function forgetful(): OpeningStore {
  const known = (at: number): Snapshot => ({
    ...absentSnapshot(at),
    epoch: "first",
    generation: 1,
  });
  const answer = (at: number) => Promise.resolve({ snapshot: known(at), won: false });
  return {
    [CIRCUITS]: SHARED,
    name: "forgetful",
    traits: { persistent: false, shared: true, audited: false },
    read: (_key, { at }) => Promise.resolve(known(at)),
    record: (_key, { at }) => Promise.resolve({ snapshot: known(at), current: true }),
    acquire: (_key, { at }) =>
      Promise.resolve({ snapshot: known(at), granted: true, moved: false }),
    transition: (_key, { at }) => answer(at),
    override: (_key, { at }) => answer(at),
    restore: (_key, { at }) => answer(at),
    list: () => ({ records: [], cursor: null }),
    remove: () => false,
  };
}

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

const CASES: readonly { name: string; limit?: number; fill: Fill }[] = [
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
    fill: ours({ ...rolling, keep: false, segments: 10 }),
  },
  {
    name: "fuse, for({ tenant }).make(), handles dropped",
    limit: LIMIT,
    fill: scoped,
  },
  {
    name: "fuse, view alone, handles dropped",
    limit: LIMIT,
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

/** The measured objects. */
const held: { circuits?: unknown } = {};

async function weigh(fill: Fill, circuits: number): Promise<number> {
  // The first circuits also load code, hidden classes and caches.
  await hold(fill, 100);
  held.circuits = undefined;
  const before = await used();
  await hold(fill, circuits);
  return (await used() - before) / circuits;
}

/**
 * A function of its own, because the frame of one that still runs would keep the circuits alive.
 */
async function hold(fill: Fill, circuits: number): Promise<void> {
  held.circuits = await fill(circuits);
}

async function used(): Promise<number> {
  await collect();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

if (import.meta.main) {
  const [index, circuits] = Deno.args.map(Number);
  console.log(await weigh(CASES[index!]!.fill, circuits!));
  // Opossum's timers would keep the process alive.
  Deno.exit();
}
