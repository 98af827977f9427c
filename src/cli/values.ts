/**
 * Reads the values of options: durations, instants, scopes, numbers.
 *
 * @module
 */

import { InvalidArgumentError } from "commander";
import { inLine, MAX_DATE_MS, quote } from "../checks.ts";
import { readScope, type Scope } from "../key.ts";
import { scopeTitle } from "../operator.ts";
import { dateOf } from "../rules/snapshot.ts";
import { CliError } from "./terminal.ts";

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** Reads a duration such as `10m`, `1h30m` or `30d`, in ms. */
export function duration(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/g)];
  const ms = parts.reduce((sum, [, n, unit]) => sum + Number(n) * UNITS[unit!]!, 0);
  if (parts.map(([part]) => part).join("") !== text || !(ms >= 1 && ms <= MAX_DATE_MS)) {
    throw new InvalidArgumentError("Give a duration such as 90s, 10m, 1h30m or 30d.");
  }
  return Math.round(ms);
}

/** Reads a number of ms, or a duration. */
export function milliseconds(text: string): number {
  return /^\d+$/.test(text) ? integer(text) : duration(text);
}

/** Reads an instant in ISO 8601. It needs a time zone: servers and people have different ones. */
export function instant(text: string): Date {
  const date = new Date(text);
  // A 30th of February would be one of March.
  const day = new Date(`${text.slice(0, 10)}T00:00Z`).getUTCDate();
  const isDay = day === Number(text.slice(8, 10));
  if (!isDay || !/^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:?\d\d)$/.test(text) || Number.isNaN(+date)) {
    throw new InvalidArgumentError(
      `Give an instant in ISO 8601 with a time zone, such as ${dateOf(0).toISOString()}.`,
    );
  }
  return date;
}

/** Reads an integer of at least 0. */
export function integer(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number)) {
    throw new InvalidArgumentError("Give an integer of at least 0.");
  }
  return number;
}

/** Reads a number of at least 0. */
export function number(text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) throw new InvalidArgumentError("Give a number.");
  return Number(text);
}

/** Reads a scope, `tenant:42`. The id may contain colons. */
export function scope(text: string): Scope {
  const scope = readScope(text);
  if (scope === null) {
    throw new InvalidArgumentError("Give a scope as TYPE:ID, such as tenant:42.");
  }
  return scope;
}

/** Reads one of some words, such as a state, in upper or lower case. */
export function wordOf<T extends string>(words: readonly T[]): (text: string) => T {
  return (text) => {
    const asked = text.replaceAll("-", "_").toUpperCase();
    const word = words.find((one) => one.toUpperCase() === asked);
    if (word === undefined) throw new InvalidArgumentError(`Give one of ${words.join(", ")}.`);
    return word;
  };
}

/** Reads a header, `name: value`, and adds it to those before. */
export function header(text: string, before: Headers | undefined): Headers {
  const headers = new Headers(before);
  const [, name, value] = /^([^:\s]+):\s*(.+)$/s.exec(text) ?? [];
  try {
    headers.append(name!, value!.trim());
  } catch {
    // The text may be a credential, so it is not repeated.
    throw new CliError('Give a header as "name: value", such as "authorization: Bearer …"');
  }
  return headers;
}

/** Reads the address of a dashboard. */
export function address(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.username + url.password !== "") {
    // Commander would repeat the text of an InvalidArgumentError.
    throw new CliError(
      `Give the address of a dashboard, http: or https:, without credentials; --header has them`,
    );
  }
  return url;
}

/** Returns the texts that differ by a typing mistake, most similar first. */
export function similar(text: string, candidates: Iterable<string>): string[] {
  return [...new Set(candidates)]
    .map((candidate) => ({ candidate, slips: distance(text, candidate) }))
    .filter(({ candidate, slips }) =>
      slips <= Math.max(1, Math.min(text.length, candidate.length) / 3)
    )
    .sort((a, b) => a.slips - b.slips)
    .slice(0, 3)
    .map(({ candidate }) => candidate);
}

/** The number of characters to insert, delete, replace, or exchange with their neighbors. */
function distance(from: string, to: string): number {
  let before: number[] = [];
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      const isExchanged = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      const exchanged = isExchanged ? before[j - 2]! + 1 : Infinity;
      next.push(Math.min(replaced, exchanged, row[j]! + 1, next[j - 1]! + 1));
    }
    [before, row] = [row, next];
  }
  return row[to.length]!;
}

/** Returns the name of a circuit in quotes with its scopes as options read them, for people. */
export function titleOf(
  { name, context, boundary }: { name: string; context: string | null; boundary: string | null },
): string {
  return quote(name) + (context === null ? "" : ` for ${inLine(scopeTitle(context))}`) +
    (boundary === null ? "" : ` in ${inLine(scopeTitle(boundary))}`);
}
