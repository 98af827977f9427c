/**
 * A change that tests should notice, and the explanation of one that they cannot.
 *
 * @module
 */

/** A change of one place in a file. */
export interface Mutant {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** The original line. */
  readonly code: string;
  /** The original text, on one line. */
  readonly original: string;
  /** The replacement. */
  readonly replacement: string;
}

/**
 * A mutant that no test can notice, or that none should. Identified by its text, because lines
 * move.
 */
export interface Explained extends Pick<Mutant, "code" | "original" | "replacement"> {
  readonly why: string;
}

/**
 * Explains similar mutants: part of the line, if the text alone is found elsewhere; the text; the
 * replacement.
 */
export function because(
  why: string,
  mutants: readonly (readonly [code: string, original: string, replacement: string])[],
): Explained[] {
  return mutants.map(([code, original, replacement]) => ({ code, original, replacement, why }));
}

/** Returns its place: the file's name and the line. */
export function placeOf({ file, line }: Mutant): string {
  return `${file.slice(file.lastIndexOf("/") + 1)}:${line}`;
}

/** Returns code on one line. */
export function oneLine(code: string): string {
  return code.replace(/\s+/g, " ").trim();
}
