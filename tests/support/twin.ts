/**
 * Compares a store with the memory store: both receive the same requests, and their answers must be
 * identical. `TWIN_SEED` (a number, or `random`) and `TWIN_RUNS` search further; a failure prints
 * seed and path.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Clock } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { plainAnswer, plainRecord, plainSnapshot } from "../../src/testing/plain.ts";
import type {
  Answer,
  CircuitRecord,
  ListPage,
  Override,
  Shape,
  Snapshot,
} from "../../src/contract.ts";
import { ID_MEMORY_MS, withoutExpiredOverride } from "../../src/records.ts";
import { memory, type OpeningStore } from "./drivers.ts";
import { scaled } from "./scale.ts";

const given = Deno.env.get("TWIN_SEED");
const SEED = given === "random" ? Math.floor(Math.random() * 2 ** 31) : Number(given ?? 20_251_125);
const RUNS = Number(Deno.env.get("TWIN_RUNS") ?? scaled(25, 100));

const SHAPES: readonly Shape[] = [
  { windowMs: 10_000, windowSize: 0 },
  { windowMs: 10_000, windowSize: 5 },
  { windowMs: 4_005, windowSize: 0 },
];
const KINDS: readonly Override[] = ["forced_open", "forced_closed", "disabled", "metrics_only"];

/** The life and generation that a request names: the latest known, none, or an older one. */
const under = fc.constantFrom("heard", "heard", "heard", "unknown", "older", "other life");
/** Requests have numbers as ids; a low one is likely a repetition. */
const id = fc.oneof({ weight: 6, arbitrary: fc.constant(-1) }, fc.nat({ max: 3 }));
const shape = fc.constantFrom(0, 0, 0, 1, 2);

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("record" as const),
      ...{ id, under, shape },
      successes: fc.nat({ max: 7 }),
      failures: fc.nat({ max: 1 }),
      rejected: fc.nat({ max: 2 }),
      ageMs: fc.constantFrom(0, 0, 0, 1, 400, 1_500, 6_000, 12_000),
      lease: fc.option(fc.nat({ max: 3 })),
      policy: fc.constantFrom("p", "q"),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("acquire" as const),
      ...{ id, shape },
      token: fc.nat({ max: 3 }),
      max: fc.integer({ min: 1, max: 2 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("transition" as const),
      ...{ id, under, shape },
      event: fc.constantFrom("opened" as const, "opened" as const, "closed" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reset" as const), id, shape }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("override" as const),
      ...{ id, shape },
      kind: fc.constantFrom(...KINDS, null),
      until: fc.constantFrom(null, 500, 2_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("list" as const), shape }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("restore" as const),
      ...{ id, shape },
      existing: fc.constantFrom("replace" as const, "keep" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("read" as const), shape }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("clock" as const),
      by: fc.constantFrom(1, 100, 499, 500, 1_000, 1_999, 5_000, 11_000, 60_000, -700, -3_600_000),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/**
 * Sends both the same random requests. Each run begins without a circuit. `forgets`: the store
 * drops outcomes that a narrower window has left behind at once, as memory does; otherwise a wider
 * window may find them again. Neither is promised.
 */
export async function answersAsMemory(
  open: (clock: Clock) => OpeningStore,
  { forgets = true }: { forgets?: boolean } = {},
): Promise<void> {
  const shapes = forgets ? SHAPES : SHAPES.map((shape) => ({ ...shape, windowMs: 10_000 }));
  const property = fc.asyncProperty(
    fc.array(step, { minLength: 1, maxLength: 80, size: "max" }),
    (steps) => play(open, shapes, steps),
  );
  await fc.assert(property, { seed: SEED, numRuns: RUNS, includeErrorInReport: true });
}

async function play(
  open: (clock: Clock) => OpeningStore,
  shapes: readonly Shape[],
  steps: readonly Step[],
): Promise<void> {
  const clock = new FakeClock(1_700_000_000_123);
  const twins: readonly OpeningStore[] = [memory({ clock: clock.now }), open(clock.now)];
  await twins[1]!.remove("a");
  /** For each store, because epochs may differ. */
  const heard = twins.map((): Named => ({ epoch: "", generation: 0, began: 0 }));
  let listed: CircuitRecord | undefined;
  const sent = new Map<string, number>();
  let latest = clock.now();
  let wentBack = false;
  for (const [index, one] of steps.entries()) {
    if (one.do === "clock") {
      clock.set(clock.now() + one.by);
      latest = Math.max(latest, clock.now());
      wentBack ||= one.by < 0;
      continue;
    }
    const answers: unknown[] = [];
    let id = `${one.do}-${"id" in one && one.id >= 0 ? one.id : 100 + index}`;
    // An id that memory has dropped, and that the other would remember again after its clock was
    // set back.
    if (wentBack && latest - (sent.get(id) ?? latest) >= ID_MEMORY_MS) id += `-${index}`;
    for (const [i, twin] of twins.entries()) answers.push(await ask(twin, one, id, heard[i]!));
    const [answer] = answers as [Answer | Snapshot | CircuitRecord[] | boolean];
    if (Array.isArray(answer)) listed = answer[0] ?? listed;
    else if (typeof answer === "object") {
      for (const [i, said] of (answers as (Answer | Snapshot)[]).entries()) {
        const { epoch, generation, began } = "snapshot" in said ? said.snapshot : said;
        heard[i] = { epoch, generation, began };
      }
    }
    answers.forEach(shorten);
    // In a repeated answer, the previous writer and the released override may be repeated or not.
    if (sent.has(id)) answers.forEach(forget);
    sent.set(id, clock.now());
    assertEquals(answers[1], answers[0], `step ${index}: ${JSON.stringify(one)}`);
  }

  async function ask(store: OpeningStore, one: Step, id: string, heard: Named): Promise<unknown> {
    const at = clock.now() - 5_000;
    const base = { id, at, shape: shapes["shape" in one ? one.shape : 0]! };
    const operator = { ...base, reason: "twin", actor: "ada" };
    switch (one.do) {
      case "read":
        return plainSnapshot(await store.read("a", base));
      case "remove":
        return await store.remove("a");
      case "list": {
        const records: CircuitRecord[] = [];
        let cursor: string | null = null;
        // A page may be empty though more follow.
        do {
          const request = { cursor, limit: 10, at, shape: () => base.shape };
          const page: ListPage = await store.list(request);
          records.push(...page.records);
          cursor = page.cursor;
        } while (cursor !== null);
        // Either store may keep segments that no longer count.
        return records.map(plainRecord).map((record) => {
          const { segments } = record;
          const upTo = Math.max(clock.now(), segments.at(-1)?.start ?? 0);
          const live = segments.filter(({ start }) => start > upTo - base.shape.windowMs);
          return { ...record, segments: live };
        });
      }
      case "record":
        return answered(
          await store.record("a", {
            ...base,
            ...named(one.under, heard),
            ...{ successes: one.successes, failures: one.failures, rejected: one.rejected },
            ...{ slow: one.successes > 3 ? 1 : 0, ageMs: one.ageMs, policyHash: one.policy },
            lease: one.lease === null ? null : `token-${one.lease}`,
          }),
        );
      case "acquire":
        return answered(
          await store.acquire("a", {
            ...base,
            ...{ token: `token-${one.token}`, max: one.max, leaseMs: 1_500 },
          }),
        );
      case "transition":
        return answered(
          await store.transition("a", {
            ...operator,
            to: one.event === "opened" ? "OPEN" : "CLOSED",
            event: one.event,
            cooldownMs: one.event === "opened" ? 1_000 : 0,
            expected: named(one.under, heard),
          }),
        );
      case "reset":
        return answered(
          await store.transition("a", {
            ...operator,
            ...{ to: "CLOSED", event: "reset", cooldownMs: 0, expected: null },
          }),
        );
      case "override": {
        const until = one.until === null ? null : at + one.until;
        return answered(await store.override("a", { ...operator, kind: one.kind, until }));
      }
      case "restore": {
        if (listed === undefined) return true;
        const { existing } = one;
        return answered(await store.restore("a", { ...operator, record: listed, existing }));
      }
    }
    return undefined;
  }
}

type Named = Pick<Snapshot, "epoch" | "generation" | "began">;

function named(under: string, heard: Named): Named {
  if (under === "unknown") return { epoch: "", generation: 0, began: 0 };
  if (under === "older") return { ...heard, generation: Math.max(1, heard.generation - 1) };
  return under === "heard" ? heard : { ...heard, epoch: "another" };
}

/** The id that began a life is followed by the moment, by a clock of the store's choice. */
function shorten(answer: unknown): void {
  const records = Array.isArray(answer) ? answer : [answer];
  for (const record of records) {
    const { snapshot = record } = Object(record) as { snapshot?: { epoch?: string } };
    if (typeof snapshot?.epoch === "string") snapshot.epoch = snapshot.epoch.replace(/\.\d+$/, "");
  }
}

function answered<A extends Answer>(answer: A): unknown {
  // Removes the parts that only one of the two returns.
  const { evicted: _, head: __, released, snapshot: s, ...rest } = plainAnswer(answer);
  // A repeated answer may show an override that a read no longer shows.
  return { ...rest, released: released ?? null, snapshot: withoutExpiredOverride(s, s.now) };
}

function forget(answer: unknown): void {
  const said = answer as { released?: unknown; snapshot?: Record<string, unknown> };
  if (typeof said !== "object" || said.snapshot === undefined) return;
  said.released = null;
  said.snapshot["policyHash"] = "";
}
