/**
 * The upstream: a real HTTP server in a process of its own that behaves as it is told.
 *
 * Reads a {@linkcode Behavior} a line from stdin, answers each with an {@linkcode UpstreamStatus}
 * on stdout once it holds, and ends with stdin: it cannot outlive the demo, however that ends.
 */

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { lines } from "./lines.ts";
import type { Behavior } from "./timetable.ts";

/** What the upstream says of itself. */
export interface UpstreamStatus {
  readonly port: number;
  /** Requests that reached it so far. */
  readonly received: number;
}

let behavior: Behavior = { kind: "answer", delaysMs: [0] };
let received = 0;

const server = createServer((request, response) => {
  received++;
  switch (behavior.kind) {
    case "answer": {
      const delayMs = behavior.delaysMs[received % behavior.delaysMs.length] ?? 0;
      setTimeout(() => response.end("Hello from the upstream\n"), delayMs);
      break;
    }
    case "unavailable":
      response.writeHead(503, { "retry-after": String(behavior.retryAfterS) });
      response.end("The upstream is unavailable\n");
      break;
    case "refuse": // no longer listening: this one came in just before
    case "reset":
      request.socket.resetAndDestroy();
      break;
  }
});

await listen(0);
const { port } = server.address() as AddressInfo;

// Ctrl-C reaches every process of the terminal; the demo decides when this one ends.
Deno.addSignalListener("SIGINT", () => {});

for await (const line of lines(Deno.stdin.readable)) {
  behavior = JSON.parse(line);
  const listens = behavior.kind !== "refuse";
  if (listens !== server.listening) await (listens ? listen(port) : close());
  report();
}
Deno.exit();

function report() {
  const status: UpstreamStatus = { port, received };
  console.log(JSON.stringify(status));
}

async function close() {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}

async function listen(port: number) {
  // While nobody listened here, some connection may have got the port for its own end: wait for it.
  for (let attempt = 1;; attempt++) {
    try {
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
      return;
    } catch (error) {
      if (attempt === 20) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
