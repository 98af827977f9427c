import { assert, assertEquals, assertMatch, assertStrictEquals } from "@std/assert";
import {
  CallTimeoutError,
  CircuitBreakerOpenError,
  FuseError,
  isCallTimeoutError,
  isCircuitBreakerOpenError,
  isStoreUnavailableError,
  rejectionOf,
  StoreUnavailableError,
} from "@fuse/edge";
import { deno } from "../tools/gate/project.ts";
import { StoreAnswerError } from "@fuse/edge/store";
import { isStoreAnswerError } from "../../src/errors.ts";

const CIRCUIT = { key: "pay", store: "array", name: "pay", context: null, boundary: null };
const WHY = `Circuit "pay" is OPEN`;
const open = (retryAfterMs = 1500) =>
  new CircuitBreakerOpenError(CIRCUIT, "OPEN", null, "consecutive_failures", retryAfterMs, WHY);
const timeout = new CallTimeoutError(CIRCUIT, 250);
const unavailable = new StoreUnavailableError("redis", 900);

const ALL: [Error, string, string][] = [
  [open(), "CircuitBreakerOpenError", WHY],
  [timeout, "CallTimeoutError", `Call through circuit "pay" took longer than 250 ms`],
  [
    unavailable,
    "StoreUnavailableError",
    `Store "redis" does not answer; it is asked again in 900 ms`,
  ],
];

Deno.test("StoreUnavailableError() names no time to wait when there is no back-off", () => {
  assertEquals(new StoreUnavailableError("redis", 1).message, `Store "redis" does not answer`);
});

for (const [error, name, message] of ALL) {
  Deno.test(`${name} looks like any other Error`, () => {
    assert(error instanceof Error && error instanceof FuseError);
    assertEquals([error.name, error.message], [name, message]);
    assertEquals(String(error), `${name}: ${message}`);
    assertEquals(error.stack, `${name}: ${message}`);
    assertEquals(Object.prototype.toString.call(error), "[object Object]");
  });
  Deno.test(`${name} prints name and message in Deno`, () => {
    assertMatch(Deno.inspect(error), new RegExp(`${name}: ${message}`));
    assertMatch(Deno.inspect({ nested: [error] }), new RegExp(name));
  });
  Deno.test(`${name} can be decorated, as any Error`, () => {
    // Frameworks and source-map tools do this.
    const said = error.message;
    for (const field of ["message", "stack", "name"] as const) {
      error[field] = `other ${field}`;
      assertEquals(error[field], `other ${field}`);
    }
    Object.assign(error, { name, message: said });
    Reflect.deleteProperty(error, "stack");
    assertEquals(error.stack, `${name}: ${said}`);
  });
}

Deno.test("FuseError() is the base, with a name and an empty message", () => {
  const error = new FuseError();
  assertEquals([error.name, error.message, error.stack], ["FuseError", "", "FuseError: "]);
  assert(error instanceof Error);
});

Deno.test("toJSON() shows name, message and the public fields", () => {
  assertEquals(JSON.parse(JSON.stringify(ALL.map(([error]) => error))), [
    {
      circuit: CIRCUIT,
      state: "OPEN",
      override: null,
      reason: "consecutive_failures",
      retryAfterMs: 1500,
      name: "CircuitBreakerOpenError",
      message: WHY,
    },
    { circuit: CIRCUIT, timeoutMs: 250, name: "CallTimeoutError", message: timeout.message },
    {
      store: "redis",
      retryAfterMs: 900,
      name: "StoreUnavailableError",
      message: unavailable.message,
    },
  ]);
});

Deno.test("getResponse() returns a 503 that no cache keeps, in problem+json", async () => {
  const response = open().getResponse();
  assertEquals(response.status, 503);
  assertEquals(Object.fromEntries(response.headers), {
    "cache-control": "no-store",
    "content-type": "application/problem+json",
    "retry-after": "2",
  });
  assertEquals(await response.json(), {
    type: "about:blank",
    title: "Service Unavailable",
    status: 503,
    retryAfterMs: 1500,
  });
});

Deno.test("getResponse() has whole seconds, at least 1, rounded up", () => {
  const cases: [number, string][] = [[1, "1"], [999, "1"], [1000, "1"], [1001, "2"], [
    60_000,
    "60",
  ]];
  for (const [ms, seconds] of cases) {
    assertEquals(open(ms).getResponse().headers.get("retry-after"), seconds);
  }
});

Deno.test("getResponse() creates a new Response each time", async () => {
  const error = open();
  await error.getResponse().text();
  assertEquals((await error.getResponse().json()).status, 503);
});

