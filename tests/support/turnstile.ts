/**
 * Stands before a store's HTTP server: writes down what comes through, and holds answers back for as
 * long as a test wants.
 *
 * @module
 */

/** A request on its way. */
export interface Passage {
  readonly body: string;
  /** Whether the caller can have heard the answer. */
  answered: boolean;
  /** Lets the answer go. */
  release(): void;
}

/** A turnstile that listens. */
export interface Turnstile extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** In the order in which they came. */
  readonly log: Passage[];
  /** From now on, answers are held until they are released one by one, or by `open`; `each` is told at once. */
  hold(each?: (passage: Passage) => void): void;
  /** Lets all go, those to come too. */
  open(): void;
  /** The next request that is held and that nobody was told of yet. */
  next(): Promise<Passage>;
  /** Waits until a request whose body says this was answered. */
  answered(saying: string): Promise<void>;
}

/** After which a test fails that waits for what does not come. */
const DEADLINE_MS = 30_000;

/** Starts one before a server. */
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
      // Whoever asked has died: nobody is left to be told.
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
      // It has been unpacked on its way.
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
      // Not `shutdown`: it waits for answers that nobody is left to hear.
      stop.abort();
      await server.finished;
    },
  };
}
