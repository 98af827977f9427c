// health() and metrics().
import { assert, assertEquals } from "@std/assert";
import { createFuse, type Fuse, memory } from "@fuse/edge";
import { circuitBreaker, health, metrics } from "@fuse/edge/hono";
import { StoreAnswerError } from "@fuse/edge/store";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { Hono } from "hono";
import { prometheus } from "../../../src/prometheus.ts";
import { boom, shared, TRIP } from "./app.ts";

Deno.test("health() is ok while no circuit is open", async () => {
  const fuse = createFuse();
  await fuse.make("api").call(() => 1);
  assertEquals(await healthOf(fuse, ["api", "never called"]), {
    code: 200,
    status: "ok",
    open: [],
  });
});

Deno.test("health() is degraded while a circuit is open, and down only for a critical one", async () => {
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now, defaults: TRIP });
  const app = new Hono().get("/", health({ fuse, critical: ["database"] }));
  await fuse.make("newsletter").tryCall(() => boom());
  await fuse.make("ads").tryCall(() => boom());
  assertEquals(await ask(app), { code: 200, status: "degraded", open: ["ads", "newsletter"] });

  await fuse.make("database").tryCall(() => boom());
  const open = ["ads", "database", "newsletter"];
  assertEquals(await ask(app), { code: 503, status: "failing", open });

  // An instance without traffic would never run a successful trial.
  clock.advance(5_000);
  assertEquals(await ask(app), { code: 200, status: "ok", open: [] });

  await fuse.make("database").tryCall(() => boom());
  assertEquals((await ask(app)).code, 503);
  await fuse.make("database").reset();
  assertEquals((await ask(app)).code, 200);
});

Deno.test("health() names stores that are down, and drains no instance for it", async () => {
  // Trap 66: no circuit is open, and every write fails.
  let refuses = false;
  const refusal = new StoreAnswerError("READONLY", { scope: "store" });
  const remote = chaos(memory(), {
    fail: (operation) => refuses && operation === "record" ? refusal : undefined,
  });
  const fuse = createFuse({ stores: { array: memory(), remote } });
  const app = new Hono().get("/", health({ fuse, critical: ["api"] }));
  const answer = async () => {
    const response = await app.request("/");
    return [response.status, await response.json()];
  };
  const api = fuse.store("remote").make("api");
  await api.call(() => 1);
  await fuse.flush();
  const stores = { array: "ok", remote: "ok" };
  assertEquals(await answer(), [200, { status: "ok", open: [], stores }]);
  refuses = true;
  fuse.on("store_error", () => {});
  await api.tryCall(() => Promise.reject(new Error("down")));
  await fuse.flush();
  const down = { array: "ok", remote: "down" };
  assertEquals(await answer(), [200, { status: "degraded", open: [], stores: down }]);
  assertEquals([api.peek().local, (await api.explain()).includes("decides alone")], [true, true]);
  assertEquals((await prometheus(fuse)()).match(/^fuse_(store_up|local_circuits).*/gm), [
    'fuse_local_circuits{store="array"} 0',
    'fuse_local_circuits{store="remote"} 1',
    'fuse_store_up{store="array"} 1',
    'fuse_store_up{store="remote"} 0',
  ]);
});

Deno.test("health() uses the state under an override", async () => {
  const fuse = createFuse({ defaults: TRIP });
  const app = new Hono().get("/", health({ fuse, critical: ["api"] }));
  const api = fuse.make("api");
  await api.forceOpen();
  assertEquals((await ask(app)).code, 503);
  await api.tryCall(() => boom());
  await api.release();
  await api.tryCall(() => boom());
  await api.forceClose();
  assertEquals(await ask(app), { code: 200, status: "ok", open: [] });
  await api.release();
  assertEquals((await ask(app)).code, 503);
});

Deno.test("health() does not drain an instance for a tenant's circuit, and names no tenant", async () => {
  const fuse = createFuse({ defaults: TRIP });
  const app = new Hono().get("/", health({ fuse, critical: ["mail"] }));
  const tenant = fuse.for({ type: "tenant", id: "acme: 50 % of 日本" });
  await tenant.make("mail").tryCall(() => boom());
  assertEquals(await ask(app), { code: 200, status: "degraded", open: ["mail"] });
});

Deno.test("health() knows a critical circuit of another store", async () => {
  const fuse = createFuse({ stores: { one: memory(), two: memory() } });
  const app = new Hono().get("/", health({ fuse, critical: ["api"] }));
  await fuse.make("api", { ...TRIP, store: "two" }).tryCall(() => boom());
  assertEquals((await ask(app)).code, 503);
});

Deno.test("health() learns from rejections what another isolate opened, without a store request", async () => {
  const { fuse, store, asked, clock } = shared();
  const other = createFuse({ clock: clock.now, stores: { shared: store }, defaults: TRIP });
  const app = new Hono().get("/", health({ fuse, critical: ["api"] }));
  await other.make("api").tryCall(() => boom());
  assertEquals((await ask(app)).code, 200); // not known here

  await fuse.make("api").tryCall(() => 1);
  const before = asked();
  assertEquals((await ask(app)).code, 503);
  assertEquals((await ask(app)).code, 503);
  assertEquals(asked(), before);
});

Deno.test("health() stops trusting an override that this isolate has not seen for a minute", async () => {
  const { fuse, store, clock } = shared();
  const other = createFuse({ clock: clock.now, stores: { shared: store } });
  const app = new Hono().get("/", health({ fuse, critical: ["api"] }));
  await fuse.make("api").forceOpen();
  await other.make("api").release(); // while this instance is out of rotation
  clock.advance(60_000);
  assertEquals((await ask(app)).code, 503);
  clock.advance(1);
  assertEquals((await ask(app)).code, 200);
});

