import type {
  Acquired,
  AcquireRequest,
  Answer,
  Awaitable,
  Changed,
  Driver,
  EventQuery,
  ListPage,
  ListRequest,
  OverrideRequest,
  ReadRequest,
  Recorded,
  RemoveRequest,
  RestoreRequest,
  Snapshot,
  Store,
  StoredEvent,
  StoreRequest,
  StoreTraits,
  Tally,
  TransitionRequest,
} from "../contract.ts";
import { received } from "../checks.ts";
import { CIRCUITS, type OpeningStore, openingStore } from "../circuit.ts";
import { SHARED } from "../shared/kind.ts";
import { plainAnswer, plainRecord, plainSnapshot } from "./plain.ts";

/**
 * The faults between a breaker and its store. Rates are shares of the operations, 0 to 1, drawn for
 * each operation.
 */
export interface Faults {
  /**
   * The time that an operation takes, in ms of real time: a number, or a function that is called
   * once for each. Half of it passes before the operation is applied and half before it is
   * answered, so that requests and answers overtake one another. 0 is answered without a timer.
   *
   * @default {0}
   */
  latencyMs?: number | (() => number) | undefined;
  /**
   * Share of operations that reject and are not applied.
   *
   * @default {0}
   */
  errorRate?: number | undefined;
  /**
   * Share of operations that are not applied and never answered.
   *
   * @default {0}
   */
  timeoutRate?: number | undefined;
  /**
   * Share of operations that ARE applied and then reject, as when the connection breaks before the
   * answer arrives.
   *
   * @default {0}
   */
  lostAnswerRate?: number | undefined;
  /**
   * Share of operations that reach the store twice, under the same id; the second answer is
   * returned, as after a retry by the transport. A request whose id is `""`, which is never sent
   * again, reaches it once. `remove`, which has no id, answers whether either removed it.
   *
   * @default {0}
   */
  duplicateRate?: number | undefined;
  /**
   * Share of reads that are answered, as by a replica that lags, with a Snapshot of that circuit
   * from an earlier answer (one of the last four; its `now` is as old as itself). A circuit without
   * an earlier answer is read as usual.
   *
   * @default {0}
   */
  staleReadRate?: number | undefined;
  /**
   * Seed of the random generator for all rates, an integer: the same seed, the same faults for the
   * same sequence of operations.
   *
   * @default {1}
   */
  seed?: number | undefined;
  /**
   * Returns `true` while the store is unreachable. Every operation is then rejected, and none is
   * applied. By default, the store is always reachable.
   */
  down?: (() => boolean) | undefined;
  /**
   * Returns the error of an operation, or `undefined` if the operation proceeds. The operation
   * rejects with that error and is not applied. Called once for each operation, with the name of
   * the method and the circuit's key: `null` for `list`, `check`, and a `history` of all circuits.
   * By default, none fails.
   */
  fail?: ((operation: string, key: string | null) => Error | undefined) | undefined;
}

/**
 * Wraps a store as if it were remote, behind a bad network: `traits.shared` is true, every answer
 * is a promise of a copy, and {@linkcode Faults} happen.
 *
 * @param store The store to wrap; several wrappers around one store simulate several isolates.
 * @param faults The faults. `{}` has none.
 * @returns The store for `createFuse`. Its operations reject with an Error whose message names the
 * operation and the fault.
 * @throws {TypeError} If `store` is not a store.
 * @throws {RangeError} If a rate is not between 0 and 1, `latencyMs` not a finite number of at
 * least 0, or `seed` not an integer.
 *
 * @example Two isolates on one store, one of them cut off
 * ```ts
 * import { createFuse, memory } from "@fuse/edge";
 * import { chaos } from "@fuse/edge/testing";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * let down = false;
 * const store = memory();
 * const [here, there] = [chaos(store, {}), chaos(store, { down: () => down })].map((store) =>
 *   createFuse({ stores: { store } }).make("payments")
 * );
 *
 * down = true;
 * await here!.forceOpen();
 * assertEquals(await here!.isOpen(), true);
 * await assertRejects(() => there!.forceOpen(), Error, "does not answer");
 * ```
 */
export function chaos(store: Store, faults: Faults): Store {
  const inner = openingStore(store);
  if (inner === null) {
    throw new TypeError(
      `Cannot wrap the store: it must be a store such as memory() makes, received ${
        received(store)
      }`,
    );
  }
  return new ChaosStore(inner, faults);
}

