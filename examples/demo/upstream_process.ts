import { setTimeout as delay } from "node:timers/promises";
import { lines } from "./lines.ts";
import type { Phase } from "./timetable.ts";
import type { UpstreamCommand, UpstreamStatus } from "./upstream.ts";
import type { WorkerPoolOptions } from "./worker_pool.ts";

/** The traffic to the upstream between two calls of {@linkcode UpstreamProcess.takeTraffic}. */
export interface Traffic {
  /** When each request was sent, on the clock of `performance.now()`. */
  readonly sentAt: readonly number[];
  /** The number of jobs that were done after their callers had left. */
  readonly doneForNobody: number;
}

/**
 * The upstream process as seen by the demo: sets the speed of `upstream.ts`, and counts the
 * requests to it. Disposing it ends that process.
 */
export class UpstreamProcess implements AsyncDisposable {
  /** The current phase. */
  phase: Phase;
  /** Its address, without a path. */
  url = "";
  #doneForNobodyBefore = 0;
  #sentAt: number[] = [];
  readonly #process: Deno.ChildProcess;
  readonly #commands: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #statuses: AsyncIterator<string>;

  private constructor(process: Deno.ChildProcess, phase: Phase) {
    this.#process = process;
    this.#commands = process.stdin.getWriter();
    this.#statuses = lines(process.stdout);
    this.phase = phase;
  }

  /** Starts the process, in its first phase. */
  static async start(pool: WorkerPoolOptions, phase: Phase): Promise<UpstreamProcess> {
    const program = new URL("./upstream.ts", import.meta.url).href;
    const process = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-config", "--allow-net=127.0.0.1", program, JSON.stringify(pool)],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const upstream = new UpstreamProcess(process, phase);
    await upstream.enter(phase);
    return upstream;
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.pid;
  }

  /** Switches it to a phase. Resolves when the upstream has confirmed it. */
  async enter(phase: Phase): Promise<void> {
    const { port } = await this.#tell({ jobMs: phase.jobMs });
    this.url = `http://127.0.0.1:${port}`;
    this.phase = phase;
  }

  /** Asks the process for its status. */
  status(): Promise<UpstreamStatus> {
    return this.#tell({});
  }

  /** Plays a timetable, on one clock. */
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

  /**
   * Sends a request, and counts it. Has the signature of `fetch`, so that it can replace the global
   * one.
   */
  readonly fetch: typeof fetch = (input, init) => {
    this.#sentAt.push(performance.now());
    return fetch(input, init);
  };

  /** Returns the traffic since the last call. */
  async takeTraffic(): Promise<Traffic> {
    const { doneForNobody } = await this.status();
    const traffic = {
      sentAt: this.#sentAt,
      doneForNobody: doneForNobody - this.#doneForNobodyBefore,
    };
    this.#sentAt = [];
    this.#doneForNobodyBefore = doneForNobody;
    return traffic;
  }

  /** Waits until no job is left. */
  async drained(signal: AbortSignal): Promise<void> {
    for (;;) {
      const { waiting, working } = await this.status();
      if (waiting + working === 0) return;
      await delay(50, undefined, { signal });
    }
  }

  /** Ends the process and waits until it is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#commands.close().catch(() => {}); // already gone
    await this.#process.status;
  }

  /** Sends a command. The answers come in the order of the commands. */
  async #tell(command: UpstreamCommand): Promise<UpstreamStatus> {
    // Both start before either is awaited, or the answers of two callers could be exchanged.
    const written = this.#commands.write(new TextEncoder().encode(`${JSON.stringify(command)}\n`));
    const [{ value, done }] = await Promise.all([this.#statuses.next(), written]);
    if (done) throw new Error("The upstream's process has ended");
    return JSON.parse(value);
  }
}
