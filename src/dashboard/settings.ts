/**
 * The settings that all parts of the dashboard share.
 *
 * @module
 */

import type { Context } from "hono";
import type { Fuse } from "../fuse.ts";

/** The options of a dashboard, checked and filled in. */
export interface Settings {
  /** Returns the Fuse, bound to the request's background work. */
  readonly fuseOf: (c: Context) => Fuse;
  /** Returns the operator's name, or `undefined` if there is none. */
  readonly actorOf: (c: Context) => string | undefined;
  readonly readOnly: boolean;
  readonly title: string;
  readonly pollMs: number;
}
