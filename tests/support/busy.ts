/**
 * A store that tells when nothing is under way to it.
 *
 * @module
 */
import { settled } from "./virtual_time.ts";
import type { OpeningStore } from "./drivers.ts";

/** The same store, and a promise of the moment when all that was asked of it is answered. */
export function busy(inner: OpeningStore): { store: OpeningStore; quiet(): Promise<void> } {
  let underWay = 0;
  const store = new Proxy(inner, {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const answer = Reflect.apply(value, target, args);
        if (!(answer instanceof Promise)) return answer;
        underWay++;
        return answer.finally(() => underWay--);
      };
    },
  });
  return {
    store,
    async quiet() {
      // An answer gives rise to the next request a few turns later.
      for (let turns = 0; turns < 3; turns++) {
        await settled();
        if (underWay > 0) turns = -1;
      }
    },
  };
}
