import { assert, assertEquals, assertThrows } from "@std/assert";
import type { FuseEvent } from "@fuse/edge";
import { Events, inScope } from "../../src/events.ts";
import { replacing, turn } from "../support/setups.ts";

const ROOT = { store: null, context: undefined, boundary: undefined };
const A = { key: "a", store: "s", name: "a", context: null, boundary: null };

/** Events with all their fields. */
function listening(filter = ROOT, type = "*") {
  const events = new Events();
  const heard: FuseEvent[] = [];
  const off = events.on(type, (event: FuseEvent) => void heard.push(event), filter, undefined);
  return { events, heard, off };
}

/** Returns the console output while `body` ran. */
async function complaints(body: () => Promise<void> | void): Promise<string[]> {
  const said: string[] = [];
  const fake = {
    ...console,
    error: (...args: unknown[]) => void said.push(args.map(String).join(" ")),
  };
  await replacing("console", fake, async () => {
    await body();
  });
  return said;
}

Deno.test("Events.emit() prints that a listener threw when its error cannot be inspected", async () => {
  class Broken extends Error {
    [Symbol.for("Deno.customInspect")](): never {
      throw new Error("broken, too");
    }
  }
  const events = new Events();
  const fail = () => {
    throw new Broken();
  };
  events.on("success", fail, ROOT, undefined);
  const printed: unknown[][] = [];
  const error = (...args: unknown[]) => {
    printed.push(args);
    Deno.inspect(args[1]);
  };
  await replacing("console", { ...console, error }, () => {
    events.emit("success", { ...A, durationMs: 1 });
    return Promise.resolve();
  });
  assertEquals(printed.at(-1), ['Fuse: "success" threw']);
});

Deno.test("Events.emit() calls listeners of the type, then those of all events, in order of registration", () => {
  const events = new Events();
  const order: string[] = [];
  events.on("*", () => order.push("*"), ROOT, undefined);
  events.on("reborn", () => order.push("first"), ROOT, undefined);
  events.on("reborn", () => order.push("second"), ROOT, undefined);
  events.on("evicted", () => order.push("other"), ROOT, undefined);
  events.emit("reborn", A);
  assertEquals(order, ["first", "second", "*"]);
});

Deno.test("Events.emit() adds the type to the event", () => {
  const { events, heard } = listening();
  events.emit("rejected", { ...A, retryAfterMs: 5 });
  assertEquals(heard, [{ ...A, retryAfterMs: 5, type: "rejected" }]);
});

Deno.test("Events.on() with one listener twice calls it twice, and each stops by itself", () => {
  const events = new Events();
  let count = 0;
  const listener = () => count++;
  const off = events.on("reborn", listener, ROOT, undefined);
  events.on("reborn", listener, ROOT, undefined);
  events.emit("reborn", A);
  assertEquals(count, 2);
  off();
  off();
  events.emit("reborn", A);
  assertEquals(count, 3);
});

Deno.test("Events.on() stops when its signal aborts, and leaves nothing on it", () => {
  const events = new Events();
  const controller = new AbortController();
  let listeners = 0;
  const { signal } = controller;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: unknown[]) => {
    listeners++;
    Reflect.apply(addEventListener, signal, args);
  };
  signal.removeEventListener = (...args: unknown[]) => {
    listeners--;
    Reflect.apply(removeEventListener, signal, args);
  };
  let count = 0;
  const off = events.on("reborn", () => count++, ROOT, signal);
  events.on("reborn", () => count++, ROOT, signal);
  off();
  assertEquals(listeners, 1);
  controller.abort();
  assertEquals(listeners, 0);
  events.emit("reborn", A);
  assertEquals(count, 0);
  assert(!events.hears("reborn"));
});

Deno.test("Events.on() adds nothing for an aborted signal", () => {
  const events = new Events();
  events.on("reborn", () => {}, ROOT, AbortSignal.abort())();
  assert(!events.hears("reborn"));
});

Deno.test("Events.on() refuses an unknown event", () => {
  for (const type of ["open", "", "constructor", "Opened", undefined, Symbol("x")]) {
    assertThrows(
      () => new Events().on(type as string, () => {}, ROOT, undefined),
      RangeError,
      "there are only opened, would_open, closed,",
    );
  }
});

