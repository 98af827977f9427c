import { assert, assertEquals } from "@std/assert";
import { Backoff } from "../../../src/shared/backoff.ts";

const TIMEOUT_MS = 500;
const NOW = 1_000_000;

/** A back-off after a number of failures, each of a probe at `NOW`. */
function failed(times: number): Backoff {
  const backoff = new Backoff(TIMEOUT_MS);
  for (let i = 0; i < times; i++) backoff.failed(NOW, { probing: i > 0 });
  return backoff;
}

/** The longest interval after a failure now, in ms. */
function nextInterval(backoff: Backoff, now: number): number {
  const { random } = Math;
  Math.random = () => 1;
  try {
    backoff.failed(now, { probing: false });
  } finally {
    Math.random = random;
  }
  return backoff.leftMs(now);
}

Deno.test("Backoff() is not down before the first failure", () => {
  const backoff = failed(0);
  assert(!backoff.failing);
  assert(!backoff.down(NOW));
  assertEquals(backoff.probe(NOW), false);
  backoff.answered(NOW);
  assert(!backoff.failing);
});

Deno.test("Backoff() doubles the interval from 1 s to 30 s, half of it at random", () => {
  for (let failures = 1; failures <= 8; failures++) {
    const intervalMs = Math.min(30_000, 1_000 * 2 ** (failures - 1));
    for (let i = 0; i < 50; i++) {
      const left = failed(failures).leftMs(NOW);
      assert(left >= intervalMs / 2 && left <= intervalMs, `${left} ms after ${failures} failures`);
    }
  }
});

Deno.test("Backoff() is down until the interval has passed, and lets one probe through then", () => {
  const backoff = failed(1);
  const end = NOW + backoff.leftMs(NOW);
  assert(backoff.down(end - 1));
  assert(!backoff.down(end));
  assertEquals(backoff.probe(end), true);
  assert(backoff.down(end + TIMEOUT_MS - 1));
  assert(!backoff.down(end + TIMEOUT_MS));
});

Deno.test("Backoff.failed() counts requests that fail together once", () => {
  const backoff = failed(1);
  const left = backoff.leftMs(NOW);
  assertEquals(backoff.failed(NOW, { probing: false }), false);
  assertEquals(backoff.leftMs(NOW), left);
  assertEquals(backoff.failed(NOW, { probing: true }), true);
});

Deno.test("Backoff.answered() ends the interval, and does not shorten the next one yet", () => {
  const backoff = failed(4);
  backoff.answered(NOW);
  assert(!backoff.failing);
  assert(!backoff.down(NOW));
  // However often it answers: four failures led to steps of 1, 2, 4 and 8 s.
  for (let ms = 0; ms < 8_000; ms += 10) backoff.answered(NOW + ms);
  assertEquals(nextInterval(backoff, NOW + 7_999), 16_000);
});

Deno.test("Backoff.answered() shortens the interval after answers for as long as the next interval is", () => {
  for (
    const [answersForMs, next] of [
      [8_000, 8_000],
      [8_000 + 3_999, 8_000],
      [8_000 + 4_000, 4_000],
      [8_000 + 4_000 + 2_000, 2_000],
      [8_000 + 4_000 + 2_000 + 999, 2_000],
      [8_000 + 4_000 + 2_000 + 1_000, 1_000],
      [3_600_000, 1_000],
    ] as const
  ) {
    // Any number of answers meanwhile has no effect.
    for (const everyMs of [1_000, Infinity]) {
      const backoff = failed(4);
      for (let ms = 0; ms < answersForMs; ms += everyMs) backoff.answered(NOW + ms);
      backoff.answered(NOW + answersForMs);
      assertEquals(nextInterval(backoff, NOW + answersForMs), next, `${answersForMs} ms`);
    }
  }
});

Deno.test("Backoff.answered() begins anew with each failure, and when the clock went back", () => {
  const backoff = failed(3);
  backoff.answered(NOW);
  backoff.answered(NOW + 3_999);
  backoff.failed(NOW + 3_999, { probing: false });
  // The fourth failure: 8 s, and then 16.
  backoff.answered(NOW + 12_000);
  backoff.answered(NOW + 19_999);
  backoff.answered(NOW);
  backoff.answered(NOW + 7_999);
  assertEquals(nextInterval(backoff, NOW + 7_999), 16_000);
});

Deno.test("Backoff() is not down when its end was set before the clock was set back", () => {
  const backoff = failed(1);
  assert(!backoff.down(NOW - 31_000));
});
