// The imports that are refused, and that a refused one changes nothing.
import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { type CircuitDefaults, createFuse, type Fuse, type FuseExport, memory } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { circuitsOf } from "../../src/known.ts";
import { fail, succeed } from "../support/setups.ts";
import { scaled } from "../support/scale.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

/** The same alterations each time; `TRANSFER_SEED` and `TRANSFER_RUNS` search further. */
const SEED = Number(Deno.env.get("TRANSFER_SEED") ?? 20_251_123);
const RUNS = Number(Deno.env.get("TRANSFER_RUNS") ?? scaled(300, 1_000));

function fuseOf(clock: FakeClock, defaults: CircuitDefaults = {}): Fuse {
  return createFuse({ clock: clock.now, stores: { main: memory() }, defaults });
}

/** An export with a value in every field: a plain circuit, and one in scopes with an override. */
async function rich(): Promise<FuseExport> {
  const clock = new FakeClock();
  const fuse = fuseOf(clock, {
    strategy: ["consecutive_failures", "count_window"],
  });
  const breakers = [
    fuse.make("plain"),
    fuse.for({ type: "tenant", id: "a b" }).boundary({ type: "region", id: 2 }).make("a:b%*"),
  ];
  for (const breaker of breakers) {
    await fail(breaker, 5);
    clock.advance(60_000);
    await succeed(breaker, 2);
    await fail(breaker, 5);
  }
  await breakers[1]!.metricsOnly({ forMs: 100_000, reason: "a drill", actor: "ada" });
  for (const breaker of breakers) {
    await succeed(breaker);
    clock.advance(20_000);
    await fail(breaker);
  }
  return JSON.parse(JSON.stringify(await fuse.exportState()));
}

/** The target that invalid input must not reach: it has one of the circuits already. */
async function target(): Promise<{ fuse: Fuse; state(): Promise<string>; told: string[] }> {
  const clock = new FakeClock();
  const fuse = fuseOf(clock);
  await fail(fuse.make("plain"), 2);
  const told: string[] = [];
  fuse.on("*", ({ type }) => told.push(type));
  return { fuse, told, state: async () => JSON.stringify(await fuse.exportState()) };
}

/** Returns the export with the value at a path such as `circuits[1].segments[0].start` set. */
function altered(state: unknown, path: string, value: unknown): unknown {
  const copy = structuredClone(state);
  const steps = path.match(/\w+/g)!;
  const last = steps.pop()!;
  // deno-lint-ignore no-explicit-any
  const holder = steps.reduce((at: any, step) => at[step], copy);
  if (value === REMOVED) delete holder[last];
  // Not assigned: `__proto__` is an ordinary field in JSON.
  else Object.defineProperty(holder, last, { value, enumerable: true, configurable: true });
  return copy;
}

const REMOVED = Symbol("removed");
const NO_COUNT = [REMOVED, null, -1, 0.5, NaN, Infinity, 1e300, 2 ** 53, 1e15 + 1, "1", 1n, {}, []];
const NO_TIME = [REMOVED, NaN, -Infinity, 1e300, 8.65e15, "2025-01-01", true, {}];
const NO_TEXT = [REMOVED, null, 1, {}, [], "x".repeat(10_001)];
const NO_OBJECT = [REMOVED, null, 1, "text", []];
const NO_SCOPE = [
  ...NO_TEXT.filter((value) => value !== null),
  ...["", "x", ":", "a:", ":b", "a:b:c", "a:b:in:c:d", "a b:c", "a:%zz", "a:%61", "a:*"],
];
const BAD: [path: string, values: unknown[]][] = [
  ["version", [REMOVED, null, 0, 2, "1", NaN, [1]]],
  ["circuits", [REMOVED, null, {}, "[]", 0]],
  ["circuits[1]", NO_OBJECT],
  ["circuits[1].store", [...NO_TEXT, ""]],
  ["circuits[1].name", [...NO_TEXT, "", "x".repeat(256)]],
  ["circuits[1].context", NO_SCOPE],
  ["circuits[1].boundary", NO_SCOPE],
  ["circuits[1].state", [REMOVED, null, "open", "HALF-OPEN", "__proto__", ["OPEN"]]],
  ["circuits[1].reason", NO_TEXT],
  ["circuits[1].policyHash", [...NO_TEXT, "x".repeat(65)]],
  ...["generation", "reopenCount", "consecutiveFailures", "consecutiveSuccesses"]
    .map((field): typeof BAD[0] => [`circuits[1].${field}`, NO_COUNT]),
  ...["openedAt", "openUntil", "closedAt", "lastFailureAt", "lastSuccessAt"]
    .map((field): typeof BAD[0] => [`circuits[1].${field}`, NO_TIME]),
  ["circuits[1].openUntil", [null]],
  ["circuits[1].totals", NO_OBJECT],
  ["circuits[1].sinceClosed", NO_OBJECT],
  ...["successes", "failures", "rejected", "slow"]
    .map((field): typeof BAD[0] => [`circuits[1].totals.${field}`, NO_COUNT]),
  ...["successes", "failures", "slow"].flatMap((field): typeof BAD => [
    [`circuits[1].sinceClosed.${field}`, NO_COUNT],
    [`circuits[1].segments[1].${field}`, NO_COUNT],
  ]),
  ["circuits[1].override", [REMOVED, 1, "disabled", []]],
  ["circuits[1].override.kind", [REMOVED, null, "opened", "constructor"]],
  ["circuits[1].override.until", NO_TIME],
  ["circuits[1].override.reason", [REMOVED, 1, {}, "x".repeat(1001)]],
  ["circuits[1].override.actor", [REMOVED, 1, {}, "x".repeat(1001)]],
  ["circuits[1].segments", [REMOVED, null, {}, "", Array(101).fill({})]],
  ["circuits[1].segments[0]", NO_OBJECT],
  ["circuits[1].segments[1].start", [...NO_TIME, null, 0]],
  ["circuits[1].outcomes", [REMOVED, null, [], "SX", "sf", "S\n", "S".repeat(10_001)]],
];

