// The function that a guarded fetch sends with (rule 20), and mistakes of the caller (rule 9, trap
// 60).
import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { createFuse } from "@fuse/edge";
import nodeFetch from "node-fetch";
import * as undici from "undici";
import { intercept, onEverySetup, REMOTE, replacing } from "../support/setups.ts";
import { breakerOf, counted, echoStatus, fuseOf, upstream } from "../support/upstream.ts";

Deno.test.sanitizer({ ops: true, resources: true });

const URL_ = "http://upstream.test/";
const usedRequest = async () => {
  const request = new Request(URL_, { method: "POST", body: "{}" });
  await request.text();
  return request;
};
const lockedStream = () => {
  const stream = new ReadableStream();
  stream.getReader();
  return stream;
};

const MISTAKES: [name: string, args: () => Promise<[string | Request, RequestInit?]>][] = [
  ["a used body", async () => [await usedRequest()]],
  ["a used body in place of init", async () => [URL_, await usedRequest() as RequestInit]],
  ["a used body, with headers", async () => [await usedRequest(), { headers: { a: "b" } }]],
  ["a bad URL", () => Promise.resolve(["http://[::bad"])],
  ["a relative URL", () => Promise.resolve(["/orders"])],
  ["a bad header", () => Promise.resolve([URL_, { headers: { a: "b\nc" } }])],
  ["a bad name of a header", () => Promise.resolve([URL_, { headers: [["a b", "c"]] }])],
  ["a body on GET", () => Promise.resolve([URL_, { body: "x" }])],
  ["a body on HEAD", () => Promise.resolve([new Request(URL_, { method: "HEAD" }), { body: "x" }])],
  ["a bad method", () => Promise.resolve([URL_, { method: "a b" }])],
  ["a forbidden method", () => Promise.resolve([URL_, { method: "TRACE" }])],
  ["a bad redirect", () => Promise.resolve([URL_, { redirect: "no" as RequestRedirect }])],
  ["a locked stream", () => Promise.resolve([URL_, { method: "POST", body: lockedStream() }])],
];

for (const [name, args] of MISTAKES) {
  onEverySetup(`CircuitBreaker.fetch() throws ${name}, and counts nothing`, async (world) => {
    const breaker = world.breaker({
      failureThreshold: 1,
      fallback: () => 1,
      fallbackOn: "failure",
    });
    for (const state of ["CLOSED", "OPEN"]) {
      const [input, init] = await args();
      await assertRejects(() => breaker.fetch(input, init), TypeError);
      await world.sync();
      assertEquals(await breaker.getState(), state as "OPEN");
      if (state === "CLOSED") await breaker.tryCall(() => Promise.reject(new Error("down")));
      await world.sync();
    }
    const { failures, successes, rejected } = world.stored().totals;
    assertEquals([failures, successes, rejected], [1, 0, 0]);
  });
}

Deno.test("CircuitBreaker.fetch() throws what a platform's Request refuses, and counts nothing", async () => {
  // As on Workers, which refuse whole options, and on Node, which refuses credentials in a URL.
  class Refusing extends Request {
    constructor(input: RequestInfo | URL, init: RequestInit = {}) {
      const { username } = new URL(input as string);
      if ("credentials" in init || username !== "") throw new TypeError("refused");
      super(input, init);
    }
  }
  const breaker = breakerOf();
  await replacing("Request", Refusing, async () => {
    const refused = (url: string | URL, init?: RequestInit) =>
      assertRejects(() => breaker.fetch(url, init), TypeError, "refused");
    await refused(URL_, { credentials: "include" });
    for (const init of [undefined, { method: "POST", body: "x" }]) {
      await refused("http://user:pass@upstream.test/", init);
      await refused(new URL("http://user:pass@upstream.test/"), init);
    }
  });
  assertEquals(await counted(breaker), [0, 0]);
});

