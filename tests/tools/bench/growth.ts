/**
 * Measures whether the costs of a call grow with the number of circuits.
 *
 * @module
 */
import { type CircuitBreaker, createFuse, type Fuse, memory } from "@fuse/edge";
import { type Candidate, effort, type Measured, race, ratio } from "./harness.ts";
import type { Section } from "./section.ts";
import { budget, integer, nanoseconds, type Table, times } from "./table.ts";

const SIZES = [1, 1_000, 100_000];
const ORDERS = ["in order", "at random"] as const;

/** Each of our forms, and the loop without it. */
const FORMS = [
  { name: "handles", ours: "handle.call(fn)", machine: "array" },
  { name: "names", ours: "fuse.for(scope).make(name).call(fn)", machine: "Map by key" },
];

/** Section `growth`. */
export const section: Section = {
  candidates,
  async *run({ quick }) {
    const measured = await race(await candidates(), effort(quick));
    for (const form of FORMS) {
      for (const order of ORDERS) yield table(form, order, measured);
    }
  },
};

function table(
  { name, ours, machine }: (typeof FORMS)[number],
  order: Order,
  measured: readonly Measured[],
): Table {
  const of = (form: string) =>
    SIZES.map((size) => measured.find(({ name }) => name === nameOf(form, order, size))!);
  const [us, plain] = [of(ours), of(machine)];
  return {
    name: `growth-${name}-${order.replace(" ", "-")}`,
    title: `Growth: ${ours}, ${order}`,
    columns: [
      "circuits",
      "ns/call",
      "min–max",
      "× one",
      "min–max",
      "plain ns",
      "plain × one",
      "× one less plain",
      "budget",
    ],
    rows: us.map((many, i) => {
      const cells = [integer(SIZES[i]!), ...nanoseconds(many.ns)];
      const plainNs = plain[i]!.ns.median.toFixed(0);
      if (i === 0) return [...cells, "", "", plainNs];
      const to = ratio(many, us[0]!);
      const net = ratio(without(plain[0]!, plain[i]!, many), us[0]!);
      return [
        ...cells,
        ...times(to),
        plainNs,
        ratio(plain[i]!, plain[0]!).median.toFixed(2),
        net.median.toFixed(2),
        budget(to.median, 2),
      ];
    }),
    readme: ["circuits", "ns/call", "× one", "plain × one"],
    notes: [
      `Plain: await fn() and write to three of five plain objects (0.6 KB) out of a store (${machine}),`,
      "visited in the same order: what the machine's caches cost by themselves. Less plain: without that growth.",
    ],
  };
}

/** The costs of `many` without those of the loop itself. */
function without(plainOne: Measured, plainMany: Measured, many: Measured): Measured {
  const rounds = many.rounds.map((ns, i) => ns - (plainMany.rounds[i]! - plainOne.rounds[i]!));
  return { ...many, rounds };
}

async function candidates(): Promise<Candidate[]> {
  const perSize = await Promise.all(SIZES.map(candidatesOfSize));
  return perSize.flat();
}

async function candidatesOfSize(size: number): Promise<Candidate[]> {
  const fn = () => Promise.resolve(42);
  const fuse = createFuse({
    stores: { array: memory({ maxCircuits: 2 * size }) },
    maxCircuits: 2 * size,
  });
  const ids = Array.from({ length: size }, (_, i) => `tenant-${i}`);
  const handles = ids.map((id) => fuse.make(id));
  const records = ids.map(plainRecord);
  const byKey = new Map(ids.map((id) => [keyOf(id), plainRecord(id)]));
  // A circuit's first call creates its record, which is not measured here.
  for (const handle of handles) await handle.call(fn);
  for (const id of ids) await fuse.for({ type: "tenant", id }).make("api").call(fn);
  return ORDERS.flatMap((order) => {
    const at = order === "in order" ? inOrder(size) : atRandom(size);
    const runs = [
      callHandles(handles, at, fn),
      walkArray(records, at, fn),
      callByName(fuse, ids, at, fn),
      walkMap(byKey, ids, at, fn),
    ];
    const forms = FORMS.flatMap(({ ours, machine }) => [ours, machine]);
    return forms.map((form, i) => ({ name: nameOf(form, order, size), run: runs[i]! }));
  });
}

function nameOf(form: string, order: Order, size: number): string {
  return `${form}, ${order}, ${size}`;
}

type Order = (typeof ORDERS)[number];
type Work = () => Promise<number>;
type Run = Candidate["run"];

/** Each keeps its place between batches, so that all circuits have their turn. */
function callHandles(handles: readonly CircuitBreaker[], order: Uint32Array, fn: Work): Run {
  let at = 0;
  return async (calls) => {
    for (let i = 0; i < calls; i++) {
      await handles[order[at]!]!.call(fn);
      at = at + 1 === order.length ? 0 : at + 1;
    }
  };
}

/** The form that a request handler uses. */
function callByName(fuse: Fuse, ids: readonly string[], order: Uint32Array, fn: Work): Run {
  let at = 0;
  return async (calls) => {
    for (let i = 0; i < calls; i++) {
      await fuse.for({ type: "tenant", id: ids[order[at]!]! }).make("api").call(fn);
      at = at + 1 === order.length ? 0 : at + 1;
    }
  };
}

function walkArray(records: readonly PlainRecord[], order: Uint32Array, fn: Work): Run {
  let at = 0;
  return async (calls) => {
    for (let i = 0; i < calls; i++) {
      const record = records[order[at]!]!;
      await fn();
      count(record);
      at = at + 1 === order.length ? 0 : at + 1;
    }
  };
}

function walkMap(
  records: ReadonlyMap<string, PlainRecord>,
  ids: readonly string[],
  order: Uint32Array,
  fn: Work,
): Run {
  let at = 0;
  return async (calls) => {
    for (let i = 0; i < calls; i++) {
      const record = records.get(keyOf(ids[order[at]!]!))!;
      await fn();
      count(record);
      at = at + 1 === order.length ? 0 : at + 1;
    }
  };
}

function keyOf(id: string): string {
  return `tenant:${id}/api`;
}

function count(record: PlainRecord): void {
  record.calls++;
  record.totals.a++;
  record.window.b++;
}

interface PlainRecord {
  calls: number;
  readonly name: string;
  readonly totals: Record<"a" | "b" | "c" | "d" | "e" | "f", number>;
  readonly window: Record<"a" | "b" | "c" | "d" | "e" | "f", number>;
  readonly policy: Record<"a" | "b" | "c" | "d" | "e" | "f", number>;
  readonly segments: number[];
}

function plainRecord(name: string): PlainRecord {
  const six = () => ({ a: 0, b: 0, c: 0, d: 0, e: 0, f: 0 });
  const segments = Array.from({ length: 40 }, () => 0);
  return { calls: 0, name, totals: six(), window: six(), policy: six(), segments };
}

function inOrder(size: number): Uint32Array {
  return Uint32Array.from({ length: size }, (_, i) => i);
}

/** The same shuffle in each run. */
function atRandom(size: number): Uint32Array {
  const order = inOrder(size);
  let seed = 1;
  for (let i = size - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    const j = seed % (i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
