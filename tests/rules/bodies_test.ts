// Rule 22 of src/rules/README.md: with `settle: "body"` a call counts when its body has ended. Trap 44.
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import {
  BodyTimeoutError,
  type CircuitBreaker,
  type CircuitOptions,
  createFuse,
  isBodyTimeoutError,
} from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { fileURLToPath } from "node:url";
import { deno, root } from "../tools/gate/project.ts";
import { fail, onEverySetup, type World } from "../support/setups.ts";
import { fed, told } from "../support/fed_bodies.ts";
import { startStreams, STREAM_CASES } from "../support/stream_server.ts";
import { counted } from "../support/upstream.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

const BODY: CircuitOptions = { settle: "body" };

/** Opens a circuit, and lets its cooldown pass. */
async function halfOpen(world: World, breaker: CircuitBreaker<unknown>): Promise<void> {
  await fail(breaker);
  await world.sync();
  world.clock.advance(1_000);
}

const TRIAL: CircuitOptions = {
  ...BODY,
  failureThreshold: 1,
  successThreshold: 1,
  cooldownMs: 1_000,
  halfOpenLeaseMs: 10_000,
};

for (
  const { path, method = "GET", headers = {}, limits = {}, text, error, counted: expected }
    of STREAM_CASES
) {
  const beside = Object.keys(limits).map((limit) => ` with ${limit}`).join();
  Deno.test(`CircuitBreaker.fetch() counts ${expected} when the body of ${method} ${path} has ended${beside}`, async () => {
    await using server = await startStreams();
    for (const form of ["fetch", "wrap", "fuse"] as const) {
      const fuse = createFuse({ defaults: { ...BODY, ...limits } });
      const breaker = fuse.make(form === "fuse" ? new URL(server.url).host : form);
      const send = { fetch: breaker.fetch, wrap: breaker.wrap(fetch), fuse: fuse.fetch }[form];
      const response = await send(server.url + path, { method, headers });
      // Nobody has read the body.
      assertEquals(await counted(breaker), text === "" ? expected : [0, 0]);
      if (text !== null) assertEquals(await response.text(), text);
      else {
        const thrown = await assertRejects(() => response.text());
        if (error !== undefined) assertEquals((thrown as Error).name, error);
      }
      assertEquals([form, ...await counted(breaker)], [form, ...expected]);
    }
  });
}

Deno.test("CircuitBreaker.fetch() keeps the properties of a Response when it counts with its body", async () => {
  await using server = await startStreams();
  const breaker = createFuse().make("a", BODY);
  for (const path of ["/length", "/range", "/gzip"]) {
    const [bare, response] = [
      await fetch(server.url + path),
      await breaker.fetch(server.url + path),
    ];
    for (const one of [response, response.clone()]) {
      assertInstanceOf(one, Response);
      for (const field of ["url", "redirected", "status", "statusText", "ok", "type"] as const) {
        assertEquals(one[field], bare[field], field);
      }
      assertEquals([...one.headers], [...bare.headers]);
      assertEquals(await one.bytes(), await bare.clone().bytes());
    }
    await bare.body?.cancel();
  }
  assertEquals(await counted(breaker), [3, 0]);
});

Deno.test("CircuitBreaker.fetch() closes the connection of a body that stalls", async () => {
  await using server = await startStreams();
  const breaker = createFuse().make("a", { ...BODY, idleTimeoutMs: 5 });
  const response = await breaker.fetch(`${server.url}/stall`);
  const error = await assertRejects(() => response.text());
  assertInstanceOf(error, BodyTimeoutError);
  assert(isBodyTimeoutError(structuredClone({ ...error })));
  assertEquals(
    [error.message, error.timeoutMs, error.circuit.name],
    ['Body of a call through circuit "a" stalled for 5 ms', 5, "a"],
  );
  while (server.connections > 0) await new Promise((resolve) => setTimeout(resolve, 1));
});

Deno.test("CircuitBreaker.fetch() counts at once when the status is a failure", async () => {
  await using server = await startStreams();
  const breaker = createFuse().make("a", BODY);
  const response = await breaker.fetch(`${server.url}/500`);
  assertEquals(await counted(breaker), [0, 1]);
  assertEquals(await response.text(), "down");
});

for (const type of [undefined, "bytes"] as const) {
  const stream = type === "bytes" ? "a byte stream" : "a stream";

  Deno.test(`CircuitBreaker.call() requests no chunk of ${stream} before it is read`, async () => {
    const upstream = fed(type);
    const response = await createFuse().make("a", BODY).call(() => upstream.response);
    const reader = response.body!.getReader();
    assertEquals(upstream.pulls(), 0);
    const reading = reader.read();
    upstream.give("one");
    assertEquals(new TextDecoder().decode((await reading).value), "one");
    assertEquals(upstream.pulls(), 1);
    await reader.cancel();
  });

  Deno.test(`CircuitBreaker.call() passes ${stream} to readers of its kind`, async () => {
    const upstream = fed(type);
    const response = await createFuse().make("a", BODY).call(() => upstream.response);
    const wanted = type === "bytes" ? "read" : "TypeError";
    try {
      const reader = response.body!.getReader({ mode: "byob" });
      const reading = reader.read(new Uint8Array(8));
      upstream.give("one");
      assertEquals(new TextDecoder().decode((await reading).value), "one");
      const last = reader.read(new Uint8Array(8));
      upstream.end();
      assertEquals((await last).done, true);
      assertEquals(wanted, "read");
    } catch (error) {
      assertEquals((error as Error).name, wanted);
    }
  });
}

