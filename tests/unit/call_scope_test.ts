// Limits of a call, over real HTTP: the caller's abort, the timeout, and the treatment of bodies.
import { AsyncLocalStorage } from "node:async_hooks";
import { assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import { CallTimeoutError } from "@fuse/edge";
import { intercept, replacing } from "../support/setups.ts";
import {
  breakerOf,
  counted,
  echoStatus,
  fuseOf,
  type Handler,
  LIMITS,
  MINUTE_MS,
  upstream,
} from "../support/upstream.ts";
import { chaos, memory } from "../support/drivers.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

/** The ways in which a caller can pass its signal. */
const SIGNALS: [through: string, (url: string, signal: AbortSignal) => Parameters<typeof fetch>][] =
  [
    ["init.signal", (url, signal) => [url, { signal }]],
    ["Request.signal", (url, signal) => [new Request(url, { signal })]],
    ["the signal of a Request in place of init", (
      url,
      signal,
    ) => [url, new Request(url, { signal })]],
    ["init.signal, which replaces the Request's", (
      url,
      signal,
    ) => [new Request(url, { signal: new AbortController().signal }), { signal }]],
  ];
class GaveUp extends Error {}

/** An upstream that answers after every caller has given up. */
function hanging(): { handler: Handler; asked: Promise<void>; left: Promise<void> } {
  const asked = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const handler: Handler = ({ signal }) =>
    new Promise((resolve) => {
      signal.addEventListener("abort", () => {
        left.resolve();
        resolve(new Response(null));
      });
      asked.resolve();
    });
  return { handler, asked: asked.promise, left: left.promise };
}

/** An upstream that answers at once, and continues the body until nobody reads it. */
function streaming(status: number): { handler: Handler; left: Promise<void> } {
  const left = Promise.withResolvers<void>();
  const handler: Handler = () => {
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode("begun")),
      cancel: () => left.resolve(),
    });
    return new Response(body, { status });
  };
  return { handler, left: left.promise };
}

for (const [through, argumentsOf] of SIGNALS) {
  for (const [limited, options] of LIMITS) {
    Deno.test(`CircuitBreaker.fetch() sends and counts nothing when the caller gave up before, through ${through}, ${limited}`, async () => {
      let asked = 0;
      const handler = () => {
        asked++;
        return new Response(null);
      };
      await upstream(handler, async (url) => {
        const breaker = breakerOf(options);
        const reason = new GaveUp();
        const error = await assertRejects(() =>
          breaker.fetch(...argumentsOf(url, AbortSignal.abort(reason)))
        );
        assertStrictEquals(error, reason);
        assertEquals([asked, await counted(breaker)], [0, [0, 0]]);
      });
    });

    Deno.test(`CircuitBreaker.fetch() stops and counts nothing when the caller gives up, through ${through}, ${limited}`, async () => {
      const { handler, asked, left } = hanging();
      await upstream(handler, async (url) => {
        const breaker = breakerOf(options);
        const caller = new AbortController();
        const reason = new GaveUp();
        const call = breaker.fetch(...argumentsOf(url, caller.signal));
        await asked;
        caller.abort(reason);
        assertStrictEquals(await assertRejects(() => call), reason);
        await left;
        assertEquals(await counted(breaker), [0, 0]);
      });
    });

    Deno.test(`CircuitBreaker.fetch() returns a body that stops when the caller gives up, through ${through}, ${limited}`, async () => {
      const { handler, left } = streaming(200);
      await upstream(handler, async (url) => {
        const breaker = breakerOf(options);
        const caller = new AbortController();
        const reason = new GaveUp();
        const response = await breaker.fetch(...argumentsOf(url, caller.signal));
        const reader = response.body!.getReader();
        assertEquals(new TextDecoder().decode((await reader.read()).value), "begun");
        caller.abort(reason);
        assertStrictEquals(await assertRejects(() => reader.read()), reason);
        await left;
        assertEquals(await counted(breaker), [1, 0]);
      });
    });
  }
}

for (const [limited, options] of LIMITS) {
  Deno.test(`call() waits for a native promise as await does, whatever its own then is, ${limited}`, async () => {
    const own = () => Object.assign(Promise.resolve("a value"), { then: () => {} });
    const breaker = breakerOf(options);
    assertEquals(await breaker.call(own), "a value");
    assertEquals(await breaker.call(own), "a value");
    assertEquals(await counted(breaker), [2, 0]);
  });

  Deno.test(`CircuitBreaker.fetch() continues when the caller removed the Request's signal, ${limited}`, async () => {
    await upstream(echoStatus, async (url) => {
      const request = new Request(url + 200, { signal: AbortSignal.abort() });
      const response = await breakerOf(options).fetch(request, { signal: null });
      assertEquals(await response.text(), "text");
    });
  });
}

/** Lets the test decide when the timeout of a call has passed. */
async function timed(body: (expire: () => void) => Promise<void>): Promise<void> {
  const { setTimeout: set } = globalThis;
  const due: (() => void)[] = [];
  const stub = (run: () => void, ms: number) => {
    if (ms !== MINUTE_MS) return set(run, ms);
    due.push(run);
    return 0;
  };
  await replacing(
    "setTimeout",
    stub as unknown as typeof setTimeout,
    () => body(() => due.splice(0).forEach((run) => run())),
  );
}

