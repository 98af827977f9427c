/**
 * An upstream whose bodies end in every way that HTTP knows. It writes raw sockets, so that it
 * controls the ending.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { gzipSync } from "node:zlib";

/** The expected result of a body. */
export interface StreamCase {
  /** The path, which selects the ending. */
  readonly path: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  /** Limits of the circuit. */
  readonly limits?: { readonly idleTimeoutMs?: number; readonly firstByteTimeoutMs?: number };
  /** The text that a reader gets, or `null` if it gets an error. */
  readonly text: string | null;
  /** The name of that error, if it is ours. */
  readonly error?: string;
  /** Successes and failures. */
  readonly counted: readonly [number, number];
}

/** Long enough for a busy machine. */
const AMPLE_MS = 2_000;

/** All cases. */
export const STREAM_CASES: readonly StreamCase[] = [
  { path: "/length", text: "0123456789", counted: [1, 0] },
  { path: "/chunked", text: "0123456789", counted: [1, 0] },
  // HTTP cannot reveal that it is truncated.
  { path: "/until-closed", text: "01234", counted: [1, 0] },
  { path: "/gzip", text: "0123456789", counted: [1, 0] },
  { path: "/range", headers: { range: "bytes=2-4" }, text: "234", counted: [1, 0] },
  { path: "/trickle", limits: { idleTimeoutMs: AMPLE_MS }, text: "0123456789", counted: [1, 0] },
  { path: "/truncated-length", text: null, counted: [0, 1] },
  { path: "/truncated-chunked", text: null, counted: [0, 1] },
  { path: "/reset", text: null, counted: [0, 1] },
  ...["idleTimeoutMs", "firstByteTimeoutMs"].map((limit): StreamCase => ({
    path: "/silent",
    limits: { [limit]: 20 },
    text: null,
    error: "BodyTimeoutError",
    counted: [0, 1],
  })),
  {
    path: "/stall",
    limits: { idleTimeoutMs: 20, firstByteTimeoutMs: AMPLE_MS },
    text: null,
    error: "BodyTimeoutError",
    counted: [0, 1],
  },
  { path: "/length", method: "HEAD", text: "", counted: [1, 0] },
  { path: "/empty", text: "", counted: [1, 0] },
  { path: "/204", text: "", counted: [1, 0] },
  { path: "/304", text: "", counted: [1, 0] },
];

/** A server that is running. */
export interface StreamServer extends AsyncDisposable {
  /** Without a slash at its end. */
  readonly url: string;
  /** The requested paths. */
  readonly asked: string[];
  /** The number of its connections. */
  readonly connections: number;
}

/** Starts one. */
export async function startStreams(): Promise<StreamServer> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // A client that disconnects is one of the cases.
    socket.on("error", () => {});
    let heard = "";
    socket.on("data", (data) => {
      heard += data.toString("latin1");
      if (!heard.includes("\r\n\r\n")) return;
      const [method, path] = heard.split(" ") as [string, string];
      heard = "";
      asked.push(path);
      answer(socket, method, path);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    get connections() {
      return sockets.size;
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function head(socket: Socket, status: string, ...headers: string[]): void {
  // Sent without `connection: close`, with which Node 20 takes a truncated chunked body for a
  // complete one.
  socket.write([`HTTP/1.1 ${status}`, ...headers, "", ""].join("\r\n"));
}

function answer(socket: Socket, method: string, path: string): void {
  const body = (text: string | Buffer) => method === "HEAD" ? socket.end() : socket.end(text);
  const chunked = () => head(socket, "200 OK", "transfer-encoding: chunked");
  switch (path) {
    case "/length":
      head(socket, "200 OK", "content-length: 10", "x-mark: kept");
      return void body("0123456789");
    case "/chunked":
      chunked();
      return void body("5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n");
    case "/until-closed":
      head(socket, "200 OK");
      return void body("01234");
    case "/gzip": {
      const zipped = gzipSync("0123456789");
      head(socket, "200 OK", "content-encoding: gzip", `content-length: ${zipped.byteLength}`);
      return void body(zipped);
    }
    case "/range":
      head(socket, "206 Partial Content", "content-length: 3", "content-range: bytes 2-4/10");
      return void body("234");
    case "/trickle":
      chunked();
      return trickle(socket, [..."0123456789"]);
    case "/truncated-length":
      head(socket, "200 OK", "content-length: 10");
      return void body("01234");
    case "/truncated-chunked":
      chunked();
      return void body("5\r\n01234\r\n");
    case "/reset":
      chunked();
      return void socket.write(
        "5\r\n01234\r\n",
        () => setTimeout(() => socket.resetAndDestroy(), 10),
      );
    case "/silent":
      return head(socket, "200 OK", "content-length: 10");
    case "/stall":
      chunked();
      return void socket.write("5\r\n01234\r\n");
    case "/empty":
      head(socket, "200 OK", "content-length: 0");
      return void socket.end();
    case "/500":
      head(socket, "500 Internal Server Error", "content-length: 4");
      return void body("down");
    default:
      head(socket, `${path.slice(1)} Empty`);
      return void socket.end();
  }
}

function trickle(socket: Socket, rest: string[]): void {
  const [next, ...others] = rest;
  if (next === undefined) return void socket.end("0\r\n\r\n");
  socket.write(`1\r\n${next}\r\n`, () => setTimeout(() => trickle(socket, others), 2));
}