Deno.test("health() knows circuits that opened before it was created", async () => {
  const fuse = createFuse({ defaults: TRIP });
  await fuse.make("mail").tryCall(() => boom());
  assertEquals(await healthOf(fuse, []), { code: 200, status: "degraded", open: ["mail"] });
  assertEquals((await healthOf(fuse, ["mail"])).code, 503);
});

Deno.test("health() knows circuits that opened through another function that returns the same Fuse", async () => {
  const fuse = createFuse({ defaults: TRIP });
  const app = new Hono();
  app.get("/", health({ fuse: () => fuse }));
  app.get("/shop", circuitBreaker({ fuse: () => fuse, name: "shop" }), (c) => c.text("", 500));
  await app.request("/shop");
  assertEquals(await ask(app), { code: 200, status: "degraded", open: ["shop"] });
});

Deno.test("health() knows circuits that this isolate has read and never called", async () => {
  const { fuse, store, asked, clock } = shared();
  const other = createFuse({ clock: clock.now, stores: { shared: store }, defaults: TRIP });
  await other.make("api").tryCall(() => boom());
  assertEquals(await fuse.make("api").getState(), "OPEN");
  const before = asked();
  assertEquals(await healthOf(fuse, []), { code: 200, status: "degraded", open: ["api"] });
  assertEquals(asked(), before);
});

Deno.test("health() shows only the given view", async () => {
  const fuse = createFuse({ stores: { one: memory(), two: memory() }, defaults: TRIP });
  const acme = fuse.for({ type: "tenant", id: "acme" });
  await fuse.make("plain").tryCall(() => boom());
  await acme.make("mail").tryCall(() => boom());
  await acme.store("two").make("other").tryCall(() => boom());
  assertEquals(await healthOf(acme, ["mail"]), {
    code: 503,
    status: "failing",
    open: ["mail", "other"],
  });
  assertEquals((await healthOf(acme.store("one"), [])).open, ["mail"]);
  assertEquals((await healthOf(fuse.for(null), [])).open, ["plain"]);
});

Deno.test("health() forgets what the Fuse forgets, but not what is critical", async () => {
  const fuse = createFuse({ defaults: TRIP, maxCircuits: 100 });
  const app = new Hono().get("/", health({ fuse, critical: ["first"] }));
  await fuse.make("first").tryCall(() => boom());
  for (let i = 0; i < 150; i++) await fuse.make(`host ${i}`).tryCall(() => boom());
  const { code, open } = await ask(app);
  assertEquals([code, open.length, open[0]], [503, 100, "first"]);
});

Deno.test("health() uses the critical circuits of a foreign Fuse", async () => {
  const fuse = createFuse({ defaults: TRIP });
  const own = { make: (name: string) => fuse.make(name) } as unknown as Fuse;
  await fuse.make("mail").tryCall(() => boom());
  assertEquals(await healthOf(own, []), { code: 200, status: "ok", open: [] });
  assertEquals((await healthOf(own, ["mail"])).code, 503);
});

Deno.test("health() has the failure that opened a circuit, the last one of a name, and no message", async () => {
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now, defaults: TRIP, instance: "fra1" });
  const app = new Hono().get("/", health({ fuse }));
  const openedBy = async () => (await (await app.request("/")).json()).openedBy;
  await fuse.make("forced").forceOpen();
  assertEquals(await openedBy(), undefined);
  const refused = Object.assign(new Error("secret"), { code: "ECONNREFUSED" });
  await fuse.make("__proto__").tryCall(() => Promise.reject(refused));
  const at = new Date(clock.now()).toISOString();
  const first = { at, kind: "ECONNREFUSED", status: null, instance: "fra1" };
  assertEquals(Object.entries(await openedBy()), [["__proto__", first]]);
  clock.advance(1_000);
  const scoped = fuse.for({ type: "tenant", id: 7 }).make("__proto__");
  await scoped.tryCall(() => new Response(null, { status: 503 }));
  const { kind, status } =
    Object.entries<{ kind: string; status: number }>(await openedBy())[0]![1];
  assertEquals([kind, status], ["Response", 503]);
});

Deno.test("health() forbids caching", async () => {
  const app = new Hono().get("/", health({ fuse: createFuse() }));
  const response = await app.request("/");
  assertEquals(response.headers.get("cache-control"), "no-store");
  await response.body?.cancel();
});

Deno.test("metrics() answers with Prometheus text", async () => {
  const fuse = createFuse();
  const app = new Hono()
    .get("/metrics", metrics({ fuse }))
    .get("/tenants", metrics({ fuse, scopeLabels: true }));
  await fuse.for({ type: "tenant", id: 7 }).make("mail").call(() => 1);

  const response = await app.request("/metrics");
  assertEquals(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  assert((await response.text()).includes('{store="array",circuit="mail",outcome="success"} 1\n'));
  assert((await (await app.request("/tenants")).text()).includes('context="tenant:7"'));
});

function healthOf(fuse: Fuse, critical: readonly string[]) {
  return ask(new Hono().get("/", health({ fuse, critical })));
}

async function ask(app: Hono): Promise<{ code: number; status: string; open: string[] }> {
  const response = await app.request("/");
  const { stores: _, openedBy: __, ...rest } = await response.json();
  return { code: response.status, ...rest };
}
