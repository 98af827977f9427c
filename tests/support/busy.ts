/**
 * A store that reports when no request to it is pending.
 *
 * @module
 */
import { settled } from "./virtual_time.ts";
import type { OpeningStore } from "./drivers.ts";

/** Returns the same store, and a promise that resolves when all its requests are answered. */
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
      // An answer leads to the next request a few turns later.
      for (let turns = 0; turns < 3; turns++) {
        await settled();
        if (underWay > 0) turns = -1;
      }
    },
  };
}
