/**
 * Checks of options. Every refusal names the option, what came and what is allowed.
 *
 * @module
 */

/** Longest delay that a timer takes, in ms. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * A number option, checked: an integer within bounds, or the default when it is left out.
 *
 * @throws {RangeError} Naming the option, what came and what is allowed.
 */
export function check<D extends number | undefined>(
  subject: string,
  option: string,
  value: unknown,
  standard: D,
  min = 1,
  max: number = Number.MAX_SAFE_INTEGER,
): number | D {
  if (value === undefined) return standard;
  const whole = !/percentage/i.test(option);
  if (
    typeof value !== "number" || !(value >= min && value <= max) ||
    (whole && !Number.isInteger(value))
  ) {
    const range = max < Number.MAX_SAFE_INTEGER
      ? `${whole ? "an integer" : "a number"} from ${min} to ${max}`
      : min === 1
      ? "a positive integer"
      : `an integer of at least ${min}`;
    refuse(subject, option, range, value);
  }
  return value as number;
}

/** Returns the value if it is one of the allowed words, or the default if it is left out. */
export function oneOf<T extends string>(
  subject: string,
  option: string,
  value: unknown,
  words: readonly T[],
): T {
  if (value === undefined) return words[0]!;
  if (!words.includes(value as T)) {
    refuse(subject, option, `one of ${words.map(quote).join(", ")}`, value);
  }
  return value as T;
}

/** @throws {RangeError} Always; a TypeError when what came is of no type that could do. */
export function refuse(subject: string, option: string, allowed: string, value: unknown): never {
  const Refusal = typeof value === "number" || typeof value === "string" ? RangeError : TypeError;
  throw new Refusal(wrong(`create ${subject}`, option, inLine(allowed), value));
}

/**
 * As {@linkcode refuse}, where a string may be an address or a credential: it is not shown.
 *
 * @throws {TypeError} Always.
 */
export function refuseUnseen(
  subject: string,
  option: string,
  allowed: string,
  value: unknown,
): never {
  const text = value === "" ? "an empty string" : "a string";
  const came = typeof value === "string" ? text : received(value);
  throw new TypeError(wrong(`create ${subject}`, option, allowed, value, came));
}

/** Returns the sentence of an error about a value that does not fit. */
export function wrong(
  action: string,
  option: string,
  allowed: string,
  value: unknown,
  came: string = received(value),
): string {
  return `Cannot ${action}: ${received(option)} must be ${allowed}, received ${came}`;
}

/** Describes a value for an error: briefly, and never the contents of an object. */
export function received(value: unknown): string {
  if (typeof value === "string") return quote(short(value));
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" && value !== null ? "an object" : inLine(short(String(value)));
}

function short(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** A text in quotes, on one line: it cannot pretend to be a line of a log, or what comes after it. */
export function quote(text: string): string {
  return inLine(JSON.stringify(text));
}

// Controls, line separators, what turns the direction of writing, and halves of surrogate pairs.
const UNFIT = /[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]|[\ud800-\udfff]/gu;

/** A text on one line, with nothing in it that acts on a terminal or a log. */
export function inLine(text: string): string {
  return text.replace(UNFIT, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/**
 * Returns `true` for an object of the platform's class of that name, whichever copy of the class made
 * it: servers on Node replace globals, and undici and node-fetch have classes of their own. It is what
 * `Object.prototype.toString` tells, read directly, which costs a quarter.
 */
export function hasBrand(value: unknown, brand: string): boolean {
  try {
    return typeof value === "object" &&
      (value as { [Symbol.toStringTag]?: unknown } | null)?.[Symbol.toStringTag] === brand;
  } catch {
    return false;
  }
}

/** @throws {TypeError} If these are no options. */
export function mustBeObject(subject: string, options: unknown): void {
  if (typeof options !== "object" || options === null) {
    // Where there is one option that matters, people give that alone: an address, a token.
    refuseUnseen(subject, "options", "an object", options);
  }
}

/** Refuses options that nobody reads: most are misspelt. */
export function known(subject: string, options: object, allowed: readonly string[]): void {
  mustBeObject(subject, options);
  for (const option in options) {
    if (!allowed.includes(option)) {
      throw new TypeError(
        `Cannot create ${subject}: there is no option ${received(option)}, only ${
          allowed.join(", ")
        }`,
      );
    }
  }
}
