// Altered exports: refused as a whole with nothing changed, or accepted with the same circuits on
// every driver.
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { createFuse, type Fuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { clear, type Driver, DRIVERS } from "../support/fuzz_drivers.ts";
import { HOSTILE_TEXTS, hostileText, hostileValue, isFit, runs } from "../support/hostile.ts";
import { fail, succeed } from "../support/setups.ts";
import type { OpeningStore } from "../support/drivers.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

const NOW = 1_700_000_000_000;

function fuseOf(store: OpeningStore, clock: FakeClock): Fuse {
  return createFuse({
    ...{ clock: clock.now, stores: { s: store }, storeTimeoutMs: 30_000 },
    defaults: { consistency: "strong", strategy: ["consecutive_failures", "count_window"] },
  });
}

// deno-lint-ignore no-explicit-any
type Json = any;

/** Circuits in every state, with and without scopes, with and without overrides. */
async function rich(): Promise<Json> {
  const clock = new FakeClock(NOW);
  const { store } = await DRIVERS[0]!.open({ clock: clock.now });
  const fuse = fuseOf(store, clock);
  const scoped = fuse.for({ type: "tenant", id: "a b" }).boundary({ type: "region", id: 2 });
  for (const breaker of [fuse.make("open"), scoped.make("a:b%*"), fuse.make("closed")]) {
    await fail(breaker, 5);
    clock.advance(30_000);
  }
  clock.advance(30_000);
  await succeed(fuse.make("closed"), 3);
  await scoped.make("a:b%*").forceOpen({ forMs: 100_000, reason: "a drill", actor: "ada" });
  await fuse.make("half").metricsOnly();
  return JSON.parse(JSON.stringify(await fuse.exportState()));
}

const STATE = await rich();
/** Returns all paths into JSON: fields and indexes. */
const PATHS = pathsOf(STATE);

function pathsOf(value: Json): string[][] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([step, inner]) => [
    [step],
    ...pathsOf(inner).map((path) => [step, ...path]),
  ]);
}

const REMOVED = Symbol("removed");
const deep = Array.from({ length: 5_000 }).reduce((inner: unknown) => [inner], 1);
const number = fc.oneof(
  fc.constantFrom(NaN, Infinity, -Infinity, -0, -1, 0.5, 1e15, 1e15 + 1, 2 ** 53, 1e308, 8.64e15),
  fc.constantFrom(NOW, NOW + 1, NOW + 60_000, NOW - 60_000, NOW + 0.4, -8.64e15, 8.65e15),
  fc.integer(),
  fc.double(),
);
const odd: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: number },
  { weight: 3, arbitrary: hostileText },
  { weight: 2, arbitrary: hostileValue },
  {
    weight: 3,
    arbitrary: fc.constantFrom<unknown>(REMOVED, undefined, null, true, "", deep, Array(1e6), {}),
  },
  { weight: 2, arbitrary: fc.constantFrom("OPEN", "CLOSED", "HALF_OPEN", "disabled", "t:1") },
  { weight: 2, arbitrary: fc.constantFrom(...PATHS).map((path) => at(STATE, path)) },
  { weight: 1, arbitrary: fc.constant("S".repeat(10_000)) },
);
/** Replaces values, or adds them under a name that has a meaning for objects. */
const change = fc.tuple(
  fc.constantFrom(...PATHS),
  fc.option(fc.constantFrom("__proto__", "constructor", "toString", "then", "extra"), { freq: 8 }),
  odd,
);

function at(value: Json, path: readonly string[]): Json {
  return path.reduce((inner, step) => inner?.[step], value);
}

function altered(changes: readonly (readonly [string[], string | null, unknown])[]): Json {
  const copy = structuredClone(STATE);
  for (const [path, beside, value] of changes) {
    const holder = at(copy, path.slice(0, -1));
    if (typeof holder !== "object" || holder === null) continue;
    const field = beside ?? path.at(-1)!;
    if (value === REMOVED) delete holder[field];
    // Not assigned: `__proto__` is an ordinary field in JSON.
    else Object.defineProperty(holder, field, { value, enumerable: true, configurable: true });
  }
  return copy;
}

