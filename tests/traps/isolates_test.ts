// The traps on the store without a network: it can keep all their promises.
import { FakeClock } from "@fuse/edge/testing";
import { sharedTraps } from "../support/shared_traps.ts";
import { localWay } from "../support/ways.ts";
import { chaos, memory } from "../support/drivers.ts";

const ways = [localWay(), localWay()] as const;

sharedTraps("memory", {
  ways,
  begin() {
    let clock = new FakeClock().now;
    const store = memory({ clock: () => clock() });
    return {
      store(options) {
        clock = options.clock;
        return ways[options.way].to(chaos(store, {}));
      },
      async wipe() {
        const shape = () => ({ windowMs: 1, windowSize: 0 });
        const page = await store.list({ cursor: null, limit: 1_000, at: clock(), shape });
        for (const { key } of page.records) await store.remove(key);
      },
    };
  },
});
