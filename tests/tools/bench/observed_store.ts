/**
 * Observes the breaker's requests to a store.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Awaitable } from "@fuse/edge/store";
import { CIRCUITS, type OpeningStore, SHARED } from "../../support/drivers.ts";

/** One request to the store. */
export interface Operation {
  readonly kind: "read" | "record" | "acquire" | "transition" | "other";
  /** Whether the breaker has received the answer. */
  answered: boolean;
}

/** The store, and its requests so far: empty the list at will. */
export interface Observed {
  readonly store: OpeningStore;
  readonly operations: Operation[];
  /** Resolves once every request is answered, including those that answers led to. */
  quiet(): Promise<void>;
}

/**
 * Counts, and answers no sooner than the next turn of the event loop, as a network does: requests
 * that a call has not waited for are then still unanswered when it ends.
 */
export function observe(inner: OpeningStore): Observed {
  const operations: Operation[] = [];
  const watched = <A extends unknown[], T>(
    kind: Operation["kind"],
    ask: (...args: A) => Awaitable<T>,
  ) =>
  async (...args: A): Promise<T> => {
    const operation = { kind, answered: false };
    operations.push(operation);
    try {
      await nextTurn();
      return await ask(...args);
    } finally {
      operation.answered = true;
    }
  };
  const store: OpeningStore = {
    [CIRCUITS]: SHARED,
    name: inner.name,
    traits: inner.traits,
    read: watched("read", inner.read.bind(inner)),
    record: watched("record", inner.record.bind(inner)),
    acquire: watched("acquire", inner.acquire.bind(inner)),
    transition: watched("transition", inner.transition.bind(inner)),
    override: watched("other", inner.override.bind(inner)),
    restore: watched("other", inner.restore.bind(inner)),
    list: watched("other", inner.list.bind(inner)),
    remove: watched("other", inner.remove.bind(inner)),
  };
  const quiet = async () => {
    do await nextTurn(); while (operations.some(({ answered }) => !answered));
  };
  return { store, operations, quiet };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => resolve()));
}
