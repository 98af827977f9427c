/**
 * An isolate whose store is in trouble: its clock stands still until a test moves it, and its background work
 * is known.
 *
 * @module
 */
import { type CircuitOptions, createFuse, type FuseEvent, type Store } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";

/** Makes an isolate on a store. No deadline passes unless `storeTimeoutMs` says so. */
export function troubled(
  makeStore: (clock: FakeClock) => Store,
  options: { readonly storeTimeoutMs?: number; readonly defaults?: CircuitOptions } = {},
) {
  const { storeTimeoutMs = 30_000, defaults = {} } = options;
  const clock = new FakeClock();
  const underWay = new Set<Promise<unknown>>();
  const fuse = createFuse({
    ...{ stores: { shared: makeStore(clock) }, clock: clock.now, storeTimeoutMs, defaults },
    waitUntil: (work) => void underWay.add(work),
  });
  const events: FuseEvent[] = [];
  fuse.on("*", (event) => events.push(event));
  /** Waits for the background work so far, and sends nothing. */
  const settled = async () => {
    while (underWay.size > 0) {
      const work = [...underWay];
      underWay.clear();
      await Promise.all(work);
    }
  };
  /** Calls a dead upstream so many times, once a second. Returns how many calls reached it. */
  const callDead = async (name: string, times: number, circuit: CircuitOptions = {}) => {
    const breaker = fuse.make(name, circuit);
    let reached = 0;
    for (let i = 0; i < times; i++) {
      await breaker.tryCall(() => {
        reached++;
        throw new Error("The upstream is dead");
      });
      await settled();
      clock.advance(1_000);
    }
    return reached;
  };
  const told = (type: FuseEvent["type"]) => events.filter((event) => event.type === type);
  return { clock, fuse, events, told, settled, callDead };
}

/** Counts how many run at once. */
export class AtOnce {
  #now = 0;
  most = 0;
  ran = 0;

  /** Runs until `until` resolves. */
  async run(until: Promise<unknown> | undefined = undefined): Promise<void> {
    this.ran++;
    this.most = Math.max(this.most, ++this.#now);
    await until;
    this.#now--;
  }
}
