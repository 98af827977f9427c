/** The way in which shared stores open circuits. Kept apart from the entry point, which shows none of it. */
import type { CircuitKind, NamedStore, Opener } from "../circuit.ts";
import { SharedCircuit } from "./circuit.ts";
import { StoreGuard } from "./guard.ts";
import { LocalStates } from "./stand_in.ts";
import { Trips } from "./trips.ts";

/** Opens circuits on a store that isolates share. */
export const SHARED: CircuitKind = {
  openerFor(store: NamedStore): Opener {
    const { name, timeoutMs, clock, events, driver } = store;
    const guard = new StoreGuard(name, timeoutMs, clock, events);
    const trips = new Trips(driver, guard, clock);
    const states = new LocalStates();
    return {
      get failing() {
        return guard.failing;
      },
      open(identity, policy) {
        guard.register();
        return new SharedCircuit(identity, policy, store, { guard, trips, states });
      },
      list: (ask, always) =>
        guard.runAlone({ operation: "list", kind: "reads", always, send: ask }),
      async check() {
        // A driver without a check of its own is read: that shows whether it answers.
        const kind = driver.check === undefined ? "reads" : "writes";
        await guard.runAlone<unknown>({
          ...{ operation: "check", kind, always: true, proves: () => kind },
          send: () => driver.check === undefined ? driver.read(UNUSED, READ) : driver.check(),
        });
      },
      flush: (circuits) => trips.flush(circuits as readonly SharedCircuit[]),
    };
  },
};

/** The key of a circuit that nobody can make, since names are not empty. */
const UNUSED = "";
const READ = { at: 0, shape: { windowMs: 1, windowSize: 0 } };
