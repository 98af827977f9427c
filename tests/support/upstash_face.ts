/**
 * A Redis that speaks Upstash's REST API, on a port of 127.0.0.1, with all faults that tests need.
 *
 * ```ts ignore
 * const face = await startFace({ redis });
 * const client = new Redis({ url: face.url, token: face.token, retry: { retries: 0 } });
 * face.fault = ({ commands }) => commands[0]?.[0] === "evalsha" ? "lose" : undefined;
 * ```
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { Buffer } from "node:buffer";
// Deno.serve cannot cut a connection before it answers; a socket of Node's can be destroyed.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type Manners, parseCommands, type Route, routeOf, upstashApp } from "./upstash_app.ts";
import { connectBackend } from "./upstash_backend.ts";

/** A fault of a request. */
export type Fault =
  /** The connection is cut, and the request is not run. */
  | "refuse"
  /** The request is run, then the connection is cut before an answer. */
  | "lose"
  /** The request is neither run nor answered, until the face stops. */
  | "hang"
  /** The request is run, and never answered. */
  | "hang_after"
  /**
   * The request is not run, and answered with this status; the body of a 502 is a page of HTML, as
   * a proxy's.
   */
  | 401
  | 429
  | 500
  | 502
  /** The request is run, and answered with 200 and no JSON. */
  | "garbage"
  /** The request is run, and answered with 200 and the first half of the JSON. */
  | "truncated"
  /**
   * The request is run, and answered with 200 and `{"result":"nonsense"}`, in the requested
   * encoding.
   */
  | "wrong_shape";

/** A request, as far as tests need it. */
export interface FaceRequest {
  readonly route: Route;
  readonly path: string;
  /**
   * The commands as they arrived, before their arguments become strings; none if they are invalid.
   */
  readonly commands: readonly (readonly unknown[])[];
}

/** The settings of a test for later requests. */
interface Behavior {
  /** Selects the fault of each request. None by default. */
  fault?: ((request: FaceRequest) => Fault | undefined) | undefined;
  /** How long a request waits before it is run. @default {0} */
  delayMs?: number | ((request: FaceRequest) => number);
}

/** The options of a face. */
export interface FaceOptions extends Behavior {
  /** Any Redis. The face does not stop it: stop the face first. */
  readonly redis: { readonly url: string };
  /** @default {"token"} */
  readonly token?: string;
  /** The differences of servers, plans and tokens. */
  readonly manners?: Manners;
}

/** A face that listens. */
export interface Face extends Required<Behavior>, AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly token: string;
  /** The differences of servers, plans and tokens. May be changed. */
  readonly manners: Manners;
  /** The number of HTTP requests, including those without effect. */
  requests: number;
  /** The number of HTTP requests by form. */
  readonly routes: Record<Route, number>;
  /** The last 1 000 of them, oldest first. */
  readonly log: FaceRequest[];
  /** Forgets `requests`, `routes` and `log`. */
  reset(): void;
  /** Stops listening at `url`, and cuts connections. */
  stopListening(): Promise<void>;
  /** Ends the face, whatever hangs. */
  stop(): Promise<void>;
}

const LOG_LENGTH = 1_000;

