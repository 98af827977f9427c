// Tests that need a process of their own: collected closures, Node's printing, a process that ends.
import { assert, assertEquals } from "@std/assert";
import { deno, root } from "../tools/gate/project.ts";

/**
 * Runs a module of this project in a Deno process of its own, and returns the JSON that it prints.
 */
async function run(code: string, ...flags: string[]): Promise<unknown> {
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/main.ts`;
    await Deno.writeTextFile(path, code);
    const config = ["--config", new URL("deno.json", root).pathname, "--no-lock"];
    const { ok, stdout, stderr } = await deno([
      "run",
      "-A",
      "--no-check",
      ...flags,
      ...config,
      path,
    ]);
    assert(ok, stderr);
    return JSON.parse(stdout.trim().split("\n").at(-1)!);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const IMPORTS = `
import { createFuse, memory } from ${JSON.stringify(new URL("mod.ts", root).href)};
import { chaos } from ${JSON.stringify(new URL("src/testing/mod.ts", root).href)};
`;

for (const setup of ["memory", "strong", "eventual"] as const) {
  Deno.test(`make() lets the first handle's closures be collected (${setup})`, async () => {
    // Section 5: functions belong to the handle and are never stored.
    const alive = await run(
      `${IMPORTS}
      const store = ${setup === "memory" ? "memory()" : "chaos(memory(), {})"};
      const consistency = ${JSON.stringify(setup === "eventual" ? "eventual" : "strong")};
      const fuse = createFuse({ stores: { a: store } });
      const options = { failureThreshold: 1, consistency };
      const collected = [];
      const registry = new FinalizationRegistry((name) => collected.push(name));
      let references = [];
      async function handleRequest() {
        const request = { body: new Uint8Array(1000) };
        const fallback = () => request.body.length;
        const isFailure = (outcome) => !outcome.ok && request !== null;
        const ignore = [(error) => error === request];
        const breaker = fuse.make("a", { ...options, fallback, isFailure, ignore });
        await breaker.call(() => request);
        await breaker.tryCall(() => { throw new Error("down"); });
        await fuse.flush();
        const used = await breaker.call(() => "fresh");
        for (const [name, value] of Object.entries({ request, fallback, isFailure, breaker })) {
          registry.register(value, name);
          references.push(new WeakRef(value));
        }
        return used;
      }
      const first = await handleRequest();
      await fuse.flush();
      for (let i = 0; i < 1_000 && collected.length < 4; i++) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        globalThis.gc();
      }
      const second = await fuse.make("a", { ...options, fallback: () => "second" }).call(() => 1);
      console.log(JSON.stringify({
        first,
        second,
        alive: references.filter((reference) => reference.deref() !== undefined).length,
        collected: collected.toSorted(),
      }));`,
      "--v8-flags=--expose-gc",
    );
    assertEquals(alive, {
      first: 1_000,
      second: "second",
      alive: 0,
      collected: ["breaker", "fallback", "isFailure", "request"],
    });
  });
}

Deno.test("createFuse() keeps no process alive", async () => {
  // Trap 40: the process ends by itself, with an open circuit, an unsettled permit and a failing
  // store.
  const printed = await run(
    `${IMPORTS}
    const fuse = createFuse({
      stores: { array: memory(), remote: chaos(memory(), { errorRate: 1 }) },
    });
    const open = fuse.make("open", { failureThreshold: 1, callTimeoutMs: 30_000 });
    await open.tryCall(() => { throw new Error("down"); });
    await fuse.make("permit").admit();
    await fuse.store("remote").make("a").call(() => 1);
    console.log(JSON.stringify(await open.getState()));`,
  );
  assertEquals(printed, "OPEN");
});

/** Asserts the form of a rejection on any runtime. */
const PRINT = `
const fuse = createFuse();
const breaker = fuse.make("payments", { failureThreshold: 1 });
await breaker.tryCall(() => { throw new Error("down"); });
const error = await breaker.call(() => 1).catch((error) => error);
const timeout = await fuse.make("slow").call(() => new Promise(() => {}), { timeoutMs: 1 })
  .catch((error) => error);
`;

const LOOK = `
console.log(JSON.stringify([error, timeout].map((error) => ({
  isError: error instanceof Error,
  name: error.name,
  message: error.message,
  text: String(error),
  stack: error.stack,
  printed: inspect(error),
  json: JSON.parse(JSON.stringify(error)),
}))));
`;

interface Look {
  isError: boolean;
  name: string;
  message: string;
  text: string;
  stack: string;
  printed: string;
  json: Record<string, unknown>;
}

function looksRight([rejection, timeout]: Look[]): void {
  const { printed, json, ...error } = rejection!;
  assertEquals(error, {
    isError: true,
    name: "CircuitBreakerOpenError",
    message: error.message,
    text: `CircuitBreakerOpenError: ${error.message}`,
    stack: `CircuitBreakerOpenError: ${error.message}`,
  });
  assert(error.message.includes('Circuit "payments" is OPEN'), error.message);
  assert(printed.includes("CircuitBreakerOpenError") && printed.includes(error.message), printed);
  assertEquals(json, {
    name: "CircuitBreakerOpenError",
    message: error.message,
    circuit: { key: "payments", store: "array", name: "payments", context: null, boundary: null },
    state: "OPEN",
    override: null,
    reason: "consecutive_failures",
    retryAfterMs: json.retryAfterMs,
  });
  assertEquals([timeout!.name, timeout!.isError], ["CallTimeoutError", true]);
  assert(timeout!.printed.includes(timeout!.message), timeout!.printed);
  assertEquals(timeout!.json.timeoutMs, 1);
}

Deno.test("CircuitBreakerOpenError() prints name and message under Deno", async () => {
  // Rule 10.
  looksRight(await run(`${IMPORTS}${PRINT}const inspect = Deno.inspect;${LOOK}`) as Look[]);
});

Deno.test({
  name: "CircuitBreakerOpenError() prints name and message under Node",
  ignore: !await hasNode(),
  async fn() {
    // Rule 10.
    const directory = await Deno.makeTempDir();
    try {
      const path = `${directory}/main.mjs`;
      const bundle = await run(`
        import * as esbuild from "esbuild";
        const { outputFiles } = await esbuild.build({
          stdin: {
            contents: ${JSON.stringify(`export * from "./mod.ts";`)},
            resolveDir: ${JSON.stringify(root.pathname)},
            loader: "ts",
          },
          bundle: true,
          format: "esm",
          target: "es2022",
          write: false,
        });
        await esbuild.stop();
        console.log(JSON.stringify(outputFiles[0].text));
      `);
      await Deno.writeTextFile(`${directory}/fuse.mjs`, bundle as string);
      await Deno.writeTextFile(
        path,
        `import { createFuse } from "./fuse.mjs";
        import { inspect, types } from "node:util";
        ${PRINT}
        if (types.isNativeError(error)) throw new Error("made by Error itself");
        ${LOOK}`,
      );
      const { success, stdout, stderr } = await new Deno.Command("node", { args: [path] }).output();
      assert(success, new TextDecoder().decode(stderr));
      looksRight(JSON.parse(new TextDecoder().decode(stdout)));
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  },
});

async function hasNode(): Promise<boolean> {
  try {
    return (await new Deno.Command("node", { args: ["--version"] }).output()).success;
  } catch {
    return false;
  }
}
