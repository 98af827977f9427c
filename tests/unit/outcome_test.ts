import { assert, assertEquals } from "@std/assert";
import {
  CallTimeoutError,
  CircuitBreakerOpenError,
  createFuse,
  isCallTimeoutError,
  isFailedResponse,
  type Outcome,
} from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import {
  discard,
  judgeError,
  type Judgement,
  judgeResult,
  retryAfterOf,
} from "../../src/rules/outcome.ts";
import { unexpected } from "../support/units.ts";

const CIRCUIT = { key: "a", store: "array", name: "a", context: null, boundary: null };
const rejected = new CircuitBreakerOpenError(CIRCUIT, "OPEN", null, null, 1, "why");

class Mine extends Error {}
class Yours extends Error {}

Deno.test("isFailedResponse() is true for 5xx and 429", () => {
  const failed = [200, 204, 301, 400, 404, 408, 428, 429, 430, 499, 500, 503, 599]
    .filter((status) => isFailedResponse(new Response(null, { status })));
  assertEquals(failed, [429, 500, 503, 599]);
});

Deno.test("judgeResult() counts every value as a success, except for failed Responses", () => {
  for (const value of [undefined, null, 0, false, "", new Error("a value"), { status: 500 }]) {
    assertEquals(judgeResult(value, 0, {}, unexpected), "success");
  }
  assertEquals(judgeResult(new Response(null, { status: 500 }), 0, {}, unexpected), "failure");
  assertEquals(judgeResult(new Response(null, { status: 404 }), 0, {}, unexpected), "success");
});

Deno.test("judgeResult() calls isFailure instead, with value and duration", () => {
  const seen: Outcome[] = [];
  const isFailure = (outcome: Outcome) => seen.push(outcome) === 1;
  const response = new Response(null, { status: 500 });
  assertEquals(judgeResult(7, 12, { isFailure }, unexpected), "failure");
  assertEquals(judgeResult(response, 3, { isFailure }, unexpected), "success");
  assertEquals(seen, [{ ok: true, value: 7, durationMs: 12 }, {
    ok: true,
    value: response,
    durationMs: 3,
  }]);
});

Deno.test("judgeResult() reports an isFailure that throws, and judges without it", () => {
  const reports: string[] = [];
  const isFailure = () => {
    throw new Error("boom");
  };
  const judge = (value: unknown) =>
    judgeResult(value, 0, { isFailure }, (type, error) => reports.push(`${type} ${error}`));
  assertEquals(judge(1), "success");
  assertEquals(judge(new Response(null, { status: 503 })), "failure");
  assertEquals(reports, ["isFailure Error: boom", "isFailure Error: boom"]);
});

Deno.test("judgeResult() counts the response of an inner breaker as neutral, whatever the options", () => {
  for (const answer of [true, false]) {
    const isFailure = () => answer;
    assertEquals(judgeResult(rejected.getResponse(), 0, { isFailure }, unexpected), "neutral");
  }
  const response = rejected.getResponse();
  assertEquals(judgeResult(response, 0, {}, unexpected), "neutral");
  assertEquals(judgeResult(new Response(response.body, response), 0, {}, unexpected), "failure");
});

Deno.test("judgeError() counts any thrown value as a failure", () => {
  for (
    const error of [new Error("x"), "text", undefined, null, 0, new CallTimeoutError(CIRCUIT, 1)]
  ) {
    assertEquals(judgeError(error, 0, {}, unexpected), "failure");
  }
});

Deno.test("judgeError() counts the rejection of an inner breaker as neutral, whatever the options", () => {
  const isFailure = () => true;
  assertEquals(judgeError(rejected, 0, { isFailure, record: [Error] }, unexpected), "neutral");
});

Deno.test("judgeError() counts the end of Promise.any as neutral if circuits rejected all of its calls", () => {
  const judge = (...errors: unknown[]) => judgeError(new AggregateError(errors), 0, {}, unexpected);
  assertEquals(judge(rejected, rejected), "neutral");
  assertEquals(judge(rejected, new Mine()), "failure");
  assertEquals(judge(), "failure");
});