for (const [path, values] of BAD) {
  Deno.test(`Fuse.importState() refuses the whole and names the place when ${path} is invalid`, async () => {
    const state = await rich();
    for (const value of values) {
      const { fuse, told, state: stateOf } = await target();
      const before = await stateOf();
      const error = await assertRejects(
        () => fuse.importState(altered(state, path, value)),
        TypeError,
        undefined,
        `with ${String(value).slice(0, 20)}`,
      );
      assert(error.message.startsWith(`Cannot import state: "${path}" must be `), error.message);
      assert(error.message.length < 250, error.message);
      assertEquals([await stateOf(), told], [before, []]);
    }
  });
}

for (const data of [undefined, null, 1, "{}", [], true, () => {}]) {
  Deno.test(`Fuse.importState() refuses when the data is ${JSON.stringify(data) ?? typeof data}`, async () => {
    const { fuse } = await target();
    await assertRejects(() => fuse.importState(data), TypeError, `"data" must be an object`);
  });
}

Deno.test("Fuse.importState() makes this isolate forget no circuit when a part of the data is invalid", async () => {
  const source = createFuse();
  for (const name of ["a", "b", "c"]) await source.make(name).call(() => 1);
  const { circuits, ...rest } = await source.exportState();
  const fuse = createFuse({ maxCircuits: 2 });
  for (const name of ["x", "y"]) await fuse.make(name).call(() => 1);
  const known = () => [...circuitsOf(fuse)].map(({ identity }) => identity.name);
  await assertRejects(
    () => fuse.importState({ ...rest, circuits: [...circuits, null] }),
    TypeError,
  );
  assertEquals(known(), ["x", "y"]);
});

Deno.test("Fuse.importState() refuses the whole when a circuit comes twice", async () => {
  const state = await rich();
  const { fuse, told, state: stateOf } = await target();
  const before = await stateOf();
  const twice = { ...state, circuits: [...state.circuits, state.circuits[0]] };
  await assertRejects(() => fuse.importState(twice), TypeError, `"circuits[2]" must be another`);
  assertEquals([await stateOf(), told], [before, []]);
});

Deno.test("Fuse.importState() refuses the whole when an entry or a segment is a hole", async () => {
  const { circuits } = await rich();
  const { fuse, state: stateOf } = await target();
  const before = await stateOf();
  const holed = [circuits[1]];
  holed[2] = circuits[0];
  await assertRejects(() => fuse.importState({ version: 1, circuits: holed }), TypeError, "[1]");
  const entry = { ...circuits[1] as object, segments: Array(2) };
  await assertRejects(
    () => fuse.importState({ version: 1, circuits: [entry] }),
    TypeError,
    `"circuits[0].segments[0]"`,
  );
  assertEquals(await stateOf(), before);
});

