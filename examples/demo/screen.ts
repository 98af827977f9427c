const ERASE_LINE = "\r\x1b[K";

/** A log of what happened when, above one status line that is rewritten as things change. */
export class Screen {
  #start = performance.now();
  #status = "";
  #printedAt = 0;
  readonly #isTerminal = Deno.stdout.isTerminal();

  /** Sets the clock to zero. */
  restartClock(): void {
    this.#start = performance.now();
  }

  /** Prints something that happened now. */
  log(text: string, color = "inherit"): void {
    this.print(`${this.#clock()}  ${text}`, color);
  }

  /** Prints text that stays. */
  print(text: string, color = "inherit"): void {
    this.#erase();
    console.log("%c%s", `color: ${color}`, text);
    this.#draw();
  }

  /** Rewrites the status line. Where nothing can be rewritten, prints one every two seconds. */
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

  /** Takes the status line away. */
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
    write(this.#status.slice(0, width - 1)); // a line that wraps could not be erased
  }
}

function write(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}
