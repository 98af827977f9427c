/**
 * Streaming by hand: `admit()` reports the outcome when the work has ended, here a body that may
 * break off. For a `Response` alone, `settle: "body"` does this: see server-sent-events.ts.
 *
 *     deno run -A examples/streaming.ts
 */

import { type CircuitBreaker, createFuse, isFailedResponse } from "@fuse/edge";

/**
 * Fetches through a circuit, and reports how the body ended: read to its end, a success; broken
 * off, a failure; canceled by the reader, neutral.
 */
async function fetchStream(breaker: CircuitBreaker, input: string): Promise<Response> {
  const permit = await breaker.admit(); // throws CircuitBreakerOpenError
  let response: Response;
  try {
    response = await fetch(input);
  } catch (error) {
    await permit.failure(error);
    throw error;
  }
  if (isFailedResponse(response)) {
    await permit.failure();
    return response;
  }
  if (response.body === null) {
    await permit.success();
    return response;
  }

  const reader = response.body.getReader();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
      } catch (error) {
        await permit.failure(error);
        return controller.error(error);
      }
      await permit.success();
      controller.close();
    },
    async cancel(reason) {
      await permit.ignore();
      await reader.cancel(reason);
    },
  });
  const { status, statusText } = response;
  const headers = new Headers(response.headers);
  headers.delete("content-encoding"); // `fetch` has decoded it
  headers.delete("content-length");
  return new Response(body, { status, statusText, headers });
}

// An upstream that streams two lines; `/broken` sends only the first.
await using upstream = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {}, onError: () => new Response() },
  ({ url }) => {
    const broken = url.endsWith("/broken");
    let line = 0;
    return new Response(
      new ReadableStream({
        pull(controller) {
          if (++line === 2 && broken) return controller.error("disk full");
          controller.enqueue(new TextEncoder().encode(`line ${line}\n`));
          if (line === 2) controller.close();
        },
      }),
    );
  },
);
const origin = `http://127.0.0.1:${upstream.addr.port}`;
const fuse = createFuse();
const exports = fuse.make("exports", { failureThreshold: 2 });
for (const outcome of ["success", "failure", "ignored", "opened"] as const) {
  fuse.on(outcome, ({ name, type }) => console.log(`${name}: ${type}`));
}

console.log(await (await fetchStream(exports, `${origin}/whole`)).text());
await (await fetchStream(exports, `${origin}/whole`)).body?.cancel("seen enough");
for (let i = 0; i < 2; i++) {
  const response = await fetchStream(exports, `${origin}/broken`);
  await response.text().catch(() => console.log(`broke off after ${response.status}`));
}
const { metrics } = await exports.snapshot();
console.log(`${metrics.totalSuccesses} whole, ${metrics.totalFailures} broken off`);
