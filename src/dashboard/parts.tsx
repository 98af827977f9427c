/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
/**
 * Small parts of the page.
 *
 * @module
 */

import type { HtmlEscapedString } from "hono/utils/html";
import { inLine } from "../checks.ts";
import type { CircuitIdentity } from "../key.ts";
import { type CircuitSnapshot, dateOf } from "../rules/snapshot.ts";
import { scopeTitle } from "../operator.ts";
import type { Tone } from "./words.ts";

/** The value of a piece of JSX. */
export type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

/** A word in a color. */
export function Badge({ tone, word }: { tone: Tone; word: string }): Html {
  return <span class={`badge ${tone}`}>{word}</span>;
}

/**
 * An instant. Without JavaScript it is the time of day in UTC; with it, how long ago that is or how long until
 * then, in words.
 */
export function Time({ at }: { at: Date }): Html {
  const iso = dateOf(at.getTime()).toISOString();
  return <time datetime={iso} title={iso}>{`${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`}</time>;
}

/** The scopes of a circuit. */
export function Scopes({ circuit }: { circuit: CircuitIdentity }): Html {
  return (
    <>
      {circuit.context !== null && (
        <span class="scope" title="context">{inLine(scopeTitle(circuit.context))}</span>
      )}
      {circuit.boundary !== null && (
        <span class="scope" title="boundary">{inLine(scopeTitle(circuit.boundary))}</span>
      )}
    </>
  );
}

/** The button that opens the dialog for a circuit. Without JavaScript it is not shown. */
export function ActButton({ circuit, id }: { circuit: CircuitSnapshot; id: string }): Html {
  const { store, key, name, context, boundary, override } = circuit;
  const scopes = [context, boundary].map(scopeTitle).filter((scope) => scope !== "");
  return (
    <button
      type="button"
      class="act"
      id={id}
      aria-haspopup="dialog"
      aria-label={`Act on ${inLine(name)}`}
      data-store={store}
      data-key={key}
      data-title={inLine([name, ...scopes].join(" · "))}
      data-overridden={override === null ? "no" : "yes"}
    >
      Act…
    </button>
  );
}
