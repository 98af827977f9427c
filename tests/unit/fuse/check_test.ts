import { assert, assertEquals, assertInstanceOf, assertStrictEquals } from "@std/assert";
import { createFuse, memory as memoryStore, StoreUnavailableError } from "@fuse/edge";
import { type Driver, shared, StoreAnswerError } from "@fuse/edge/store";
import { FakeClock } from "@fuse/edge/testing";
import { chaos, memory } from "../../support/drivers.ts";
import { succeed } from "../../support/setups.ts";

Deno.test("Fuse.check() returns for each store whether it answers, and how long that took", async () => {
  const refused = new StoreAnswerError("READONLY", { scope: "store" });
  const fuse = createFuse({
    default: "array",
    stores: {
      array: memoryStore(),
      redis: chaos(memory(), {}),
      database: chaos(memory(), { fail: () => refused }),
    },
  });
  fuse.on("store_error", () => {});
  const { array, redis, database, ...others } = await fuse.check();
  assertEquals([array?.ok, redis?.ok, database?.ok, others], [true, true, false, {}]);
  assert(!("error" in array!));
  const error = database?.error;
  assertInstanceOf(error, StoreUnavailableError);
  assertStrictEquals((error as StoreUnavailableError).cause, refused);
  for (const one of [array, redis, database]) {
    assert(typeof one?.latencyMs === "number" && one.latencyMs >= 0);
  }
});

Deno.test("Fuse.check() asks during a back-off, and ends it when it is answered", async () => {
  const clock = new FakeClock();
  let down = true;
  const fuse = createFuse({
    stores: { redis: chaos(memory({ clock: clock.now }), { down: () => down }) },
    clock: clock.now,
  });
  fuse.on("store_error", () => {});
  await succeed(fuse.make("a"));
  down = false;
  assertEquals((await fuse.check()).redis?.ok, true);
  assertEquals((await fuse.make("a").snapshot()).ageMs, 0);
});

Deno.test("Fuse.check() leaves nothing behind", async () => {
  const store = memory();
  const fuse = createFuse({ stores: { redis: chaos(store, {}) } });
  assertEquals((await fuse.check()).redis?.ok, true);
  assertEquals(await Array.fromAsync(fuse.list()), []);
});

Deno.test("Fuse.check() uses the driver's own check, which may write", async () => {
  let checked = 0;
  const driver: Driver = Object.assign(chaos(memory(), {}), {
    check() {
      checked++;
      return Promise.reject(new StoreAnswerError("NOPERM", { scope: "store" }));
    },
  });
  const fuse = createFuse({ stores: { kv: shared(driver) } });
  fuse.on("store_error", () => {});
  const { kv } = await fuse.check();
  assertEquals([kv?.ok, checked], [false, 1]);
});
