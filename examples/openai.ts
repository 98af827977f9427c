/**
 * The openai SDK with a guarded `fetch`: its timeouts and retries remain, a rejection is not
 * retried, and the user's mistakes are no failures of the upstream.
 *
 *     deno run -A examples/openai.ts
 */

import { createFuse, isCircuitBreakerOpenError } from "@fuse/edge";
import OpenAI from "openai";

// A local upstream in place of the real one: it hangs, refuses, fails or answers.
let behaves: "hangs" | "refuses" | "fails" | "answers" = "answers";
let received = 0;
const over = Promise.withResolvers<void>();
await using upstream = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => {
  received++;
  switch (behaves) {
    case "hangs":
      return over.promise.then(() => new Response());
    case "refuses":
      return Response.json({ error: { message: "no such model" } }, { status: 404 });
    case "fails":
      return Response.json({ error: { message: "overloaded" } }, { status: 503 });
    case "answers":
      return Response.json({ object: "list", data: [] });
  }
});

const fuse = createFuse();
const api = fuse.make("openai", {
  failureThreshold: 3,
  // The SDK aborts without a reason when its own timeout passes, as it does for a user who leaves.
  abandonedAfterMs: 1_400,
  // An SDK retries an error of its `fetch`, with pauses. It obeys this answer.
  fallback: ({ error }) => {
    if (!isCircuitBreakerOpenError(error)) throw error;
    const response = error.getResponse();
    response.headers.set("x-should-retry", "false");
    return response;
  },
});
const openai = new OpenAI({
  apiKey: "none",
  baseURL: `http://127.0.0.1:${upstream.addr.port}`,
  fetch: api.fetch,
  timeout: 1_500,
  maxRetries: 2,
});

await show("answers", 1);
await show("refuses", 4); // 4xx but for 429 is no failure: the circuit stays closed
await show("hangs", 1); // the call and its two retries: three failures
await show("answers", 2); // rejected, and not retried
over.resolve();
await api.reset();

// Around the SDK, a circuit judges errors. Errors that the user caused have a status below 500.
const chat = fuse.make("chat", {
  failureThreshold: 2,
  ignore: [(error) => error instanceof OpenAI.APIError && (error.status ?? 500) < 500],
});
behaves = "refuses";
for (let i = 0; i < 3; i++) await chat.tryCall(() => openai.models.list());
console.log(`chat after 3 mistakes of the user: ${await chat.getState()}`);

async function show(how: typeof behaves, times: number): Promise<void> {
  behaves = how;
  received = 0;
  const told: string[] = [];
  for (let i = 0; i < times; i++) {
    told.push(
      await openai.models.list().then(
        () => "ok",
        (error) => `${error.constructor.name} ${error.status ?? ""}`.trim(),
      ),
    );
  }
  console.log(`${how}: ${told.join(", ")}; received ${received}, ${await api.getState()}`);
}
