// Any names of circuits, contexts and boundaries: no two circuits share state, and all are listed.
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { type CircuitIdentity, createFuse, type Fuse, type Scope } from "@fuse/edge";
import { clear, type Driver, DRIVERS, redis } from "../support/fuzz_drivers.ts";
import { HOSTILE_VALUES, hostileText, HUGE, isFit, runs } from "../support/hostile.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

/** A circuit: its name, and its scopes. */
interface Called {
  readonly name: string;
  readonly context: Scope | null;
  readonly boundary: Scope | null;
}

const scope = fc.option(fc.record({ type: hostileText, id: hostileText }), { freq: 2 });
const called: fc.Arbitrary<Called> = fc.record({
  name: hostileText,
  context: scope,
  boundary: scope,
});
/** Includes neighbors: the same texts in other places. */
const crowd = fc.array(called, { minLength: 2, maxLength: 6 }).chain((some) => {
  const texts = some.flatMap(({ name, context }) => [name, context?.type ?? name]);
  const near = fc.constantFrom(...texts);
  const nearScope = fc.option(fc.record({ type: near, id: near }), { freq: 2 });
  return fc.array(fc.record({ name: near, context: nearScope, boundary: nearScope }), {
    maxLength: 4,
  }).map((more) => unlike([...some, ...more]));
});

/** Returns each circuit once, by its exact names. */
function unlike(circuits: readonly Called[]): Called[] {
  return [...new Map(circuits.map((one) => [textOf(one), one])).values()];
}

function textOf({ name, context, boundary }: Called): string {
  const parts = [context, boundary].map((scope) => scope && [scope.type, String(scope.id)]);
  return JSON.stringify([name, ...parts]);
}

function made(fuse: Fuse, { name, context, boundary }: Called) {
  return fuse.for(context).boundary(boundary).make(name, { failureThreshold: 1 });
}

function identityOf({ key, store, name, context, boundary }: CircuitIdentity): string {
  return JSON.stringify({ key, store, name, context, boundary });
}

function fuseOf(driver: Driver["name"], store: Awaited<ReturnType<Driver["open"]>>["store"]): Fuse {
  return createFuse({
    stores: { s: store },
    storeTimeoutMs: 30_000,
    defaults: { consistency: driver === "upstash" ? "eventual" : "strong" },
  });
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Asserts that Redis, and readers of its log, see only a text. */
// deno-lint-ignore no-control-regex
const SAFE_KEY = /^[^*?[\]\\{}"'\x00-\x20]+$/;

for (const driver of DRIVERS) {
  Deno.test(`Fuse.make() creates circuits that never share state, whatever their names (${driver.name})`, async () => {
    await using world = await driver.open();
    await fc.assert(
      fc.asyncProperty(crowd, async (circuits) => {
        await clear(world.store);
        const fuse = fuseOf(driver.name, world.store);
        const breakers = circuits.map((one) => made(fuse, one));
        const keys = breakers.map(({ key }) => key);
        assertEquals(new Set(keys).size, keys.length);
        // The first circuit opens, the others are only called.
        for (const [i, breaker] of breakers.entries()) {
          await breaker.tryCall(() => i === 0 ? Promise.reject(new Error("down")) : "up");
        }
        await fuse.flush();

        const elsewhere = fuseOf(driver.name, world.store);
        const states = [];
        for (const one of circuits) states.push(await made(elsewhere, one).getState());
        assertEquals(states, ["OPEN", ...Array(circuits.length - 1).fill("CLOSED")]);

        const listed = await all(elsewhere.list());
        assertEquals(listed.map(identityOf).sort(), breakers.map(identityOf).sort());
        const { name } = circuits[0]!;
        if (!name.endsWith("*")) {
          const same = circuits.filter((one) => one.name === name).length;
          assertEquals((await all(elsewhere.list({ name }))).length, same);
        }
        const { context } = circuits[0]!;
        const within = circuits.filter((one) =>
          textOf({ ...one, name: "", boundary: null }) ===
            textOf({ name: "", context, boundary: null })
        );
        assertEquals((await all(elsewhere.list({ context }))).length, within.length);

        if (world.prefix !== null) {
          const stored = await redis.command("KEYS", `${world.prefix.replace("*", "\\*")}:*`);
          for (const key of stored as string[]) assert(SAFE_KEY.test(key.replace("*", "")), key);
        }
      }),
      runs(25, driver.share),
    );
  });

  Deno.test(`Fuse.exportState() returns records that importState() accepts, whatever the names of circuits (${driver.name})`, async () => {
    await using world = await driver.open();
    await fc.assert(
      fc.asyncProperty(crowd, async (circuits) => {
        await clear(world.store);
        const fuse = fuseOf(driver.name, world.store);
        for (const one of circuits) await made(fuse, one).forceOpen();
        const state = JSON.parse(JSON.stringify(await fuse.exportState()));
        const other = createFuse();
        assertEquals(await other.importState(state), { imported: circuits.length, kept: 0 });
        for (const one of circuits) assert(await made(other, one).isOpen());
        await clear(world.store);
        const back = fuseOf(driver.name, world.store);
        const again = JSON.parse(JSON.stringify(await other.exportState()));
        assertEquals((await back.importState(again)).imported, circuits.length);
        for (const one of circuits) assert(await made(back, one).isOpen());
        assertEquals((await all(back.list())).length, circuits.length);
      }),
      runs(12, driver.share),
    );
  });
}

Deno.test("Fuse.make() refuses an invalid name in one short line", () => {
  const fuse = createFuse();
  const before = fuse.make("a").key;
  for (const name of ["", "x".repeat(256), HUGE, ...HOSTILE_VALUES, undefined]) {
    if (typeof name === "string" && name.length >= 1 && name.length <= 255) continue;
    const error = assertThrows(() => fuse.make(name as string), RangeError, `"name"`);
    assert(isFit(error.message), error.message.slice(0, 300));
    for (const bad of [{ type: name, id: "a" }, { type: "a", id: name }, name]) {
      const id = Object(bad).id;
      // A number, within bounds, is also an id.
      if (bad === null || Number.isFinite(id) || (typeof id === "bigint" && id < 10n)) continue;
      for (const dimension of ["for", "boundary"] as const) {
        const error = assertThrows(
          () => fuse[dimension](bad as Scope),
          TypeError,
          "Cannot scope circuits",
        );
        assert(isFit(error.message), error.message.slice(0, 300));
      }
    }
  }
  assertEquals(fuse.make("a").key, before);
});
