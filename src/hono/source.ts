/**
 * The source of a middleware's Fuse, and the destination of its background work.
 *
 * @module
 */

import type { Context } from "hono";
import type { RequestScope } from "../background.ts";
import { refuse } from "../checks.ts";
import type { Fuse } from "../fuse.ts";

/** A value, or a function that returns it for a request. */
export type FromContext<T> = T | ((c: HonoContext) => T);

/**
 * Hono's own `Context`.
 *
 * @internal
 */
export type HonoContext = Context;

/** The Fuse of a function, and those who wait for it. Values, never promises. */
interface Made {
  fuse: Fuse | null;
  readonly waiting: ((fuse: Fuse) => void)[];
}

const madeBy = new WeakMap<(c: Context) => Fuse, Made>();

/**
 * Returns a function that returns the Fuse; `whenKnown` receives it once, as soon as it is known.
 */
export function source(
  subject: string,
  given: FromContext<Fuse>,
  whenKnown: (fuse: Fuse) => void = () => {},
): (c: Context) => Fuse {
  if (typeof given !== "function") {
    whenKnown(checked(subject, given));
    return () => given;
  }
  let made = madeBy.get(given);
  if (made === undefined) madeBy.set(given, made = { fuse: null, waiting: [] });
  const { waiting } = made;
  if (made.fuse === null) waiting.push(whenKnown);
  else whenKnown(made.fuse);
  return (c) => {
    if (made.fuse === null) {
      const fuse = made.fuse = checked(subject, given(c));
      for (const tell of waiting.splice(0)) tell(fuse);
    }
    return made.fuse;
  };
}

/** Returns the object with the request's `waitUntil`; `null` off Workers, where asking for it throws. */
export function requestScope(c: Context): RequestScope | null {
  try {
    return typeof c.executionCtx.waitUntil === "function" ? c.executionCtx : null;
  } catch {
    return null;
  }
}

function checked(subject: string, fuse: Fuse): Fuse {
  // A promise is refused with the rest: a Worker may not keep one of another request.
  if (typeof fuse?.make !== "function") {
    refuse(subject, "fuse", "a Fuse or a function that returns one", fuse);
  }
  return fuse;
}
