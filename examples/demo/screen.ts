const ERASE_LINE = "\r\x1b[K";

/** A log with times, above one status line that is updated in place. */
export class Screen {
  #start = performance.now();
  #status = "";
  #printedAt = 0;
  readonly #isTerminal = Deno.stdout.isTerminal();

  /** Sets the clock to zero. */
  restartClock(): void {
    this.#start = performance.now();
  }

  /** Prints an event with its time. */
  log(text: string, color = "inherit"): void {
    this.print(`${this.#clock()}  ${text}`, color);
  }

  /** Prints text. */
  print(text: string, color = "inherit"): void {
    this.#erase();
    console.log("%c%s", `color: ${color}`, text);
    this.#draw();
  }

  /** Updates the status line. Where updating is impossible, prints a line every two seconds. */
  status(text: string): void {
    if (this.#isTerminal) {
      this.#erase();
      this.#status = `${this.#clock()}  ${text}`;
      this.#draw();
    } else if (performance.now() - this.#printedAt >= 2000) {
      this.#printedAt = performance.now();
      this.log(text);
    }
  }

  /** Removes the status line. */
  clearStatus(): void {
    this.#erase();
    this.#status = "";
  }

  #clock(): string {
    return `${((performance.now() - this.#start) / 1000).toFixed(1).padStart(5)} s`;
  }

  #erase(): void {
    if (this.#status) write(ERASE_LINE);
  }

  #draw(): void {
    if (!this.#status) return;
    const width = Deno.consoleSize().columns || 80; // some pseudo-terminals say 0
    write(this.#status.slice(0, width - 1)); // a line that wraps cannot be erased
  }
}

function write(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}
