import { assert, assertEquals } from "@std/assert";
import { Backoff } from "../../../src/shared/backoff.ts";

const TIMEOUT_MS = 500;
const NOW = 1_000_000;

/** A back-off after so many failures, each of a probe at `NOW`. */
function failed(times: number): Backoff {
  const backoff = new Backoff(TIMEOUT_MS);
  for (let i = 0; i < times; i++) backoff.failed(NOW, { probing: i > 0 });
  return backoff;
}

Deno.test("Backoff is not down before the first failure", () => {
  const backoff = failed(0);
  assert(!backoff.failing);
  assert(!backoff.down(NOW));
  assertEquals(backoff.probe(NOW), false);
  assertEquals(backoff.answered(), false);
});

Deno.test("Backoff doubles the interval from 1 s to 30 s, half of it at random", () => {
  for (let failures = 1; failures <= 8; failures++) {
    const intervalMs = Math.min(30_000, 1_000 * 2 ** (failures - 1));
    for (let i = 0; i < 50; i++) {
      const left = failed(failures).leftMs(NOW);
      assert(left >= intervalMs / 2 && left <= intervalMs, `${left} ms after ${failures} failures`);
    }
  }
});

Deno.test("Backoff is down until the interval has passed, and lets one probe through then", () => {
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

Deno.test("Backoff.answered() ends the interval, and lowers the next one by one step", () => {
  const backoff = failed(5);
  assertEquals(backoff.answered(), true);
  assert(!backoff.failing);
  assert(!backoff.down(NOW));
  // Five failures led to steps of 1, 2, 4, 8 and 16 s: the next one would be 30 s, and is 16 s.
  backoff.failed(NOW, { probing: false });
  assert(backoff.leftMs(NOW) > 7_999 && backoff.leftMs(NOW) <= 16_000);
  for (let i = 0; i < 6; i++) backoff.answered();
  backoff.failed(NOW, { probing: false });
  assert(backoff.leftMs(NOW) <= 1_000);
});

Deno.test("Backoff is not down when its end was set by a clock that has gone back", () => {
  const backoff = failed(1);
  assert(!backoff.down(NOW - 31_000));
});
