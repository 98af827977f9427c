import type { Override } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import type {
  AcquireRequest,
  Answer,
  CircuitRecord,
  ListPage,
  Recorded,
  Shape,
  Snapshot,
  Tally,
  TransitionRequest,
} from "@fuse/edge/store";
import type { LiveRecord } from "../../../src/local_circuit.ts";
import { memory, type MemoryStore } from "../../support/drivers.ts";

export const SHAPE: Shape = { windowMs: 10_000, windowSize: 0 };
export const AT = { at: 0, shape: SHAPE };

/** A memory store with short names for its operations. */
export class Subject {
  readonly clock = new FakeClock(1_000_000);
  readonly store: MemoryStore;
  readonly evicted: string[] = [];
  readonly #ownClock: boolean;

  /** @param ownClock `false` for a store that uses the caller's clock. */
  constructor(maxCircuits?: number, ownClock = true) {
    this.#ownClock = ownClock;
    this.store = memory(ownClock ? { maxCircuits, clock: this.clock.now } : { maxCircuits });
  }

  /** The fields of each request: a moment that a store with its own clock ignores. */
  get at(): number {
    return this.#ownClock ? AT.at : this.clock.now();
  }

  tally(fields: Partial<Tally> = {}): Tally {
    return {
      id: "",
      ...AT,
      at: this.at,
      epoch: "",
      generation: 0,
      began: 0,
      successes: 1,
      failures: 0,
      rejected: 0,
      slow: 0,
      ageMs: 0,
      lease: null,
      policyHash: "",
      ...fields,
    };
  }

  record(key: string, fields: Partial<Tally> = {}): Recorded {
    const answer = this.store.record(key, this.tally(fields)) as Recorded;
    this.evicted.push(...answer.evicted ?? []);
    return answer;
  }

  read(key: string): Snapshot {
    return this.store.read(key, { ...AT, at: this.at }) as Snapshot;
  }

  peek(key: string): LiveRecord | undefined {
    return this.store.peek(key);
  }

  /** Books the success of a call that was admitted in this turn. */
  book(live: LiveRecord, turn = live.turn, shape = SHAPE): boolean {
    return this.store.book(live, turn, this.at, shape);
  }

  open(key: string, cooldownMs = 1000): void {
    this.#evicting(this.store.transition(key, this.transition({ cooldownMs })));
  }

  close(key: string): void {
    this.#evicting(this.store.transition(key, this.transition({ to: "CLOSED", event: "reset" })));
  }

  transition(fields: Partial<TransitionRequest> = {}): TransitionRequest {
    const why = { reason: "test", actor: null, expected: null };
    return {
      id: "",
      ...AT,
      at: this.at,
      to: "OPEN",
      event: "opened",
      cooldownMs: 0,
      ...why,
      ...fields,
    };
  }

  override(key: string, kind: Override | null, forMs: number | null = null): void {
    const until = forMs === null ? null : this.at + forMs;
    const request = { id: "", ...AT, at: this.at, kind, until, reason: null, actor: null };
    this.#evicting(this.store.override(key, request));
  }

  acquire(key: string, fields: Partial<AcquireRequest> = {}) {
    const limits = { max: 1, leaseMs: 30_000 };
    return this.store.acquire(key, {
      id: "",
      ...AT,
      at: this.at,
      token: "t",
      ...limits,
      ...fields,
    }) as {
      granted: boolean;
      moved: boolean;
    };
  }

  #evicting(answer: unknown): void {
    this.evicted.push(...(answer as Answer).evicted ?? []);
  }

  get records(): readonly CircuitRecord[] {
    const request = { cursor: null, limit: Infinity, at: 0, shape: () => SHAPE };
    return (this.store.list(request) as ListPage).records;
  }

  get keys(): string[] {
    return this.records.map(({ key }) => key).sort();
  }
}
