// Retry-After of an upstream: the circuit never retries sooner than the cooldown, or later than its
// limit.
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { createFuse, type Store } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { clear, DRIVERS } from "../support/fuzz_drivers.ts";
import { HOSTILE_TEXTS, hostileText, runs } from "../support/hostile.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

const NOW = Date.UTC(2025, 10, 26, 12);
const COOLDOWN_MS = 5_000;
const MAX_COOLDOWN_MS = 90_000;

/** Valid values, in ms. */
const MEANT: readonly [string, number][] = [
  ["0", 0],
  ["7", 7_000],
  [" 7 ", 7_000],
  ["0000000000000000000000007", 7_000],
  ["99999999999999999999", Infinity],
  ["9".repeat(5_000), Infinity],
  [new Date(NOW + 9_000).toUTCString(), 9_000],
  ["Wed, 26 Nov 2025 12:00:09 GMT", 9_000],
  ["Wednesday, 26-Nov-25 12:00:09 GMT", 9_000],
  ["Wed Nov 26 12:00:09 2025", 9_000],
  ["Thu, 01 Jan 1970 00:00:00 GMT", 0],
  ["Fri, 31 Dec 9999 23:59:59 GMT", Infinity],
];
const MEANINGLESS: readonly string[] = [
  ...["", "-1", "-0", "+5", "1.5", "1e3", "1e999", "0x10", "NaN", "Infinity", "5s", "5,6", "5, 6"],
  ...["null", "undefined", "[5]", "{}", "true", "1_000", "1 000", "٣", "５", "later", "5;", '"5"'],
  ...["2025-11-26T12:00:09Z", "Wed, 26 Nov 2025 12:00:09", "Wed, 26 Nov 2025 12:00:09 CET"],
  ...["Wed, 99 Nov 2025 12:00:09 GMT", "Wed, 26 Foo 2025 12:00:09 GMT", "27 Nov 2025", "Nov"],
  ...[
    "Wed, 26 Nov 2025 99:99:99 GMT",
    "Wed, 26 Nov 2025 ::::::: GMT",
    "Wed, 26 Nov 2025 12:00:09 GMT x",
  ],
  ...[" ".repeat(5_000) + "x", "1".repeat(5_000) + "x", `Wed, ${"2".repeat(5_000)} Nov 2025`],
];

/** Returns whether a header can hold it: bytes without a line end. */
function fitsHeader(text: string): boolean {
  // deno-lint-ignore no-control-regex
  return /^[\x00-\xff]*$/.test(text) && !/[\0\r\n]/.test(text);
}

const header: fc.Arbitrary<readonly [string, number | null]> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...MEANT) },
  {
    weight: 3,
    arbitrary: fc.constantFrom(...MEANINGLESS, ...HOSTILE_TEXTS).filter((text) =>
      !/^\s*\d+\s*$/.test(text)
    ).map((text) => [text, 0] as const),
  },
  // The limits hold for any value.
  { weight: 2, arbitrary: hostileText.map((text) => [text, null] as const) },
  {
    weight: 2,
    arbitrary: fc.array(fc.constantFrom("0", "9", "-", ".", "e", " ", "GMT", "Wed, ", "Nov", ":"))
      .map((parts) => [parts.join(""), null] as const),
  },
);

async function openedFor(store: Store, clock: FakeClock, response: Response): Promise<number> {
  const fuse = createFuse({
    ...{ clock: clock.now, stores: { s: store }, storeTimeoutMs: 30_000 },
    defaults: {
      ...{ failureThreshold: 1, cooldownMs: COOLDOWN_MS, maxCooldownMs: MAX_COOLDOWN_MS },
      consistency: "strong",
    },
  });
  const breaker = fuse.make("a");
  assertEquals(await breaker.call(() => response), response);
  const { state, openUntil } = await breaker.snapshot();
  assertEquals(state, "OPEN");
  const { retryAfterMs } = await breaker.call(() => 1).catch((error) => error);
  assertEquals(retryAfterMs, openUntil!.getTime() - NOW);
  return retryAfterMs;
}

for (const driver of DRIVERS) {
  Deno.test(`CircuitBreaker() opens within its limits whatever Retry-After contains (${driver.name})`, async () => {
    const clock = new FakeClock(NOW);
    await using world = await driver.open({ clock: clock.now });
    const property = fc.asyncProperty(
      header.filter(([text]) => fitsHeader(text)),
      fc.constantFrom(429, 500, 503),
      async ([text, means], status) => {
        await clear(world.store);
        const headers = new Headers({ "retry-after": text });
        const ms = await openedFor(world.store, clock, new Response(null, { status, headers }));
        assert(ms >= COOLDOWN_MS && ms <= MAX_COOLDOWN_MS, `${ms}`);
        if (means !== null) {
          assertEquals(ms, Math.min(MAX_COOLDOWN_MS, Math.max(COOLDOWN_MS, means)), text);
        }
      },
    );
    await fc.assert(property, runs(40, driver.share));
  });
}

Deno.test("CircuitBreaker() follows a valid Retry-After, and no other", async () => {
  const clock = new FakeClock(NOW);
  const { store } = await DRIVERS[0]!.open({ clock: clock.now });
  for (const [text, means] of [...MEANT, ...MEANINGLESS.map((text) => [text, 0] as const)]) {
    if (!fitsHeader(text)) continue;
    await clear(store);
    const response = new Response(null, { status: 503, headers: { "retry-after": text } });
    const expected = Math.min(MAX_COOLDOWN_MS, Math.max(COOLDOWN_MS, means));
    assertEquals(await openedFor(store, clock, response), expected, text.slice(0, 100));
  }
});

Deno.test("CircuitBreaker() ignores Retry-After when there are several", async () => {
  const clock = new FakeClock(NOW);
  const { store } = await DRIVERS[0]!.open({ clock: clock.now });
  const headers = new Headers();
  for (const value of ["60", "70", "Wed, 26 Nov 2025 12:00:09 GMT"]) {
    headers.append("retry-after", value);
  }
  const response = new Response(null, { status: 503, headers });
  assertEquals(await openedFor(store, clock, response), COOLDOWN_MS);
});
