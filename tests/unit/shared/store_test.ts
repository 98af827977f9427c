// shared(): a store of a driver, and the refusal of an invalid driver.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Clock, createFuse, type Store } from "@fuse/edge";
import { type Driver, shared } from "@fuse/edge/store";
import { chaos, storeContract } from "@fuse/edge/testing";
import { tiered } from "@fuse/edge/libsql";
import { CIRCUITS, memory } from "../../support/drivers.ts";

/** A driver as a user writes it: plain methods that use `this`, and no code that opens circuits. */
class UserDriver implements Pick<Driver, "name" | "traits"> {
  readonly name = "kv";
  readonly traits = { persistent: false, shared: true, audited: false };
  readonly #inner: Driver;
  asked: string[] = [];

  private constructor(clock: Clock) {
    this.#inner = memory({ clock });
  }

  static make(clock: Clock = Date.now): UserDriver & Driver {
    return new UserDriver(clock) as UserDriver & Driver;
  }

  static {
    const operations = [
      ...["read", "record", "acquire", "transition", "override", "restore", "list", "remove"],
    ];
    for (const operation of operations) {
      Object.defineProperty(UserDriver.prototype, operation, {
        value(this: UserDriver, ...args: unknown[]) {
          this.asked.push(operation);
          const inner = this.#inner as unknown as Record<string, (...args: unknown[]) => unknown>;
          return Promise.resolve(inner[operation]!(...args));
        },
      });
    }
  }
}

Deno.test("shared() returns a store whose circuits use the driver", async () => {
  const driver = UserDriver.make();
  const store: Store = shared(driver);
  assertEquals([store.name, store.traits], ["kv", driver.traits]);
  const fuse = createFuse({ stores: { store }, defaults: { consistency: "strong" } });
  assertEquals(await fuse.make("a").call(() => "an answer"), "an answer");
  await fuse.flush();
  assertEquals(driver.asked, ["acquire", "record"]);
});

Deno.test("shared() performs no I/O and does not call the driver", () => {
  const driver = UserDriver.make();
  createFuse({ stores: { store: shared(driver) } }).make("a");
  assertEquals(driver.asked, []);
});

Deno.test("shared() has exactly the optional methods of the driver", () => {
  const plain = shared(UserDriver.make()) as Store & Partial<Driver>;
  assertEquals([plain.history, plain.confirm, plain.describe], [undefined, undefined, undefined]);
  const able = Object.assign(UserDriver.make(), { describe: () => "a text" });
  assertEquals((shared(able) as Store & Partial<Driver>).describe?.(new Error("a")), "a text");
});

for (const value of [undefined, null, 7, "kv", {}, { read() {} }, () => {}]) {
  Deno.test(`shared() refuses ${typeof value === "object" ? JSON.stringify(value) : String(value)}`, () => {
    assertThrows(() => shared(value as unknown as Driver), TypeError, '"driver" must be an object');
  });
}

Deno.test("createFuse() refuses a bare driver, and says what to write", () => {
  const kv = UserDriver.make();
  assertThrows(
    () => createFuse({ stores: { kv } }),
    TypeError,
    'Cannot create fuse: "stores.kv" must be a store, received a driver; make a store of it with ' +
      'shared(driver) of "@fuse/edge/store"',
  );
});

Deno.test("chaos() and tiered() accept stores, and refuse a bare driver", () => {
  const driver = UserDriver.make();
  assertThrows(() => chaos(driver, {}), TypeError, "must be a store such as memory() makes");
  assertEquals(chaos(shared(driver), {}).name, "chaos(kv)");
  assertThrows(
    () => tiered({ state: driver, audit: {} as never }),
    TypeError,
    '"state" must be a store such as upstash() makes',
  );
});

Deno.test("storeContract() accepts a driver as well as a store", async () => {
  const [first] = storeContract(({ clock }) => UserDriver.make(clock));
  await first!.run();
  const [same] = storeContract(({ clock }) => shared(UserDriver.make(clock)));
  await same!.run();
});

Deno.test("another copy of this package recognizes a store", () => {
  assert(CIRCUITS === Symbol.for("@fuse/edge: circuits"));
});
