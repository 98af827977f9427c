/**
 * Plain `fetch`, guarded: a fallback, the upstream's own Retry-After, one circuit for each host.
 *
 *     deno run -A examples/fetch.ts
 */

import { createFuse, isCircuitBreakerOpenError } from "@fuse/edge";

// Two local upstreams: one works, one asks to be left alone for two minutes.
let received = 0;
await using healthy = serve(() => new Response("Sunny"));
await using ailing = serve(() => {
  received++;
  return new Response("Overloaded", { status: 503, headers: { "retry-after": "120" } });
});

const fuse = createFuse({ defaults: { failureThreshold: 3, cooldownMs: 30_000 } });

// A circuit by name, with an answer for when it is open. 5xx, 429 and network errors are failures.
const forecast = fuse.make("forecast", {
  fallback: () => new Response("As yesterday"),
});
for (let call = 1; call <= 5; call++) {
  const response = await forecast.fetch(url(ailing));
  console.log(`call ${call}: ${response.status} ${await response.text()}`);
}
console.log(`the upstream has received ${received} of 5 calls`);

// The circuit stays open for the two minutes that the upstream asked for, not for the cooldown of
// 30 seconds.
const { openedAt, openUntil } = forecast.peek();
console.log(`open for ${(Number(openUntil) - Number(openedAt)) / 1000} s`);

// The replacement for `fetch`, with a circuit for each host: an outage of one does not affect the
// others.
for (let call = 1; call <= 3; call++) await drain(await fuse.fetch(url(ailing)));
try {
  await fuse.fetch(url(ailing));
} catch (error) {
  if (!isCircuitBreakerOpenError(error)) throw error;
  console.log(`rejected: ${error.state}, to be told to callers as ${error.getResponse().status}`);
}
const response = await fuse.fetch(url(healthy));
console.log(`the other host: ${response.status} ${await response.text()}`);

function serve(handler: () => Response) {
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, handler);
}

function url({ addr }: Deno.HttpServer<Deno.NetAddr>): string {
  return `http://127.0.0.1:${addr.port}/forecast`;
}

/** Cancels the body: an unread body holds its connection. */
async function drain(response: Response): Promise<void> {
  await response.body?.cancel();
}
