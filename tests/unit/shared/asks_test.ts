import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { Asks, turnToAsk } from "../../../src/shared/asks.ts";

const TIMEOUT_MS = 400;

Deno.test("Asks.begin() allows at most the given number of asks", () => {
  const asks = new Asks();
  const [one, two, three] = [1, 2, 3].map(() => asks.begin(1_000, TIMEOUT_MS, 2));
  assert(one && two && one.token !== two.token);
  assertEquals([three, asks.underWay(1_000, TIMEOUT_MS)], [null, 2]);
  assert(asks.end(one!));
  assertNotEquals(asks.begin(1_000, TIMEOUT_MS, 2), null);
});

Deno.test("Asks.begin() repeats a token whose ask was lost", () => {
  const asks = new Asks();
  const first = asks.begin(1_000, TIMEOUT_MS, 1)!;
  assertEquals(asks.begin(1_399, TIMEOUT_MS, 1), null);
  const second = asks.begin(1_400, TIMEOUT_MS, 1)!;
  assertEquals(second.token, first.token);
  assertEquals(asks.begin(1_799, TIMEOUT_MS, 1), null);
  // The first request is answered after all: the token is the second's, and one of them runs.
  assertEquals([asks.end(first), asks.end(second)], [false, true]);
});

Deno.test("Asks.lose() ignores a token that another ask has taken over, or that a trial holds", () => {
  const asks = new Asks();
  const first = asks.begin(1_000, TIMEOUT_MS, 1)!;
  const second = asks.begin(1_400, TIMEOUT_MS, 1)!;
  asks.end(second);
  asks.lose(first);
  assertNotEquals(asks.begin(2_000, TIMEOUT_MS, 1)!.token, first.token);
  const unnoted = () => asks.begin(2_000, TIMEOUT_MS, Infinity)!;
  const lost = unnoted();
  asks.lose(lost);
  const [third, fourth] = [unnoted(), unnoted()];
  assertEquals(third.token, lost.token);
  assertNotEquals(fourth.token, lost.token);
});

Deno.test("Asks.begin() repeats a token that may hold a slot, and not one that was used", () => {
  const asks = new Asks();
  const lost = asks.begin(1_000, TIMEOUT_MS, 1)!;
  asks.lose(lost);
  const again = asks.begin(1_000, TIMEOUT_MS, 1)!;
  assertEquals(again.token, lost.token);
  asks.end(again);
  assertNotEquals(asks.begin(1_000, TIMEOUT_MS, 1)!.token, lost.token);
});

Deno.test("Asks.begin() ignores moments of a clock that was set back", () => {
  const asks = new Asks();
  asks.begin(1_000_000, TIMEOUT_MS, 1);
  assertNotEquals(asks.begin(1_000, TIMEOUT_MS, 1), null);
});

Deno.test("Asks.lose() remembers a few tokens, not all of a long outage", () => {
  const asks = new Asks();
  const begun = Array.from({ length: 50 }, () => asks.begin(1_000, TIMEOUT_MS, 50)!);
  for (const ask of begun) asks.lose(ask);
  const tokens = begun.map(({ token }) => token);
  const again = Array.from({ length: 50 }, () => asks.begin(2_000, TIMEOUT_MS, 50)!);
  const remembered = again.filter(({ token }) => tokens.includes(token)).length;
  assert(remembered >= 1 && remembered <= 8, `${remembered} tokens`);
});

Deno.test("Asks.mayAskBeside() spaces asks by a quarter of the timeout, six in each", () => {
  const asks = new Asks();
  const moments: number[] = [];
  for (let now = 10_000; now < 10_000 + 4 * TIMEOUT_MS; now++) {
    if (!asks.mayAskBeside(now, TIMEOUT_MS)) continue;
    asks.begin(now, TIMEOUT_MS, 100);
    moments.push(now);
  }
  assert(moments.length >= 12, `${moments}`);
  for (const [i, at] of moments.entries()) {
    if (i >= 1) assert(at - moments[i - 1]! >= TIMEOUT_MS / 4, `${moments}`);
    if (i >= 6) assert(at - moments[i - 6]! >= TIMEOUT_MS, `${moments}`);
  }
});

Deno.test("Asks.mayAskBeside() counts a burst of asks as well", () => {
  const asks = new Asks();
  for (let i = 0; i < 6; i++) asks.begin(1_000, TIMEOUT_MS, 100);
  assertEquals(asks.mayAskBeside(1_000 + TIMEOUT_MS - 1, TIMEOUT_MS), false);
  assertEquals(asks.mayAskBeside(1_000 + TIMEOUT_MS, TIMEOUT_MS), true);
});

Deno.test("turnToAsk() ends once something is known, without an ask", async () => {
  const asks = new Asks();
  for (let i = 0; i < 2; i++) asks.begin(1_000, TIMEOUT_MS, 2);
  let looks = 0;
  const isKnown = () => ++looks === 2;
  assertEquals(await turnToAsk(asks, () => 1_000, TIMEOUT_MS, isKnown), {
    ...{ turn: "known", leftMs: TIMEOUT_MS - 10 - 20 },
  });
  assertEquals(looks, 2);
});

Deno.test("turnToAsk() asks when an ask is over without an answer", async () => {
  const asks = new Asks();
  const [one] = [1, 2].map(() => asks.begin(1_000, TIMEOUT_MS, 2)!);
  let looks = 0;
  const turn = turnToAsk(asks, () => 1_000, TIMEOUT_MS, () => {
    if (++looks === 2) asks.end(one!);
    return false;
  });
  assertEquals([(await turn).turn, looks], ["ask", 2]);
});

Deno.test("turnToAsk() gives up after the timeout, while others hang", async () => {
  const asks = new Asks();
  for (let i = 0; i < 6; i++) asks.begin(1_000, 25, 100);
  let looks = 0;
  // The clock stands still: those six never end. 10 and 15 ms.
  const { turn, leftMs } = await turnToAsk(asks, () => 1_000, 25, () => (looks++, false));
  assertEquals([turn, leftMs], ["expired", 0]);
  assertEquals(looks, 2);
});
