/**
 * A proxy in front of a store's HTTP server: logs requests, and holds answers back on demand.
 *
 * @module
 */

/** A request on its way. */
export interface Passage {
  readonly body: string;
  /** Whether the caller can have received the answer. */
  answered: boolean;
  /** Releases the answer. */
  release(): void;
}

/** A turnstile that listens. */
export interface Turnstile extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** The requests in order of arrival. */
  readonly log: Passage[];
  /**
   * Holds answers from now on until they are released one by one, or by `open`; `each` receives
   * every request at once.
   */
  hold(each?: (passage: Passage) => void): void;
  /** Releases all answers, also future ones. */
  open(): void;
  /** Returns the next held request that was not returned before. */
  next(): Promise<Passage>;
  /** Waits until a request whose body contains this was answered. */
  answered(saying: string): Promise<void>;
}

/** The limit of a wait in a test. */
const DEADLINE_MS = 30_000;

/** Starts a turnstile in front of a server. */
export function startTurnstile(target: string): Turnstile {
  const stop = new AbortController();
  const log: Passage[] = [];
  const untold: Passage[] = [];
  const wakers = new Set<() => void>();
  let holding: ((passage: Passage) => void) | null = null;
  const wake = () => {
    for (const waker of [...wakers]) waker();
  };
  async function until<T>(find: () => T | undefined): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const deadline = new Promise<never>((_, reject) =>
      timer = setTimeout(reject, DEADLINE_MS, new Error("Nothing of the kind came through"))
    );
    try {
      for (;;) {
        const found = find();
        if (found !== undefined) return found;
        const { promise, resolve } = Promise.withResolvers<void>();
        wakers.add(resolve);
        await Promise.race([promise, deadline]);
        wakers.delete(resolve);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {}, signal: stop.signal },
    async (request) => {
      const body = await request.text().catch(() => null);
      // The sender has died: there is no recipient.
      if (body === null) return new Response(null, { status: 400 });
      const released = Promise.withResolvers<void>();
      const passage: Passage = { body, answered: false, release: released.resolve };
      log.push(passage);
      const { pathname, search } = new URL(request.url);
      const response = await fetch(new URL(pathname + search, target), {
        method: request.method,
        headers: request.headers,
        body: request.method === "GET" || request.method === "HEAD" ? null : body,
      });
      const answer = await response.arrayBuffer();
      if (holding !== null) {
        untold.push(passage);
        holding(passage);
        wake();
        await released.promise;
      }
      passage.answered = true;
      wake();
      const headers = new Headers(response.headers);
      // `fetch` has decompressed it.
      headers.delete("content-encoding");
      headers.delete("content-length");
      return new Response(answer, { status: response.status, headers });
    },
  );

  const open = () => {
    holding = null;
    untold.length = 0;
    for (const { release } of log) release();
  };
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    log,
    hold(each = () => {}) {
      holding = each;
    },
    open,
    next: () => until(() => untold.shift()),
    async answered(saying) {
      await until(() => log.find(({ answered, body }) => answered && body.includes(saying)));
    },
    async [Symbol.asyncDispose]() {
      open();
      // Not `shutdown`, which waits for answers that no client reads.
      stop.abort();
      await server.finished;
    },
  };
}