Deno.test("Events.on() refuses a listener that is no function", () => {
  for (const listener of [undefined, null, {}, "f"]) {
    assertThrows(
      () => new Events().on("opened", listener as never, ROOT, undefined),
      TypeError,
      `Cannot listen to "opened": "listener" must be a function`,
    );
  }
});

Deno.test("Events.hears() returns whether a listener would be called", () => {
  const { events, off } = listening(ROOT, "opened");
  assertEquals([events.hears("opened"), events.hears("closed")], [true, false]);
  const offAll = events.on("*", () => {}, ROOT, undefined);
  assertEquals([events.hears("opened"), events.hears("closed")], [true, true]);
  offAll();
  off();
  assertEquals([events.hears("opened"), events.hears("closed")], [false, false]);
});

for (const type of ["success", "failure", "slow", "ignored", "*"]) {
  Deno.test(`Events() has hearsCalls true while there is a listener for "${type}"`, () => {
    const { events, off } = listening(ROOT, type);
    assert(events.hearsCalls);
    off();
    assert(!events.hearsCalls);
  });
}

Deno.test("Events() has hearsCalls false when there are only listeners for other events", () => {
  assertEquals(listening(ROOT, "opened").events.hearsCalls, false);
  assertEquals(listening(ROOT, "rejected").events.hearsCalls, false);
});

Deno.test("Events.emit() calls all listeners of its beginning, even if one stops another", () => {
  const events = new Events();
  let count = 0;
  const offs: (() => void)[] = [];
  const listener = () => {
    count++;
    for (const off of offs) off();
  };
  offs.push(events.on("reborn", listener, ROOT, undefined));
  offs.push(events.on("reborn", listener, ROOT, undefined));
  events.emit("reborn", A);
  events.emit("reborn", A);
  assertEquals(count, 2);
});

Deno.test("Events.emit() does not call a listener that was added during the event", () => {
  const events = new Events();
  let late = 0;
  events.on(
    "reborn",
    () => {
      events.on("reborn", () => late++, ROOT, undefined);
    },
    ROOT,
    undefined,
  );
  events.emit("reborn", A);
  assertEquals(late, 0);
});

Deno.test("Events.emit() reports a listener that throws or rejects, and calls the others", async () => {
  const { events, heard } = listening(ROOT, "listener_error");
  let told = 0;
  events.on(
    "reborn",
    () => {
      throw new Error("thrown");
    },
    ROOT,
    undefined,
  );
  events.on("reborn", () => Promise.reject(new Error("rejected")), ROOT, undefined);
  events.on("reborn", () => told++, ROOT, undefined);
  events.emit("reborn", A);
  await turn();
  assertEquals(told, 1);
  assertEquals(
    heard.map((event) => event.type === "listener_error" && [event.source, String(event.error)]),
    [["reborn", "Error: thrown"], ["reborn", "Error: rejected"]],
  );
});

Deno.test("Events.emit() waits for a listener's promise as await does, whatever its own then is", async () => {
  const held: unknown[] = [];
  const events = new Events((work) => void held.push(work));
  const errors: unknown[] = [];
  events.on("listener_error", ({ error }) => void errors.push(error), ROOT, undefined);
  const own = (promise: Promise<unknown>) => Object.assign(promise, { then: () => {} });
  events.on("reborn", () => own(Promise.resolve("written")), ROOT, undefined);
  events.on("reborn", () => own(Promise.reject("rejected")), ROOT, undefined);
  events.emit("reborn", A);
  assertEquals(await Promise.all(held), ["written", undefined]);
  assertEquals(errors, ["rejected"]);
});

Deno.test("Events.emit() prints errors of listeners without a listener_error listener", async () => {
  const said = await complaints(async () => {
    const events = new Events();
    events.on("reborn", () => Promise.reject(new Error("boom")), ROOT, undefined);
    events.emit("reborn", A);
    await turn();
  });
  assertEquals(said, [`Fuse: "reborn" threw Error: boom`]);
});

for (const type of ["listener_error", "*"]) {
  Deno.test(`Events.emit() does not loop when a "${type}" listener throws`, async () => {
    const said = await complaints(() => {
      const events = new Events();
      events.on(
        type,
        () => {
          throw new Error("again");
        },
        ROOT,
        undefined,
      );
      events.report("strategy", new Error("first"));
    });
    assertEquals(said, [`Fuse: "listener_error" threw Error: again`]);
  });
}

