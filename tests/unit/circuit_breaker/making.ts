import { type CircuitBreaker, type CircuitOptions, createFuse, type FuseEvent } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";

export const down = () => Promise.reject(new Error("down"));

export function making<F = never>(options?: CircuitOptions<F>, name = "a") {
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now });
  const events: FuseEvent[] = [];
  const breaker = fuse.make(name, options);
  /** Keeps all events from now on; a listener makes calls use the measured path. */
  const listen = () => fuse.on("*", (event) => void events.push(event));
  const told = () => events.map(({ type }) => type);
  return { clock, fuse, breaker, events, listen, told };
}

/** A breaker whose circuit is open. */
export async function opened<F = never>(options?: CircuitOptions<F>) {
  const made = making({ failureThreshold: 1, successThreshold: 1, cooldownMs: 5000, ...options });
  await made.breaker.tryCall(down, { fallback: [] });
  return made;
}

export async function totals(breaker: CircuitBreaker<unknown>): Promise<number[]> {
  const { totalSuccesses, totalFailures, totalRejected, totalSlow } = await breaker.getMetrics();
  return [totalSuccesses, totalFailures, totalRejected, totalSlow];
}
