import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { backoff, createFuse } from "@fuse/edge";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { memory } from "../support/drivers.ts";
import { seeded } from "../support/units.ts";

Deno.test("backoff() multiplies with every reopening, up to maxMs", () => {
  const cooldown = backoff({ baseMs: 100, factor: 3, maxMs: 1000 });
  assertEquals([0, 1, 2, 3, 4].map(cooldown), [100, 300, 900, 1000, 1000]);
});

Deno.test("backoff() doubles up to ten minutes when only baseMs is given", () => {
  const cooldown = backoff({ baseMs: 1000 });
  assertEquals([0, 1, 9, 10].map(cooldown), [1000, 2000, 512_000, 600_000]);
});

Deno.test("backoff() stays within maxMs after any number of reopenings", () => {
  assertEquals(backoff({ baseMs: 1, factor: 1000, maxMs: 5000 })(1_000_000), 5000);
  assertEquals(backoff({ baseMs: 1000, factor: 1 })(1_000_000), 1000);
});

Deno.test("backoff() returns whole milliseconds from (1 - jitter) to 1 of the length", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100_000 }),
      fc.double({ min: 1, max: 10, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.nat(50),
      (baseMs, factor, jitter, reopenCount) => {
        const whole = backoff({ baseMs, factor })(reopenCount);
        const drawn = backoff({ baseMs, factor, jitter })(reopenCount);
        assert(Number.isInteger(drawn));
        assert(drawn >= Math.max(1, Math.floor(whole * (1 - jitter)) - 1) && drawn <= whole);
      },
    ),
    seeded(300),
  );
});

const BAD: [string, unknown[]][] = [
  ["baseMs", [undefined, 0, -1, NaN, Infinity, 2 ** 31, "1000", null]],
  ["factor", [0, 0.99, NaN, Infinity, 1001, "2", null]],
  ["maxMs", [0, -1, NaN, Infinity, "1", null]],
  ["jitter", [-0.1, 1.1, NaN, "0.5", null]],
];
for (const [option, values] of BAD) {
  Deno.test(`backoff() refuses an invalid ${option}`, () => {
    for (const value of values) {
      const options = { baseMs: 1000, [option]: value };
      const error = assertThrows(() => backoff(options), Error, `"${option}" must be a number`);
      assert(error instanceof RangeError || error instanceof TypeError);
    }
  });
}

Deno.test("backoff() lasts its whole length when the draw is lowest, and (1 - jitter) when highest", () => {
  const original = Math.random;
  try {
    for (const [drawn, ms] of [[0, 1000], [0.5, 875], [1, 750]] as const) {
      Math.random = () => drawn;
      assertEquals(backoff({ baseMs: 1000, jitter: 0.25 })(0), ms);
    }
    // Even with full jitter, an opening lasts at least 1 ms.
    Math.random = () => 1;
    assertEquals(backoff({ baseMs: 1000, jitter: 1 })(3), 1);
  } finally {
    Math.random = original;
  }
});

Deno.test("backoff() draws nothing before an opening", () => {
  // Section 3: no randomness at construction.
  const original = Math.random;
  let drawn = 0;
  try {
    Math.random = () => (drawn++, 0);
    const cooldown = backoff({ baseMs: 1000, jitter: 1 });
    assertEquals(drawn, 0);
    cooldown(0);
    assertEquals(drawn, 1);
  } finally {
    Math.random = original;
  }
});

Deno.test("createFuse({ random }) draws the jitter of backoff(), once for each opening", async () => {
  let drawn = 0;
  const fuse = createFuse({ clock: new FakeClock().now, random: () => (drawn++, 0.5) });
  const cooldownMs = backoff({ baseMs: 1_000_000, maxMs: 1_000_000, jitter: 0.5 });
  const breaker = fuse.make("a", { cooldownMs, maxCooldownMs: 1_000_000, failureThreshold: 1 });
  assertEquals(drawn, 0);
  await breaker.tryCall(() => Promise.reject(new Error("no answer")));
  const { openedAt, openUntil } = await breaker.snapshot();
  assertEquals([openUntil!.getTime() - openedAt!.getTime(), drawn], [750_000, 1]);
});