/** Starts a face. Throws if its Redis does not answer. */
export async function startFace(options: FaceOptions): Promise<Face> {
  const { redis, token = "token", fault, delayMs = 0 } = options;
  const manners = { ...options.manners };
  const backend = await connectBackend(redis.url);
  const app = upstashApp({ token, backend, manners });
  const sockets = new Set<Socket>();

  const server = createServer((incoming, outgoing) => {
    // The client has disconnected: there is no recipient.
    exchange(incoming, outgoing).catch(() => incoming.socket.destroy());
  });
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };

  async function exchange(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const url = new URL(incoming.url ?? "/", face.url);
    const body = await bytesOf(incoming);
    const request = describe(url, body);
    face.requests++;
    face.routes[request.route]++;
    if (face.log.push(request) > LOG_LENGTH) face.log.shift();

    const delayMs = typeof face.delayMs === "function" ? face.delayMs(request) : face.delayMs;
    if (delayMs > 0 && !await passes(delayMs, incoming.socket)) return;

    const fault = face.fault?.(request);
    if (fault === "hang") return;
    if (fault === "refuse") return void incoming.socket.destroy();
    if (typeof fault === "number") return send(outgoing, STATUSES[fault]);

    const method = incoming.method ?? "GET";
    const response = await app.fetch(
      new Request(url, {
        method,
        headers: incoming.headers as Record<string, string>,
        body: method === "GET" || method === "HEAD" ? null : new Uint8Array(body),
      }),
    );
    const answer: Answer = {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: Buffer.from(await response.arrayBuffer()),
    };
    switch (fault) {
      case "lose":
        return void incoming.socket.destroy();
      case "hang_after":
        return;
      case "garbage":
        return send(outgoing, { ...answer, body: "<nothing like JSON>" });
      case "truncated":
        return send(outgoing, { ...answer, body: answer.body.slice(0, answer.body.length / 2) });
      case "wrong_shape": {
        const base64 = incoming.headers["upstash-encoding"] === "base64";
        return send(outgoing, {
          ...answer,
          body: JSON.stringify({ result: base64 ? btoa("nonsense") : "nonsense" }),
        });
      }
      default:
        return send(outgoing, answer);
    }
  }

  let closed: Promise<void> | undefined;
  const stopListening = () =>
    closed ??= new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  const stop = async () => {
    await stopListening();
    await backend.close();
    // Clients of this process hear that their connections are closed before the test ends.
    for (let turn = 0; turn < 20; turn++) await new Promise<void>((pass) => setImmediate(pass));
  };
  const face: Face = {
    url: `http://127.0.0.1:${port}`,
    token,
    manners,
    fault,
    delayMs,
    requests: 0,
    routes: { command: 0, pipeline: 0, "multi-exec": 0, path: 0 },
    log: [],
    reset() {
      face.requests = 0;
      Object.assign(face.routes, { command: 0, pipeline: 0, "multi-exec": 0, path: 0 });
      face.log.length = 0;
    },
    stopListening,
    stop,
    [Symbol.asyncDispose]: stop,
  };
  return face;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

const JSON_TYPE = { "content-type": "application/json" };

const STATUSES: Readonly<Record<401 | 429 | 500 | 502, Answer>> = {
  401: { status: 401, headers: JSON_TYPE, body: '{"error":"Unauthorized"}' },
  429: {
    status: 429,
    headers: JSON_TYPE,
    body: JSON.stringify({
      error: "ERR max daily request limit exceeded. Limit: 10000, Usage: 10000. See " +
        "https://upstash.com/docs/redis/troubleshooting/max_daily_request_limit for details",
    }),
  },
  500: { status: 500, headers: JSON_TYPE, body: '{"error":"ERR internal error"}' },
  502: {
    status: 502,
    headers: { "content-type": "text/html" },
    body: "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>",
  },
};

function send(outgoing: ServerResponse, { status, headers, body }: Answer): void {
  outgoing.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) });
  outgoing.end(body);
}

function describe(url: URL, body: Buffer): FaceRequest {
  let commands: unknown[][] = [];
  try {
    commands = parseCommands(url, body);
  } catch {
    // The app reports the error.
  }
  return { route: routeOf(url), path: url.pathname, commands };
}

async function bytesOf(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/**
 * Resolves to whether the time passes before the connection ends: no timer of an ended request is
 * left.
 */
function passes(ms: number, socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(end, ms, true);
    const gone = () => end(false);
    socket.once("close", gone);
    function end(passed: boolean) {
      clearTimeout(timer);
      socket.off("close", gone);
      resolve(passed);
    }
  });
}