Deno.test("CircuitBreaker.call() does not take the chunks of a body from their owner", async () => {
  const ping = new TextEncoder().encode(": ping\n");
  let rest = 3;
  const body = new ReadableStream({
    pull: (controller) => rest-- > 0 ? controller.enqueue(ping) : controller.close(),
  });
  const response = await createFuse().make("a", BODY).call(() => new Response(body));
  assertEquals(await response.text(), ": ping\n".repeat(3));
  assertEquals(ping.byteLength, 7);
});

for (
  const [what, response] of [
    ["has been read", async () => {
      const read = new Response("text");
      await read.text();
      return read;
    }],
    ["is locked", () => {
      const { response } = fed();
      response.body!.getReader();
      return response;
    }],
    ["is missing", () => new Response(null)],
    ["is a stream of Node's", () => ({ [Symbol.toStringTag]: "Response", status: 200, body: {} })],
  ] as [string, () => Response | Promise<Response>][]
) {
  Deno.test(`CircuitBreaker.call() counts at once when a body ${what}`, async () => {
    const breaker = createFuse().make("a", BODY);
    await breaker.call(response);
    assertEquals(await counted(breaker), [1, 0]);
  });
}

onEverySetup("A body that is read to its end counts as a success", async (world) => {
  const breaker = world.breaker(BODY);
  const upstream = fed();
  const result = await breaker.tryCall(() => upstream.response);
  assertEquals(await told(world), [0, 0]);
  upstream.give("one");
  upstream.end();
  assertEquals(await (result as { value: Response }).value.text(), "one");
  assertEquals([await told(world), world.told("success", "failure")], [[1, 0], ["success"]]);
});

onEverySetup("A body that breaks off counts as a failure, and opens", async (world) => {
  const breaker = world.breaker({ ...BODY, failureThreshold: 1 });
  const upstream = fed();
  const response = await breaker.call(() => upstream.response);
  upstream.give("one");
  const broken = new Error("connection lost");
  upstream.breakOff(broken);
  assertEquals(await assertRejects(() => response.text()), broken);
  assertEquals(await told(world), [0, 1]);
  const { state, lastFailure } = await breaker.snapshot();
  assertEquals([state, lastFailure?.kind], ["OPEN", "Error"]);
});

onEverySetup("The errors of a body are judged like those of a call", async (world) => {
  class Boring extends Error {}
  const breaker = world.breaker({ ...BODY, ignore: [Boring], record: [TypeError] });
  for (const error of [new Boring(), new Error(), new TypeError()]) {
    const upstream = fed();
    const response = await breaker.call(() => upstream.response);
    upstream.breakOff(error);
    await assertRejects(() => response.text());
  }
  assertEquals(await told(world), [1, 1]);
});

onEverySetup("callTimeoutMs ends with the headers, whatever the body does", async (world) => {
  const breaker = world.breaker({ ...BODY, callTimeoutMs: 5 });
  const upstream = fed();
  const response = await breaker.call(() => upstream.response);
  await new Promise((resolve) => setTimeout(resolve, 10));
  upstream.end();
  assertEquals(await response.text(), "");
  assertEquals(await told(world), [1, 0]);
});

onEverySetup("A slow reader is no stall", async (world) => {
  const breaker = world.breaker({ ...BODY, idleTimeoutMs: 5, firstByteTimeoutMs: 5 });
  const upstream = fed();
  const response = await breaker.call(() => upstream.response);
  const reader = response.body!.getReader();
  for (let chunk = 0; chunk < 2; chunk++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    upstream.give("one");
    assertEquals((await reader.read()).done, false);
  }
  await new Promise((resolve) => setTimeout(resolve, 10));
  upstream.end();
  assertEquals((await reader.read()).done, true);
  assertEquals(await told(world), [1, 0]);
});

onEverySetup("The duration of a call is that of its headers when a body counts", async (world) => {
  const breaker = world.breaker({ ...BODY, slowCallMs: 100 });
  const upstream = fed();
  const response = await breaker.call(() => {
    world.clock.advance(99);
    return upstream.response;
  });
  world.clock.advance(1_000);
  upstream.end();
  await response.text();
  await world.sync();
  assertEquals([world.heard("success")[0]?.durationMs, world.told("slow")], [99, []]);
});