Deno.test("createFuse({ random }) draws the jitter of backoff() inside another function, which receives the count alone", async () => {
  const jittered = backoff({ baseMs: 1000, jitter: 0.5 });
  const cooldownMs = (reopenCount: number, least = 600) => Math.max(least, jittered(reopenCount));
  for (const [drawn, ms] of [[0, 1000], [0.5, 750], [0.9, 600]] as const) {
    const fuse = createFuse({ clock: new FakeClock().now, random: () => drawn });
    const breaker = fuse.make("a", { cooldownMs, failureThreshold: 1 });
    await breaker.tryCall(() => Promise.reject(new Error("no answer")));
    const { openedAt, openUntil } = await breaker.snapshot();
    assertEquals(openUntil!.getTime() - openedAt!.getTime(), ms);
  }
});

const WRONG: readonly (readonly [does: string, random: () => number, says: string])[] = [
  ["throws", () => {
    throw new Error("no source");
  }, "no source"],
  ...[NaN, -1, 1, "0.5" as unknown as number, undefined as unknown as number].map((drawn) =>
    [
      `returns ${Deno.inspect(drawn)}`,
      () => drawn,
      `"random" must return a number from 0, below 1, it returned ${
        typeof drawn === "string" ? `"${drawn}"` : drawn
      }`,
    ] as const
  ),
];
for (const [does, random, says] of WRONG) {
  Deno.test(`createFuse({ random }) reports a function that ${does}, and leaves a store that fails alone all the same`, async () => {
    const store = chaos(memory(), { down: () => true });
    const fuse = createFuse({ stores: { store }, clock: new FakeClock().now, random });
    const waits: number[] = [];
    const errors: string[] = [];
    fuse.on("store_error", ({ retryAfterMs }) => void waits.push(retryAfterMs));
    fuse.on("listener_error", ({ source, error }) => void errors.push(`${source}: ${error}`));
    for (let i = 0; i < 3; i++) assertEquals(await fuse.make("a").call(() => i), i);
    assertEquals(waits.length, 1);
    assert(waits[0]! >= 500 && waits[0]! <= 1_000, String(waits));
    assertEquals(errors.length, 1);
    assertStringIncludes(errors[0]!, says);
  });
}

Deno.test("createFuse({ random }) draws how long a store that fails is left alone", async () => {
  const told: number[] = [];
  for (const drawn of [0, 0.5]) {
    const store = chaos(memory(), { down: () => true });
    const fuse = createFuse({
      ...{ stores: { store }, clock: new FakeClock().now, random: () => drawn },
    });
    fuse.on("store_error", ({ retryAfterMs }) => void told.push(retryAfterMs));
    await fuse.make("a").call(() => "fine");
  }
  assertEquals(told, [500, 750]);
});

Deno.test("backoff() treats undefined as not given", () => {
  const options = { baseMs: 1000, factor: undefined, maxMs: undefined, jitter: undefined };
  assertEquals([0, 1, 10].map(backoff(options as never)), [1000, 2000, 600_000]);
});

Deno.test("backoff() names the missing option when it gets none", () => {
  for (const options of [undefined, null, 1000, {}]) {
    const error = assertThrows(() => backoff(options as never), Error);
    assert(error.message.startsWith("Cannot create backoff: "), error.message);
  }
});

Deno.test("backoff() refuses unknown options", () => {
  // The functions of the design's first draft, and of other libraries.
  for (const option of ["base", "max", "jitterMs"]) {
    assertThrows(
      () => backoff({ baseMs: 1000, [option]: 1 }),
      TypeError,
      `Cannot create backoff: there is no option "${option}"`,
    );
  }
});
