// Rule 9: a Response is recognized by its brand. Trap 53.
import { assertEquals } from "@std/assert";
import { serve } from "@hono/node-server";
import { createFuse, type FuseOptions } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import nodeFetch from "node-fetch";
import * as undici from "undici";
import { upstream } from "../support/upstream.ts";

const { Response: Native, Request: NativeRequest } = globalThis;
const busy = () => new Native("busy", { status: 503, headers: { "retry-after": "70" } });
const clock = new FakeClock();

/** Returns the counts of two calls that an upstream answers with 503. */
async function judged(get: () => Promise<unknown>, options: FuseOptions = {}) {
  const breaker = createFuse({ clock: clock.now, ...options }).make("api", { failureThreshold: 2 });
  for (let i = 0; i < 2; i++) await (await breaker.call(get) as Response).text();
  const { openedAt, openUntil, metrics } = await breaker.snapshot();
  return [metrics.totalFailures, openUntil!.getTime() - openedAt!.getTime()];
}

/** Their open connections end with their server. */
const keepsConnections = { sanitizeOps: false, sanitizeResources: false };

for (const [name, send] of Object.entries({ undici: undici.fetch, "node-fetch": nodeFetch })) {
  Deno.test(
    `a 503 of ${name} is a failure, and its Retry-After is followed`,
    keepsConnections,
    async () => {
      await upstream(busy, async (url) => {
        assertEquals(await judged(() => send(url)), [2, 70_000]);
      });
    },
  );

  Deno.test(
    `the body of a 503 of ${name} that a fallback replaces is canceled`,
    keepsConnections,
    async () => {
      await upstream(busy, async (url) => {
        let body: { locked?: boolean; destroyed?: boolean } | null | undefined;
        const breaker = createFuse().make("api", {
          fallback: () => "stale",
          fallbackOn: "failure",
        });
        const value = await breaker.call(async () => {
          const response = await send(url);
          body = response.body as typeof body;
          return response;
        });
        assertEquals(value, "stale");
        if (body !== null && body !== undefined && "destroyed" in body) {
          assertEquals(body.destroyed, true);
        } else {assertEquals(await (body as ReadableStream).getReader().read(), {
            done: true,
            value: undefined,
          });}
      });
    },
  );
}

Deno.test("a 503 is a failure after a server has replaced the global Response", async () => {
  await upstream(busy, async (url) => {
    const server = serve({ fetch: () => new Response(), port: 0, hostname: "127.0.0.1" });
    try {
      await new Promise((listening) => server.once("listening", listening));
      const answer = await fetch(url);
      await answer.body?.cancel();
      assertEquals(answer instanceof Response, false);
      assertEquals(await judged(() => fetch(url)), [2, 70_000]);
    } finally {
      Object.defineProperty(globalThis, "Response", { value: Native });
      Object.defineProperty(globalThis, "Request", { value: NativeRequest });
      await new Promise((closed) => server.close(closed));
    }
  });
});
