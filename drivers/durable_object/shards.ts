/**
 * A store of several databases. The key of a circuit selects its database.
 *
 * @module
 */

import { CIRCUITS, type OpeningStore } from "../../src/circuit.ts";
import type {
  Acquired,
  AcquireRequest,
  Changed,
  CircuitEvent,
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
  Tally,
  TransitionRequest,
} from "../../src/contract.ts";
import { wrong } from "../../src/checks.ts";
import { type KeepsTrails, TRAILS, type Trails } from "../../src/cursors.ts";
import { limitOf } from "../../src/history.ts";
import { SHARED } from "../../src/shared/kind.ts";
import { APPEND, type Appended, type ForeignRow, type TrailAppender } from "../libsql/append.ts";
import type { LibsqlStore } from "../libsql/options.ts";
import type { PruneOptions, PruneResult } from "../libsql/prune.ts";
import type { LibsqlDatabase } from "../libsql/store.ts";
import type { TrailProof, VerifyOptions } from "../libsql/verify.ts";

/** Several databases as one store. */
export class Shards implements LibsqlStore, OpeningStore, TrailAppender, KeepsTrails {
  readonly [CIRCUITS] = SHARED;
  readonly [TRAILS]: Trails;
  readonly name: string;
  readonly traits = { persistent: true, shared: true, audited: true } as const;
  readonly describe?: NonNullable<Driver["describe"]>;
  readonly #shards: readonly LibsqlDatabase[];

  /** @param shards At least one. */
  constructor(shards: readonly LibsqlDatabase[]) {
    const { name, describe } = shards[0]!;
    this.name = name;
    this.#shards = shards;
    const all = shards.flatMap((shard) => shard[TRAILS].all);
    this[TRAILS] = { all, of: (key) => all[shardOf(key, all.length)]! };
    if (describe !== undefined) this.describe = describe;
  }

  read(key: string, request: ReadRequest): Promise<Snapshot> {
    return this.#of(key).read(key, request);
  }

  record(key: string, tally: Tally): Promise<Recorded> {
    return this.#of(key).record(key, tally);
  }

  acquire(key: string, request: AcquireRequest): Promise<Acquired> {
    return this.#of(key).acquire(key, request);
  }

  transition(key: string, request: TransitionRequest): Promise<Changed> {
    return this.#of(key).transition(key, request);
  }

  override(key: string, request: OverrideRequest): Promise<Changed> {
    return this.#of(key).override(key, request);
  }

  restore(key: string, request: RestoreRequest): Promise<Changed> {
    return this.#of(key).restore(key, request);
  }

  remove(key: string, request?: RemoveRequest): Promise<boolean> {
    return this.#of(key).remove(key, request);
  }

