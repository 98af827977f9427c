// Environment variables with arbitrary contents: the result is a Fuse, or one short line that names
// the variable and shows nothing that could be a secret.
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Fuse, StoreUnavailableError } from "@fuse/edge";
import { fuseFromEnv } from "@fuse/edge/env";
import {
  HOSTILE_TEXTS,
  HOSTILE_VALUES,
  hostileText,
  hostileValue,
  isFit,
  runs,
} from "../support/hostile.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

const SECRET = "hunter2pa55-tok3n";
/** Values that work; no server listens at their addresses. */
const GOOD: Record<string, unknown> = {
  FUSE_STORE: "array",
  FUSE_CACHE_STORE: "redis",
  FUSE_CACHE_PREFIX: "cb",
  UPSTASH_REDIS_REST_URL: "https://127.0.0.1:1",
  UPSTASH_REDIS_REST_TOKEN: SECRET,
  TURSO_DATABASE_URL: "libsql://127.0.0.1:1",
  TURSO_AUTH_TOKEN: SECRET,
  CB_DB_URL: "http://127.0.0.1:1",
  CB_DB_AUTH_TOKEN: SECRET,
};
const NAMES = Object.keys(GOOD);
const ADDRESSES = [
  "https",
  "http",
  "libsql",
  "redis",
  "rediss",
  "file",
  "wss",
  "HTTPS",
  "javascript",
]
  .flatMap((scheme) => [
    `${scheme}://user:${SECRET}@127.0.0.1:1`,
    `${scheme}://${SECRET}@127.0.0.1:1`,
    `${scheme}://127.0.0.1:1/?token=${SECRET}`,
    `${scheme}://127.0.0.1:1/#${SECRET}`,
    `${scheme}://127.0.0.1:99999/${SECRET}`,
    `${scheme}://127.0.0.1:1/\r\n${SECRET}`,
    `${scheme}:${SECRET}`,
    ` ${scheme}://127.0.0.1:1 ${SECRET}`,
  ]);
const value = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom(...ADDRESSES, SECRET, `${SECRET}\n`, `Bearer ${SECRET}`),
  },
  { weight: 2, arbitrary: hostileText },
  { weight: 2, arbitrary: hostileValue },
);

/** Checks the result of an environment: a Fuse, or a refusal, and no secret shown. */
function outcome(env: Record<string, unknown>, named: readonly string[]): Fuse | null {
  const warned: unknown[] = [];
  const { warn } = console;
  console.warn = (...all: unknown[]) => void warned.push(...all);
  try {
    return fuseFromEnv(env);
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
    const { message } = error;
    assert(message.startsWith("Cannot create fuse from environment: ") && isFit(message), message);
    const names = named.some((name) => message.includes(`"${name}"`));
    assert(names || /: there is no variable "FUSE_/.test(message), message);
    assert(!(error.stack ?? "").includes(SECRET), error.stack);
    return null;
  } finally {
    console.warn = warn;
    for (const note of warned) {
      assert(isFit(String(note)) && !String(note).includes(SECRET), String(note));
    }
  }
}

Deno.test("fuseFromEnv() works or refuses in one short line without a secret, whatever a variable contains", async () => {
  const property = fc.asyncProperty(
    fc.constantFrom(...NAMES),
    fc.constantFrom("array", "cache", "database"),
    fc.boolean(),
    value,
    async (name, store, ours, value) => {
      const env = { ...GOOD, FUSE_STORE: store, [name]: value };
      if (!ours) { for (const other of ["CB_DB_URL", "CB_DB_AUTH_TOKEN"]) delete env[other]; }
      // A Redis of another name uses other variables.
      const read = NAMES.concat(
        typeof value === "string"
          ? `UPSTASH_${value.replaceAll("-", "_").toUpperCase()}_REST_URL`
          : [],
      );
      const fuse = outcome(env, read);
      if (fuse === null) return;
      // The Fuse works: in memory, or until a server listens there.
      const breaker = fuse.make("a", { onStoreError: "reject", consistency: "strong" });
      assert(["array", "cache", "database"].includes(breaker.store));
      const errors: unknown[] = [];
      fuse.on("store_error", ({ error }) => errors.push(error));
      const result = await breaker.tryCall(() => 1);
      if (breaker.store === "array") assert(result.ok);
      else assert(!result.ok && result.error instanceof StoreUnavailableError);
      const shown = Deno.inspect([fuse, breaker, result, errors], { depth: 10 });
      assert(!shown.includes(SECRET), shown);
    },
  );
  await fc.assert(property, runs(150));
});

Deno.test("fuseFromEnv() reads no variable from inherited properties of an object", () => {
  const none = Object.keys(Object.prototype);
  for (const name of HOSTILE_TEXTS) {
    const env = Object.fromEntries([[name, SECRET], ["FUSE_STORE", "array"]]);
    assertEquals(fuseFromEnv(env).make("a").store, "array");
    const misspelled = outcome(Object.fromEntries([[`FUSE_${name}`, SECRET]]), NAMES);
    assertEquals(misspelled, null);
  }
  const polluting = JSON.parse('{"__proto__":{"FUSE_STORE":"cache"}}');
  assertEquals(fuseFromEnv(polluting).make("a").store, "array");
  assertEquals(Object.keys(Object.prototype), none);
});

Deno.test("fuseFromEnv() refuses or accepts any value in place of an environment", () => {
  for (const env of HOSTILE_VALUES) {
    if (typeof env === "object" && env !== null && !(Symbol.iterator in env)) {
      assertEquals(fuseFromEnv(env).make("a").store, "array");
    } else assertEquals(outcome(env as never, ["env"]), null);
  }
});