Deno.test("Fuse.importState() reads no field from a __proto__ in the input", async () => {
  const text = JSON.stringify(await rich());
  const { fuse, state: stateOf } = await target();
  const before = await stateOf();
  for (
    const bad of [
      `{"__proto__":${text}}`,
      text.replace(`"version":1,`, `"__proto__":{"version":1},`),
      text.replace(`"state":"CLOSED",`, `"__proto__":{"state":"CLOSED"},`)
        .replace(`"state":"OPEN",`, `"__proto__":{"state":"OPEN"},`),
    ]
  ) await assertRejects(() => fuse.importState(JSON.parse(bad)), TypeError);
  assertEquals(await stateOf(), before);
  const polluting = text.replaceAll(`"name":`, `"__proto__":{"polluted":1},"name":`);
  assertEquals(await fuse.importState(JSON.parse(polluting)), { imported: 2, kept: 0 });
  assertEquals("polluted" in {}, false);
});

Deno.test("Fuse.importState() converts texts and times to the form that every store can keep", async () => {
  let state: unknown = await rich();
  state = altered(state, "circuits[1].openedAt", 1_700_000_000_000.4);
  state = altered(state, "circuits[1].reason", "cut off \ud83d");
  const { fuse } = await target();
  await fuse.importState(state);
  const { circuits } = await fuse.exportState({ name: "a:b%*" });
  const { openedAt, reason } = circuits[0] as Record<string, unknown>;
  assertEquals([openedAt, reason], [1_700_000_000_000, "cut off \ufffd"]);
});

/** Returns all paths into JSON: fields and indexes. */
function pathsOf(value: unknown): string[][] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([step, inner]) => [
    [step],
    ...pathsOf(inner).map((path) => [step, ...path]),
  ]);
}

Deno.test("Fuse.importState() refuses and changes nothing, or accepts what can be exported again, for any altered export", async () => {
  const state = await rich();
  const paths = pathsOf(state).map((path) => path.join("."));
  const odd = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom(REMOVED, undefined, -0, 1e14, 2 ** 53 - 1, -1, 8.64e15, "S".repeat(10_000)),
    fc.constantFrom("OPEN", "CLOSED", "HALF_OPEN", "disabled", "a:b", "plain", "__proto__"),
    fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true }),
    fc.constantFrom(...paths).map((path) => valueAt(state, path)),
  );
  const alterations = fc.array(fc.tuple(fc.constantFrom(...paths), odd), {
    minLength: 1,
    maxLength: 2,
  });
  let refused = 0;
  let taken = 0;
  const property = fc.asyncProperty(alterations, async (alterations) => {
    let data: unknown = state;
    for (const [path, value] of alterations) {
      const holder = valueAt(data, path.split(".").slice(0, -1).join("."));
      if (typeof holder !== "object" || holder === null) continue;
      data = altered(data, path, value);
    }
    const { fuse, told, state: stateOf } = await target();
    const before = await stateOf();
    let imported: number;
    try {
      ({ imported } = await fuse.importState(data));
    } catch (error) {
      refused++;
      if (!(error instanceof TypeError)) throw error;
      assert(error.message.startsWith("Cannot import state: "), error.message);
      assertEquals([await stateOf(), told], [before, []]);
      return;
    }
    taken++;
    assertEquals(imported, (data as FuseExport).circuits.length);
    const after = await stateOf();
    const again = fuseOf(new FakeClock());
    const { circuits } = JSON.parse(after);
    assertEquals(await again.importState(JSON.parse(after)), {
      imported: circuits.length,
      kept: 0,
    });
    assertEquals(ungenerated(await again.exportState()), ungenerated(JSON.parse(after)));
  });
  // A failure prints the seed and the path that replay it.
  await fc.assert(property, { seed: SEED, numRuns: RUNS });
  assert(refused > 0 && taken > 0, `${refused} refused, ${taken} taken over, seed ${SEED}`);
});

function valueAt(value: unknown, path: string): unknown {
  // deno-lint-ignore no-explicit-any
  return path.split(".").filter(Boolean).reduce((at: any, step) => at?.[step], value);
}

/** The part that another import does not change: all but the generation, which is a new one. */
function ungenerated({ circuits }: FuseExport): unknown[] {
  return circuits
    .map((entry) => ({ ...entry as { key?: never }, generation: 0 }))
    .map((entry) => JSON.stringify(entry))
    .sort();
}

for (const existing of ["merge", "", null, 1]) {
  Deno.test(`Fuse.importState() refuses when \`existing\` is ${JSON.stringify(existing)}`, async () => {
    const { fuse } = await target();
    const error = await assertRejects(() =>
      fuse.importState({ version: 1, circuits: [] }, { existing: existing as "keep" })
    );
    assert(error instanceof RangeError || error instanceof TypeError);
    assert(error.message.includes(`"existing" must be one of "replace", "keep"`), error.message);
  });
}
