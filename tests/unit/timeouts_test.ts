// The alarm that calls share on Deno.
import { assert, assertEquals } from "@std/assert";
import { passAfter as realPassAfter } from "../../src/timeouts.ts";

/** Alarms that ring on demand, and a clock, for a copy of the module that has set none yet. */
async function withAlarms(
  body: (world: {
    passAfter: typeof realPassAfter;
    /** The alarms that were set, in ms. */
    set: number[];
    advance(ms: number): void;
  }) => void,
): Promise<void> {
  const { passAfter } = await import(`../../src/timeouts.ts?${crypto.randomUUID()}`);
  const { timeout } = AbortSignal;
  const { now } = performance;
  const alarms: { at: number; controller: AbortController }[] = [];
  const set: number[] = [];
  let time = 0;
  performance.now = () => time;
  AbortSignal.timeout = (ms) => {
    const controller = new AbortController();
    alarms.push({ at: time + ms, controller });
    set.push(ms);
    return controller.signal;
  };
  const advance = (ms: number) => {
    const until = time + ms;
    for (;;) {
      const [next] = alarms.sort((a, b) => a.at - b.at);
      if (next === undefined || next.at > until) break;
      alarms.shift();
      time = next.at;
      next.controller.abort();
    }
    time = until;
  };
  try {
    body({ passAfter, set, advance });
  } finally {
    AbortSignal.timeout = timeout;
    performance.now = now;
  }
}

Deno.test("passAfter() calls back each call at its own moment when several wait", async () => {
  await withAlarms(({ passAfter, advance }) => {
    const passed: string[] = [];
    passAfter(100, () => passed.push("100"));
    advance(10);
    passAfter(30, () => passed.push("40"));
    passAfter(100, () => passed.push("110"));
    advance(29.5);
    assertEquals(passed, []);
    advance(0.5);
    assertEquals(passed, ["40"]);
    advance(60);
    assertEquals(passed, ["40", "100"]);
    advance(10);
    assertEquals(passed, ["40", "100", "110"]);
  });
});

Deno.test("passAfter() does not call back a canceled call", async () => {
  await withAlarms(({ passAfter, advance }) => {
    const passed: string[] = [];
    passAfter(50, () => passed.push("kept"));
    passAfter(20, () => passed.push("called off"))();
    advance(100);
    assertEquals(passed, ["kept"]);
  });
});

Deno.test("passAfter() does not pass a call that one that passes called off", async () => {
  await withAlarms(({ passAfter, advance }) => {
    const passed: string[] = [];
    let callOff = () => {};
    passAfter(10, () => {
      passed.push("first");
      callOff();
    });
    callOff = passAfter(10, () => passed.push("second"));
    advance(10);
    assertEquals(passed, ["first"]);
  });
});

Deno.test("passAfter() keeps those that wait when others are called off in any order", async () => {
  await withAlarms(({ passAfter, set, advance }) => {
    const passed: number[] = [];
    const callOffs = Array.from({ length: 9 }, (_, i) => passAfter(10 + i, () => passed.push(i)));
    for (const i of [8, 0, 3, 3, 7]) callOffs[i]!();
    advance(20);
    assertEquals(passed.toSorted(), [1, 2, 4, 5, 6]);
    callOffs.forEach((callOff) => callOff());
    passAfter(10, () => passed.push(9));
    advance(10);
    assertEquals(passed.at(-1), 9);
    // No alarm is set when nobody waits.
    const before = set.length;
    advance(100);
    assertEquals(set.length, before);
  });
});

Deno.test("passAfter() sets one alarm when a thousand calls wait one after the other", async () => {
  await withAlarms(({ passAfter, set, advance }) => {
    for (let i = 0; i < 1_000; i++) {
      const callOff = passAfter(5_000, () => {});
      advance(1);
      callOff();
    }
    assertEquals(set, [5_000]);
  });
});

Deno.test("passAfter() sets one alarm for each moment at which calls pass, in whatever order they wait", async () => {
  for (const order of [(i: number) => i, (i: number) => 99 - i]) {
    await withAlarms(({ passAfter, set, advance }) => {
      let passed = 0;
      for (let i = 0; i < 100; i++) passAfter(1_000 + order(i), () => passed++);
      const before = set.length;
      advance(1_099);
      assertEquals(passed, 100);
      assert(set.length - before < 100, `${set.length - before} alarms`);
    });
  }
});

Deno.test("passAfter() sets another alarm when the last one rang while no call waited", async () => {
  await withAlarms(({ passAfter, set, advance }) => {
    passAfter(10, () => {})();
    advance(20);
    let passed = false;
    passAfter(10, () => passed = true);
    advance(10);
    assertEquals([passed, set], [true, [10, 10]]);
  });
});

Deno.test("passAfter() accepts a call from a callback", async () => {
  await withAlarms(({ passAfter, advance }) => {
    const passed: string[] = [];
    passAfter(10, () => {
      passed.push("first");
      passAfter(10, () => passed.push("second"));
    });
    advance(19);
    assertEquals(passed, ["first"]);
    advance(1);
    assertEquals(passed, ["first", "second"]);
  });
});

Deno.test("passAfter() rounds up to whole milliseconds", async () => {
  await withAlarms(({ passAfter, set, advance }) => {
    let passed = false;
    passAfter(0.5, () => passed = true);
    advance(1);
    assertEquals([passed, set], [true, [1]]);
  });
});

Deno.test("passAfter() calls back in real time, and leaves nothing behind", async () => {
  // A longer wait must not keep the process, or the sanitizers of this test.
  const callOff = realPassAfter(600_000, () => {});
  const { promise, resolve } = Promise.withResolvers<void>();
  realPassAfter(1, resolve);
  await promise;
  callOff();
});

/** Returns the output of a program in a process of its own. */
async function printed(program: string): Promise<string> {
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", `--config=${new URL("../../deno.json", import.meta.url).pathname}`, program],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

Deno.test("a call with callTimeoutMs that has ended keeps no process alive", async () => {
  const output = await printed(`
    import { createFuse } from "@fuse/edge";
    const breaker = createFuse().make("api", { callTimeoutMs: 30_000 });
    for (let i = 0; i < 3; i++) await breaker.call(() => new Promise((go) => setTimeout(go, 1)));
    addEventListener("unload", () => console.log(performance.now() < 20_000));
  `);
  assertEquals(output, "true\n");
});

Deno.test("createFuse() and a call load nothing that Deno loads when it is first touched", async () => {
  const output = await printed(`
    const touched = [];
    for (const [name, found] of Object.entries(Object.getOwnPropertyDescriptors(globalThis))) {
      if (found.get === undefined || !found.configurable) continue;
      const get = () => {
        touched.push(name);
        return found.get.call(globalThis);
      };
      Object.defineProperty(globalThis, name, { ...found, get });
    }
    const { createFuse } = await import("@fuse/edge");
    await createFuse().make("api").call(() => 42);
    const slow = touched.filter((name) => name !== "navigator");
    console.log(slow.join());
  `);
  assertEquals(output, "\n");
});
