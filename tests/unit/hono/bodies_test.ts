// The middleware with `settle: "body"` (rule 22), over real HTTP: a route counts when its body has ended.
import { assert, assertEquals } from "@std/assert";
import { type CircuitPolicy, createFuse } from "@fuse/edge";
import { circuitBreaker, type CircuitBreakerMiddlewareOptions } from "@fuse/edge/hono";
import { type Context, Hono } from "hono";
import { cors } from "hono/cors";
import { streamSSE } from "hono/streaming";
import { startStreams } from "../../support/stream_server.ts";
import { utf8 } from "./app.ts";

Deno.test.sanitizer({ ops: true, resources: true });

interface Scene {
  readonly url: string;
  counted(): Promise<[number, number]>;
  /** The types of the events so far. */
  readonly told: string[];
  /** Resolves with the next event of these. */
  ended(): Promise<string>;
}

/** Serves one guarded route. */
async function serving(
  route: (c: Context) => Response | Promise<Response>,
  run: (scene: Scene) => Promise<void>,
  options: Partial<CircuitBreakerMiddlewareOptions> = {},
  policy: CircuitPolicy = {},
): Promise<void> {
  const fuse = createFuse();
  const told: string[] = [];
  let heard = Promise.withResolvers<string>();
  for (const type of ["success", "failure", "ignored"] as const) {
    fuse.on(type, () => {
      told.push(type);
      heard.resolve(type);
    });
  }
  const app = new Hono();
  app.use(cors());
  app.use(async (c, next) => {
    await next();
    c.header("x-after", "set");
  });
  app.use(
    circuitBreaker({ fuse, name: "api", options: { settle: "body", ...policy }, ...options }),
  );
  app.get("/", route);
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, app.fetch);
  await run({
    url: `http://127.0.0.1:${server.addr.port}/`,
    told,
    async counted() {
      const { totalSuccesses, totalFailures } = await fuse.make("api").getMetrics();
      return [totalSuccesses, totalFailures];
    },
    async ended() {
      const type = await heard.promise;
      heard = Promise.withResolvers();
      return type;
    },
  });
}

Deno.test("circuitBreaker() counts a success when a stream has ended, and keeps headers", async () => {
  const route = (c: Context) => {
    c.header("x-before", "set");
    return streamSSE(c, async (stream) => {
      await stream.writeSSE({ data: "one" });
      await stream.writeSSE({ data: "two" });
    });
  };
  await serving(route, async ({ url, ended, counted }) => {
    const response = await fetch(url, { headers: { origin: "http://elsewhere" } });
    const { headers } = response;
    assertEquals(
      ["content-type", "x-before", "x-after", "access-control-allow-origin"].map((name) =>
        headers.get(name)
      ),
      ["text/event-stream", "set", "set", "*"],
    );
    assertEquals(await response.text(), "data: one\n\ndata: two\n\n");
    assertEquals([await ended(), await counted()], ["success", [1, 0]]);
  });
});

Deno.test("circuitBreaker() counts an answer without a body at once", async () => {
  await serving((c) => c.body(null, 204), async ({ url, told, counted }) => {
    assertEquals((await fetch(url)).status, 204);
    assertEquals([told, await counted()], [["success"], [1, 0]]);
  });
});

Deno.test("circuitBreaker() counts an answer to HEAD at once, because its body is not read", async () => {
  await serving((c) => c.text("body"), async ({ url, told, counted }) => {
    const { headers } = await fetch(url, { method: "HEAD" });
    assertEquals([headers.get("x-after"), told, await counted()], ["set", ["success"], [1, 0]]);
  });
});

for (const isFailure of [undefined, ({ res }: Context) => res.status === 404]) {
  const by = isFailure === undefined ? "" : " by isFailure";
  Deno.test(`circuitBreaker() counts a failure when a stream breaks off${by}`, async () => {
    const route = () => {
      let chunks = 0;
      return new Response(
        new ReadableStream({
          pull(controller) {
            if (++chunks === 2) controller.error(new Error("no database"));
            else controller.enqueue(utf8("one"));
          },
        }),
      );
    };
    await serving(route, async ({ url, ended, counted }) => {
      const text = await (await fetch(url)).text().catch(() => "broken");
      assertEquals([text, await ended(), await counted()], ["broken", "failure", [0, 1]]);
    }, { isFailure });
  });
}

Deno.test("circuitBreaker() counts a failure when the upstream of a route stalls", async () => {
  await using upstream = await startStreams();
  await serving(
    () => fetch(`${upstream.url}/stall`),
    async ({ url, ended, counted }) => {
      const text = await (await fetch(url)).text().catch(() => "broken");
      assertEquals([text, await ended(), await counted()], ["broken", "failure", [0, 1]]);
    },
    {},
    { idleTimeoutMs: 20 },
  );
});

for (
  const [what, send] of [
    ["", (url: string) => fetch(url)],
    [" and the route passes its signal on", (url: string, c: Context) => fetch(url, c.req.raw)],
  ] as const
) {
  Deno.test(`circuitBreaker() counts neutral when the client leaves during a stream${what}`, async () => {
    await using upstream = await startStreams();
    const route = (c: Context) => send(`${upstream.url}/stall`, c);
    await serving(route, async ({ url, ended, counted }) => {
      const client = new AbortController();
      const response = await fetch(url, { signal: client.signal });
      const reader = response.body!.getReader();
      assert(!(await reader.read()).done);
      client.abort();
      await reader.read().catch(() => {});
      assertEquals([await ended(), await counted()], ["ignored", [0, 0]]);
    });
  });
}
