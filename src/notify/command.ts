/**
 * The command that undoes what happened to a circuit.
 *
 * @module
 */

import { inLine } from "../checks.ts";
import type { AuditEventName } from "../contract.ts";
import { type CircuitIdentity, scopeOf } from "../key.ts";
import { scopeTitle } from "../operator.ts";

const ACTIONS: Readonly<Partial<Record<AuditEventName, string>>> = {
  opened: "reset",
  forced_open: "release",
  forced_closed: "release",
  disabled: "release",
  metrics_only: "release",
};

/**
 * Returns a command line of `@fuse/edge/cli`, for shells such as bash and zsh, which know `$'…'`.
 * `undefined` where there is nothing to undo, or no command line can name the circuit.
 */
export function commandOf(
  event: AuditEventName,
  { store, name, context, boundary }: CircuitIdentity,
): string | undefined {
  const action = ACTIONS[event];
  if (action === undefined) return undefined;
  const scopes = [["--context", context], ["--boundary", boundary]] as const;
  const words = [
    ...["deno", "run", "-A", "jsr:@fuse/edge/cli", action, "--store", store],
    ...scopes.flatMap(([option, scope]) => scope === null ? [] : [option, scopeTitle(scope)]),
    ...["--reason", "WHY"],
    // A name that begins with a dash would be an option.
    ...name.startsWith("-") ? ["--", name] : [name],
  ];
  const isFit = words.every((word) => word.isWellFormed() && !word.includes("\0")) &&
    ![context, boundary].some((scope) => scopeOf(scope)?.type.includes(":"));
  return isFit ? words.map(quoted).join(" ") : undefined;
}

/** Returns a word as a shell reads it back, without anything that acts on a terminal when it is pasted. */
function quoted(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  if (inLine(word) === word) return `'${word.replaceAll("'", `'\\''`)}'`;
  const bytes = [...new TextEncoder().encode(word)].map((byte) =>
    byte > 0x1f && byte < 0x7f && byte !== 0x27 && byte !== 0x5c
      ? String.fromCharCode(byte)
      : `\\${byte.toString(8).padStart(3, "0")}`
  );
  return `$'${bytes.join("")}'`;
}
