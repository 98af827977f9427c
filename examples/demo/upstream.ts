/**
 * The upstream: a real HTTP server in a process of its own, in front of a pool of workers.
 *
 * Takes the {@linkcode WorkerPoolOptions} as JSON in its first argument. Reads an {@linkcode
 * UpstreamCommand} from each line of stdin, and answers with an {@linkcode UpstreamStatus} on
 * stdout. It ends when stdin closes, so it cannot outlive the demo.
 */

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { lines } from "./lines.ts";
import { WorkerPool } from "./worker_pool.ts";

/** A command of the demo to the upstream. */
export interface UpstreamCommand {
  /** The duration of jobs from now on; unchanged when not given. */
  readonly jobMs?: number;
}

/** An answer of the upstream to the demo. */
export interface UpstreamStatus {
  readonly port: number;
  /** The number of jobs that wait for a worker. */
  readonly waiting: number;
  /** The number of jobs that workers have begun. */
  readonly working: number;
  /** The number of jobs that were done after their callers had left. */
  readonly doneForNobody: number;
}

const pool = new WorkerPool(JSON.parse(Deno.args[0]!));
let doneForNobody = 0;

const server = createServer((request, response) => {
  let callerGone = false;
  response.on("close", () => callerGone = !response.writableEnded);
  // A job is done although its caller has left: like most servers, workers do not check.
  const accepted = pool.submit(() => {
    if (callerGone) doneForNobody++;
    else response.end(`This is ${request.url}\n`);
  });
  if (!accepted) {
    response.writeHead(503);
    response.end("The queue is full\n");
  }
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const { port } = server.address() as AddressInfo;

// Ctrl-C reaches every process of the terminal; the demo decides when this one ends.
Deno.addSignalListener("SIGINT", () => {});

for await (const line of lines(Deno.stdin.readable)) {
  const { jobMs }: UpstreamCommand = JSON.parse(line);
  if (jobMs !== undefined) pool.jobMs = jobMs;
  const { waiting, working } = pool;
  const status: UpstreamStatus = { port, waiting, working, doneForNobody };
  console.log(JSON.stringify(status));
}
Deno.exit();
