/**
 * A runtime that calls itself a Worker, and its requests.
 *
 * @module
 */

/** As a Worker calls itself; a Fuse looks at the kind of runtime when it is made. */
const WORKER = { userAgent: "Cloudflare-Workers" } as Navigator;

/** Runs a test as if on a Worker. */
export async function onWorker(body: () => Promise<void>): Promise<void> {
  const own = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: WORKER, configurable: true });
  try {
    await body();
  } finally {
    if (own === undefined) Reflect.deleteProperty(globalThis, "navigator");
    else Object.defineProperty(globalThis, "navigator", own);
  }
}

/** A request whose `waitUntil` works as a method only, as a Worker's does. */
export class WorkerRequest {
  readonly held: Promise<unknown>[] = [];
  waitUntil(this: WorkerRequest, work: Promise<unknown>): void {
    if (!(this instanceof WorkerRequest)) throw new TypeError("Illegal invocation");
    this.held.push(work);
  }
}
