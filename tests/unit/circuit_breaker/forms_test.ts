// The other forms of a call: tryCall(), fallbacks, wrap() and admit().
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  CircuitBreakerOpenError,
  type CircuitOptions,
  createFuse,
  type Fallback,
} from "@fuse/edge";
import { making, opened, totals } from "./making.ts";

Deno.test("tryCall() distinguishes a result, an error, a fallback and a rejection", async () => {
  const { breaker } = making({ failureThreshold: 1, cooldownMs: 5000 });
  assertEquals(await breaker.tryCall(() => "ok"), { ok: true, source: "call", value: "ok" });
  assertEquals(await breaker.tryCall(() => undefined), {
    ok: true,
    source: "call",
    value: undefined,
  });
  const error = new Error("down");
  assertEquals(await breaker.tryCall(() => Promise.reject(error)), {
    ok: false,
    rejected: false,
    error,
  });
  const rejection = await breaker.tryCall(() => "never");
  if (rejection.ok || !rejection.rejected) throw new Error("It was let through");
  assertEquals([rejection.retryAfterMs, rejection.error.retryAfterMs], [5000, 5000]);
  const fallen = await breaker.tryCall(() => "never", { fallback: () => null });
  assertEquals([fallen.ok, fallen.ok && fallen.source, fallen.ok && fallen.value], [
    true,
    "fallback",
    null,
  ]);
});

for (
  const [what, fallback] of [
    ["the list is empty", []],
    ["it throws the rejection on", ({ error }) => {
      throw error;
    }],
    ["all of them throw it on", [
      ({ error }) => Promise.reject(error),
      ({ error }) => Promise.reject(error),
    ]],
  ] as [string, CircuitOptions<never>["fallback"]][]
) {
  Deno.test(`tryCall() returns a rejection as such when no fallback returns a value: ${what}`, async () => {
    const { breaker } = await opened({ fallback });
    const result = await breaker.tryCall(() => "never");
    if (result.ok || !result.rejected) throw new Error("Not told as a rejection");
    assertEquals(result.retryAfterMs, 5000);
    await assertRejects(() => breaker.call(() => "never"), CircuitBreakerOpenError);
  });
}

Deno.test("tryCall() returns the error of the last fallback, if it differs", async () => {
  const error = new Error("cache is down too");
  const { breaker } = await opened({
    fallback: [() => Promise.reject(new Error("x")), () => Promise.reject(error)],
  });
  assertEquals(await breaker.tryCall(() => "never"), { ok: false, rejected: false, error });
});

Deno.test("fallback() may return the failed Response, whole or its body", async () => {
  const handOn: CircuitOptions<Response>["fallback"][] = [
    ({ error }) => error as Response,
    ({ error }) => new Response((error as Response).body, { status: 502 }),
  ];
  for (const fallback of handOn) {
    const { breaker } = making<Response>({ fallbackOn: "failure", fallback });
    const response = await breaker.call(() => new Response("sorry", { status: 503 }));
    assertEquals(await response.text(), "sorry");
    const told = await breaker.tryCall(() => new Response("sorry", { status: 503 }));
    assertEquals(told.ok && await told.value.text(), "sorry");
  }
});

Deno.test("fallback() that does not read the failed Response has its body canceled", async () => {
  const { breaker } = making({ fallbackOn: "failure", fallback: () => "cached" });
  const canceled = Promise.withResolvers<void>();
  const body = new ReadableStream({ cancel: () => canceled.resolve() });
  assertEquals(await breaker.call(() => new Response(body, { status: 503 })), "cached");
  await canceled.promise;
});

Deno.test("fallback() receives circuit, error and state", async () => {
  const seen: unknown[] = [];
  const { breaker } = await opened<string>({
    fallback: ({ circuit, error, state }) => {
      seen.push(circuit.name, (error as Error).name, state);
      return "fallback";
    },
  });
  assertEquals(await breaker.call(() => "never"), "fallback");
  assertEquals(seen, ["a", "CircuitBreakerOpenError", "OPEN"]);
});