Deno.test("CircuitBreaker.fetch() sends a body and an unusual option with a Request's method", async () => {
  const echo = async (request: Request) =>
    new Response(`${request.method} ${await request.text()}`);
  await upstream(echo, async (url) => {
    const { fetch } = breakerOf();
    const stream = new Blob(["told"]).stream();
    const inits: RequestInit[] = [{ body: "told", redirect: "manual" }, { body: stream }];
    for (const init of inits) {
      const response = await fetch(new Request(url, { method: "PUT" }), init);
      assertEquals(await response.text(), "PUT told");
    }
  });
});

/** Runs `work`, and returns the arguments of each Request that it makes. */
async function requestsOf(work: () => Promise<void>) {
  const made: { input: RequestInfo | URL; init: RequestInit | undefined }[] = [];
  class Noted extends Request {
    constructor(input: RequestInfo | URL, init?: RequestInit) {
      super(input, init);
      made.push({ input, init });
    }
  }
  await replacing(
    "fetch",
    () => Promise.resolve(new Response()),
    () => replacing("Request", Noted, work),
  );
  return made;
}

Deno.test("CircuitBreaker.fetch() copies and reads no body when it checks an option", async () => {
  const iterable = (async function* () {})() as unknown as BodyInit;
  const bodies = [new Uint8Array(1), "text", iterable];
  const { fetch } = breakerOf();
  const made = await requestsOf(async () => {
    for (const body of bodies) await fetch(URL_, { method: "POST", body, redirect: "manual" });
  });
  assertEquals(made.map(({ init }) => init?.body ?? null), bodies.map(() => null));
});

Deno.test("CircuitBreaker.fetch() makes no Request of usual arguments, also without a path", async () => {
  const { fetch } = breakerOf();
  const made = await requestsOf(async () => {
    for (const end of ["", "", "?a", "#a", "/a", ":80"]) {
      await fetch(`http://upstream.test${end}`);
      await fetch(`http://upstream.test${end}`, { method: "POST", body: "x" });
    }
    await assertRejects(() => fetch("http://upstream.test:bad"), TypeError);
  });
  assertEquals(made, []);
});

Deno.test("CircuitBreaker.fetch() sends a Request once, and a second attempt counts nothing", async () => {
  await upstream(async (request) => {
    await request.text();
    return new Response("", { status: 429 });
  }, async (url) => {
    const breaker = breakerOf();
    const request = new Request(url, { method: "POST", body: "{}" });
    await (await breaker.fetch(request)).text();
    await assertRejects(() => breaker.fetch(request), TypeError, "has been used");
    assertEquals(await counted(breaker), [0, 1]);
  });
});

Deno.test("createFuse({ fetch }) receives exactly the caller's arguments", async () => {
  const seen: unknown[][] = [];
  const own = ((...args: unknown[]) => {
    seen.push(args);
    return Promise.resolve(new Response());
  }) as typeof fetch;
  const fuse = fuseOf({ fetch: own });
  const request = new Request(URL_, { signal: new AbortController().signal });
  const init = { method: "POST", body: "x", signal: new AbortController().signal, dispatcher: {} };
  const foreign = new undici.Request(URL_) as unknown as Request;
  for (const fetch of [fuse.fetch, fuse.make("a").fetch]) {
    await fetch(URL_);
    await fetch(URL_, init);
    await fetch(request);
    await fetch(foreign);
  }
  const calls = [[URL_], [URL_, init], [request], [foreign]];
  assertEquals(seen.length, 8);
  seen.forEach((args, i) => {
    const expected = calls[i % 4]!;
    assertEquals(args.length, expected.length);
    args.forEach((arg, n) => assertStrictEquals(arg, expected[n]));
  });
});

Deno.test("createFuse({ fetch }) receives the signal of a timeout in addition", async () => {
  const own =
    ((_: unknown, init: RequestInit) =>
      new Promise((_, reject) =>
        init.signal!.addEventListener("abort", () => reject(init.signal!.reason))
      )) as typeof fetch;
  const breaker = createFuse({ fetch: own }).make("a", { callTimeoutMs: 1 });
  await assertRejects(() => breaker.fetch(URL_, { method: "POST" }), Error, "longer than 1 ms");
});

