// Bytes do not depend on the machine: the code for the edge stays within its budget.
import { assert, assertEquals } from "@std/assert";
import * as esbuild from "esbuild";
import { root } from "../tools/gate/project.ts";
import { type Bundle, bundle, CORE_PROGRAM, LIMITS } from "../tools/size/bundle.ts";

const core = await bundle(CORE_PROGRAM);
const upstash = await bundle(`${CORE_PROGRAM} export { upstash } from "./drivers/upstash.ts";`);
const redis = await bundle(`${CORE_PROGRAM} export { redis } from "./drivers/redis.ts";`);
const dashboard = await bundle(`${CORE_PROGRAM} export * as entry from "./src/dashboard.ts";`);
const [d1, durableObject] = await Promise.all(
  ["d1", "durable_object"].map((path) =>
    bundle(`${CORE_PROGRAM} export * as entry from "./drivers/${path}.ts";`)
  ),
) as [Bundle, Bundle];
await esbuild.stop();

Deno.test("a program that imports only createFuse is within the budget", () => {
  assert(core.gzip <= LIMITS.core, `${core.gzip} bytes, at most ${LIMITS.core} are allowed`);
});

Deno.test("a program that imports only createFuse contains no code for shared stores", () => {
  const paths = core.files.map(({ path }) => path);
  assert(paths.includes("src/registry.ts"));
  assertEquals(paths.filter((path) => /^src\/shared\/|^drivers\/(?!memory)/.test(path)), []);
});

Deno.test("a program that imports only createFuse has no pattern with a class of Unicode, which takes long to load", () => {
  for (const { path } of core.files) {
    const lines = Deno.readTextFileSync(new URL(path, root)).split("\n");
    const code = lines.filter((line) => !/^\s*(\/\/|\/?\*)/.test(line));
    assertEquals(code.filter((line) => /\\p\{/i.test(line)), [], path);
  }
});

Deno.test("./upstash adds no more than its budget to the core", () => {
  const added = upstash.gzip - core.gzip;
  assert(added <= LIMITS.upstash, `${added} bytes, at most ${LIMITS.upstash} are allowed`);
});

Deno.test("./redis adds no more than ./upstash to the core, and no REST client", () => {
  assert(redis.gzip <= upstash.gzip, `${redis.gzip} bytes, ./upstash has ${upstash.gzip}`);
  const paths = redis.files.map(({ path }) => path);
  assertEquals(paths.filter((path) => path === "drivers/upstash/rest.ts"), []);
});

for (
  const [entry, both, limit] of [
    ["./dashboard", dashboard, LIMITS.dashboard],
    ["./d1", d1, LIMITS.d1],
    ["./durable-object", durableObject, LIMITS.durableObject],
  ] as const
) {
  Deno.test(`${entry} adds no more than its budget to the core`, () => {
    const added = both.gzip - core.gzip;
    assert(added <= limit, `${added} bytes, at most ${limit} are allowed`);
  });

  Deno.test(`${entry} contains no client of libSQL or Redis`, () => {
    const paths = both.files.map(({ path }) => path);
    assertEquals(
      paths.filter((path) => /upstash|web_client|local_client|connector|tiered/.test(path)),
      [],
    );
  });
}
