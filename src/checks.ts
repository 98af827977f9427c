/**
 * Checks of options. Every error names the option, what came and what is allowed.
 *
 * @module
 */

/** Longest delay that a timer takes, in ms. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Last moment of a Date, in ms. Beyond it, times are no longer exact. */
export const MAX_DATE_MS = 8.64e15;

/**
 * Checks a number option: returns an integer within bounds, or the default if it is not given.
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
  // Options are named "percentage…" or "…Percentage".
  const whole = !option.includes("ercentage");
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

/** Returns the value if it is one of the allowed words, or the default if it is not given. */
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

/** Returns the value if it is a function, or not given. */
export function mayBeFunction<T>(subject: string, option: string, value: T): T {
  if (value !== undefined && typeof value !== "function") {
    refuse(subject, option, "a function", value);
  }
  return value;
}

/** @throws {RangeError} Always; a TypeError if the value has a type that can never be valid. */
export function refuse(subject: string, option: string, allowed: string, value: unknown): never {
  const Refusal = typeof value === "number" || typeof value === "string" ? RangeError : TypeError;
  throw new Refusal(wrong(`create ${subject}`, option, inLine(allowed), value));
}

/**
 * Throws like {@linkcode refuse}, for a string that may be an address or a credential, which is not
 * shown.
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

/**
 * Returns a text in quotes, on one line, so that it cannot look like a line of a log, or like the
 * text after it.
 */
export function quote(text: string): string {
  return inLine(JSON.stringify(text));
}

// Controls, line separators, characters that change the direction of writing, and halves of
// surrogate pairs. In numbers: an engine looks classes such as \p{Cc} up when it loads this module.
// deno-lint-ignore no-control-regex
const UNFIT = /[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu;

/** Returns a text on one line, without characters that affect a terminal or a log. */
export function inLine(text: string): string {
  return text.replace(UNFIT, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/**
 * Returns `true` for an object of the platform's class of that name, whichever copy of the class
 * created it: servers on Node replace globals, and undici and node-fetch have their own classes. It
 * reads the tag of `Object.prototype.toString` directly, which costs a quarter.
 */
export function hasBrand(value: unknown, brand: string): boolean {
  try {
    return typeof value === "object" &&
      (value as { [Symbol.toStringTag]?: unknown } | null)?.[Symbol.toStringTag] === brand;
  } catch {
    return false;
  }
}

/**
 * Returns what a user's function returned.
 *
 * @throws {TypeError} If that is a promise, which reads as true, and whose rejection can end the
 * process.
 */
export function answerOf<T>(option: string, answer: T): T {
  if (!(answer instanceof Promise)) return answer;
  answer.catch(() => {});
  throw new TypeError(`"${option}" must not return a promise`);
}

/** @throws {TypeError} If the value is not an options object. */
export function mustBeObject(subject: string, options: unknown): void {
  if (typeof options !== "object" || options === null) {
    // If one option matters most, people pass its value alone: an address, a token.
    refuseUnseen(subject, "options", "an object", options);
  }
}

/** Returns `true` if any of these options is given. */
export function isAnyGiven(options: object, names: readonly string[]): boolean {
  for (const name of names) {
    if (options[name as keyof typeof options] !== undefined) return true;
  }
  return false;
}

/** Refuses unknown options: most are misspelled. */
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
