/**
 * Stores and clients with faults that begin and end during use.
 *
 * @module
 */
import type { Client } from "@libsql/client";
import type { LibsqlClient } from "@fuse/edge/libsql";
import type { Answer, Tally } from "../../../src/contract.ts";
import type { OpeningStore } from "../../support/drivers.ts";

/** A store in front of several, which can switch between them at any moment. */
export function switching(which: () => OpeningStore): OpeningStore {
  return new Proxy(which(), {
    get(first, property) {
      // Present if the first store has it: the trait is read once.
      if (typeof Reflect.get(first, property, first) !== "function") {
        return Reflect.get(first, property, first);
      }
      return (...args: unknown[]) => {
        const store = which();
        const method = Reflect.get(store, property, store);
        if (method !== undefined) return Reflect.apply(method, store, args);
        // Sends separately what the other sends together; has nothing to confirm or to flush.
        return property === "together" ? (args[0] as () => unknown)() : undefined;
      };
    },
  });
}

/** Reports circuits that the store evicted, even if its answer is lost. */
export function telling(store: OpeningStore, evicted: (key: string) => void): OpeningStore {
  return answering(store, (answer) => {
    for (const key of (answer as Answer | undefined)?.evicted ?? []) evicted(key);
  });
}

function answering(store: OpeningStore, hear: (answer: unknown) => void): OpeningStore {
  const CHANGES = ["record", "transition", "override", "restore"];
  return new Proxy(store, {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      const method = value.bind(target);
      if (!CHANGES.includes(String(property))) return method;
      return (...args: unknown[]) => {
        const answer = method(...args);
        hear(answer);
        return answer;
      };
    },
  });
}

/** A faulty store: it loses one tally with successes, or counts it twice. */
export function wrong(store: OpeningStore, how: "drops" | "doubles"): OpeningStore {
  let left = 1;
  const record = async (key: string, tally: Tally) => {
    if (tally.successes === 0 || left-- <= 0) return await store.record(key, tally);
    if (how === "doubles") {
      await store.record(key, { ...tally, id: `${tally.id}-again`, lease: null });
      return await store.record(key, tally);
    }
    return { current: false, snapshot: await store.read(key, tally) };
  };
  return new Proxy(store, {
    get(target, property) {
      if (property === "record") return record;
      const value = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** The fate of a request on its way to a database. */
export type Passage = "arrives" | "is refused" | "hangs" | "loses the answer" | "arrives twice";

/** A client whose requests meet the given fates. */
export function failing(client: Client, passage: () => Passage): LibsqlClient {
  const go = async <T>(send: () => Promise<T>): Promise<T> => {
    const how = passage();
    if (how === "is refused") throw new Error("connection refused");
    if (how === "hangs") return await new Promise<never>(() => {});
    const answer = await send();
    if (how === "loses the answer") throw new Error("connection reset");
    return how === "arrives twice" ? await send() : answer;
  };
  return new Proxy(client, {
    get(target, property) {
      if (property === "execute") {
        return (statement: never) => go(() => target.execute(statement));
      }
      if (property === "batch") {
        return (statements: never, mode: never) => go(() => target.batch(statements, mode));
      }
      const value = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  }) as unknown as LibsqlClient;
}
