/**
 * Values that an attacker, a bug or bad luck can put into a field. `FUZZ_SEED` (a number, or
 * `random`) and `FUZZ_RUNS` search further; a failure prints seed and path.
 *
 * @module
 */
import fc from "fast-check";
import { scaled } from "./scale.ts";

const given = Deno.env.get("FUZZ_SEED");
export const SEED = given === "random" ? Math.floor(Math.random() * 2 ** 31) : Number(
  given ?? 20_251_126,
);
const RUNS = Deno.env.get("FUZZ_RUNS");

/**
 * Returns the number of runs in full, unless `FUZZ_RUNS` sets another; `share` is for expensive
 * properties.
 */
export function runs(full: number, share = 1) {
  const all = RUNS === undefined ? full * scaled(0.3, 1) : Number(RUNS);
  const numRuns = Math.max(1, Math.ceil(all * share));
  return { seed: SEED, numRuns, includeErrorInReport: true };
}

/**
 * Texts that have caused faults: separators, patterns, quotes, prototypes, controls, look-alikes.
 */
export const HOSTILE_TEXTS: readonly string[] = [
  ...["a", "A", "a:b", "a", "a:b:c", "a:for:t:1", "t:1", ":", "::", "a:", ":a", "for", "in"],
  ...[
    "*",
    "a*",
    "?",
    "[a]",
    "[^a]",
    "\\",
    "\\*",
    "a\\",
    "{a}",
    "{",
    "}",
    "%",
    "%%",
    "a%",
    "a_",
    "_",
  ],
  ...["%3A", "%25", "%u003A", "%uD800", "%20", "'", '"', "`", "''", "a'b", "'; drop table x; --"],
  ...["');--", "] ] return redis.call('flushall') --", "${1}", "{{x}}", "$1", "?1", ":key", "@key"],
  ...["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "valueOf", "then"],
  ...["null", "undefined", "NaN", "true", "0", "-0", "00", "1", "1.0", "1e3", "-1", "Infinity"],
  ...["\0", "a\0", "a\0b", "\x01", "\x1f", "\x7f", "\x85", "\x9b31m", "\x1b[31m", "\b", "\t"],
  ...["\n", "\r\n", "a\r\nSet-Cookie: x=1", "a\nERROR all is lost", "\u2028", "\u2029", " ", " a"],
  ...[
    "a ",
    "\u00a0",
    "\ufeff",
    "\ufeffa",
    "\u200b",
    "a\u200b",
    "\u202egnp.exe",
    "\u2066a",
    "\u0301",
  ],
  // Texts that look alike, in both normal forms; letters that fold.
  ...["é", "e\u0301", "ﬁ", "fi", "ß", "ss", "İ", "i", "ı", "K", "\u212a", "Å", "\u212b", "𝒶"],
  ...["\ud800", "\udfff", "\ud800\ud800", "\udc00\ud800", "a\ud83d", "\ufffd", "😀", "👨‍👩‍👧‍👦"],
  ...[
    "<script>alert(1)</script>",
    "&lt;",
    "../../etc/passwd",
    "https://h/?a=b#c",
    "😀".repeat(127),
  ],
  ...["=a", "=", "@1", "-", "--", "row:1 5 a", "lease:1", "state", ":state", "a:state", ":metrics"],
  ...["x".repeat(255), ":".repeat(255), "%".repeat(255), "\ud800".repeat(255), "é".repeat(255)],
];

/** A text of 1–255 characters, as the name of a circuit may be. */
export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...HOSTILE_TEXTS) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", minLength: 1, maxLength: 20 }) },
  { weight: 2, arbitrary: fc.string({ unit: "grapheme", minLength: 1, maxLength: 10 }) },
  {
    weight: 2,
    arbitrary: fc.array(fc.nat({ max: 0xffff }), { minLength: 1, maxLength: 8 })
      .map((codes) => String.fromCharCode(...codes)),
  },
  {
    weight: 3,
    arbitrary: fc.array(fc.constantFrom(..."ab:%*?[]\\{}\"'_ \n\0/éE=@-".split("")), {
      minLength: 1,
      maxLength: 6,
    }).map((parts) => parts.join("")),
  },
).filter((text) => text.length >= 1 && text.length <= 255);

/** Longer than a reader should have to read. */
export const HUGE = "x".repeat(1_000_000);

/** Values that no option accepts. Inspecting them has no effect. */
export const HOSTILE_VALUES: readonly unknown[] = [
  ...[NaN, Infinity, -Infinity, -1, -0, 0.5, 1e308, -1e308, 2 ** 53, Number.MIN_VALUE, 5e-324],
  ...[0n, -1n, 10n ** 400n, true, false, null, "", "5", " ", "NaN", "__proto__", HUGE],
  ...["constructor", "toString", "\ud800", "a\r\nb: c"],
  ...[Symbol("s"), Symbol(HUGE), Symbol.iterator, [], [1], [[]], ["eventual"], Array(3)],
  ...[{}, Object.create(null), Object.freeze({}), JSON.parse('{"__proto__":{"polluted":1}}')],
  ...[{ valueOf: () => 5 }, { toString: () => "eventual" }, { [Symbol.toPrimitive]: () => 5 }],
  ...[new Date(NaN), new Date(5), /x/, new Map(), new Set(), new Error("e"), new Uint8Array(3)],
  ...[() => {}, () => NaN, class {}, function* () {}, Promise.resolve(5), new Proxy({}, {})],
  ...[new Number(5), new String("eventual"), new Boolean(true), globalThis],
];
export const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...HOSTILE_VALUES) },
  { weight: 1, arbitrary: fc.anything({ withBigInt: true, withNullPrototype: true }) },
);

/** Returns whether an error's message can be shown: one line, and short. */
export function isFit(message: string): boolean {
  // deno-lint-ignore no-control-regex
  return message.length < 1_000 && !/[\x00-\x1f\x7f-\x9f\u2028\u2029]/.test(message);
}
