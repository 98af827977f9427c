import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import type { Scope } from "@fuse/edge";
import {
  fromKey,
  identify,
  isName,
  type KeyParts,
  nameMatches,
  scopeOf,
  scopeText,
  toKey,
} from "../../src/key.ts";
import { seeded } from "../support/units.ts";

/** Text that is made to collide: separators, escapes, whole keys, halves of surrogate pairs. */
const hostile = fc.oneof(
  fc.string({ unit: "binary", minLength: 1, maxLength: 12 }),
  fc.array(
    fc.constantFrom(
      ":",
      "%",
      "%3A",
      "%u",
      "%uD800",
      "\ud800",
      "\udc00",
      "😀",
      "for",
      "in",
      ":for:",
      ":in:",
      "a",
      "*",
      "?",
      "[",
      "]",
      "{",
      "}",
      "\\",
      '"',
      "'",
      " ",
      "\0",
      "\n",
      "\x7f",
      "é",
      "e\u0301",
      "ß",
      "\u2028",
      "__proto__",
    ),
    { minLength: 1, maxLength: 8 },
  ).map((parts) => parts.join("")),
);
const scope: fc.Arbitrary<Scope | null> = fc.option(
  fc.record({
    type: hostile,
    id: fc.oneof(hostile, fc.integer(), fc.bigInt()),
  }),
);
const circuit = fc.tuple(hostile, scope, scope);

const text = (s: Scope | null) => s && JSON.stringify([s.type, String(s.id)]);
const parts = ([name, context, boundary]: [string, Scope | null, Scope | null]): KeyParts => ({
  name,
  context: scopeText(context, "context"),
  boundary: scopeText(boundary, "boundary"),
});

Deno.test("toKey() never returns one key for two circuits", () => {
  fc.assert(
    fc.property(circuit, circuit, (a, b) => {
      const same = a[0] === b[0] && text(a[1]) === text(b[1]) && text(a[2]) === text(b[2]);
      assertEquals(toKey(parts(a)) === toKey(parts(b)), same);
    }),
    seeded(3000),
  );
});

Deno.test("toKey() separates circuits made of the same characters", () => {
  // Every way to divide four characters into name and scopes.
  const keys = new Set<string>();
  const seen = new Set<string>();
  for (const chars of [["a", ":", "b", ":"], ["%", "3", "A", ":"], [":", "i", "n", ":"]]) {
    const joined = chars.join("");
    for (let i = 1; i <= 4; i++) {
      const name = joined.slice(0, i);
      const rest = joined.slice(i);
      const scopes: (Scope | null)[] = [null];
      for (let j = 1; j < rest.length; j++) {
        scopes.push({ type: rest.slice(0, j), id: rest.slice(j) });
      }
      for (const context of scopes) {
        for (const boundary of scopes) {
          seen.add(JSON.stringify([name, context, boundary]));
          keys.add(toKey(parts([name, context, boundary])));
        }
      }
    }
  }
  assertEquals(keys.size, seen.size);
});

Deno.test("fromKey() returns the parts", () => {
  fc.assert(
    fc.property(circuit, (a) => assertEquals(fromKey(toKey(parts(a))), parts(a))),
    seeded(2000),
  );
});