/** The number of Snapshots of a circuit that a lagging replica can return. */
const REMEMBERED = 4;

class ChaosStore implements OpeningStore {
  readonly [CIRCUITS] = SHARED;
  readonly name: string;
  readonly traits: StoreTraits;
  /** Present if the inner store keeps a trail. One operation, however many rows it has. */
  readonly history?: NonNullable<Driver["history"]>;
  /** Present if the inner store audits calls. It sends nothing over the network. */
  readonly describe?: NonNullable<Driver["describe"]>;
  /** Present if the inner store can be checked. */
  readonly check?: NonNullable<Driver["check"]>;
  /** Present if the inner store keeps rows for another one. They are not sent over this network. */
  readonly flush?: NonNullable<Driver["flush"]>;
  readonly #inner: Driver;
  readonly #rates: Record<Exclude<keyof Faults, "latencyMs" | "seed" | "down" | "fail">, number>;
  readonly #latency: () => number;
  readonly #down: () => boolean;
  readonly #fail: NonNullable<Faults["fail"]>;
  readonly #random: () => number;
  /** Answers that a lagging replica can return, oldest first. Kept only if reads may be stale. */
  readonly #heard = new Map<string, Snapshot[]>();

  constructor(inner: Driver, faults: Faults) {
    this.name = `chaos(${inner.name})`;
    this.traits = { ...inner.traits, shared: true };
    this.#inner = inner;
    if (inner.history !== undefined) this.history = (query) => this.#history(query);
    if (inner.describe !== undefined) this.describe = (error) => inner.describe!(error);
    if (inner.flush !== undefined) this.flush = (request) => inner.flush!(request);
    if (inner.check !== undefined) {
      this.check = () => this.#send("check", null, true, () => inner.check!());
    }
    this.#rates = {
      errorRate: checkRate("errorRate", faults.errorRate),
      timeoutRate: checkRate("timeoutRate", faults.timeoutRate),
      lostAnswerRate: checkRate("lostAnswerRate", faults.lostAnswerRate),
      duplicateRate: checkRate("duplicateRate", faults.duplicateRate),
      staleReadRate: checkRate("staleReadRate", faults.staleReadRate),
    };
    const { latencyMs = 0, seed = 1, down = () => false, fail = () => undefined } = faults;
    this.#latency = typeof latencyMs === "function"
      ? () => checkLatency(latencyMs())
      : () => latencyMs;
    if (typeof latencyMs === "number") checkLatency(latencyMs);
    this.#down = down;
    this.#fail = fail;
    if (!Number.isSafeInteger(seed)) {
      throw new RangeError(`Cannot wrap the store: "seed" must be an integer, received ${seed}`);
    }
    this.#random = mulberry32(seed);
  }

  read(key: string, request: ReadRequest): Promise<Snapshot> {
    const sent = { ...request, shape: { ...request.shape } };
    const lags = this.#draw(this.#rates.staleReadRate);
    return this.#send("read", key, true, async () => {
      const earlier = lags ? this.#earlier(key) : undefined;
      if (earlier !== undefined) {
        // That answer was about other tallies.
        const { holds: _, ...stale } = plainSnapshot(earlier);
        return stale;
      }
      const said = this.#inner.read(key, sent);
      // A live answer is copied in the same turn: the next operation may change it.
      const snapshot = plainSnapshot(said instanceof Promise ? await said : said);
      this.#remember(key, snapshot);
      return snapshot;
    });
  }

  record(key: string, tally: Tally): Promise<Recorded> {
    return this.#change("record", key, copyRequest(tally), (sent) => this.#inner.record(key, sent));
  }

  acquire(key: string, request: AcquireRequest): Promise<Acquired> {
    const sent = copyRequest(request);
    return this.#change("acquire", key, sent, (sent) => this.#inner.acquire(key, sent));
  }

  transition(key: string, request: TransitionRequest): Promise<Changed> {
    const sent = { ...copyRequest(request), expected: request.expected && { ...request.expected } };
    return this.#change("transition", key, sent, (sent) => this.#inner.transition(key, sent));
  }

  override(key: string, request: OverrideRequest): Promise<Changed> {
    const sent = copyRequest(request);
    return this.#change("override", key, sent, (sent) => this.#inner.override(key, sent));
  }

  restore(key: string, request: RestoreRequest): Promise<Changed> {
    const sent = { ...copyRequest(request), record: plainRecord(request.record) };
    return this.#change("restore", key, sent, (sent) => this.#inner.restore(key, sent));
  }

  list(request: ListRequest): Promise<ListPage> {
    const sent = { ...request };
    return this.#send("list", null, true, async () => {
      const page = await this.#inner.list(sent);
      return { ...page, records: page.records.map(plainRecord) };
    });
  }

  remove(key: string, request?: RemoveRequest): Promise<boolean> {
    let removed = false;
    return this.#send("remove", key, true, async () => {
      removed = await this.#inner.remove(key, request) || removed;
      return removed;
    });
  }

  async *#history(query: EventQuery & { readonly key?: string }): AsyncIterable<StoredEvent> {
    yield* await this.#send("history", query.key ?? null, true, async () => {
      const rows: StoredEvent[] = [];
      for await (const row of this.#inner.history!(query)) rows.push(row);
      return rows;
    });
  }

  #change<R extends StoreRequest, A extends Answer>(
    operation: string,
    key: string,
    sent: R,
    apply: (sent: R) => Awaitable<A>,
  ): Promise<A> {
    return this.#send(operation, key, sent.id !== "", async () => {
      const said = apply(sent);
      const answer = said instanceof Promise ? plainAnswer(await said) : plainAnswer(said);
      this.#remember(key, answer.snapshot);
      return answer;
    });
  }

  /** Sends an operation through the network. Its faults are drawn before anything is awaited. */
  async #send<T>(
    operation: string,
    key: string | null,
    repeatable: boolean,
    apply: () => Awaitable<T>,
  ): Promise<T> {
    this.#refuseWhileDown(operation);
    const refusal = this.#fail(operation, key);
    const { errorRate, timeoutRate, lostAnswerRate, duplicateRate } = this.#rates;
    const fails = this.#draw(errorRate);
    const hangs = this.#draw(timeoutRate);
    const losesAnswer = this.#draw(lostAnswerRate);
    const arrivesTwice = this.#draw(duplicateRate) && repeatable;
    const latencyMs = this.#latency();
    if (latencyMs > 0) {
      await sleep(latencyMs / 2);
      this.#refuseWhileDown(operation);
    }
    if (refusal !== undefined) throw refusal;
    if (fails) throw this.#error(operation, "failed and was not applied");
    if (hangs) return await new Promise<never>(() => {});
    let answer = await apply();
    if (arrivesTwice) answer = await apply();
    if (latencyMs > 0) await sleep(latencyMs / 2);
    if (losesAnswer) throw this.#error(operation, "was applied, but its answer was lost");
    return answer;
  }

  #refuseWhileDown(operation: string): void {
    if (this.#down()) throw this.#error(operation, "was not applied: the store is down");
  }

  #error(operation: string, fault: string): Error {
    return new Error(`Injected fault: ${operation} on store "${this.#inner.name}" ${fault}`);
  }

  #draw(rate: number): boolean {
    return rate > 0 && this.#random() < rate;
  }

  #remember(key: string, snapshot: Snapshot): void {
    if (this.#rates.staleReadRate === 0) return;
    const heard = this.#heard.get(key);
    if (heard === undefined) this.#heard.set(key, [snapshot]);
    else if (heard.push(snapshot) > REMEMBERED) heard.shift();
  }

  #earlier(key: string): Snapshot | undefined {
    const heard = this.#heard.get(key);
    return heard?.[Math.floor(this.#random() * heard.length)];
  }
}

/** `restore` and `transition` have nested data: they copy the rest themselves. */
function copyRequest<R extends StoreRequest>(request: R): R {
  return { ...request, shape: { ...request.shape } };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function checkRate(name: string, rate: number = 0): number {
  if (rate >= 0 && rate <= 1) return rate;
  throw new RangeError(
    `Cannot wrap the store: "${name}" must be a number from 0 to 1, received ${rate}`,
  );
}

function checkLatency(ms: number): number {
  if (Number.isFinite(ms) && ms >= 0) return ms;
  throw new RangeError(
    `Cannot wrap the store: "latencyMs" must be a finite number of at least 0, received ${ms}`,
  );
}

/**
 * A small random generator of numbers from 0 to 1, by Tommy Ettinger: 2^32 states, enough for
 * choosing faults.
 */
function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
