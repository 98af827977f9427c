/**
 * The output of the command line: text for people, JSON for programs, progress, and errors without
 * secrets.
 *
 * @module
 */

import { inLine } from "../checks.ts";

/** The process that the command line runs in. Tests replace it. */
export interface CliProcess {
  /** Environment variables by name: addresses of stores, and secrets that must not be shown. */
  readonly env: object;
  /** Writes to the standard output. */
  stdout(text: string): void;
  /** Writes to the standard error. */
  stderr(text: string): void;
  /** Returns the text of the standard input. */
  stdin(): Promise<string>;
  /** Returns a signal that aborts when the user interrupts `tail`. */
  interrupted(): AbortSignal;
}

/** A mistake in the command. Its message is shown unchanged. */
export class CliError extends Error {
  override readonly name = "CliError";
}

/** The shortest time between two lines of progress, in ms. */
const PROGRESS_MS = 1_000;

/** The widest column, in cells of a terminal. */
const MAX_COLUMN = 40;

/** Characters that terminals show in two cells, and in none. */
const WIDE =
  /[\p{Emoji_Presentation}\p{sc=Han}\p{sc=Hangul}\p{sc=Hiragana}\p{sc=Katakana}\u3000-\u303e\uff01-\uff60]/gu;
const UNSEEN = /[\p{Mn}\p{Me}\u200d]/gu;

/** Names of variables and headers whose values are secrets. */
const SECRET = /TOKEN|SECRET|KEY|PASSWORD|PASSWD|AUTH|COOKIE|CREDENTIAL|DSN|URL$/i;

/** Writes the results of a command. */
export class Terminal {
  readonly process: CliProcess;
  /** `true` if programs read the output. */
  readonly json: boolean;
  readonly #secrets: string[];
  #progressAt = -Infinity;

  /** @param headers Headers of a request, whose values are never shown. */
  constructor(process: CliProcess, json: boolean, headers: Iterable<[string, string]> = []) {
    this.process = process;
    this.json = json;
    this.#secrets = [...secretsOf(process.env), ...[...headers].map(([, value]) => value)]
      .flatMap((value) => [value, value.replace(/^\w+ +/, "")])
      .filter((value) => value.length > 3)
      .sort((a, b) => b.length - a.length);
  }

  /** Writes a line for people. Texts from outside must have gone through `inLine`. */
  line(text: string): void {
    this.process.stdout(`${text}\n`);
  }

  /** Writes one document, or one line of a stream, for programs. */
  document(value: unknown, indent = 2): void {
    this.process.stdout(`${JSON.stringify(value, null, indent)}\n`);
  }

  /**
   * Writes columns, each as wide as its widest text. A text beyond `MAX_COLUMN` is printed in full and
   * moves its own line alone: it would push the columns of all others off the screen.
   */
  table(rows: readonly (readonly string[])[]): void {
    const widths: number[] = [];
    for (const row of rows) {
      for (const [i, text] of row.entries()) {
        const cells = cellsOf(text);
        if (cells <= MAX_COLUMN) widths[i] = Math.max(widths[i] ?? 0, cells);
      }
    }
    for (const row of rows) {
      const padded = row.map((text, i) =>
        text + " ".repeat(Math.max(0, (widths[i] ?? 0) - cellsOf(text)))
      );
      this.line(padded.join("  ").trimEnd());
    }
  }

  /** Writes progress to the standard error, the first time at once and then once a second. */
  progress(text: string): void {
    const now = performance.now();
    if (now - this.#progressAt < PROGRESS_MS) return;
    this.#progressAt = now;
    this.note(text);
  }

  /** Writes a line to the standard error. */
  note(text: string): void {
    this.process.stderr(`${this.redact(text)}\n`);
  }

  /** Returns the message of an error and of its cause, without secrets. */
  reasonOf(error: unknown): string {
    const { message = String(error), cause } = Object(error) as Partial<Error>;
    const behind = (Object(cause) as Partial<Error>).message;
    const text = typeof behind === "string" && !message.includes(behind)
      ? `${message}: ${behind}`
      : message;
    return this.redact(inLine(text));
  }

  /** Returns a text without the values of variables and headers that may be secrets. */
  redact(text: string): string {
    return this.#secrets.reduce((rest, secret) => rest.replaceAll(secret, "…"), text);
  }
}

function secretsOf(env: object): string[] {
  return Object.entries(env).flatMap(([name, value]) =>
    SECRET.test(name) && typeof value === "string" ? [value] : []
  );
}

/** Returns the number of cells that a terminal needs for a text. */
function cellsOf(text: string): number {
  const count = (pattern: RegExp) => text.match(pattern)?.length ?? 0;
  return [...text].length + count(WIDE) - count(UNSEEN);
}
