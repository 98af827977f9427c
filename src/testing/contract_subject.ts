import type {
  Acquired,
  AcquireRequest,
  Answer,
  Awaitable,
  Changed,
  CircuitRecord,
  Driver,
  ListRequest,
  Override,
  OverrideRequest,
  ReadRequest,
  Recorded,
  RemoveRequest,
  RestoreRequest,
  Shape,
  Snapshot,
  StoreRequest,
  Tally,
  TransitionRequest,
} from "../contract.ts";
import type { FakeClock } from "./fake_clock.ts";
import { plainAnswer, plainRecord, plainSnapshot } from "./plain.ts";

/** The trait that a store needs for a case to apply to it. */
export type ContractNeed = "shared" | "audited" | "persistent";

/**
 * A case, in the form that the files beside this one use: about one circuit that no other case
 * uses.
 */
export interface Scenario {
  readonly name: string;
  readonly needs?: ContractNeed;
  readonly run: (subject: Subject) => Promise<void>;
}

/** Segments of a second, ten outcomes. */
export const SHAPE: Shape = { windowMs: 10_000, windowSize: 10 };
export const COOLDOWN_MS = 60_000;
export const LEASE_MS = 30_000;

/**
 * A circuit on the store under test, as one isolate sees it. It fills in omitted fields (outcomes
 * and transitions name the last known epoch and generation), and copies every answer.
 */
export class Subject {
  readonly store: Driver;
  readonly clock: FakeClock;
  /** A name that no other case uses, so that drivers may share one server. */
  readonly key: string;
  /** The last known Snapshot. */
  seen: Pick<Snapshot, "epoch" | "generation" | "began"> = { epoch: "", generation: 0, began: 0 };
  /** The requests a second of that Snapshot, which the cases that compare whole Snapshots leave out. */
  requestsPerSecond = 0;
  readonly #touched: Set<string>;

  constructor(store: Driver, clock: FakeClock, key = unique(), touched = new Set<string>()) {
    this.store = store;
    this.clock = clock;
    this.key = key;
    this.#touched = touched.add(key);
  }

