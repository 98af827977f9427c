/**
 * The attributes of metrics, span events and spans.
 *
 * @module
 */

import type { Attributes } from "@opentelemetry/api";
import type { CircuitIdentity } from "../key.ts";
import type { CircuitSnapshot } from "../rules/snapshot.ts";

/** The states: in a snapshot, in an attribute, and as the event that leads there. */
export const STATES = [
  { of: "CLOSED", state: "closed", event: "closed" },
  { of: "OPEN", state: "open", event: "opened" },
  { of: "HALF_OPEN", state: "half_open", event: "half_opened" },
] as const;

/** Returns the attributes that identify the circuit. */
export function attributesOf(
  { store, name, context, boundary }: CircuitIdentity,
  scopes: boolean,
): Record<string, string> {
  return {
    // Texts that are equal in UTF-8 are one series, not two with the same attributes.
    ...{ "circuitbreaker.name": name.toWellFormed(), "fuse.store": store.toWellFormed() },
    ...scopes && context !== null ? { "fuse.context": context } : null,
    ...scopes && boundary !== null ? { "fuse.boundary": boundary } : null,
  };
}

type LastFailure = NonNullable<CircuitSnapshot["lastFailure"]>;

/** Returns the attributes of the failure that opened a circuit. */
export function failureAttributes({ at, kind, status, instance }: LastFailure): Attributes {
  return {
    ...{ "fuse.last_failure.kind": kind.toWellFormed() },
    ...{ "fuse.last_failure.at": at.toISOString() },
    ...status === null ? null : { "fuse.last_failure.status": status },
    ...instance === null ? null : { "fuse.last_failure.instance": instance.toWellFormed() },
  };
}

/** Returns the code or the name of an error, if it is a word: a message may contain anything. */
export function errorTypeOf(error: unknown): string {
  try {
    const { code, name } = Object(error) as { code?: unknown; name?: unknown };
    const isWord = (word: unknown) => typeof word === "string" && /^\w{1,64}$/.test(word);
    return String([code, name].find(isWord) ?? "_OTHER");
  } catch {
    return "_OTHER";
  }
}
