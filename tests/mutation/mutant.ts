/**
 * A change that tests should notice, and those of which we know why none can.
 *
 * @module
 */

/** A change of one place in a file. */
export interface Mutant {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** What stands there, on one line. */
  readonly original: string;
  /** What is put in its place. */
  readonly replacement: string;
}

/** A mutant that no test can notice, or that none should. */
interface Explained {
  readonly file: string;
  readonly original: string;
  readonly replacement: string;
  readonly why: string;
}

/** Why this mutant may live, where that is known. Told by its text: lines move. */
export function explanation(mutant: Mutant): string | undefined {
  return EXPLAINED.find(({ file, original, replacement }) =>
    file === mutant.file && original === mutant.original && replacement === mutant.replacement
  )?.why;
}

/** Code on one line. */
export function oneLine(code: string): string {
  return code.replace(/\s+/g, " ").trim();
}

const EXPLAINED: readonly Explained[] = [
  {
    file: "src/machine.ts",
    original: "s.openUntil === null",
    replacement: "false",
    why: "null compares as 0: now >= null holds",
  },
];