Deno.test("wrap() passes arguments and this on, and guards each call", async () => {
  const { breaker } = making({ failureThreshold: 2 });
  const client = {
    base: "https://x",
    get: breaker.wrap(function (this: { base: string }, path: string, n = 1) {
      if (path === "/bad") throw new Error("down");
      return `${this.base}${path}${n}`;
    }),
  };
  assertEquals(await client.get("/a"), "https://x/a1");
  assertEquals(await client.get("/a", 2), "https://x/a2");
  for (let i = 0; i < 2; i++) {
    await assertRejects(async () => await client.get("/bad"), Error, "down");
  }
  await assertRejects(async () => await client.get("/a"), CircuitBreakerOpenError);
});

Deno.test("wrap() refuses a value that is no function, at once", () => {
  assertThrows(
    () => making().breaker.wrap("fn" as never),
    TypeError,
    `Cannot wrap: "fn" must be a function, received "fn"`,
  );
});

Deno.test("admit() returns a permit whose first ending counts", async () => {
  const { breaker } = making({ failureThreshold: 5 });
  const endings = [
    async () => await (await breaker.admit()).success(),
    async () => await (await breaker.admit()).failure(),
    async () => await (await breaker.admit()).failure(new Error("x")),
    async () => await (await breaker.admit()).ignore(),
    async () => {
      await using _permit = await breaker.admit();
    },
    async () => {
      await using permit = await breaker.admit();
      await permit.success();
      await permit.failure();
      await permit.ignore();
    },
  ];
  for (const end of endings) await end();
  assertEquals(await totals(breaker), [2, 2, 0, 0]);
});

Deno.test("admit() runs no fallback, and rejects with the rejection", async () => {
  const { breaker } = await opened({ fallback: () => "never" });
  const error = await assertRejects(() => breaker.admit(), CircuitBreakerOpenError);
  assertEquals([error.state, error.retryAfterMs], ["OPEN", 5000]);
  assertEquals(await totals(breaker), [0, 1, 1, 0]);
});

Deno.test("Permit() reports its duration, and counts slow work", async () => {
  const { breaker, clock, listen, events } = making({ slowCallMs: 300 });
  listen();
  const permit = await breaker.admit();
  clock.advance(300);
  await permit.success();
  assertEquals(await totals(breaker), [1, 0, 0, 1]);
  assertEquals(
    events.map((event) => [event.type, "durationMs" in event && event.durationMs]),
    [["success", 300], ["slow", 300]],
  );
});

Deno.test("Permit.failure() follows a Response's Retry-After", async () => {
  const { breaker } = making({ failureThreshold: 1, cooldownMs: 5000 });
  const permit = await breaker.admit();
  await permit.failure(new Response(null, { status: 503, headers: { "retry-after": "9" } }));
  const { openUntil, openedAt } = await breaker.snapshot();
  assertEquals(openUntil!.getTime() - openedAt!.getTime(), 9000);
});

// Rule 11, trap 56.
for (
  const [what, fallback, cancels] of [
    ["gives an object without a look at it", () => ({ items: [] }), true],
    ["gives an object that may hold it", ({ error }) => ({ items: [], error }), false],
    ["looks at it and gives a text", ({ error }) => `instead of ${error}`, true],
    ["gives it back", ({ error }) => error, false],
  ] as [string, Fallback<unknown>, boolean][]
) {
  Deno.test(`call() ${cancels ? "cancels" : "keeps"} a failed Response when the fallback ${what}`, async () => {
    let canceled = false;
    const body = new ReadableStream({ cancel: () => void (canceled = true) });
    const breaker = createFuse().make("a", { fallback, fallbackOn: "failure" });
    await breaker.call(() => new Response(body, { status: 500 }));
    assertEquals(canceled, cancels);
  });
}