Deno.test("toKey() uses no character with a meaning for a store, a pattern or a terminal", () => {
  fc.assert(
    fc.property(circuit, (a) => {
      const key = toKey(parts(a));
      // deno-lint-ignore no-control-regex
      assert(!/[*?[\]\\{}"'\x00-\x20\x7f]/.test(key), key);
      assert(key.isWellFormed(), "survives UTF-8");
      assertEquals(new TextDecoder().decode(new TextEncoder().encode(key)), key);
    }),
    seeded(2000),
  );
});

Deno.test("toKey() does not change plain names", () => {
  const context = scopeText({ type: "tenant", id: 42 }, "context");
  const boundary = scopeText({ type: "region", id: "eu-west.1" }, "boundary");
  const name = "payments-api/v2.é";
  assertEquals(toKey({ name, context: null, boundary: null }), name);
  assertEquals(toKey({ name, context, boundary: null }), `${name}:for:tenant:42`);
  assertEquals(toKey({ name, context: null, boundary }), `${name}:in:region:eu-west.1`);
  assertEquals(
    toKey({ name, context, boundary }),
    `${name}:for:tenant:42:in:region:eu-west.1`,
  );
});

Deno.test("toKey() separates halves of surrogate pairs", () => {
  const key = (name: string) => toKey({ name, context: null, boundary: null });
  assertNotEquals(key("\ud800"), key("\ud801"));
  assertEquals([key("\ud800"), key("%uD800"), key("😀")], ["%uD800", "%25uD800", "😀"]);
});

Deno.test("fromKey() refuses texts that toKey() never returns", () => {
  const foreign = [
    "",
    ":",
    "a:",
    ":for:t:1",
    "a:for",
    "a:for:t",
    "a:for:t:1:2",
    "a:in:t:1:for:t:1",
    "a:in:t:1:in:t:1",
    "a b",
    "a*",
    "a%3a",
    "a%41",
    "%uD83D%uDE00",
    "a%",
    "a%3",
    "a\nb",
    "a:for::",
    "a:for:t:",
    "a:for::1",
    "a:in::",
    "a:for:t:x y",
    "a:for:t:*",
    "a:in:t:{x}",
    "a:for:t:%41",
    "a:for:t:\ud800",
  ];
  for (const key of foreign) assertEquals(fromKey(key), null, key);
});

Deno.test("identify() treats a foreign key as a name", () => {
  assertEquals(identify("s", "a:for:t:1"), {
    key: "a:for:t:1",
    store: "s",
    name: "a",
    context: "t:1",
    boundary: null,
  });
  assertEquals(identify("s", "not ours"), {
    key: "not ours",
    store: "s",
    name: "not ours",
    context: null,
    boundary: null,
  });
});

Deno.test("scopeText() compares ids as text", () => {
  const ids = ["42", 42, 42n].map((id) => scopeText({ type: "t", id }, "context"));
  assertEquals(ids, ["t:42", "t:42", "t:42"]);
  assertEquals(scopeText({ type: "t", id: -1.5 }, "context"), "t:-1.5");
  assertEquals(scopeText(null, "context"), null);
});

Deno.test("scopeText() refuses an invalid scope, and names the dimension", () => {
  const bad: unknown[] = [
    undefined,
    "t:1",
    1,
    [],
    {},
    { type: "t" },
    { id: 1 },
    { type: "", id: 1 },
    { type: 1, id: 1 },
    { type: "t", id: "" },
    { type: "t", id: NaN },
    { type: "t", id: Infinity },
    { type: "t", id: null },
    { type: "t", id: true },
    { type: "t", id: {} },
    { type: "x".repeat(256), id: 1 },
    { type: "t", id: "x".repeat(256) },
  ];
  for (const scope of bad) {
    assertThrows(
      () => scopeText(scope as Scope, "boundary"),
      TypeError,
      `"boundary" must be null or { type, id }`,
    );
  }
  scopeText({ type: "x".repeat(255), id: "x".repeat(255) }, "context");
});

Deno.test("isName() accepts texts of 1 to 255 characters", () => {
  const names = ["a", "x".repeat(255), " ", "__proto__", "", "x".repeat(256), 1, null, undefined, [
    "a",
  ]];
  assertEquals(names.map(isName), [
    true,
    true,
    true,
    true,
    false,
    false,
    false,
    false,
    false,
    false,
  ]);
});

Deno.test("nameMatches() compares the whole name, or the prefix before a trailing *", () => {
  const cases: [string, string, boolean][] = [
    ["api", "api", true],
    ["api", "api-2", false],
    ["api*", "api", true],
    ["api*", "api-2", true],
    ["api*", "ap", false],
    ["*", "anything", true],
    ["a*c", "abc", false],
    ["a*c", "a*c", true],
    ["*api", "my-api", false],
    ["a.i", "api", false],
    ["", "a", false],
  ];
  for (const [pattern, name, matches] of cases) {
    assertEquals(nameMatches(pattern, name), matches, `${pattern} ${name}`);
  }
});

Deno.test("fromKey() returns parts whose key is that key, or none, for any text", () => {
  // Any code units, including halves of pairs, and texts that look like a key.
  const units = fc.array(fc.nat(0xffff), { maxLength: 8 }).map((codes) =>
    String.fromCharCode(...codes)
  );
  const likely = fc.array(fc.constantFrom("a", ":", "for", "in", "%3A", "%u", "D800", "%", "b"), {
    maxLength: 9,
  }).map((texts) => texts.join(""));
  fc.assert(
    fc.property(fc.oneof(units, likely, hostile), (key) => {
      const given = fromKey(key);
      if (given !== null) assertEquals(toKey(given), key);
    }),
    seeded(3000),
  );
});

Deno.test("scopeOf() returns the scope of scopeText(), its id as text", () => {
  for (const scope of [{ type: "tenant", id: 42 }, { type: "a:b %", id: "\ud83d*{}" }]) {
    assertEquals(scopeOf(scopeText(scope, "context")), { type: scope.type, id: String(scope.id) });
  }
  assertEquals(scopeOf(null), null);
});
