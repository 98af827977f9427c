/**
 * The dashboard beside an application: a payment provider fails, an operator looks and acts.
 *
 *     deno run -A examples/operations/main.ts
 *
 * plays that through and ends. With `--serve` it stays, for a browser.
 */

import { createFuse, memory } from "@fuse/edge";
import { createApp } from "./app.ts";

const fuse = createFuse({
  // In production, use a store that all instances share, such as `upstash()` or `libsql()`.
  stores: { array: memory() },
  circuits: { payments: { failureThreshold: 3 } },
  instance: "fra-1",
});

// The provider, which has lost its database.
await using provider = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  () => new Response("no database", { status: 503 }),
);
const settings = {
  PROVIDER: `http://127.0.0.1:${provider.addr.port}/`,
  OPS_USER: "operator",
  OPS_PASSWORD: crypto.randomUUID(),
};
await using server = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  createApp(fuse, () => settings).fetch,
);
const url = `http://127.0.0.1:${server.addr.port}`;

for (let i = 1; i <= 4; i++) {
  const response = await fetch(`${url}/pay`);
  await response.body?.cancel();
  console.log(`payment ${i}: ${response.status}`);
}

console.log(`a stranger: ${(await ask("/ops/api/circuits", {})).status}`);

// Acts over the API, as the page and `fuse --api` do.
const { OPS_USER, OPS_PASSWORD } = settings;
const authorization = `Basic ${btoa(`${OPS_USER}:${OPS_PASSWORD}`)}`;
const { circuits } = (await ask("/ops/api/circuits?state=OPEN", { authorization })).body;
for (const { name, lastFailure: { status, instance } } of circuits) {
  console.log(`${name} was opened by status ${status} on ${instance}`);
}
const own = { authorization, "sec-fetch-site": "same-origin" };
const forced = await ask("/ops/api/circuits/array/payments/force-open", own, {
  reason: "the provider asks us to wait",
  forMs: 1_800_000,
});
const { kind, actor, reason } = forced.body.circuit.override;
console.log(`${kind} by ${actor}: ${reason}`);
await ask("/ops/api/circuits/array/payments/release", own, { reason: "it is back" });
await ask("/ops/api/circuits/array/payments/reset", own, { reason: "it is back" });
const elsewhere = { authorization, origin: "https://evil.example" };
const { status } = await ask("/ops/api/circuits/array/payments/disable", elsewhere, {});
console.log(`from another site: ${status}`);
console.log(`payments is ${await fuse.make("payments").getState()}`);

if (Deno.args.includes("--serve")) {
  console.log(`\n${url}/ops, user ${OPS_USER}, password ${OPS_PASSWORD}; Ctrl-C ends it`);
  await new Promise<void>((resolve) => Deno.addSignalListener("SIGINT", resolve));
}

/** Sends a request, and returns the JSON of its answer. It is a POST if there is a body. */
async function ask(path: string, headers: Record<string, string>, order?: object) {
  const response = await fetch(url + path, {
    headers,
    ...order === undefined ? {} : { method: "POST", body: JSON.stringify(order) },
  });
  return { status: response.status, body: await response.json().catch(() => null) };
}
