/**
 * A shared store with partial failures, in virtual time: it has a latency and a capacity, and
 * refuses, hangs or is unreachable as its world says.
 *
 * @module
 */
import type { Answer, Driver } from "../../../../src/contract.ts";
import { copySnapshot } from "../../../../src/records.ts";
import { type Snapshot, StoreAnswerError } from "@fuse/edge/store";
import {
  CIRCUITS,
  memory,
  type MemoryStore,
  type OpeningStore,
  SHARED,
} from "../../../support/drivers.ts";
import type { VirtualTime } from "../../../support/virtual_time.ts";
import type { Fault, Outage } from "./outage.ts";

/** A request that an isolate has sent, or the first of a trip with several. */
export interface Asked {
  readonly isolate: number;
  readonly operation: string;
  readonly key: string;
  readonly at: number;
  /** The time at which the isolate was answered, or `null`. */
  answeredAt: number | null;
}

/** One operation of a request. */
interface Job {
  readonly asked: Asked;
  readonly request: never;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** The result of a request. */
type Fate = "answered" | "hangs" | "unreachable" | "refused" | "refused_here";

const FLAP_MS = 2_000;

/** The store of one world. */
export class FailingStore {
  readonly memory: MemoryStore;
  /** Every request, oldest first. */
  readonly asked: Asked[] = [];
  readonly #time: VirtualTime;
  readonly #outage: Outage;
  readonly #random: () => number;
  readonly #began: number;
  #healed = false;
  /** The time at which the store has served all waiting requests. */
  #freeAt = 0;
  #arrived = 0;

  constructor(outage: Outage, time: VirtualTime, random: () => number) {
    this.#outage = outage;
    this.#time = time;
    this.#random = random;
    this.#began = time.now();
    this.memory = memory({ clock: time.now, maxCircuits: 100_000 });
  }

  /** Ends its fault. */
  heal(): void {
    this.#healed = true;
  }

  /** Returns `true` while its fault lasts. */
  get faulty(): boolean {
    const { faultFrom, faultForMs } = this.#outage;
    const at = this.#time.now() - this.#began;
    return !this.#healed && at >= faultFrom && at < faultFrom + faultForMs;
  }

  /** The store as an isolate sees it. */
  wire(isolate: number): OpeningStore {
    let trip: Job[] | null = null;
    const ask = (operation: keyof Driver) => (key: string, request: never) =>
      new Promise((resolve, reject) => {
        const asked = { isolate, operation, key, at: this.#time.now(), answeredAt: null };
        const job = { asked, request, resolve, reject };
        if (trip === null) this.#send([job]);
        else trip.push(job);
      });
    const together = <T>(work: () => T): T => {
      const jobs: Job[] = trip = [];
      try {
        return work();
      } finally {
        trip = null;
        this.#send(jobs);
      }
    };
    const no = (): never => {
      throw new Error("Nobody asks the failing store for this");
    };
    const { traits } = this.memory;
    return {
      ...{ [CIRCUITS]: SHARED, name: "failing", traits: { ...traits, shared: true } },
      ...{ read: ask("read"), record: ask("record"), acquire: ask("acquire") },
      ...{ transition: ask("transition"), override: ask("override"), together },
      ...{ restore: no, list: no, remove: no },
    } as unknown as OpeningStore;
  }

  /** Sends a request. The operations of one trip arrive and are answered together. */
  #send(jobs: readonly Job[]): void {
    const [first] = jobs;
    if (first === undefined) return;
    this.asked.push(first.asked);
    this.#time.after(this.#wayMs(), () =>
      this.#served(() => {
        this.#arrived++;
        const replies = jobs.map((job) => this.#apply(job));
        if (replies.includes(null)) return;
        this.#time.after(this.#wayMs(), () => {
          first.asked.answeredAt = this.#time.now();
          for (const reply of replies) reply!();
        });
      }));
  }

  /** Applies the operations. Returns the answer, or `null` if there is none. */
  #apply({ asked: { operation, key }, request, resolve, reject }: Job): (() => void) | null {
    const fate = this.faulty ? this.#fateBy(this.#outage.fault, operation, key) : "answered";
    switch (fate) {
      case "hangs":
        return null;
      case "unreachable":
        return () => reject(new Error("Connection refused"));
      case "refused":
        return () => reject(new StoreAnswerError("OOM command not allowed", { scope: "store" }));
      case "refused_here":
        return () => reject(new StoreAnswerError("WRONGTYPE", { scope: "circuit" }));
      case "answered": {
        const method = this.memory[operation as "read"].bind(this.memory);
        const said = method(key, request) as Snapshot | Answer;
        // A copy of the current state.
        const copy = "snapshot" in said
          ? { ...said, snapshot: copySnapshot(said.snapshot) }
          : copySnapshot(said);
        return () => resolve(copy);
      }
    }
  }

  /** Runs work once the store has reached it. */
  #served(serve: () => void): void {
    const { capacity } = this.#outage;
    if (capacity === null || this.#healed) return serve();
    const now = this.#time.now();
    this.#freeAt = Math.max(this.#freeAt, now) + 1_000 / capacity;
    this.#time.after(this.#freeAt - now, serve);
  }

  #fateBy(fault: Fault, operation: string, key: string): Fate {
    switch (fault) {
      case "none":
        return "answered";
      case "refuses_writes":
        return this.#writes(operation, key) ? "refused" : "answered";
      case "flaps":
        return Math.floor(this.#time.now() / FLAP_MS) % 2 === 0 ? "answered" : "unreachable";
      case "spoils_one":
        return key === keyOf(0) ? "refused_here" : "answered";
      case "refuses_all":
        return "refused";
      case "refuses_each":
        return "refused_here";
      case "hangs":
        return "hangs";
      case "half_hangs":
        return this.#arrived % 2 === 0 ? "answered" : "hangs";
      case "unreachable":
        return "unreachable";
    }
  }

  /** Returns whether an `acquire` writes: once the cooldown is over, and while HALF_OPEN. */
  #writes(operation: string, key: string): boolean {
    if (operation === "read") return false;
    if (operation !== "acquire") return true;
    const held = this.memory.peek(key);
    if (held === undefined || held.state === "CLOSED") return false;
    return held.state === "HALF_OPEN" || (held.openUntil ?? 0) <= this.#time.now();
  }

  #wayMs(): number {
    const [least, most] = this.#outage.latencyMs;
    return least + this.#random() * (most - least);
  }
}

/** The key of the nth circuit. */
export function keyOf(circuit: number): string {
  return `circuit-${circuit}`;
}