Deno.test("judgeError() ignores by class, by its subclasses and by predicate", () => {
  class Child extends Mine {}
  const ignore = [Mine, (error: unknown) => error === "benign"];
  const kinds = [new Mine(), new Child(), "benign", new Yours(), "other"]
    .map((error) => judgeError(error, 0, { ignore }, unexpected));
  assertEquals(kinds, ["neutral", "neutral", "neutral", "failure", "failure"]);
});

Deno.test("judgeError() accepts Error itself as a class", () => {
  assertEquals(judgeError(new Mine(), 0, { ignore: [Error] }, unexpected), "neutral");
  assertEquals(judgeError("no error", 0, { ignore: [Error] }, unexpected), "failure");
});

Deno.test("judgeError() counts only recorded errors as failures, the rest as successes", () => {
  const record = [Mine];
  assertEquals(judgeError(new Mine(), 0, { record }, unexpected), "failure");
  assertEquals(judgeError(new Yours(), 0, { record }, unexpected), "success");
  assertEquals(judgeError(new Mine(), 0, { record: [] }, unexpected), "success");
});

Deno.test("judgeError() prefers ignore to record, and both to isFailure", () => {
  const isFailure = () => true;
  const error = new Mine();
  assertEquals(
    judgeError(error, 0, { ignore: [Mine], record: [Mine], isFailure }, unexpected),
    "neutral",
  );
  assertEquals(judgeError(error, 0, { record: [Yours], isFailure }, unexpected), "success");
});

Deno.test("judgeError() calls isFailure for the rest, with error and duration", () => {
  const seen: Outcome[] = [];
  const isFailure = (outcome: Outcome) => seen.push(outcome) === 1;
  assertEquals(judgeError("a", 5, { isFailure }, unexpected), "failure");
  assertEquals(
    judgeError("b", 6, { isFailure, record: [(e) => e === "b"] }, unexpected),
    "success",
  );
  assertEquals(seen, [
    { ok: false, error: "a", durationMs: 5 },
    { ok: false, error: "b", durationMs: 6 },
  ]);
});

Deno.test("judgeError() counts a timeout as a failure unless it is ignored", () => {
  const error = new CallTimeoutError(CIRCUIT, 1);
  const judge = (judgement: Judgement) => judgeError(error, 0, judgement, unexpected);
  assertEquals(judge({ record: [Mine], isFailure: () => false }), "failure");
  assertEquals(judge({ ignore: [isCallTimeoutError] }), "neutral");
});

for (const option of ["ignore", "record", "isFailure"] as const) {
  Deno.test(`judgeError() counts a failure if ${option} throws, and reports it`, () => {
    const reports: string[] = [];
    const boom = () => {
      throw new Error("boom");
    };
    const judgement = { [option]: option === "isFailure" ? boom : [boom] };
    const kind = judgeError(new Mine(), 0, judgement, (type, error) => {
      reports.push(type, String(error));
    });
    assertEquals(kind, "failure");
    assertEquals(reports, [option, "Error: boom"]);
  });

  Deno.test(`judgeError() accepts no promise of ${option}`, async () => {
    // It would read as true or be overlooked, and its rejection would end the process.
    const late = (() => Promise.reject(new Error("late"))) as never;
    const reports: string[] = [];
    const judgement = { [option]: option === "isFailure" ? late : [late] };
    const report = (type: string, error: unknown) => void reports.push(`${type} ${error}`);
    assertEquals(judgeError(new Mine(), 0, judgement, report), "failure");
    assertEquals(reports, [`${option} TypeError: "${option}" must not return a promise`]);
    // By then, an unhandled rejection fails the test.
    await new Promise((resolve) => setTimeout(resolve));
  });
}

Deno.test("judgeResult() accepts no promise of isFailure", () => {
  const isFailure = (() => Promise.reject(new Error("late"))) as never;
  const reports: string[] = [];
  const report = (type: string, error: unknown) => void reports.push(`${type} ${error}`);
  assertEquals(judgeResult(1, 0, { isFailure }, report), "success");
  assertEquals(reports, [`isFailure TypeError: "isFailure" must not return a promise`]);
});

