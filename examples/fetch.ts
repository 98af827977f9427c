/**
 * Plain `fetch`, guarded: a fallback, the upstream's own Retry-After, one circuit for each host.
 *
 *     deno run -A examples/fetch.ts
 */

import { createFuse, isCircuitBreakerOpenError } from "@fuse/edge";

// Two upstreams of our own: one in order, one that asks to be left alone for two minutes.
let received = 0;
await using healthy = serve(() => new Response("Sunny"));
await using ailing = serve(() => {
  received++;
  return new Response("Overloaded", { status: 503, headers: { "retry-after": "120" } });
});

const fuse = createFuse({ defaults: { failureThreshold: 3, cooldownMs: 30_000 } });

// A circuit by name, and an answer for when it is open. 5xx, 429 and network errors are failures.
const forecast = fuse.make("forecast", {
  fallback: () => new Response("As yesterday"),
});
for (let call = 1; call <= 5; call++) {
  const response = await forecast.fetch(url(ailing));
  console.log(`call ${call}: ${response.status} ${await response.text()}`);
}
console.log(`the upstream has received ${received} of 5 calls`);

// It is left alone for the two minutes it asked for, not for the cooldown of 30 seconds.
const { openedAt, openUntil } = forecast.peek();
console.log(`open for ${(Number(openUntil) - Number(openedAt)) / 1000} s`);

// The drop-in for `fetch`, with a circuit for each host: one that is down takes no other along.
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

/** A body that nobody reads holds its connection. */
async function drain(response: Response): Promise<void> {
  await response.body?.cancel();
}
