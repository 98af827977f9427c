/**
 * A change that tests should notice, and how one is told that they cannot.
 *
 * @module
 */

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

/** A mutant that no test can notice, or that none should. Told by its text: lines move. */
export interface Explained extends Pick<Mutant, "code" | "original" | "replacement"> {
  readonly why: string;
}

/** Explains some alike: part of the line, where the text alone is found elsewhere; the text; the other. */
export function because(
  why: string,
  mutants: readonly (readonly [code: string, original: string, replacement: string])[],
): Explained[] {
  return mutants.map(([code, original, replacement]) => ({ code, original, replacement, why }));
}

/** Where it is: the file's name and the line. */
export function placeOf({ file, line }: Mutant): string {
  return `${file.slice(file.lastIndexOf("/") + 1)}:${line}`;
}

/** Code on one line. */
export function oneLine(code: string): string {
  return code.replace(/\s+/g, " ").trim();
}
