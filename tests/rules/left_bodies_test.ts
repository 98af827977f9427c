// Rule 22 of src/rules/README.md: bodies whose reader or caller leaves.
import { assertEquals, assertRejects } from "@std/assert";
import type { CircuitOptions } from "@fuse/edge";
import { fed, told } from "../support/fed_bodies.ts";
import { onEverySetup } from "../support/setups.ts";
import { startStreams } from "../support/stream_server.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

const BODY: CircuitOptions = { settle: "body" };

onEverySetup("A reader that leaves is neutral", async (world) => {
  const breaker = world.breaker(BODY);
  const upstream = fed();
  const response = await breaker.call(() => upstream.response);
  await response.body!.cancel("seen enough");
  assertEquals([upstream.canceled, await told(world)], [["seen enough"], [0, 0]]);
  assertEquals(world.told("success", "failure", "ignored"), ["ignored"]);
});

onEverySetup("A caller that aborts while a body arrives is neutral", async (world) => {
  await using server = await startStreams();
  const breaker = world.breaker(BODY);
  const caller = new AbortController();
  const response = await breaker.fetch(`${server.url}/stall`, { signal: caller.signal });
  const reading = response.text();
  caller.abort();
  await assertRejects(() => reading, DOMException);
  assertEquals(await told(world), [0, 0]);
});

onEverySetup("A caller's deadline that passes while a body arrives is a failure", async (world) => {
  await using server = await startStreams();
  const breaker = world.breaker(BODY);
  const caller = new AbortController();
  const response = await breaker.fetch(`${server.url}/stall`, { signal: caller.signal });
  const text = response.text();
  // As `AbortSignal.timeout` does, which may pass before the headers are there.
  caller.abort(new DOMException("late", "TimeoutError"));
  await assertRejects(() => text, DOMException);
  assertEquals(await told(world), [0, 1]);
});

for (const [reason, expected] of [["AbortError", [0, 0]], ["TimeoutError", [0, 1]]] as const) {
  onEverySetup(
    `An ${reason} of the caller between two reads ends a body that ignores the signal`,
    async (world) => {
      const breaker = world.breaker(BODY);
      const upstream = fed();
      const caller = new AbortController();
      const response = await breaker.call(() => upstream.response, { signal: caller.signal });
      const reader = response.body!.getReader();
      upstream.give("one");
      await reader.read();
      const left = new DOMException("gone", reason);
      caller.abort(left);
      assertEquals(await assertRejects(() => reader.read()), left);
      assertEquals([upstream.canceled, await told(world)], [[left], [...expected]]);
    },
  );
}

onEverySetup(
  "A caller gives up a body when a read has waited for abandonedAfterMs",
  async (world) => {
    const breaker = world.breaker({ ...BODY, abandonedAfterMs: 1_000 });
    for (const [waitedMs, expected] of [[999, [0, 0]], [1_000, [0, 1]]] as const) {
      const upstream = fed();
      const caller = new AbortController();
      const response = await breaker.call(() => upstream.response, { signal: caller.signal });
      const reader = response.body!.getReader();
      for (let chunk = 0; chunk < 3; chunk++) {
        world.clock.advance(900);
        upstream.give("one");
        await reader.read();
      }
      world.clock.advance(900);
      const reading = reader.read();
      assertEquals(await told(world), [0, 0]);
      world.clock.advance(waitedMs);
      caller.abort();
      await assertRejects(() => reading, DOMException);
      assertEquals(await told(world), [...expected]);
    }
  },
);
