/**
 * Combines name and scopes in one key that no other circuit has, whatever characters they contain.
 *
 * @module
 */

import { refuse, wrong } from "./checks.ts";

/** A value of a dimension, such as `{ type: "tenant", id: 42 }`. Ids are compared as text. */
export type Scope = {
  /** The dimension's name, such as `tenant`. */
  readonly type: string;
  /** The id. A number and its text are the same. */
  readonly id: string | number | bigint;
};

/**
 * The identity of a circuit. The same five fields in snapshots, events, errors, audit rows and
 * exports.
 */
export interface CircuitIdentity {
  /** Unique within its store. */
  readonly key: string;
  /** The store's name in `createFuse({ stores })`. */
  readonly store: string;
  /** The name passed to `make`. */
  readonly name: string;
  /** Scope of `for()`, as `type:id`; `null` for none. */
  readonly context: string | null;
  /** Scope of `boundary()`, as `type:id`; `null` for none. */
  readonly boundary: string | null;
}

/** The parts of a key; scopes are in the form of {@linkcode scopeText}. */
export interface KeyParts {
  readonly name: string;
  readonly context: string | null;
  readonly boundary: string | null;
}

// Separators of parts, characters with a meaning in Redis patterns and hash tags, invisible ones,
// and halves of surrogate pairs, which UTF-8 would fold into one.
// deno-lint-ignore no-control-regex
const SPECIAL = /[%:*?[\]\\{}"'\x00-\x20\x7f]|[\ud800-\udfff]/gu;

/** Most names are plain, and testing them costs a tenth of a replacement without effect. */
const PLAIN = /^[\w.-]+$/;

function escape(part: string): string {
  if (PLAIN.test(part)) return part;
  return part.replace(SPECIAL, (c) => {
    const hex = c.charCodeAt(0).toString(16).toUpperCase();
    return hex.length > 2 ? `%u${hex}` : `%${hex.padStart(2, "0")}`;
  });
}

function unescape(part: string): string {
  return part.replace(
    /%(?:u([0-9A-F]{4})|([0-9A-F]{2}))/g,
    (_, wide, narrow) => String.fromCharCode(parseInt(wide ?? narrow, 16)),
  );
}

/**
 * Returns `name`, `name:for:type:id`, `name:in:type:id` or `name:for:type:id:in:type:id`, each part
 * escaped. Different parts never result in the same key.
 */
export function toKey({ name, context, boundary }: KeyParts): string {
  const key = escape(name);
  return (context === null ? key : `${key}:for:${context}`) +
    (boundary === null ? "" : `:in:${boundary}`);
}

/** Returns the parts of a key; `null` if it is not in our form. */
export function fromKey(key: string): KeyParts | null {
  const match = /^([^:]+)(?::for:([^:]*:[^:]*))?(?::in:([^:]*:[^:]*))?$/.exec(key);
  if (match === null) return null;
  const parts = {
    name: unescape(match[1]!),
    context: match[2] ?? null,
    boundary: match[3] ?? null,
  };
  const ours = [parts.context, parts.boundary].every((scope) => scope === null || isScope(scope));
  return ours && toKey(parts) === key ? parts : null;
}

/** Returns `true` if the text has the form of {@linkcode scopeText}. */
function isScope(text: string): boolean {
  return text.split(":").every((part) => part !== "" && escape(unescape(part)) === part);
}

/** Which circuit a key of a store names. */
export function identify(
  store: string,
  key: string,
  parts: KeyParts = fromKey(key) ?? { name: key, context: null, boundary: null },
): CircuitIdentity {
  const { name, context, boundary } = parts;
  return { key, store, name, context, boundary };
}

/**
 * Returns a scope as text, `type:id`, escaped for use in a key; `null` stays `null`.
 *
 * @throws {TypeError} If it is not a scope: `type` a string of 1–255 characters, `id` a string of
 * as many, a finite number or a bigint.
 */
export function scopeText(scope: Scope | null, dimension: string): string | null {
  if (scope === null) return null;
  const { type, id } = Object(scope) as Partial<Scope>;
  const text = typeof id === "bigint" || Number.isFinite(id) ? String(id) : id;
  if (!isName(type) || !isName(text)) {
    const allowed = "null or { type, id } with a type of 1-255 characters and an id that is such " +
      "a text, a finite number or a bigint";
    throw new TypeError(wrong("scope circuits", dimension, allowed, scope));
  }
  return `${escape(type)}:${escape(text)}`;
}

/** Returns the scope of a text of {@linkcode scopeText}; its id as text too. */
export function scopeOf(text: string | null): Scope | null {
  if (text === null) return null;
  const [type = "", id = ""] = text.split(":").map(unescape);
  return { type, id };
}

/** Returns the scope that a text such as `tenant:42` names, or `null`. The id may contain colons. */
export function readScope(text: string): Scope | null {
  const [, type = "", id = ""] = /^([^:]*):(.*)$/s.exec(text) ?? [];
  return isName(type) && isName(id) ? { type, id } : null;
}

/** Returns `true` if this can name a circuit: a text of 1–255 characters. */
export function isName(name: unknown): name is string {
  return typeof name === "string" && name.length > 0 && name.length <= 255;
}

/** @throws {RangeError} If the name is not a text of 1-255 characters. */
export function mustBeName(subject: string, name: unknown): void {
  if (isName(name)) return;
  throw new RangeError(wrong(`create ${subject}`, "name", "a text of 1-255 characters", name));
}

/** Returns `true` if the pattern matches a name: exactly, or by the prefix before a trailing `*`. */
export function nameMatches(pattern: string, name: string): boolean {
  return pattern === name || (pattern.endsWith("*") && name.startsWith(pattern.slice(0, -1)));
}

/** @throws {RangeError | TypeError} If a `*` is anywhere but at the end, where it would match nothing. */
export function checkPattern(subject: string, option: string, pattern: unknown): void {
  if (typeof pattern !== "string" || /\*./s.test(pattern)) {
    refuse(subject, option, `a name, or a prefix with "*" at its end alone`, pattern);
  }
}
