/**
 * Background work: work that callers need not wait for.
 *
 * @module
 */

import type { Unit } from "./admission.ts";

/**
 * Hands work to the runtime, which keeps it alive after the response: `ctx.waitUntil`, or
 * `waitUntil` of "cloudflare:workers".
 */
export type WaitUntil = (work: Promise<unknown>) => void;

/** An object with its own `waitUntil`, such as the `ctx` of a Worker's handler. */
export interface RequestScope {
  /** Keeps the runtime alive for this work. */
  waitUntil: WaitUntil;
}

/** The background of one Fuse. */
export class Background implements Unit {
  readonly #waitUntil: WaitUntil | undefined;
  /** A Worker may not keep a promise of one request for another, so nothing is kept there. */
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
      // Called as a method: taken off its context, a Worker's `waitUntil` throws.
      if (request !== undefined) request.waitUntil(work);
      else if (this.#waitUntil !== undefined) (0, this.#waitUntil)(work);
      else if (this.#isWorker) return work;
    } catch {
      // Outside of any request. A process keeps the work alive, a Worker has to wait for it.
      if (this.#isWorker) return work;
    }
    return undefined;
  }

  /** The background of one request. */
  of(request: RequestScope): Unit {
    const holder = this.#isWorker ? "request" : "process";
    return { holder, background: (work) => this.background(work, request) };
  }

  /**
   * Waits for the current work, then for the work that it led to, and no longer: traffic has no
   * end.
   */
  async settled(): Promise<void> {
    for (let round = 0; round < 2; round++) await Promise.all(this.#underWay);
  }
}