const ABORTABLE: typeof SIGNALS = [["no signal", (url) => [url]], ...SIGNALS];
for (const [through, argumentsOf] of ABORTABLE) {
  Deno.test(`CircuitBreaker.fetch() aborts the request and counts a failure when callTimeoutMs has passed, with ${through}`, async () => {
    const { handler, asked, left } = hanging();
    await upstream(handler, (url) =>
      timed(async (expire) => {
        const breaker = breakerOf({ callTimeoutMs: MINUTE_MS, halfOpenLeaseMs: MINUTE_MS });
        const call = breaker.fetch(...argumentsOf(url, new AbortController().signal));
        await asked;
        expire();
        const error = await assertRejects(() => call);
        assertInstanceOf(error, CallTimeoutError);
        assertEquals(error.timeoutMs, MINUTE_MS);
        await left;
        assertEquals(await counted(breaker), [0, 1]);
      }));
  });
}

Deno.test("CircuitBreaker.fetch() cancels the body when a fallback replaces the Response", async () => {
  const { handler, left } = streaming(500);
  await upstream(handler, async (url) => {
    const breaker = breakerOf({ fallbackOn: "failure", fallback: () => "stale" });
    assertEquals(await breaker.fetch(url), "stale");
    await left;
    assertEquals(await counted(breaker), [0, 1]);
  });
});

Deno.test("CircuitBreaker.fetch() cancels the body when every fallback throws", async () => {
  const { handler, left } = streaming(500);
  await upstream(handler, async (url) => {
    const fallback = () => {
      throw new GaveUp();
    };
    const breaker = breakerOf({ fallbackOn: "failure", fallback });
    await assertRejects(() => breaker.fetch(url), GaveUp);
    await left;
  });
});

Deno.test("CircuitBreaker.fetch() lets the fallback read the body", async () => {
  await upstream(echoStatus, async (url) => {
    const breaker = breakerOf({
      fallbackOn: "failure",
      fallback: async ({ error }) => `instead of ${await (error as Response).text()}`,
    });
    assertEquals(await breaker.fetch(url + 500), "instead of text");
  });
});

Deno.test("CircuitBreaker.call() cancels a Response's body when it arrives after the timeout", async () => {
  const { handler, left } = streaming(200);
  await upstream(handler, (url) =>
    timed(async (expire) => {
      const breaker = breakerOf();
      const late = Promise.withResolvers<Response>();
      const call = breaker.call(() => late.promise, { timeoutMs: MINUTE_MS });
      expire();
      assertInstanceOf(await assertRejects(() => call), CallTimeoutError);
      late.resolve(await fetch(url));
      await left;
      assertEquals(await counted(breaker), [0, 1]);
    }));
});

Deno.test("CircuitBreaker.call() cancels a Response's body when the caller gave up before it arrived", async () => {
  const { handler, left } = streaming(200);
  await upstream(handler, async (url) => {
    const breaker = breakerOf();
    const caller = new AbortController();
    const late = Promise.withResolvers<Response>();
    const call = breaker.call(() => late.promise, { signal: caller.signal });
    caller.abort(new GaveUp());
    await assertRejects(() => call, GaveUp);
    late.resolve(await fetch(url));
    await left;
    assertEquals(await counted(breaker), [0, 0]);
  });
});

Deno.test("CircuitBreaker.fetch() keeps the body when a fallback returns the Response itself", async () => {
  await upstream(echoStatus, async (url) => {
    const breaker = breakerOf({
      fallbackOn: "failure",
      fallback: ({ error }) => error as Response,
    });
    assertEquals(await (await breaker.fetch(url + 500)).text(), "text");
  });
});

Deno.test("CircuitBreaker.call() runs nothing when the caller gives up during the store request", async () => {
  const caller = new AbortController();
  const store = intercept(chaos(memory(), {}), () => caller.abort(new GaveUp()));
  const fuse = fuseOf({ stores: { store }, defaults: { consistency: "strong" } });
  let ran = false;
  const call = () => fuse.make("a").call(() => ran = true, { signal: caller.signal });
  await assertRejects(call, GaveUp);
  assertEquals(ran, false);
});

Deno.test("CircuitBreaker.call() runs the fallback in its caller's asynchronous context when callTimeoutMs has passed", async () => {
  const tenant = new AsyncLocalStorage<string>();
  const breaker = breakerOf({
    callTimeoutMs: 1,
    fallbackOn: "failure",
    fallback: () => tenant.getStore(),
  });
  const call = (name: string) => tenant.run(name, () => breaker.call(() => new Promise(() => {})));
  // The first calls take another path.
  for (let i = 0; i < 3; i++) {
    assertEquals(await Promise.all([call("acme"), call("umbrella")]), ["acme", "umbrella"]);
  }
});

Deno.test("CircuitBreaker.call() counts once when its timer fires after its end", async () => {
  const breaker = breakerOf({ callTimeoutMs: 10 });
  for (let i = 0; i < 3; i++) await breaker.call(() => 1);
  let fire = () => {};
  const reply = Promise.withResolvers<number>();
  let call: Promise<number>;
  // As on Node when a test begins to fake the time while a call runs: no `clearTimeout` finds the timer.
  const fake = ((pass: () => void) => (fire = pass, -1)) as unknown as typeof setTimeout;
  await replacing("setTimeout", fake, async () => {
    call = breaker.call(() => reply.promise);
    await Promise.resolve();
  });
  reply.resolve(2);
  assertEquals(await call!, 2);
  fire();
  assertEquals(await counted(breaker), [4, 0]);
});
