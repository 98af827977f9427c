/**
 * A driver for Deno KV: circuits survive the process, and all processes that open the same KV share
 * them.
 *
 * Each circuit is one value, changed by compare-and-set on its versionstamp. The rules are in
 * `record.ts`; this file only reads, writes and retries.
 */

import type { Clock, Store } from "@fuse/edge";
import {
  absentSnapshot,
  type Acquired,
  type AcquireRequest,
  type Changed,
  type Driver,
  ID_MEMORY_MS,
  type ListPage,
  type ListRequest,
  type OverrideRecord,
  type OverrideRequest,
  type ReadRequest,
  type Recorded,
  type RestoreRequest,
  type Shape,
  shared,
  type Snapshot,
  type StoreRequest,
  type Tally,
  type TransitionRequest,
} from "@fuse/edge/store";
import {
  admit,
  change,
  count,
  expire,
  lay,
  newCircuit,
  restore,
  snapshotOf,
  type StoredCircuit,
} from "./record.ts";

/** Options of {@linkcode kvStore}. */
export interface KvStoreOptions {
  /** The KV for the circuits. The store does not close it. */
  kv: Deno.Kv;
  /** First part of every key. @default {"circuit_breaker"} */
  prefix?: string;
  /**
   * Deno KV provides no clock, so each isolate uses its own: keep their differences below your
   * shortest cooldown. @default {Date.now}
   */
  clock?: Clock;
}

/**
 * Keeps circuits in Deno KV. A `read` costs one round trip, and another one for each ten
 * tallies that it names. A change costs two, one to read and one
 * to write, and two more for each writer that was faster. A value of Deno KV holds 64 KiB, so keep
 * `windowSize` below 50 000.
 */
export function kvStore(options: KvStoreOptions): Store {
  return shared(new KvDriver(options));
}

/**
 * The outcome of a request, kept in case the request is repeated. `born` is the epoch of its
 * circuit.
 */
interface Told {
  readonly born: string;
  readonly at: number;
  readonly won: boolean;
}

interface Step {
  readonly won: boolean;
  /** The key of the new circuit; `null` if there is no circuit, and this request creates none. */
  readonly circuit: StoredCircuit | null;
  readonly released: OverrideRecord | null;
  readonly now: number;
}

const MAX_ATTEMPTS = 100;

class KvDriver implements Driver {
  readonly name = "deno-kv";
  readonly traits = { persistent: true, shared: true, audited: false } as const;
  readonly #kv: Deno.Kv;
  readonly #prefix: string;
  readonly #clock: Clock;

  constructor({ kv, prefix = "circuit_breaker", clock = Date.now }: KvStoreOptions) {
    this.#kv = kv;
    this.#prefix = prefix;
    this.#clock = clock;
  }

  async read(key: string, { shape, unconfirmed = [] }: ReadRequest): Promise<Snapshot> {
    const keys = [this.#circuitKey(key), ...unconfirmed.map((id) => this.#toldKey(key, id))];
    const entries: Deno.KvEntryMaybe<unknown>[] = [];
    // Deno KV reads ten keys at once. The circuit is in the first ten: what it contains cannot be
    // missing from a later answer.
    for (let i = 0; i < keys.length; i += 10) {
      entries.push(...await this.#kv.getMany<unknown[]>(keys.slice(i, i + 10)));
    }
    const [held, ...told] = entries.map(({ value }) => value);
    const [circuit, now] = [held as StoredCircuit | null, this.#clock()];
    const snapshot = this.#shown(circuit, shape, now);
    if (unconfirmed.length === 0) return snapshot;
    const isHeld = (i: number) =>
      circuit !== null && wasTold(told[i] as Told | null, circuit, now) !== undefined;
    return { ...snapshot, holds: unconfirmed.filter((_, i) => isHeld(i)) };
  }

  async record(key: string, tally: Tally): Promise<Recorded> {
    let before = "";
    const step = await this.#step(key, tally, true, (circuit, now, told) => {
      before = circuit.policyHash;
      const won = told ?? count(circuit, tally, now);
      return { won, changed: told === undefined };
    });
    const snapshot = { ...this.#shown(step.circuit, tally.shape, step.now), policyHash: before };
    return { current: step.won, snapshot, released: step.released };
  }

  async acquire(key: string, request: AcquireRequest): Promise<Acquired> {
    let granted = true;
    const step = await this.#step(key, request, false, (circuit, now, told) => {
      // A repeated request reports again that it moved the circuit; whether it is granted is
      // decided again.
      const admitted = admit(circuit, request, now, told !== true);
      granted = admitted.granted;
      return { won: told ?? admitted.moved, changed: admitted.changed };
    });
    const snapshot = this.#shown(step.circuit, request.shape, step.now);
    return { granted, moved: step.won, snapshot, released: step.released };
  }

