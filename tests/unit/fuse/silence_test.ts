// No failure is silent (design, "The guard", point 5): the console output without a listener, and
// the events of an isolate that decides alone.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { createFuse, type FuseEvents } from "@fuse/edge";
import { health } from "@fuse/edge/hono";
import { StoreAnswerError } from "@fuse/edge/store";
import { FakeClock } from "@fuse/edge/testing";
import { Hono } from "hono";
import { prometheus } from "../../../src/prometheus.ts";
import { chaos, memory } from "../../support/drivers.ts";
import { fail, replacing, succeed, turn } from "../../support/setups.ts";

/** Returns the console warnings while `body` ran. */
async function warnings(body: () => Promise<void>): Promise<string[]> {
  const said: string[] = [];
  const warn = (...args: unknown[]) => void said.push(args.map(String).join(" "));
  await replacing("console", { ...console, warn }, body);
  return said;
}

/** A Fuse on a store that fails the operations for which `fails` returns `true`. */
function failing(fails: (operation: string, key: string | null) => Error | undefined) {
  const clock = new FakeClock();
  const store = memory({ clock: clock.now });
  const fuse = createFuse({
    stores: { redis: chaos(store, { fail: fails }) },
    clock: clock.now,
  });
  return { clock, store, fuse };
}

Deno.test("createFuse() warns once, not once for each call, when the token is wrong", async () => {
  const said = await warnings(async () => {
    const { fuse, clock } = failing(() =>
      new StoreAnswerError("WRONGPASS invalid password", { scope: "store" })
    );
    const breakers = ["a", "b", "c", "d"].map((name) => fuse.make(name));
    for (let i = 0; i < 50; i++) {
      for (const breaker of breakers) await succeed(breaker);
      await turn();
      clock.advance(1_000);
    }
  });
  // Reads and writes are refused separately.
  const ours = said.filter((text) => text.includes("WRONGPASS"));
  assert(ours.length >= 1 && ours.length <= 2, said.join("\n"));
  assertStringIncludes(ours[0]!, 'Fuse: store "redis" fails at ');
});

Deno.test("createFuse() warns once of an outage, and again of the next", async () => {
  let down = true;
  const said = await warnings(async () => {
    const { fuse, clock } = failing(() => down ? new Error("connection refused") : undefined);
    const breaker = fuse.make("a");
    for (const phase of [true, false, true]) {
      down = phase;
      for (let i = 0; i < 20; i++) {
        await succeed(breaker);
        await turn();
        clock.advance(3_000);
      }
    }
  });
  const outages = said.filter((text) => text.includes("connection refused"));
  assertEquals(outages.length, 2, said.join("\n"));
});

Deno.test("list() warns once when it is refused, however often it is called", async () => {
  const said = await warnings(async () => {
    const { fuse } = failing((operation) => operation === "list" ? new Error("SCAN") : undefined);
    for (let i = 0; i < 5; i++) await Array.fromAsync(fuse.list()).catch(() => {});
  });
  assertEquals(said, ['Fuse: store "redis" fails at list, Error: SCAN']);
});

Deno.test("lost outcomes, a foreign policy and a circuit that begins anew cause warnings", async () => {
  const said = await warnings(async () => {
    let down = false;
    const { fuse, clock, store } = failing(() => down ? new Error("gone") : undefined);
    const breaker = fuse.make("a", { revalidateMs: 0 });
    fuse.make("a", { revalidateMs: 0, failureThreshold: 9 });
    await succeed(breaker);
    await fuse.flush();
    await succeed(breaker);
    await fuse.flush();
    await store.remove("a");
    await succeed(breaker);
    await fuse.flush();
    down = true;
    await succeed(breaker);
    await fuse.flush();
    clock.advance(60_000);
    await fuse.flush();
  });
  const about = (text: string) => said.filter((line) => line.includes(text)).length;
  assertEquals(
    [about("may be lost"), about("begins anew"), about("two policies")].map((n) => n >= 1),
    [true, true, true],
    said.join("\n"),
  );
});

for (
  const type of [
    "store_error",
    "unconfirmed",
    "reborn",
    "config_mismatch",
  ] as const satisfies readonly (keyof FuseEvents)[]
) {
  Deno.test(`on() replaces the warning when it is of ${type}`, async () => {
    const heard: unknown[] = [];
    const said = await warnings(async () => {
      let down = false;
      const { fuse, clock, store } = failing(() => down ? new Error("gone") : undefined);
      fuse.on(type, (event) => void heard.push(event));
      const breaker = fuse.make("a", { revalidateMs: 0 });
      fuse.make("a", { revalidateMs: 0, failureThreshold: 9 });
      for (let i = 0; i < 2; i++) {
        await succeed(breaker);
        await fuse.flush();
        if (i === 0) continue;
        await store.remove("a");
        await succeed(breaker);
        await fuse.flush();
      }
      down = true;
      await succeed(breaker);
      await fuse.flush();
      clock.advance(60_000);
      await fuse.flush();
    });
    assert(heard.length >= 1);
    const words = {
      store_error: "fails at",
      unconfirmed: "may be lost",
      reborn: "begins anew",
      config_mismatch: "two policies",
    }[type];
    assertEquals(said.filter((line) => line.includes(words)), []);
  });
}

Deno.test("snapshot(), explain(), health() and metrics() say that this isolate decides alone", async () => {
  let refuses = false;
  const { fuse, clock } = failing((operation) =>
    refuses && operation !== "read" && operation !== "list"
      ? new StoreAnswerError("OOM", { scope: "store" })
      : undefined
  );
  fuse.on("store_error", () => {});
  const breaker = fuse.make("a", { failureThreshold: 2 });
  await succeed(breaker);
  await fuse.flush();
  const app = new Hono().get("/", health({ fuse }));
  const metrics = prometheus(fuse);
  const answered = async () => {
    const response = await app.request("/");
    return [response.status, await response.json()] as const;
  };
  assertEquals((await breaker.snapshot()).local, false);
  const [, before] = await answered();
  assertEquals(before.stores, { redis: "ok" });
  assertStringIncludes(await metrics(), 'fuse_store_up{store="redis"} 1\n');

  refuses = true;
  await fail(breaker, 2);
  await turn();
  // Reads still succeed: that is no recovery.
  const snapshot = await breaker.snapshot();
  assertEquals([snapshot.local, snapshot.state], [true, "OPEN"]);
  assertStringIncludes(await breaker.explain(), "decides alone");
  const [status, body] = await answered();
  assertEquals([status, body.status, body.stores], [200, "degraded", { redis: "down" }]);
  const scraped = await metrics();
  assertStringIncludes(scraped, 'fuse_store_up{store="redis"} 0\n');
  assertStringIncludes(scraped, 'fuse_local_circuits{store="redis"} 1\n');

  refuses = false;
  clock.advance(10_000);
  await fuse.flush();
  assertEquals((await breaker.snapshot()).local, false);
  const [, after] = await answered();
  assertEquals(after.stores, { redis: "ok" });
  assertStringIncludes(await metrics(), 'fuse_store_up{store="redis"} 1\n');
});