  /** Lists one shard after the other. */
  async list(request: ListRequest): Promise<ListPage> {
    const [index, own] = placeOf(request.cursor, this.#shards.length);
    const page = await this.#shards[index]!.list({ ...request, cursor: own });
    if (page.cursor !== null) return { ...page, cursor: `${index}:${page.cursor}` };
    const next = index + 1;
    return { ...page, cursor: next < this.#shards.length ? `${next}:` : null };
  }

  /** Sends one request to each shard, all at once. */
  async check(): Promise<void> {
    await Promise.all(this.#shards.map((shard) => shard.check()));
  }

  /** Returns the events of all shards, latest first. A cursor has the position in each shard. */
  history(query: EventQuery & { readonly key?: string } = {}): AsyncIterableIterator<CircuitEvent> {
    return merged(this.#shards, this.#of, query);
  }

  async prune(options: PruneOptions): Promise<PruneResult> {
    let { limit = 1_000 } = options;
    let deleted = 0;
    let more = false;
    for (const shard of this.#shards) {
      if (more || (deleted > 0 && limit === 0)) return { deleted, more: true };
      const pruned = await shard.prune({ ...options, limit });
      ({ more } = pruned);
      deleted += pruned.deleted;
      limit -= pruned.deleted;
    }
    return { deleted, more };
  }

  async verifyTrail(options: VerifyOptions = {}): Promise<TrailProof> {
    const { circuit, head } = options;
    if (circuit !== undefined) return await this.#of(circuit).verifyTrail(options);
    const proofs = await Promise.all(this.#shards.map((shard) => shard.verifyTrail(options)));
    // A shard without the head reports no circuit. Another shard may have the head.
    const lacksHead = ({ brokenAt }: TrailProof) => brokenAt !== null && brokenAt.circuit === "";
    const breaks = proofs.filter(({ ok }) => !ok);
    const isHeadThere = head === undefined || !proofs.every(lacksHead);
    const first = breaks.find((proof) => !(isHeadThere && lacksHead(proof)));
    return {
      ok: first === undefined,
      checked: proofs.reduce((sum, { checked }) => sum + checked, 0),
      brokenAt: first?.brokenAt ?? null,
      heads: Object.assign({}, ...proofs.map(({ heads }) => heads)),
    };
  }

  async [APPEND](rows: readonly ForeignRow[]): Promise<Appended> {
    const byShard = new Map<LibsqlDatabase, ForeignRow[]>();
    for (const row of rows) {
      const shard = this.#of(row.key);
      byShard.set(shard, [...byShard.get(shard) ?? [], row]);
    }
    const parts = await Promise.all([...byShard].map(([shard, part]) => shard[APPEND](part)));
    return {
      appended: parts.reduce((sum, { appended }) => sum + appended, 0),
      heads: Object.assign({}, ...parts.map(({ heads }) => heads)),
    };
  }

  readonly #of = (key: string): LibsqlDatabase => this.#shards[shardOf(key, this.#shards.length)]!;
}

/** Returns the index of the shard of a key: FNV-1a, which spreads keys that differ in a letter. */
export function shardOf(key: string, shards: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) {
    hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  }
  // The low bits alone are less evenly distributed.
  return ((hash ^ (hash >>> 15)) >>> 0) % shards;
}

/**
 * Reads the cursor of a list: the shard, and the position in its own list. Another store's cursor
 * begins anew.
 */
function placeOf(cursor: string | null, shards: number): [index: number, own: string | null] {
  const [, index, own] = /^(\d+):(.*)$/s.exec(cursor ?? "0:") ?? ["", "0", cursor];
  return Number(index) < shards ? [Number(index), own || null] : [0, null];
}

/** Merges the trails of shards. */
async function* merged(
  shards: readonly LibsqlDatabase[],
  of: (key: string) => LibsqlDatabase,
  query: EventQuery & { readonly key?: string },
): AsyncGenerator<CircuitEvent, void, undefined> {
  const { cursor, limit: _, ...rest } = query;
  let left = limitOf(query);
  const ends = cursorsOf(cursor, shards.length);
  const trails = shards.map((shard, i) => {
    const end = ends[i]!;
    const own = end === "" ? rest : { ...rest, cursor: end };
    return query.key === undefined || of(query.key) === shard ? shard.history(own) : empty();
  });
  try {
    if (left === 0) return;
    const next = (trail: AsyncIterator<CircuitEvent>) => trail.next();
    const heads = await Promise.all(trails.map(next));
    while (left-- > 0) {
      const open = heads.flatMap(({ value }, i) => value ? [[value, i] as const] : []);
      if (open.length === 0) return;
      const [event, i] = open.reduce((a, b) => b[0].at.getTime() > a[0].at.getTime() ? b : a);
      ends[i] = event.cursor;
      yield { ...event, id: `${i}-${event.id}`, cursor: ends.join(",") };
      if (left > 0) heads[i] = await next(trails[i]!);
    }
  } finally {
    await Promise.all(trails.map((trail) => trail.return?.()));
  }
}

async function* empty(): AsyncGenerator<CircuitEvent, void, undefined> {}

/** Reads the position in each shard's trail. `""` is before its latest row. */
function cursorsOf(cursor: string | undefined, shards: number): string[] {
  if (cursor === undefined) return Array.from({ length: shards }, () => "");
  const ends = typeof cursor === "string" ? cursor.split(",") : [];
  if (ends.length !== shards) {
    const allowed = "the cursor of an event of this store";
    throw new RangeError(wrong("read history", "cursor", allowed, cursor));
  }
  return ends;
}
