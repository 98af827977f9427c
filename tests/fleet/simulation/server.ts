/**
 * The shared store at the far end of the simulated network: the real memory store, shared by all
 * isolates, which may restart empty. It shows every request to the judge.
 *
 * @module
 */
import type {
  Acquired,
  AcquireRequest,
  Answer,
  Changed,
  OverrideRequest,
  Recorded,
  Shape,
  Tally,
  TransitionRequest,
} from "../../../src/contract.ts";
import { copySnapshot } from "../../../src/records.ts";
import type { Snapshot } from "@fuse/edge/store";
import { memory, type MemoryStore, type OpeningStore } from "../../support/drivers.ts";

/** A request on its way. */
export type Request =
  | { readonly do: "read"; readonly key: string; readonly body: ReadRequest }
  | { readonly do: "record"; readonly key: string; readonly body: Tally }
  | { readonly do: "acquire"; readonly key: string; readonly body: AcquireRequest }
  | { readonly do: "transition"; readonly key: string; readonly body: TransitionRequest }
  | { readonly do: "override"; readonly key: string; readonly body: OverrideRequest };

interface ReadRequest {
  readonly shape: Shape;
  readonly at: number;
}

/** The answer to a request; a read has the Snapshot only. */
export type Said =
  & Answer
  & Partial<Pick<Recorded, "current">>
  & Partial<Acquired>
  & Partial<Changed>;

/** The effect of a request: the record before and after it, at the same moment. */
export interface Deed {
  readonly request: Request;
  readonly said: Said;
  /** `null` if there was none. An expired override is already gone. */
  readonly before: Snapshot | null;
  readonly after: Snapshot | null;
  /** The increase of the record's generation; a fresh record has 1. */
  readonly risen: number;
  /** The number of lives that the store had before this one. */
  readonly life: number;
  /** The store's clock. */
  readonly now: number;
}

/** The store, which can lose its contents. */
export class Server {
  readonly #clock: () => number;
  readonly #make: (store: OpeningStore) => OpeningStore;
  readonly #witness: (deed: Deed, by: number) => void;
  #store: OpeningStore;
  #life = 0;

  /** @param make Wraps the memory store, for stores with a mistake. */
  constructor(
    clock: () => number,
    witness: (deed: Deed, by: number) => void,
    make: (store: OpeningStore) => OpeningStore = (store) => store,
  ) {
    this.#clock = clock;
    this.#witness = witness;
    this.#make = make;
    this.#store = make(memory({ clock }));
  }

  /** The number of restarts. */
  get life(): number {
    return this.#life;
  }

  /** Drops all contents. */
  restart(): void {
    this.#life++;
    this.#store = this.#make(memory({ clock: this.#clock }));
  }

  /** Returns the current record. */
  look(key: string, shape: Shape): Snapshot {
    return this.#out(this.#store.read(key, { at: this.#clock(), shape }) as Snapshot);
  }

  /** Receives a request. The answer is the state of the store at this moment. */
  apply(request: Request, by: number): Said {
    const { key, body: { shape } } = request;
    const generation = this.#generation(key);
    const before = this.#seen(key, shape);
    const said = this.#ask(request);
    const answer = { ...said, snapshot: this.#out(copySnapshot(said.snapshot)) };
    const after = this.#seen(key, shape);
    const risen = this.#generation(key) - (generation === 0 && after !== null ? 1 : generation);
    this.#witness(
      { request, said: answer, before, after, risen, life: this.#life, now: this.#clock() },
      by,
    );
    return answer;
  }

  #ask({ do: operation, key, body }: Request): Said {
    switch (operation) {
      case "read":
        return { snapshot: this.#store.read(key, body) as Snapshot };
      case "record":
        return this.#store.record(key, { ...body, epoch: this.#in(body.epoch) }) as Recorded;
      case "acquire":
        return this.#store.acquire(key, body) as Acquired;
      case "transition": {
        const { expected } = body;
        const here = expected && { ...expected, epoch: this.#in(expected.epoch) };
        return this.#store.transition(key, { ...body, expected: here }) as Changed;
      }
      case "override":
        return this.#store.override(key, body) as Changed;
    }
  }

  #seen(key: string, shape: Shape): Snapshot | null {
    const seen = this.look(key, shape);
    return seen.epoch === "" ? null : seen;
  }

  /** Returns the stored record, including an expired override. */
  #generation(key: string): number {
    return (this.#store as MemoryStore).peek(key)?.generation ?? 0;
  }

  // A shared store gives a lost circuit another life, even if the same request begins it.

  #out(snapshot: Snapshot): Snapshot {
    const { epoch } = snapshot;
    return epoch === "" ? snapshot : { ...snapshot, epoch: `${epoch}~${this.#life}` };
  }

  #in(epoch: string): string {
    const life = `~${this.#life}`;
    return epoch.endsWith(life) ? epoch.slice(0, -life.length) : epoch;
  }
}