Deno.test("Events.report() names the source, and can be passed on alone", () => {
  const { events, heard } = listening();
  const { report } = events;
  const error = new Error("boom");
  report("isFailure", error);
  assertEquals(heard, [{ type: "listener_error", source: "isFailure", error }]);
});

Deno.test("Events.emit() calls a scoped listener for its own circuits", () => {
  const T = "tenant:1";
  const circuits = [
    A,
    { ...A, context: T },
    { ...A, context: T, boundary: "r:1" },
    { ...A, boundary: "r:1" },
    { ...A, store: "other", context: T },
  ];
  const heardBy = (filter: typeof ROOT | object) => {
    const { events, heard } = listening({ ...ROOT, ...filter });
    for (const circuit of circuits) events.emit("reborn", circuit);
    return heard.map((event) =>
      circuits.findIndex((c) =>
        "store" in event && "context" in event && c.store === event.store &&
        c.context === event.context && c.boundary === event.boundary
      )
    );
  };
  assertEquals(heardBy({}), [0, 1, 2, 3, 4]);
  assertEquals(heardBy({ context: T }), [1, 2, 4]);
  assertEquals(heardBy({ context: null }), [0, 3]);
  assertEquals(heardBy({ boundary: "r:1" }), [2, 3]);
  assertEquals(heardBy({ context: T, boundary: null }), [1, 4]);
  assertEquals(heardBy({ store: "s" }), [0, 1, 2, 3]);
  assertEquals(heardBy({ store: "other", context: T }), [4]);
});

Deno.test("Events.emit() calls scoped listeners for events of their store, or of no store", () => {
  const { events, heard } = listening({ ...ROOT, store: "s", context: "t:1" } as never);
  events.emit("store_recovered", { store: "s" });
  events.emit("store_recovered", { store: "other" });
  events.report("strategy", "boom");
  assertEquals(heard.map(({ type }) => type), ["store_recovered", "listener_error"]);
});

Deno.test("inScope() treats undefined as any and null as none", () => {
  const circuit = { context: "t:1", boundary: null };
  assert(inScope({ context: undefined, boundary: undefined }, circuit));
  assert(inScope({ context: "t:1", boundary: null }, circuit));
  assert(!inScope({ context: null, boundary: undefined }, circuit));
  assert(!inScope({ context: "t:2", boundary: undefined }, circuit));
  assert(!inScope({ context: undefined, boundary: "t:1" }, circuit));
});

Deno.test("Events.emit() sends a store's error to every view of it, and the circuit to views that have it", () => {
  const events = new Events();
  const error = { store: "s", operation: "read", error: null, retryAfterMs: 1 };
  const heardBy = (context: string | null | undefined) => {
    const heard: FuseEvent[] = [];
    const filter = { ...ROOT, context };
    events.on("store_error", (event: FuseEvent) => void heard.push(event), filter, undefined);
    return heard;
  };
  const [root, own, other] = [heardBy(undefined), heardBy(null), heardBy("tenant:acme")];
  events.emit("store_error", { ...error, circuit: A });
  assertEquals(root, [{ ...error, type: "store_error", circuit: A }]);
  assertEquals(own, root);
  assertEquals(other, [{ ...error, type: "store_error" }]);
});

Deno.test("Events.alarm() warns of nothing that a listener has received, which then removes itself", async () => {
  const warnings: unknown[] = [];
  const events = new Events();
  const off = events.on("nested", () => off(), ROOT, undefined);
  const silent = { ...console, warn: (text: unknown) => warnings.push(text) };
  await replacing("console", silent, () => {
    events.alarm("nested", A, () => "one");
    return Promise.resolve();
  });
  assertEquals(warnings, []);
});

Deno.test("Events.alarm() warns of the first event of a type without a listener", async () => {
  const warnings: unknown[] = [];
  const silent = { ...console, warn: (text: unknown) => warnings.push(text) };
  const detail = { ...A, options: ["windowMs"] };
  await replacing("console", silent, () => {
    const events = new Events();
    for (const text of ["one", "two"]) events.alarm("config_mismatch", detail, () => text);
    events.alarm("nested", A, () => "three");
    const heard: string[] = [];
    events.on("nested", ({ name }: { name: string }) => heard.push(name), ROOT, undefined);
    events.alarm("nested", A, () => "four");
    assertEquals(heard, [A.name]);
    return Promise.resolve();
  });
  assertEquals(warnings, ["Fuse: one", "Fuse: three"]);
});
