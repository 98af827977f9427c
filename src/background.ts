/**
 * Where work goes that need not be waited for.
 *
 * @module
 */

import type { Unit } from "./admission.ts";

/** Hands work to the runtime after the response: `ctx.waitUntil`, or `waitUntil` of "cloudflare:workers". */
export type WaitUntil = (work: Promise<unknown>) => void;

/** Has a `waitUntil` of its own, such as the `ctx` of a Worker's handler. */
export interface RequestScope {
  /** Keeps the runtime alive for this work. */
  waitUntil: WaitUntil;
}

/** The background of one Fuse. */
export class Background implements Unit {
  readonly #waitUntil: WaitUntil | undefined;
  /** A Worker may not keep a promise of one request for another: there, nothing is kept. */
  readonly #isWorker = globalThis.navigator?.userAgent === "Cloudflare-Workers";
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(waitUntil: WaitUntil | undefined) {
    this.#waitUntil = waitUntil;
  }

  get holder(): Unit["holder"] {
    if (!this.#isWorker) return "process";
    return this.#waitUntil === undefined ? "caller" : "request";
  }

  background(work: Promise<unknown>, request?: RequestScope): Promise<unknown> | undefined {
    if (!this.#isWorker) {
      this.#underWay.add(work);
      const done = () => this.#underWay.delete(work);
      work.then(done, done);
    }
    try {
      // As a method: taken off its context, a Worker's `waitUntil` throws.
      if (request !== undefined) request.waitUntil(work);
      else if (this.#waitUntil !== undefined) (0, this.#waitUntil)(work);
      else if (this.#isWorker) return work;
    } catch {
      // Outside of any request. The process holds the work, a Worker has to wait for it.
      if (this.#isWorker) return work;
    }
    return undefined;
  }

  /** The background of one request. */
  of(request: RequestScope): Unit {
    const holder = this.#isWorker ? "request" : "process";
    return { holder, background: (work) => this.background(work, request) };
  }

  /** Waits for what is under way, then for what that led to, and no longer: traffic has no end. */
  async settled(): Promise<void> {
    for (let round = 0; round < 2; round++) await Promise.all(this.#underWay);
  }
}
