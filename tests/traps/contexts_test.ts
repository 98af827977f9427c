// The asynchronous context of a call, in which programs keep the request, the tenant or the span.
import { assertEquals } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { AsyncLocalStorage } from "node:async_hooks";

const REQUESTS = ["first", "second", "third"];

const hang = () => new Promise<never>(() => {});

/** Where the timeout of a call comes from: plain calls use the circuit's, and a code path of their own. */
const LIMITS = [["callTimeoutMs", undefined], ["timeoutMs", { timeoutMs: 1 }]] as const;

for (const [limit, options] of LIMITS) {
  Deno.test(`call() runs the functions of a handle in the context of its call after ${limit}`, async () => {
    const request = new AsyncLocalStorage<string>();
    const seen: [string, string | undefined][] = [];
    const see = (what: string) => void seen.push([what, request.getStore()]);
    const fuse = createFuse();
    fuse.on("opened", () => see("opened"));
    const breaker = fuse.make("api", {
      callTimeoutMs: 1,
      failureThreshold: REQUESTS.length,
      ignore: [() => see("ignore") !== undefined],
      fallback: () => see("fallback"),
      fallbackOn: "failure",
    });
    // The first call under a grant is not plain.
    await breaker.call(() => {});

    const calls = REQUESTS.map((name) => request.run(name, () => breaker.call(hang, options)));
    await Promise.all(calls);

    const of = (what: string) => seen.filter(([name]) => name === what).map(([, store]) => store);
    assertEquals(of("ignore"), REQUESTS);
    assertEquals(of("fallback"), REQUESTS);
    assertEquals(of("opened"), REQUESTS.slice(-1));
  });
}
