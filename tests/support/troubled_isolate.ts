/**
 * An isolate with a failing store: its clock stands still until a test moves it, and tests can wait
 * for its background work.
 *
 * @module
 */
import { type CircuitOptions, createFuse, type FuseEvent, type Store } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";

/** Creates an isolate on a store. No deadline passes unless `storeTimeoutMs` is given. */
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
  /** Waits for the current background work, and sends nothing. */
  const settled = async () => {
    while (underWay.size > 0) {
      const work = [...underWay];
      underWay.clear();
      await Promise.all(work);
    }
  };
  /** Calls a dead upstream a number of times, once a second. Returns how many calls reached it. */
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

/** Counts concurrent calls. */
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
