// The middleware's treatment of Deno's request signal, which aborts after every response. Trap 55.
import { assertEquals } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { circuitBreaker } from "@fuse/edge/hono";
import { Hono } from "hono";

Deno.test.sanitizer({ ops: true, resources: true });

type Env = { Bindings: Deno.ServeHandlerInfo };

/**
 * Plays one request; `leave` says whether its client disconnects or waits for the answer of a
 * timeout.
 */
async function played(leave: boolean): Promise<[successes: number, failures: number]> {
  const fuse = createFuse();
  const app = new Hono<Env>();
  const arrived = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const timedOut = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const completed = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  app.use(async (c, next) => {
    c.env.completed.then(completed.resolve, completed.resolve);
    const route = next().then(ended.resolve);
    await Promise.race([route, timedOut.promise]);
    return c.text("too late", 504);
  });
  app.use(circuitBreaker({ fuse, name: "orders" }));
  app.get("/", async (c) => {
    c.req.raw.signal.addEventListener("abort", () => gone.resolve());
    arrived.resolve();
    await released.promise;
    return c.text("the upstream gave up", 502);
  });
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, app.fetch);
  const client = new AbortController();
  const response = fetch(`http://127.0.0.1:${server.addr.port}`, { signal: client.signal });
  await arrived.promise;
  if (leave) {
    client.abort();
    await response.catch(() => {});
    await gone.promise;
  } else {
    timedOut.resolve();
    assertEquals(await (await response).text(), "too late");
    await completed.promise;
  }
  released.resolve();
  await ended.promise;
  await server.shutdown();
  const { totalSuccesses, totalFailures } = await fuse.make("orders").getMetrics();
  return [totalSuccesses, totalFailures];
}

Deno.test("circuitBreaker() counts a route whose request was answered by a timeout", async () => {
  assertEquals(await played(false), [0, 1]);
});

Deno.test("circuitBreaker() counts neutral when the client left before any answer", async () => {
  assertEquals(await played(true), [0, 0]);
});
