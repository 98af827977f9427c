/**
 * An upstream that answers over real HTTP, and guards of calls to it.
 *
 * @module
 */
import {
  type CircuitBreaker,
  type CircuitOptions,
  createFuse,
  type Fuse,
  type FuseOptions,
} from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";

/** Answers a request. */
export type Handler = (request: Request) => Response | Promise<Response>;

/** Runs `body` with an upstream, at an address such as `http://127.0.0.1:1234/`. */
export async function upstream(
  handler: Handler,
  body: (url: string) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {}, signal: stop.signal },
    handler,
  );
  try {
    await body(`http://127.0.0.1:${server.addr.port}/`);
  } finally {
    // Not `shutdown`, which waits for answers that a failed test leaves behind.
    stop.abort();
    await server.finished;
  }
}

/** Answers with the status in the path, and a body that has to be read or canceled. */
export const echoStatus: Handler = (request) => {
  const status = Number(new URL(request.url).pathname.slice(1));
  return new Response(status === 204 || status === 304 ? null : "text", { status });
};

/** A Fuse whose clock stands still. */
export function fuseOf(options: FuseOptions = {}): Fuse {
  return createFuse({ clock: new FakeClock().now, ...options });
}

/** A circuit of such a Fuse. */
export function breakerOf<F = never>(options?: CircuitOptions<F>): CircuitBreaker<F> {
  return fuseOf().make("upstream", options);
}

/** Returns the counted successes and failures. */
export async function counted(breaker: CircuitBreaker<unknown>): Promise<[number, number]> {
  const { totalSuccesses, totalFailures } = await breaker.getMetrics();
  return [totalSuccesses, totalFailures];
}

/** A limit that never passes: no test takes a minute. */
export const MINUTE_MS = 60_000;
/** Both code paths of a call through the library. */
export const LIMITS: [limited: string, CircuitOptions][] = [
  ["without callTimeoutMs", {}],
  ["with callTimeoutMs", { callTimeoutMs: MINUTE_MS / 2 }],
];
