// Rule 19 of src/rules/README.md: a circuit called within itself. Trap 57.
import { assertEquals } from "@std/assert";
import { type CircuitBreaker, type CircuitOptions, createFuse, type Fuse } from "@fuse/edge";
import { circuitBreaker, type FuseVariables } from "@fuse/edge/hono";
import { FakeClock } from "@fuse/edge/testing";
import { Hono } from "hono";
import { Boom, onEverySetup, replacing, turn, type World } from "../support/setups.ts";
import { upstream } from "../support/upstream.ts";

Deno.test.sanitizer({ ops: true, resources: true });

const OPTIONS: CircuitOptions = { failureThreshold: 2, cooldownMs: 1_000, successThreshold: 2 };

/** The form of the inner call: at once, after an await, by another handle's permit. */
const WAYS: [
  name: string,
  call: (a: CircuitBreaker, b: CircuitBreaker, run: () => string) => unknown,
][] = [
  ["at once", (a, b, run) => a.tryCall(() => b.call(run))],
  ["by the same handle", (a, _, run) => a.tryCall(() => a.call(run))],
  ["three deep", (a, b, run) => a.tryCall(() => b.call(() => a.call(run)))],
  [
    "around another circuit",
    (a, b, run) => a.tryCall(() => createFuse().make("other").call(() => b.call(run))),
  ],
  ["after an await", (a, b, run) =>
    a.tryCall(async () => {
      await turn();
      return await b.call(run);
    })],
  ["by a permit", (a, b, run) =>
    a.tryCall(async () => {
      const permit = await b.admit();
      try {
        run();
        await permit.success();
      } catch (error) {
        await permit.failure(error);
        throw error;
      }
    })],
];

for (const [name, call] of WAYS) {
  onEverySetup(
    `a circuit called within itself ${name} recovers with its upstream`,
    async (world) => {
      const { make } = world.isolate();
      const [a, b] = [make(OPTIONS), make(OPTIONS)];
      let healthy = false;
      let reached = 0;
      const run = () => {
        reached++;
        if (!healthy) throw new Boom();
        return "fine";
      };
      while (await a.getState() === "CLOSED") {
        await call(a, b, run);
        await world.sync();
      }
      healthy = true;
      reached = 0;
      for (let i = 0; i < 4; i++) {
        world.clock.advance(1_000);
        await call(a, b, run);
        await world.sync();
      }
      assertEquals([await a.getState(), reached > 0, world.told("nested")], ["CLOSED", true, [
        "nested",
      ]]);
    },
  );
}

onEverySetup("a trial that passes its slot on admits one call", async (world) => {
  const breaker = await halfOpenNested(world);
  const inner = Promise.withResolvers<string>();
  let inside = 0;
  const nested = breaker.tryCall(() =>
    breaker.call(() => {
      inside++;
      return inner.promise;
    })
  );
  await turn();
  const others = await Promise.all([1, 2, 3].map(() => breaker.tryCall(() => inside++)));
  assertEquals([inside, others.map(({ ok }) => ok)], [1, [false, false, false]]);
  inner.resolve("fine");
  assertEquals((await nested).ok, true);
  await world.sync();
  assertEquals(world.stored().halfOpen, { inFlight: 0, freeAt: null, successes: 1, failures: 0 });
});

/** A circuit that was detected to be called within itself, and whose cooldown has passed. */
async function halfOpenNested(world: World): Promise<CircuitBreaker> {
  const breaker = world.breaker(OPTIONS);
  await breaker.tryCall(() => breaker.call(() => Promise.reject(new Boom())));
  await world.sync();
  world.clock.advance(1_000);
  assertEquals(world.told("nested", "opened"), ["nested", "opened"]);
  return breaker;
}

onEverySetup("two circuits within each other are not nested", async (world) => {
  const { make } = world.isolate();
  await make().call(() => make({}, "b").call(() => 1));
  await make({}, "b").forceOpen();
  await make().tryCall(() => make({}, "b").call(() => 1));
  await make().call(() => 1);
  assertEquals(world.told("nested"), []);
});

Deno.test("a circuit called within itself causes one warning when there is no listener", async () => {
  const warnings: unknown[] = [];
  await replacing(
    "console",
    { ...console, warn: (text: unknown) => warnings.push(text) },
    async () => {
      const fuse = createFuse();
      for (const name of ["a", "a", "b"]) {
        await fuse.make(name).call(() => fuse.make(name).call(() => 1));
      }
    },
  );
  assertEquals(warnings.map((text) => String(text).slice(0, 45)), [
    'Fuse: circuit "a" is called within itself, so its calls'.slice(0, 45),
  ]);
});

/** A Fuse, its clock and an upstream that can be broken. */
async function withShop(
  body: (
    shop: { fuse: Fuse; clock: FakeClock; url: string; health: { ok: boolean } },
  ) => Promise<void>,
): Promise<void> {
  const health = { ok: false };
  await upstream(() => new Response("", { status: health.ok ? 200 : 500 }), async (url) => {
    const clock = new FakeClock();
    const fuse = createFuse({ clock: clock.now, defaults: OPTIONS });
    fuse.on("nested", () => {});
    await body({ fuse, clock, url, health });
  });
}

Deno.test("a route that calls the circuit that guards it recovers", async () => {
  for (const wait of [() => undefined, turn]) {
    await withShop(async ({ fuse, clock, url, health }) => {
      const app = new Hono<{ Variables: FuseVariables }>();
      app.use("/shop/*", circuitBreaker({ fuse, name: "shop" }));
      app.get("/shop/*", async (c) => {
        await wait();
        return await c.var.fuse.make("shop").fetch(url);
      });
      const get = async () => {
        const response = await app.request("/shop/1");
        await response.text();
        return response.status;
      };
      while (await fuse.make("shop").getState() === "CLOSED") await get();
      health.ok = true;
      const seen: number[] = [];
      for (let i = 0; i < 4; i++) {
        clock.advance(1_000);
        seen.push(await get());
      }
      assertEquals([await fuse.make("shop").getState(), seen.at(-1)], ["CLOSED", 200]);
    });
  }
});

Deno.test("a route that is guarded twice by one circuit recovers", async () => {
  await withShop(async ({ fuse, clock, url, health }) => {
    const app = new Hono();
    app.use(circuitBreaker({ fuse, name: "shop" }));
    app.use(async (_c, next) => {
      await turn();
      await next();
    });
    app.use("/shop/*", circuitBreaker({ fuse, name: "shop" }));
    app.get("/shop/*", () => fetch(url));
    const get = async () => {
      const response = await app.request("/shop/1");
      await response.body?.cancel();
    };
    while (await fuse.make("shop").getState() === "CLOSED") await get();
    health.ok = true;
    for (let i = 0; i < 4; i++) {
      clock.advance(1_000);
      await get();
    }
    assertEquals(await fuse.make("shop").getState(), "CLOSED");
  });
});

Deno.test("fuse.fetch within the circuit of its host recovers", async () => {
  await withShop(async ({ fuse, clock, url, health }) => {
    const breaker = fuse.make(new URL(url).host);
    const get = async () => {
      const result = await breaker.tryCall(() => fuse.fetch(url));
      if (result.ok) await result.value.body?.cancel();
    };
    while (await breaker.getState() === "CLOSED") await get();
    health.ok = true;
    for (let i = 0; i < 4; i++) {
      clock.advance(1_000);
      await get();
    }
    assertEquals(await breaker.getState(), "CLOSED");
  });
});
