/**
 * A diary of events, line by line, the same for the same scenario in any process.
 *
 * @module
 */

/** Numbers ids in order of appearance: a process continues to count where the last world ended. */
const ID = /\b[0-9a-z]{8,14}-[0-9a-z]+/g;

/** The diary of one world. */
export class Trace {
  readonly lines: string[] = [];
  readonly #written: boolean;
  readonly #now: () => number;
  readonly #ids = new Map<string, string>();

  constructor(written: boolean, now: () => number) {
    this.#written = written;
    this.#now = now;
  }

  /** Adds a line. The function that makes it runs only where a diary is wanted. */
  readonly note = (line: () => string): void => {
    if (!this.#written) return;
    this.lines.push(`${this.#now().toFixed(1).padStart(9)} ${numbered(line(), this.#ids)}`);
  };
}

/** Returns a text with numbered ids. */
export function numbered(text: string, ids = new Map<string, string>()): string {
  return text.replaceAll(ID, (id) => {
    const known = ids.get(id) ?? `#${ids.size + 1}`;
    ids.set(id, known);
    return known;
  });
}
