/**
 * A store that answers so many requests a second: a queue, as Redis is one. What comes beyond its
 * capacity is answered late, and is answered although nobody waits for it any more.
 *
 * @module
 */
import type { Awaitable, Driver, Snapshot } from "../../../../src/contract.ts";
import { copySnapshot } from "../../../../src/records.ts";
import {
  CIRCUITS,
  memory,
  type MemoryStore,
  type OpeningStore,
  SHARED,
} from "../../../support/drivers.ts";
import type { VirtualTime } from "../../../support/virtual_time.ts";

/** Requests that it answers in a second, unless said otherwise. */
export const CAPACITY = 5_000;
/** How long a request is on its way, there and back, in ms. */
export const LATENCY_MS = 20;

/** Who hears of requests and answers. */
export interface Witness {
  /** An isolate sends a request, which is to reach the store at a moment. */
  sends(isolate: number, operation: Operation, at: number): void;
  /** The store has done what a request asked for. */
  done(snapshot: Snapshot, operation: Operation): void;
  /** An answer has reached its isolate. */
  answered(isolate: number, operation: Operation, answer: Said): void;
}

/** The requests that a fleet without operators sends. */
export type Operation = "read" | "record" | "acquire" | "transition";

/** An answer, as far as anybody here looks at it. */
export interface Said {
  readonly snapshot: Snapshot;
  readonly granted?: boolean;
}

/** The store, and the way to it. */
export class BusyStore {
  readonly #time: VirtualTime;
  readonly #witness: Witness;
  readonly #store: MemoryStore;
  readonly #serviceMs: number;
  /** When it will have done all that has been sent to it, in ms. */
  #free = 0;

  /** @param capacity Requests that it answers in a second. */
  constructor(time: VirtualTime, witness: Witness, capacity: number) {
    this.#time = time;
    this.#serviceMs = 1_000 / capacity;
    this.#witness = witness;
    this.#store = memory({ clock: time.now });
  }

  /** The record as it is now. */
  look(key: string): Snapshot | undefined {
    const live = this.#store.peek(key);
    return live && copySnapshot(live);
  }

  /** The store as an isolate sees it. */
  wire(isolate: number): OpeningStore {
    const store = this.#store;
    const no = (): never => {
      throw new Error("Nobody asks the busy store for this");
    };
    const send = (operation: Operation, ask: () => Awaitable<Said>) =>
      this.#send(isolate, operation, ask) as Promise<never>;
    return {
      [CIRCUITS]: SHARED,
      name: "busy",
      traits: { persistent: true, shared: true, audited: false },
      read: async (key, body) => {
        const read = () => ({ snapshot: store.read(key, body) as Snapshot });
        return (await this.#send(isolate, "read", read)).snapshot;
      },
      record: (key, body) => send("record", () => store.record(key, body)),
      acquire: (key, body) => send("acquire", () => store.acquire(key, body)),
      transition: (key, body) => send("transition", () => store.transition(key, body)),
      override: no,
      restore: no,
      list: no,
      remove: no,
    } satisfies Driver & Pick<OpeningStore, typeof CIRCUITS>;
  }

  /** Whoever sends first is served first: all are equally far away. */
  async #send(isolate: number, operation: Operation, ask: () => Awaitable<Said>): Promise<Said> {
    const arrivesAt = this.#time.now() + LATENCY_MS / 2;
    this.#witness.sends(isolate, operation, arrivesAt);
    this.#free = Math.max(this.#free, arrivesAt) + this.#serviceMs;
    await this.#time.sleep(Math.ceil(this.#free) - this.#time.now());
    // In one turn: the memory store answers with its live record.
    const said = ask() as Said;
    const answer = { ...said, snapshot: copySnapshot(said.snapshot) };
    this.#witness.done(answer.snapshot, operation);
    await this.#time.sleep(LATENCY_MS / 2);
    this.#witness.answered(isolate, operation, answer);
    return answer;
  }
}
