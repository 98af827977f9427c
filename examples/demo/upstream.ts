/**
 * The upstream: a real HTTP server in a process of its own, in front of a pool of workers.
 *
 * Takes the {@linkcode WorkerPoolOptions} as JSON in its first argument. Reads an
 * {@linkcode UpstreamCommand} a line from stdin, and answers each with an {@linkcode UpstreamStatus}
 * on stdout. It ends with stdin, so it cannot outlive the demo.
 */

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { lines } from "./lines.ts";
import { WorkerPool } from "./worker_pool.ts";

/** A line of the demo to the upstream. */
export interface UpstreamCommand {
  /** How long jobs take from now on; left as it is when not given. */
  readonly jobMs?: number;
}

/** A line of the upstream to the demo. */
export interface UpstreamStatus {
  readonly port: number;
  /** Jobs that wait for a worker now. */
  readonly waiting: number;
  /** Jobs that workers have begun. */
  readonly working: number;
  /** Jobs done so far whose callers had gone by then. */
  readonly doneForNobody: number;
}

const pool = new WorkerPool(JSON.parse(Deno.args[0]!));
let doneForNobody = 0;

const server = createServer((request, response) => {
  let callerGone = false;
  response.on("close", () => callerGone = !response.writableEnded);
  // A job is done although its caller has gone: like most servers, workers do not look.
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