onEverySetup(
  "A trial counts as a success once its body has flowed for half its lease",
  async (world) => {
    const breaker = world.breaker({ ...TRIAL, successThreshold: 2 });
    await halfOpen(world, breaker);
    const upstream = fed();
    const response = await breaker.call(() => upstream.response);
    const reader = response.body!.getReader();
    const read = async () => {
      upstream.give("one");
      await reader.read();
      return await told(world);
    };
    world.clock.advance(4_999);
    assertEquals(await read(), [0, 1]);
    world.clock.advance(1);
    assertEquals(await read(), [1, 1]);
    assertEquals(await read(), [1, 1]);
    upstream.breakOff(new Error("connection lost"));
    await assertRejects(() => reader.read());
    // A late failure: it adds to the totals only.
    assertEquals([await told(world), await breaker.getState()], [[1, 2], "HALF_OPEN"]);
    const { late } = world.heard("failure").at(-1)!;
    assertEquals(late, true);
  },
);

onEverySetup("A trial that flows long enough counts once, however its body ends", async (world) => {
  for (const how of ["end", "cancel"] as const) {
    const breaker = world.breaker(TRIAL);
    const [successes, failures] = await told(world);
    await halfOpen(world, breaker);
    const upstream = fed();
    const response = await breaker.call(() => upstream.response);
    const reader = response.body!.getReader();
    world.clock.advance(5_000);
    upstream.give("one");
    await reader.read();
    await world.sync();
    assertEquals(await breaker.getState(), "CLOSED");
    if (how === "cancel") await reader.cancel();
    else upstream.end();
    await reader.read();
    assertEquals(await told(world), [successes + 1, failures + 1]);
  }
});

onEverySetup("A trial whose body breaks off reopens the circuit", async (world) => {
  const breaker = world.breaker(TRIAL);
  await halfOpen(world, breaker);
  const upstream = fed();
  const response = await breaker.call(() => upstream.response);
  assertEquals(await breaker.getState(), "HALF_OPEN");
  upstream.breakOff(new Error("connection lost"));
  await assertRejects(() => response.text());
  await world.sync();
  assertEquals([await breaker.getState(), await told(world)], ["OPEN", [0, 2]]);
});

onEverySetup("A trial whose body nobody reads returns its slot", async (world) => {
  const breaker = world.breaker(TRIAL);
  await halfOpen(world, breaker);
  const unread = await breaker.call(() => new Response("unread"));
  const next = async () => (await breaker.tryCall(() => "next")).ok;
  assertEquals(await next(), false);
  world.clock.advance(9_999);
  assertEquals([await next(), world.told("ignored")], [false, []]);
  world.clock.advance(1_001);
  assertEquals([await next(), world.told("ignored")], [true, ["ignored"]]);
  // It has counted.
  assertEquals(await unread.text(), "unread");
  assertEquals(await told(world), [1, 1]);
});

onEverySetup("A trial whose body is canceled returns its slot at once", async (world) => {
  const breaker = world.breaker(TRIAL);
  await halfOpen(world, breaker);
  const response = await breaker.call(() => new Response("unread"));
  await response.body!.cancel();
  await breaker.call(() => "next");
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
});

Deno.test("A body that nobody reads counts as neutral at the next call after the lease", async () => {
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now });
  const breaker = fuse.make("a", { ...BODY, halfOpenLeaseMs: 1_000 });
  let ignored = 0;
  fuse.on("ignored", () => ignored++);
  for (let call = 0; call < 3; call++) {
    await breaker.call(() => new Response("unread"));
    clock.advance(400);
  }
  assertEquals(ignored, 0);
  await breaker.call(() => "next");
  assertEquals(ignored, 1);
  clock.advance(2_000);
  assertEquals(ignored, 1);
  await breaker.tryCall(() => Promise.reject(new Error()));
  assertEquals([ignored, await counted(breaker)], [3, [1, 1]]);
});

Deno.test("A body that nobody reads is collected with its Response", async () => {
  const program = `
    import { createFuse } from "@fuse/edge";
    const breaker = createFuse().make("a", { settle: "body" });
    const refs = [];
    for (let i = 0; i < 100; i++) {
      const body = new ReadableStream({ pull() {} });
      refs.push(new WeakRef(body), new WeakRef(await breaker.call(() => new Response(body))));
    }
    await new Promise((resolve) => setTimeout(resolve));
    gc();
    console.log(refs.filter((ref) => ref.deref() !== undefined).length);
  `;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, program);
    const config = new URL("deno.json", root).href;
    const { stdout, stderr } = await deno([
      ...["run", "--quiet", "--no-check", "--no-lock", "--v8-flags=--expose-gc"],
      ...["--config", fileURLToPath(config), file],
    ]);
    // The variables of the last iteration may hold their references.
    assert(Number(stdout) <= 2, stdout + stderr);
  } finally {
    await Deno.remove(file);
  }
});
