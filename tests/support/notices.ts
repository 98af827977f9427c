/**
 * Helpers of tests of notices: a receiver over HTTP, and a time that a test moves.
 *
 * @module
 */
import { FakeClock } from "@fuse/edge/testing";
import type { Notice } from "@fuse/edge/notify";
import type { Parts } from "../../src/notify/parts.ts";

/** A request that a receiver got. */
export interface Received {
  readonly headers: Headers;
  readonly body: string;
}

/** A receiver of notices. */
export interface Receiver extends AsyncDisposable {
  readonly url: string;
  readonly requests: Received[];
  /** Returns the notices of all requests that were answered with 200. */
  notices(): Notice[];
  /** Answers a request; with 200 by default. */
  answer: (request: Request) => Response | Promise<Response>;
}

/** Starts a receiver. */
export function startReceiver(): Receiver {
  const taken: Notice[] = [];
  const requests: Received[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    const body = await request.text();
    requests.push({ headers: request.headers, body });
    const response = await receiver.answer(request);
    if (response.ok) taken.push(...JSON.parse(body).notices ?? []);
    return response;
  });
  const receiver: Receiver = {
    url: `http://127.0.0.1:${server.addr.port}/s3cr3t-path`,
    requests,
    notices: () => taken,
    answer: () => new Response("ok"),
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
  return receiver;
}

/** A clock and timers that a test moves. */
export class FakeParts implements Parts {
  readonly time = new FakeClock();
  readonly clock = this.time.now;
  readonly isWorker: boolean;
  /** The pauses so far, in ms. */
  readonly pauses: number[] = [];
  #timers: { at: number; work: () => void }[] = [];

  constructor(isWorker = false) {
    this.isWorker = isWorker;
  }

  after(ms: number, work: () => void): () => void {
    const timer = { at: this.clock() + ms, work };
    this.#timers.push(timer);
    return () => this.#timers = this.#timers.filter((set) => set !== timer);
  }

  /** Pauses advance the clock, and take no real time. */
  sleep(ms: number): Promise<void> {
    this.pauses.push(ms);
    this.time.advance(ms);
    return Promise.resolve();
  }

  random(): number {
    return 0;
  }

  /** The number of timers. */
  get timers(): number {
    return this.#timers.length;
  }

  /** Advances time, and calls the timers that are due. */
  advance(ms: number): void {
    this.time.advance(ms);
    const due = this.#timers.filter(({ at }) => at <= this.clock());
    this.#timers = this.#timers.filter(({ at }) => at > this.clock());
    for (const { work } of due) work();
  }
}

/** A channel that keeps its notices. */
export function channel() {
  const notices: Notice[] = [];
  const batches: number[] = [];
  const tell = (told: readonly Notice[]) => {
    batches.push(told.length);
    notices.push(...told);
    return Promise.resolve();
  };
  return { tell, notices, batches, events: () => notices.map(({ event }) => event) };
}