for (const [name, own] of Object.entries({ undici: undici.fetch, "node-fetch": nodeFetch })) {
  Deno.test({
    name: `createFuse({ fetch }) accepts that of ${name}`,
    // It keeps connections open.
    sanitizeOps: false,
    sanitizeResources: false,
    fn: () =>
      upstream(echoStatus, async (url) => {
        const fuse = fuseOf({ fetch: own as unknown as typeof fetch });
        const response = await fuse.fetch(`${url}503`, { headers: { a: "b" } });
        assertEquals([response.status, await response.text()], [503, "text"]);
        assertEquals(await counted(fuse.make(new URL(url).host)), [0, 1]);
      }),
  });
}

Deno.test("createFuse() refuses a fetch that is no function", () => {
  let message = "";
  try {
    createFuse({ fetch: "https://upstream.test" as never });
  } catch (error) {
    message = (error as Error).message;
  }
  assertEquals(message.startsWith('Cannot create fuse: "fetch" must be a function'), true);
});

Deno.test("fetch() looks the global one up for each call", async () => {
  const { fetch } = breakerOf();
  for (const status of [201, 202]) {
    await replacing("fetch", () => Promise.resolve(new Response(null, { status })), async () => {
      assertEquals((await fetch(URL_)).status, status);
    });
  }
});

Deno.test("fetch() does not recurse when it replaces the global one", async () => {
  await upstream(echoStatus, async (url) => {
    const [fuse, other] = [fuseOf(), fuseOf()];
    for (const guarded of [fuse.fetch, fuse.make("a").fetch, other.fetch]) {
      await replacing("fetch", guarded as typeof fetch, async () => {
        // Two at once, and the global one and the Fuse's.
        for (const response of await Promise.all([fetch(`${url}200`), fuse.fetch(`${url}200`)])) {
          assertEquals(await response.text(), "text");
        }
      });
    }
    assertEquals(await counted(fuse.make(new URL(url).host)), [4, 0]);
    assertEquals(await counted(other.make(new URL(url).host)), [1, 0]);
    assertEquals(await counted(fuse.make("a")), [1, 0]);
  });
});

onEverySetup("globalThis.fetch = fuse.fetch does not guard a store by itself", async (world) => {
  await upstream(echoStatus, async (url) => {
    let asked = 0;
    const { fuse } = world.isolate({
      wrap: (store) =>
        intercept(store, async () => {
          asked++;
          await (await fetch(`${url}200?store`)).text();
        }),
    });
    await replacing("fetch", fuse.fetch as typeof fetch, async () => {
      for (let i = 0; i < 3; i++) await (await fetch(`${url}200`)).text();
      await fuse.make("other").call(() => 1);
      await fuse.flush();
    });
    assertEquals(asked < 30, true);
  });
}, REMOTE);

Deno.test("Fuse.fetch() sends a URL without a host, which no upstream answers, unguarded", async () => {
  const blob = URL.createObjectURL(new Blob(["text"]));
  try {
    const fuse = fuseOf();
    for (const url of ["data:,text", blob, new URL(blob)]) {
      assertEquals(await (await fuse.fetch(url)).text(), "text");
    }
    assertEquals(await (await fuse.fetch(new Request("data:,text"))).text(), "text");
    await (await fuse.fetch(import.meta.url)).body?.cancel();
    assertEquals(await Array.fromAsync(fuse.list()), []);
  } finally {
    URL.revokeObjectURL(blob);
  }
});

Deno.test("Fuse.fetch() sends a URL without a host through the Fuse's own fetch", async () => {
  const sent: unknown[] = [];
  const own = (...args: unknown[]) => (sent.push(args), Promise.resolve(new Response("own")));
  const fuse = fuseOf({ fetch: own as typeof fetch });
  assertEquals(await (await fuse.fetch("data:,text")).text(), "own");
  assertEquals(sent, [["data:,text", undefined]]);
});

Deno.test("Fuse.fetch() sends a URL without a host in place of the global fetch", async () => {
  await replacing("fetch", fuseOf().fetch as typeof fetch, async () => {
    assertEquals(await (await fetch("data:,text")).text(), "text");
  });
});