Deno.test("isCircuitBreakerOpenError() and the other guards distinguish the errors", () => {
  const guards = [isCircuitBreakerOpenError, isCallTimeoutError, isStoreUnavailableError];
  assertEquals(ALL.map(([error]) => guards.map((guard) => guard(error))), [
    [true, false, false],
    [false, true, false],
    [false, false, true],
  ]);
});

Deno.test("isCircuitBreakerOpenError() and the other guards return false for everything else", () => {
  const others = [
    undefined,
    null,
    0,
    "CircuitBreakerOpenError",
    {},
    new Error("x"),
    new FuseError(),
    { name: "CircuitBreakerOpenError", retryAfterMs: "1" },
    { name: "CallTimeoutError", retryAfterMs: 1 },
    { name: "StoreUnavailableError", store: "s" },
    new Error("CircuitBreakerOpenError: said by somebody else"),
    Object.assign(new Error("x"), { name: "CircuitBreakerOpenError" }),
    Object.assign(new Error("x"), { name: "CallTimeoutError" }),
    Object.assign(new Error("x"), { name: "StoreUnavailableError" }),
  ];
  for (const guard of [isCircuitBreakerOpenError, isCallTimeoutError, isStoreUnavailableError]) {
    for (const other of others) assertEquals(guard(other), false);
  }
});

Deno.test("isCircuitBreakerOpenError() and the other guards recognize errors of another copy of this package", async () => {
  const copy: typeof import("../../src/errors.ts") = await import(
    new URL("../../src/errors.ts?copy", import.meta.url).href
  );
  const errors = [
    new copy.CircuitBreakerOpenError(CIRCUIT, "OPEN", null, null, 1, WHY),
    new copy.CallTimeoutError(CIRCUIT, 1),
    new copy.StoreUnavailableError("s", 1),
  ];
  assert(!(errors[0] instanceof CircuitBreakerOpenError));
  const guards = [isCircuitBreakerOpenError, isCallTimeoutError, isStoreUnavailableError];
  assertEquals(guards.map((guard, i) => guard(errors[i])), [true, true, true]);
});

