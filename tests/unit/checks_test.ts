import { assert, assertEquals, assertThrows } from "@std/assert";
import { check, known, oneOf, received, refuse } from "../../src/checks.ts";

Deno.test("check() returns the default when no value is given", () => {
  assertEquals(check("x", "n", undefined, 7), 7);
  assertEquals(check("x", "n", undefined, undefined), undefined);
});

Deno.test("check() accepts integers within bounds, both included", () => {
  for (const value of [3, 4, 5]) assertEquals(check("x", "n", value, 4, 3, 5), value);
  assertEquals(check("x", "n", Number.MAX_SAFE_INTEGER, 1), Number.MAX_SAFE_INTEGER);
});

Deno.test("check() accepts fractions for percentages only", () => {
  assertEquals(check("x", "percentageThreshold", 12.5, 50, 1, 100), 12.5);
  assertThrows(() => check("x", "n", 12.5, 50, 1, 100), RangeError, "an integer from 1 to 100");
});

Deno.test("check() names the allowed values", () => {
  const sentences: [unknown, number, number | undefined, string][] = [
    [0, 1, undefined, `Cannot create x: "n" must be a positive integer, received 0`],
    [-1, 0, undefined, `Cannot create x: "n" must be an integer of at least 0, received -1`],
    [11, 1, 10, `Cannot create x: "n" must be an integer from 1 to 10, received 11`],
    [NaN, 1, undefined, `received NaN`],
    [Infinity, 1, undefined, `received Infinity`],
    ["5", 1, undefined, `received "5"`],
  ];
  for (const [value, min, max, sentence] of sentences) {
    assertThrows(() => check("x", "n", value, 1, min, max), RangeError, sentence);
  }
});

Deno.test("check() throws a TypeError for a value that is no number", () => {
  for (const value of [null, true, 5n, [], {}, () => 5, Symbol("s")]) {
    assertThrows(() => check("x", "n", value, 1), TypeError, `"n" must be a positive integer`);
  }
});

Deno.test("oneOf() returns the first word when no value is given, else the word", () => {
  assertEquals(oneOf("x", "o", undefined, ["a", "b"]), "a");
  assertEquals(oneOf("x", "o", "b", ["a", "b"]), "b");
  assertThrows(
    () => oneOf("x", "o", "c", ["a", "b"]),
    RangeError,
    `Cannot create x: "o" must be one of "a", "b", received "c"`,
  );
  assertThrows(() => oneOf("x", "o", null, ["a"]), TypeError, "received null");
});

Deno.test("refuse() throws a RangeError for numbers and texts, else a TypeError", () => {
  for (const value of [1, NaN, "a"]) {
    assertThrows(() => refuse("x", "o", "other", value), RangeError);
  }
  for (const value of [null, undefined, {}, 1n]) {
    assertThrows(() => refuse("x", "o", "other", value), TypeError);
  }
});

Deno.test("received() describes a value briefly and without contents", () => {
  const cases: [unknown, string][] = [
    ["a\n", `"a\\n"`],
    ["x".repeat(61), `"${"x".repeat(60)}…"`],
    [() => 1, "a function"],
    [["secret"], "an array"],
    [{ secret: 1 }, "an object"],
    [null, "null"],
    [undefined, "undefined"],
    [-0, "0"],
    [10n, "10"],
    [Symbol("s"), "Symbol(s)"],
  ];
  for (const [value, text] of cases) assertEquals(received(value), text);
});

Deno.test("known() refuses unknown options, also inherited ones", () => {
  known("x", {}, ["a"]);
  known("x", { a: 1 }, ["a"]);
  assertThrows(
    () => known("x", { a: 1, b: 2 }, ["a"]),
    TypeError,
    `Cannot create x: there is no option "b", only a`,
  );
  assertThrows(() => known("x", Object.create({ b: 2 }), ["a"]), TypeError, `no option "b"`);
});

Deno.test("known() refuses a value that is no object", () => {
  for (const value of [null, "a", 1, () => 1]) {
    assertThrows(() => known("x", value as never, ["a"]), Error, `"options" must be an object`);
  }
});

Deno.test("received() is one short line for a long value and one with lines of its own", () => {
  assertEquals(received("a\r\nb\u2028\u202e\x9b"), String.raw`"a\r\nb\u2028\u202e\u009b"`);
  for (const value of ["x".repeat(1e6), 10n ** 500n, Symbol("x".repeat(1e6))]) {
    assert(received(value).length < 70, typeof value);
  }
  assertEquals(received(Symbol("a\nb")), String.raw`Symbol(a\u000ab)`);
});

Deno.test("refuse() shortens an option's name like its value", () => {
  const name = `stores.${"x\n".repeat(1e5)}`;
  const error = assertThrows(() => refuse("x", name, "a store", null), TypeError);
  assert(error.message.length < 200 && !error.message.includes("\n"), error.message);
});