/** Returns the result of an import: the refusal, or all circuits. */
async function outcome(driver: Driver, store: OpeningStore, data: unknown): Promise<string> {
  await clear(store);
  const clock = new FakeClock(NOW + 120_000);
  const fuse = fuseOf(store, clock);
  await fail(fuse.make("open"), 2);
  const told: string[] = [];
  fuse.on("*", ({ type }) => told.push(type));
  const before = await exported(fuse);
  try {
    const { imported } = await fuse.importState(data);
    // A mismatch with the hash of another policy is reported as well.
    const others = told.filter((type) => type !== "config_mismatch");
    assertEquals(others, Array(imported).fill("imported"));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    assert(isFit(error.message), `${driver.name}: ${error}`);
    assert(error.message.startsWith("Cannot import state: "), error.message);
    assertEquals([await exported(fuse), told], [before, []]);
    return error.message;
  }
  const after = await exported(fuse);
  for await (const snapshot of fuse.list()) {
    JSON.stringify(snapshot);
    const { name, context, boundary } = snapshot;
    const [c, b] = [context, boundary].map((text) => {
      const [type, id] = text?.split(":").map(unescape) ?? [];
      return type === undefined ? null : { type, id: id! };
    });
    const breaker = fuse.for(c!).boundary(b!).make(name);
    // A call ends normally, whatever the import contained.
    const result = await breaker.tryCall(() => "fine");
    assert(result.ok || result.rejected);
    assert(isFit(await breaker.explain()) || snapshot.reason!.length > 100);
  }
  assertEquals(told.filter((type) => type.endsWith("_error")), []);
  return after;
}

/** The same as `scopeText`. */
function unescape(part: string): string {
  return part.replace(
    /%(?:u([0-9A-F]{4})|([0-9A-F]{2}))/g,
    (_, wide, narrow) => String.fromCharCode(parseInt(wide ?? narrow, 16)),
  );
}

async function exported(fuse: Fuse): Promise<string> {
  const { circuits } = await fuse.exportState();
  return circuits.map((entry) => JSON.stringify(entry)).sort().join("\n");
}

for (const driver of DRIVERS.slice(1)) {
  Deno.test(`Fuse.importState() treats an altered export as memory() does (${driver.name})`, async () => {
    const clock = new FakeClock(NOW + 120_000);
    await using world = await driver.open({ clock: clock.now });
    const memory = DRIVERS[0]!;
    let refused = 0;
    let taken = 0;
    const property = fc.asyncProperty(
      fc.array(change, { minLength: 1, maxLength: 3 }),
      async (changes) => {
        const data = altered(changes);
        const { store } = await memory.open({ clock: clock.now });
        const expected = await outcome(memory, store, data);
        assertEquals(await outcome(driver, world.store, data), expected);
        if (expected.startsWith("Cannot")) refused++;
        else taken++;
      },
    );
    await fc.assert(property, runs(25, driver.share));
    if (refused + taken < 10) return;
    assert(refused > 0 && taken > 0, `${refused} refused, ${taken} taken over`);
  });
}

Deno.test("Fuse.importState() answers soon when an export is large", async () => {
  const entry = STATE.circuits[0];
  const many = (n: number) =>
    Array.from({ length: n }, (_, i) => ({ ...entry, name: `${HOSTILE_TEXTS[0]}${i}` }));
  const { store } = await DRIVERS[0]!.open();
  const fuse = createFuse({ stores: { s: store } });
  assertEquals((await fuse.importState({ version: 1, circuits: many(2_000) })).imported, 2_000);
  for (
    const circuits of [Array(1e7), [...many(2_000), {}], [deep], [[]], [{ ...entry, store: deep }]]
  ) {
    const error = await fuse.importState({ version: 1, circuits }).catch((error) => error);
    assert(error instanceof TypeError && isFit(error.message), String(error));
  }
  assertEquals((await Array.fromAsync(fuse.list())).length, 2_000);
});
