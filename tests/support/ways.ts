/**
 * Connections to a shared store that fail on demand: over HTTP, or in front of a store in this
 * process.
 *
 * @module
 */
import { Buffer } from "node:buffer";
// Deno.serve cannot cut a connection before it answers; a socket of Node's can be destroyed.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Store } from "@fuse/edge";
import type { Face } from "./upstash_face.ts";

/** A fault: the request was not run, or it was run and no answer comes. */
export type WayFault = "refuse" | "lose";

/** A connection to a store. */
export interface Way {
  /** Selects the fault of each request. None by default. */
  fault: (() => WayFault | undefined) | undefined;
  /** The number of requests over this connection, including failed ones. */
  readonly requests: number;
}

/** A connection through a server, in front of another one. */
export interface HttpWay extends Way, AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
}

/** A connection through a face, which has its own faults. */
export function wayThrough(face: Face): Way & { readonly url: string } {
  let fault: Way["fault"];
  return {
    url: face.url,
    get requests() {
      return face.requests;
    },
    get fault() {
      return fault;
    },
    set fault(decide) {
      face.fault = fault = decide;
    },
  };
}

/** Listens, and forwards everything to another server. */
export async function wayTo(target: string): Promise<HttpWay> {
  const sockets = new Set<Socket>();
  const way = { fault: undefined as Way["fault"], requests: 0 };
  const server = createServer((incoming, outgoing) => {
    pass(incoming, outgoing).catch(() => incoming.socket.destroy());
  });
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };

  async function pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    way.requests++;
    const fault = way.fault?.();
    if (fault === "refuse") return void incoming.socket.destroy();
    const { host: _, connection: __, "content-length": ___, ...headers } = incoming.headers;
    const { method = "GET" } = incoming;
    const response = await fetch(new URL(incoming.url ?? "/", target), {
      method,
      headers: headers as Record<string, string>,
      body: method === "GET" || method === "HEAD" ? null : new Uint8Array(Buffer.concat(chunks)),
    });
    const body = Buffer.from(await response.arrayBuffer());
    if (fault === "lose") return void incoming.socket.destroy();
    const type = response.headers.get("content-type") ?? "application/json";
    outgoing.writeHead(response.status, { "content-type": type, "content-length": body.length });
    outgoing.end(body);
  }

  return Object.assign(way, {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      });
    },
  });
}

const OPERATIONS = ["read", "record", "acquire", "transition", "override", "restore", "list"];

/** A connection of function calls, for stores without a network. */
export function localWay(): Way & { readonly to: <S extends Store>(store: S) => S } {
  const way = {
    fault: undefined as Way["fault"],
    requests: 0,
    to: <S extends Store>(store: S): S =>
      new Proxy(store, {
        get(target, property) {
          const value = Reflect.get(target, property, target);
          if (typeof value !== "function") return value;
          const apply = (...args: unknown[]) => Reflect.apply(value, target, args);
          return OPERATIONS.includes(String(property)) ? go(apply) : apply;
        },
      }),
  };
  const go = (apply: (...args: unknown[]) => unknown) => async (...args: unknown[]) => {
    way.requests++;
    const fault = way.fault?.();
    if (fault === "refuse") throw new Error("connection refused");
    const answer = await apply(...args);
    if (fault === "lose") throw new Error("connection reset");
    return answer;
  };
  return way;
}
