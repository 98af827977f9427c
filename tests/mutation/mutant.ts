/**
 * A change that tests should notice, and those of which we know why none can.
 *
 * @module
 */

import { EXPLAINED } from "./explained.ts";

/** A change of one place in a file. */
export interface Mutant {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** The line as it stands. */
  readonly code: string;
  /** What stands there, on one line. */
  readonly original: string;
  /** What is put in its place. */
  readonly replacement: string;
}

/** Why this mutant may live, where that is known. Told by its text: lines move. */
export function explanation(mutant: Mutant): string | undefined {
  return EXPLAINED[mutant.file]?.find(([code, original, replacement]) =>
    mutant.code.includes(code) && original === mutant.original &&
    replacement === mutant.replacement
  )?.[3];
}

/** Code on one line. */
export function oneLine(code: string): string {
  return code.replace(/\s+/g, " ").trim();
}
