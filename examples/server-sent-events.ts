/**
 * A proxy for server-sent events, such as the tokens of a language model: a stream that stalls or breaks
 * off is a failure, though its status was 200. `settle: "body"` makes the circuit wait for the end.
 *
 *     deno run -A examples/server-sent-events.ts
 *
 * In an application, end with `Deno.serve(app.fetch)` in place of the requests below.
 */

import { createFuse } from "@fuse/edge";
import { Hono } from "hono";
import { streamSSE } from "hono/streaming";

const fuse = createFuse();
const model = fuse.make("model", {
  settle: "body",
  firstByteTimeoutMs: 2_000, // it may think before it speaks
  idleTimeoutMs: 200, // but must not stop midway
  failureThreshold: 2,
});
for (const outcome of ["success", "failure", "ignored", "opened"] as const) {
  fuse.on(outcome, ({ name, type }) => console.log(`${name}: ${type}`));
}

// A model that stops midway when asked to.
await using upstream = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  new Hono().get("/:manner", (c) =>
    streamSSE(c, async (stream) => {
      await stream.writeSSE({ data: "Once" });
      if (c.req.param("manner") === "stalls") {
        await new Promise<void>((resolve) => stream.onAbort(resolve));
      }
      await stream.writeSSE({ data: "upon a time" });
    })).fetch,
);
const origin = `http://127.0.0.1:${upstream.addr.port}`;

/** The proxy: chunks pass as they arrive, and a client that leaves is neutral. */
const app = new Hono().get("/stories/:manner", async (c) => {
  const { signal } = c.req.raw;
  return await model.fetch(`${origin}/${c.req.param("manner")}`, { signal });
});
app.onError((error, c) => "getResponse" in error ? error.getResponse() : c.text("", 502));

/** Reads a story to its end, or a number of its events. */
async function read(manner: string, most = Infinity): Promise<void> {
  const response = await app.request(`/stories/${manner}`);
  const words: string[] = [];
  try {
    for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
      words.push(...text.matchAll(/^data: (.+)$/gm).map(([, word]) => word!));
      if (words.length >= most) break;
    }
  } catch (error) {
    words.push(`(${(error as Error).name})`);
  }
  console.log(`${manner}: ${response.status} ${words.join(" ")}`);
}

await read("goes-on");
await read("stalls", 1); // has seen enough
for (let i = 0; i < 2; i++) await read("stalls");
await read("goes-on");