Deno.test("errors print, serialize and throw in Node as they do in Deno", async () => {
  const dir = await Deno.makeTempDir();
  const outfile = `${dir}/errors.mjs`;
  try {
    const script = `
      import { createFuse, CircuitBreakerOpenError, isCircuitBreakerOpenError } from "${
      new URL("../../mod.ts", import.meta.url).pathname
    }";
      import { inspect } from "node:util";
      const breaker = createFuse().make("pay", { failureThreshold: 1 });
      await breaker.tryCall(() => { throw new Error("down"); });
      try {
        await breaker.call(() => "never");
      } catch (error) {
        console.log(JSON.stringify({
          isError: error instanceof Error,
          isOurs: error instanceof CircuitBreakerOpenError && isCircuitBreakerOpenError(error),
          inspected: inspect(error),
          text: String(error),
          json: JSON.parse(JSON.stringify(error)).name,
          status: error.getResponse().status,
        }));
        throw error;
      }
    `;
    const entry = `${dir}/main.ts`;
    await Deno.writeTextFile(entry, script);
    // A process of its own ends esbuild's service as well.
    const bundled = await deno(
      ["run", "-A", "npm:esbuild@^0.28.2", entry, "--bundle", "--format=esm", "--platform=neutral"]
        .concat("--external:node:util", `--outfile=${outfile}`, "--log-level=error"),
    );
    assert(bundled.ok, bundled.stderr);
    const { code, stdout, stderr } = await new Deno.Command("node", { args: [outfile] }).output();
    const sentence = /CircuitBreakerOpenError: Circuit "pay" is OPEN since/;
    const told = JSON.parse(new TextDecoder().decode(stdout));
    assertMatch(told.inspected, sentence);
    assertMatch(told.text, sentence);
    assertEquals([told.isError, told.isOurs, told.json, told.status], [
      true,
      true,
      "CircuitBreakerOpenError",
      503,
    ]);
    assertEquals(code, 1);
    // Uncaught, it ends the process with its own message.
    assertMatch(new TextDecoder().decode(stderr), sentence);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("StoreAnswerError() has its scope, its name and the given cause", () => {
  const cause = new Error("the client's");
  const error = new StoreAnswerError("OOM", { scope: "store", cause });
  assert(error instanceof Error);
  assertEquals([error.name, error.message, error.scope], ["StoreAnswerError", "OOM", "store"]);
  assertEquals([error.cause, String(error)], [cause, "StoreAnswerError: OOM"]);
  assert(!("cause" in new StoreAnswerError("OOM", { scope: "circuit" })));
});

Deno.test("isStoreAnswerError() recognizes errors of another copy by their shape, and nothing else", () => {
  assert(isStoreAnswerError(new StoreAnswerError("a", { scope: "circuit" })));
  assert(isStoreAnswerError({ name: "StoreAnswerError", scope: "store" }));
  const hostile = {
    get name(): never {
      throw new Error("hostile");
    },
  };
  const other = { name: "StoreAnswerError", scope: "isolate" };
  for (const value of [new Error("a"), null, undefined, "StoreAnswerError", other, hostile]) {
    assertEquals(isStoreAnswerError(value), false);
  }
});

// Rule 10, trap 58.
for (const [error, name] of ALL) {
  Deno.test(`${name} survives structuredClone()`, () => {
    const clone = structuredClone(error);
    assertEquals(clone, { ...error });
    const guards = [isCircuitBreakerOpenError, isCallTimeoutError, isStoreUnavailableError];
    assertEquals(guards.map((guard) => guard(clone)), guards.map((guard) => guard(error)));
  });
}

Deno.test("rejectionOf() finds a rejection in causes, and converts a clone to a real error", () => {
  for (const error of [open(), unavailable]) {
    const wrapped = new Error("Connection error", { cause: new Error("failed", { cause: error }) });
    assertStrictEquals(rejectionOf(wrapped), error);
    const made = rejectionOf(new Error("x", { cause: structuredClone(error) }));
    assertEquals({ ...made }, { ...error });
    assert(made instanceof FuseError);
  }
  assertEquals(open().getResponse().status, 503);
});

Deno.test("rejectionOf() finds the first of the rejections that Promise.any fails with, if there is nothing else", async () => {
  const any = (...errors: unknown[]) =>
    Promise.any(errors.map((error) => Promise.reject(error))).catch((error) => error);
  const [first, second] = [open(), structuredClone(open())];
  const wrapped = new Error("Connection error", { cause: second });
  assertStrictEquals(rejectionOf(await any(first, wrapped)), first);
  assertEquals({ ...rejectionOf(await any(wrapped, first)) }, { ...first });
  assertEquals(rejectionOf(await any(first, new Error("down"))), undefined);
  assertEquals(rejectionOf(await any()), undefined);
  // The errors of other classes are something else.
  const invalid = new Error("Invalid", { cause: first });
  assertStrictEquals(rejectionOf(Object.assign(invalid, { errors: { name: "short" } })), first);
  const circle = await any(first);
  circle.errors = [circle, circle];
  assertEquals(rejectionOf(circle), undefined);
});

Deno.test("rejectionOf() examines few errors of a list in lists, which an upstream may have sent", () => {
  let looks = 0;
  let error: unknown = {
    retryAfterMs: 1,
    get name() {
      looks++;
      return "CircuitBreakerOpenError";
    },
  };
  for (let i = 0; i < 15; i++) {
    error = { errors: [error] };
    rejectionOf(error);
  }
  assert(looks < 100, `examined ${looks} times`);
});

Deno.test("rejectionOf() reads the rest of a rejection after RPC before 2026", () => {
  const until = new Date(Date.now() + 3_600_000).toISOString();
  const message =
    `Circuit "pay" is OPEN since x (y), 5 failures in a row, the next trial at ${until}`;
  const left = (text: string) => Object.assign(new Error(text), { remote: true });
  const error = left(`CircuitBreakerOpenError: ${message}`);
  assert(isCircuitBreakerOpenError(error));
  const rejection = rejectionOf(error) as CircuitBreakerOpenError;
  assert(rejection instanceof CircuitBreakerOpenError && rejection.retryAfterMs > 3_000_000);
  assertEquals([rejection.message, rejection.state, rejection.circuit.name], [
    message,
    "OPEN",
    "pay",
  ]);
  assertEquals(rejectionOf(left("StoreUnavailableError: x"))?.retryAfterMs, 1_000);
});

Deno.test("rejectionOf() finds none in other errors, in circles and in values that throw", () => {
  const circle = new Error("a");
  circle.cause = new Error("b", { cause: circle });
  const thrower = {
    get cause() {
      throw new Error("no");
    },
  };
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  for (const e of [undefined, null, 1, "x", {}, timeout, circle, thrower, revoked.proxy]) {
    assertEquals(rejectionOf(e), undefined);
  }
});

Deno.test("getResponse() explains with expose", async () => {
  assertEquals(await open().getResponse({ expose: true }).json(), {
    type: "about:blank",
    title: "Service Unavailable",
    status: 503,
    retryAfterMs: 1500,
    detail: WHY,
    circuit: "pay",
    state: "OPEN",
  });
});