  transition(key: string, request: TransitionRequest): Promise<Changed> {
    return this.#change(
      key,
      request,
      request.expected === null,
      (circuit, now) => change(circuit, request, now),
    );
  }

  override(key: string, request: OverrideRequest): Promise<Changed> {
    const { kind, until, reason, actor, at } = request;
    return this.#change(key, request, kind !== null, (circuit, now) => {
      if (kind === null && circuit.override === null) return false;
      const ends = until === null ? null : until - at + now;
      lay(circuit, kind && { kind, until: ends, reason, actor }, now);
      return true;
    });
  }

  restore(key: string, request: RestoreRequest): Promise<Changed> {
    return this.#change(key, request, true, (circuit, now, isNew) => {
      if (!isNew && request.existing === "keep") return false;
      restore(circuit, request, now);
      return true;
    });
  }

  async list({ cursor, limit, shape }: ListRequest): Promise<ListPage> {
    const circuits = this.#kv.list<StoredCircuit>(
      { prefix: this.#circuitKey() },
      { limit, ...cursor === null ? {} : { cursor } },
    );
    const now = this.#clock();
    const records = [];
    for await (const { key: path, value } of circuits) {
      const key = String(path.at(-1));
      const snapshot = this.#shown(value, shape(key), now);
      // The order matters: the snapshot has already dropped the counts of an expired override.
      records.push({ key, snapshot, segments: value.segments, outcomes: value.outcomes });
    }
    return { records, cursor: records.length < limit ? null : circuits.cursor };
  }

  async remove(key: string): Promise<boolean> {
    const held = await this.#kv.get(this.#circuitKey(key));
    if (held.value === null) return false;
    const ok = await committed(this.#kv.atomic().check(held).delete(held.key));
    return ok || await this.remove(key); // another writer was faster
  }

  async #change(
    key: string,
    request: StoreRequest,
    creates: boolean,
    apply: (circuit: StoredCircuit, now: number, isNew: boolean) => boolean,
  ): Promise<Changed> {
    const step = await this.#step(key, request, creates, (circuit, now, told, isNew) => {
      return { won: told ?? apply(circuit, now, isNew), changed: told === undefined };
    });
    const { won, released } = step;
    return { won, released, snapshot: this.#shown(step.circuit, request.shape, step.now) };
  }

  /**
   * Runs one atomic step on one circuit: reads the record, lets `apply` change it, and writes it
   * unless another writer was faster; then it starts again.
   */
  async #step(
    key: string,
    { id }: StoreRequest,
    creates: boolean,
    apply: (
      circuit: StoredCircuit,
      now: number,
      told: boolean | undefined,
      isNew: boolean,
    ) => { won: boolean; changed: boolean },
  ): Promise<Step> {
    const toldKey = this.#toldKey(key, id);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const [held, heard] = await this.#kv.getMany<[StoredCircuit, Told]>([
        this.#circuitKey(key),
        toldKey,
      ]);
      const now = this.#clock();
      const isNew = held.value === null;
      if (isNew && !creates) return { won: false, circuit: null, released: null, now };
      // A life begins under the id of the request. If the same request begins a second life, that
      // life gets another epoch.
      const circuit = held.value ?? newCircuit(`${id}.${crypto.randomUUID()}`, now);
      const told = wasTold(heard.value, circuit, now);
      const released = expire(circuit, now);
      const { won, changed } = apply(circuit, now, told, isNew);
      if (!changed && released === null) return { won, circuit, released, now };

      const write = this.#kv.atomic().check(held).set(this.#circuitKey(key), circuit);
      if (told === undefined) {
        write.set(toldKey, { born: circuit.born, at: now, won }, { expireIn: ID_MEMORY_MS });
      }
      if (await committed(write)) return { won, circuit, released, now };
      // Waits a random time, so that writers do not collide again.
      const upToMs = Math.min(2 ** attempt, 64);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * upToMs));
    }
    throw new Error(`Cannot write circuit "${key}": others wrote it first ${MAX_ATTEMPTS} times`);
  }

  #shown(circuit: StoredCircuit | null, shape: Shape, now: number): Snapshot {
    if (circuit === null) return absentSnapshot(now);
    expire(circuit, now);
    return snapshotOf(circuit, shape, now);
  }

  #toldKey(key: string, id: string): Deno.KvKey {
    return [this.#prefix, "told", key, id];
  }

  #circuitKey(...key: string[]): Deno.KvKey {
    return [this.#prefix, "circuit", ...key];
  }
}

function wasTold(heard: Told | null, { born }: StoredCircuit, now: number): boolean | undefined {
  return heard?.born === born && now - heard.at < ID_MEMORY_MS ? heard.won : undefined;
}

/** Returns `true` if the record was written, and `false` if another writer was faster. */
async function committed(write: Deno.AtomicOperation): Promise<boolean> {
  try {
    return (await write.commit()).ok;
  } catch (error) {
    // Thrown by a KV in a file while another process writes to it. Nothing was changed.
    if (error instanceof TypeError && error.message.includes("database is locked")) return false;
    throw error;
  }
}