  /** Returns another circuit on the same store. */
  another(key: string = unique()): Subject {
    return new Subject(this.store, this.clock, key, this.#touched);
  }

  async read(shape: Shape = SHAPE, parts: Partial<ReadRequest> = {}): Promise<Snapshot> {
    const said = this.store.read(this.key, { shape, at: this.clock.now(), ...parts });
    return this.#see(said instanceof Promise ? plainSnapshot(await said) : plainSnapshot(said));
  }

  record(parts: Partial<Tally> = {}): Promise<Recorded> {
    const { epoch, generation, began } = this.seen;
    return this.#hear(this.store.record(this.key, {
      ...this.#request(),
      epoch,
      generation,
      began,
      successes: 0,
      failures: 0,
      rejected: 0,
      slow: 0,
      ageMs: 0,
      lease: null,
      policyHash: "",
      ...parts,
    }));
  }

  acquire(parts: Partial<AcquireRequest> = {}): Promise<Acquired> {
    return this.#hear(this.store.acquire(this.key, {
      ...this.#request(),
      token: unique(),
      max: 1,
      leaseMs: LEASE_MS,
      ...parts,
    }));
  }

  trip(parts: Partial<TransitionRequest> = {}): Promise<Changed> {
    return this.#transition({ to: "OPEN", event: "opened", cooldownMs: COOLDOWN_MS, ...parts });
  }

  close(parts: Partial<TransitionRequest> = {}): Promise<Changed> {
    return this.#transition({ to: "CLOSED", event: "closed", cooldownMs: 0, ...parts });
  }

  reset(parts: Partial<TransitionRequest> = {}): Promise<Changed> {
    return this.close({ event: "reset", expected: null, ...parts });
  }

  override(kind: Override, parts: Partial<OverrideRequest> = {}): Promise<Changed> {
    return this.#override({ kind, ...parts });
  }

  release(parts: Partial<OverrideRequest> = {}): Promise<Changed> {
    return this.#override({ kind: null, ...parts });
  }

  restore(record: CircuitRecord, parts: Partial<RestoreRequest> = {}): Promise<Changed> {
    return this.#hear(this.store.restore(this.key, {
      ...this.#request(),
      record,
      existing: "replace",
      reason: null,
      actor: null,
      ...parts,
    }));
  }

  async remove(parts: Partial<RemoveRequest> = {}): Promise<boolean> {
    const request = { ...this.#request(), reason: null, actor: null, ...parts };
    return await this.store.remove(this.key, request);
  }

  /** Returns every record that the store lists under one of these keys, as often as it lists it. */
  async listed(
    keys: readonly string[] = [this.key],
    limit = 100,
    shape: Shape = SHAPE,
    parts: Partial<ListRequest> = {},
  ): Promise<CircuitRecord[]> {
    const wanted = new Set(keys);
    const records: CircuitRecord[] = [];
    let cursor: string | null = null;
    for (let pages = 0; pages < 10_000; pages++) {
      const said: Awaitable<Awaited<ReturnType<Driver["list"]>>> = this.store.list({
        cursor,
        limit,
        at: this.clock.now(),
        shape: () => shape,
        ...parts,
      });
      const page = said instanceof Promise ? await said : said;
      for (const record of page.records) {
        if (!wanted.has(record.key)) continue;
        const { snapshot: { requestsPerSecond: _, ...snapshot }, ...rest } = plainRecord(record);
        records.push({ ...rest, snapshot });
      }
      cursor = page.cursor;
      if (cursor === null) return records;
    }
    throw new Error("list() did not end: its cursor was not null after 10000 pages");
  }

  /** Removes the circuits from the server. Errors of this are not a case's concern. */
  async cleanUp(): Promise<void> {
    for (const key of this.#touched) {
      try {
        await this.store.remove(key);
      } catch {
        // A store that cannot remove fails the case about removing.
      }
    }
  }

  #transition(
    parts: Pick<TransitionRequest, "to" | "event" | "cooldownMs"> & Partial<TransitionRequest>,
  ): Promise<Changed> {
    const { epoch, generation, began } = this.seen;
    return this.#hear(this.store.transition(this.key, {
      ...this.#request(),
      reason: "contract",
      actor: null,
      expected: { epoch, generation, began },
      ...parts,
    }));
  }

  #override(parts: Pick<OverrideRequest, "kind"> & Partial<OverrideRequest>): Promise<Changed> {
    return this.#hear(this.store.override(this.key, {
      ...this.#request(),
      until: null,
      reason: null,
      actor: null,
      ...parts,
    }));
  }

  #request(): StoreRequest {
    return { id: unique(), at: this.clock.now(), shape: SHAPE };
  }

  /** A live answer is copied before other code runs. */
  async #hear<A extends Answer>(said: Awaitable<A>): Promise<A> {
    const answer = said instanceof Promise ? plainAnswer(await said) : plainAnswer(said);
    return { ...answer, snapshot: this.#see(answer.snapshot) };
  }

  #see(snapshot: Snapshot): Snapshot {
    const { requestsPerSecond = 0, ...seen } = snapshot;
    this.requestsPerSecond = requestsPerSecond;
    this.seen = seen;
    return seen;
  }
}

/** Returns a unique id, token or key. */
export function unique(): string {
  return `contract-${crypto.randomUUID()}`;
}

/** Creates a circuit that has counted one failure and opened because of it. */
export async function opened(subject: Subject, cooldownMs = COOLDOWN_MS): Promise<Changed> {
  await subject.record({ failures: 1 });
  const answer = await subject.trip({ cooldownMs });
  equal(answer.won, true, "the trip of a circuit that nobody else uses");
  return answer;
}

/** Creates a circuit that has just gone half-open, with the trial `token` running. */
export async function halfOpened(subject: Subject, token: string, max = 1): Promise<Acquired> {
  await opened(subject);
  subject.clock.advance(COOLDOWN_MS);
  const answer = await subject.acquire({ token, max });
  equal(answer.moved, true, "the first acquire() after the cooldown moved the circuit");
  equal(answer.granted, true, "the first acquire() after the cooldown was granted");
  return answer;
}

/** Throws unless `received` equals `expected`, field by field. */
export function equal<T>(received: T, expected: T, what: string): void {
  if (same(received, expected)) return;
  throw new Error(`${what}: expected ${show(expected)}, received ${show(received)}`);
}

/** Compares like {@linkcode equal}, only the fields that `expected` names. */
export function includes<T extends object>(received: T, expected: Partial<T>, what: string): void {
  for (const name of Object.keys(expected) as (keyof T)[]) {
    equal(received[name], expected[name] as T[keyof T], `${what}, "${String(name)}"`);
  }
}

/** Throws unless the condition holds. */
export function ok(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) =>
    Object.hasOwn(b, key) &&
    same((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key])
  );
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}