Deno.test("judgeError() accepts only true from a predicate", () => {
  const ignore = [(() => 1) as never];
  assertEquals(judgeError("x", 0, { ignore }, unexpected), "failure");
});

const NOW = Date.UTC(2025, 0, 1);
const answer = (header?: string, status = 503) =>
  new Response(null, { status, headers: header === undefined ? {} : { "retry-after": header } });

const HEADERS: [string, number][] = [
  ["120", 120_000],
  ["0", 0],
  ["  7  ", 7000],
  ["007", 7000],
  ["Wed, 01 Jan 2025 00:00:10 GMT", 10_000],
  ["Wednesday, 01-Jan-25 00:00:10 GMT", 10_000],
  ["Wed Jan  1 00:00:10 2025", 10_000],
  ["Tue, 31 Dec 2024 23:59:59 GMT", 0],
  ["", 0],
  ["-1", 0],
  ["1.5", 0],
  ["1e3", 0],
  ["0x10", 0],
  ["soon", 0],
  ["120 seconds", 0],
  ["2025", 2_025_000],
  ["2025-01-01T01:00:00Z", 0],
  ["Jan 1 2026", 0],
  ["Wed, 99 Foo 2025 00:00:00 GMT", 0],
  ["Infinity", 0],
  ["NaN", 0],
];
for (const [header, ms] of HEADERS) {
  Deno.test(`retryAfterOf() reads "${header}" as ${ms} ms`, () => {
    assertEquals(retryAfterOf(answer(header), NOW), ms);
  });
}

Deno.test("retryAfterOf() returns 0 without a readable header", () => {
  assertEquals(retryAfterOf(answer(), NOW), 0);
  for (const value of [undefined, null, "120", { headers: new Headers({ "retry-after": "1" }) }]) {
    assertEquals(retryAfterOf(value, NOW), 0);
  }
});

Deno.test("retryAfterOf() treats a huge number as a long time", () => {
  assert(retryAfterOf(answer("9".repeat(400)), NOW) > 8.64e15);
});

Deno.test("discard() cancels the body of a Response", async () => {
  const canceled = Promise.withResolvers<void>();
  discard(new Response(new ReadableStream({ cancel: () => canceled.resolve() })));
  await canceled.promise;
});

Deno.test("discard() ignores a body that cannot be canceled", async () => {
  const canceled = Promise.withResolvers<void>();
  discard(
    new Response(
      new ReadableStream({
        cancel() {
          canceled.resolve();
          throw new Error("boom");
        },
      }),
    ),
  );
  await canceled.promise;
  // An unhandled rejection would fail this test.
  await new Promise((resolve) => setTimeout(resolve, 0));
});

Deno.test("discard() ignores a body with a reader, and values that are no Response", async () => {
  const read = new Response("read");
  await read.text();
  discard(read);
  const locked = new Response("locked");
  const reader = locked.body!.getReader();
  discard(locked);
  assertEquals(new TextDecoder().decode((await reader.read()).value), "locked");
  await reader.cancel();
  for (const value of [undefined, null, "text", { body: { cancel: unexpected } }, new Response()]) {
    discard(value);
  }
});

Deno.test("CircuitBreaker() passes on a value that only looks like a Response, and a trial with it ends", async () => {
  const clock = new FakeClock();
  const breaker = createFuse({ clock: clock.now }).make("a", {
    failureThreshold: 1,
    successThreshold: 2,
    cooldownMs: 1_000,
  });
  await breaker.tryCall(() => Promise.reject(new Error("down")));
  clock.advance(1_000);
  const lookalike = Object.create(Response.prototype);
  for (const _ of [1, 2]) assert(await breaker.call(() => lookalike) === lookalike);
  assertEquals(await breaker.getState(), "CLOSED");

  const thrown = await breaker.tryCall(() => Promise.reject(lookalike), {
    fallback: () => "instead",
    fallbackOn: "failure",
  });
  assert(thrown.ok && thrown.value === "instead");
});
