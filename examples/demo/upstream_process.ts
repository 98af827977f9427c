import { setTimeout as delay } from "node:timers/promises";
import { lines } from "./lines.ts";
import type { Phase } from "./timetable.ts";
import type { UpstreamStatus } from "./upstream.ts";

/** What happened to an upstream between two looks at it. */
export interface Traffic {
  /** Requests sent to it, by the phase it was in. A connect that was refused is one, too. */
  readonly sent: ReadonlyMap<string, number>;
  /** Requests that reached it, by its own count. */
  readonly received: number;
}

/**
 * The upstream as the demo sees it: tells `upstream.ts`, a process of its own, what to do, and
 * counts what is sent there. Disposing it ends that process.
 */
export class UpstreamProcess implements AsyncDisposable {
  #phase: Phase;
  #url = "";
  #received = 0;
  #receivedBefore = 0;
  #sent = new Map<string, number>();
  readonly #process: Deno.ChildProcess;
  readonly #commands: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #statuses: AsyncIterator<string>;

  private constructor(process: Deno.ChildProcess, phase: Phase) {
    this.#process = process;
    this.#commands = process.stdin.getWriter();
    this.#statuses = lines(process.stdout);
    this.#phase = phase;
  }

  /** Starts the process, in its first phase. */
  static async start(phase: Phase): Promise<UpstreamProcess> {
    const program = new URL("./upstream.ts", import.meta.url).href;
    const process = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-config", "--allow-net=127.0.0.1", program],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const upstream = new UpstreamProcess(process, phase);
    await upstream.enter(phase);
    return upstream;
  }

  /** Where it listens, unless it refuses. */
  get url(): string {
    return this.#url;
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.pid;
  }

  /** The phase it is in. */
  get phase(): Phase {
    return this.#phase;
  }

  /** Brings it into a phase. Resolves when that holds. */
  async enter(phase: Phase): Promise<void> {
    await this.#commands.write(new TextEncoder().encode(`${JSON.stringify(phase.behavior)}\n`));
    const { value, done } = await this.#statuses.next();
    if (done) throw new Error("The upstream's process has ended");
    const status: UpstreamStatus = JSON.parse(value);
    this.#url = `http://127.0.0.1:${status.port}/`;
    this.#received = status.received;
    this.#phase = phase;
  }

  /** Leads it through a timetable, on one clock. */
  async play(
    phases: readonly Phase[],
    onPhase: (phase: Phase) => void,
    signal: AbortSignal,
  ): Promise<void> {
    let due = performance.now();
    for (const phase of phases) {
      await this.enter(phase);
      onPhase(phase);
      due += phase.lastsMs;
      await delay(Math.max(0, due - performance.now()), undefined, { signal });
    }
  }

  /** Sends it one request. */
  send(signal?: AbortSignal): Promise<Response> {
    const { name } = this.#phase;
    this.#sent.set(name, (this.#sent.get(name) ?? 0) + 1);
    return fetch(this.#url, signal ? { signal } : {});
  }

  /** The traffic since it was last asked for. */
  async takeTraffic(): Promise<Traffic> {
    await this.enter(this.#phase); // its answer brings its count up to date
    const traffic = { sent: this.#sent, received: this.#received - this.#receivedBefore };
    this.#sent = new Map();
    this.#receivedBefore = this.#received;
    return traffic;
  }

  /** Ends the process and waits until it is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#commands.close().catch(() => {}); // already gone
    await this.#process.status;
  }
}
