/**
 * The cache role: circuits in Redis, over Upstash's REST interface. One circuit is four hashes,
 * `<prefix>:<key>:state`, `:metrics`, `:failures` and `:successes`; every operation on it is one run
 * of one script, and one request.
 *
 * @example Isolates with the same database share their circuits
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { upstash } from "@fuse/edge/upstash";
 * import { assertEquals } from "@std/assert";
 *
 * const fuse = createFuse({
 *   stores: {
 *     cache: upstash({
 *       url: Deno.env.get("UPSTASH_REDIS_REST_URL") ?? "",
 *       token: Deno.env.get("UPSTASH_REDIS_REST_TOKEN") ?? "",
 *     }),
 *   },
 * });
 * assertEquals(await fuse.make("external-api").call(() => "fine"), "fine");
 * await fuse.flush();
 * ```
 *
 * @module
 */

import { CIRCUITS, type OpeningStore } from "../src/circuit.ts";
import { newId, originOf } from "../src/records.ts";
import { SHARED } from "../src/shared/kind.ts";
import { check, known, refuse } from "../src/checks.ts";
import type {
  Acquired,
  AcquireRequest,
  Admission,
  Answer,
  Changed,
  CircuitRecord,
  Clock,
  ListPage,
  ListRequest,
  OutboxRequest,
  OverrideRequest,
  Recorded,
  RestoreRequest,
  Shape,
  Snapshot,
  Store,
  StoreRequest,
  Tally,
  TransitionRequest,
} from "../src/contract.ts";
import { nonsense, Scripts, type UpstashSource } from "./upstash/client.ts";
import {
  contentsOf,
  overrideOf,
  parseReply,
  quoted,
  recordOf,
  type Reply,
  rowField,
  snapshotOf,
} from "./upstash/fields.ts";

export type { RedisLike, RedisPipelineLike, UpstashSource } from "./upstash/client.ts";

/** Options of {@linkcode upstash}: a client, or what one is made of, and settings of the store. */
export type UpstashOptions = UpstashSource & UpstashSettings;

/** Settings of an {@linkcode upstash} store. */
export interface UpstashSettings {
  /**
   * What all keys begin with, before a colon. 1–200 characters. Stores with different prefixes
   * share nothing. Where one prefix is another with more behind a colon, two circuits could mean the
   * same key: the store that comes second is refused it.
   *
   * @default {"circuit_breaker"}
   */
  prefix?: string | undefined;
  /**
   * For how long a circuit without traffic is kept, in ms. A positive integer. An open circuit is
   * kept so long past its cooldown, and one under an override past the override's end; one that has
   * never opened and has no override is kept for a day at most.
   *
   * @default {2_592_000_000}
   */
  ttlMs?: number | undefined;
  /** The store's clock, in ms, for tests. Left out: the server's decides. */
  clock?: Clock | undefined;
}

/**
 * Keeps circuits in Redis, for all isolates that use the same database. One request an operation,
 * and five commands of Redis in a usual one. Makes no request before the first operation.
 *
 * @param options See {@linkcode UpstashOptions}.
 * @returns A store for `createFuse({ stores: { cache: upstash(…) } })`.
 * @throws {RangeError | TypeError} Naming the option, what came and what is allowed.
 */
export function upstash(options: UpstashOptions): Store {
  return new UpstashStore(options);
}

const SUBJECT = "upstash store";
/** Writes a key, reads it and deletes it. */
const CHECK = "redis.call('SET',KEYS[1],1,'PX',999,'GET')return redis.call('DEL',KEYS[1])";
const PARTS = ["state", "metrics", "failures", "successes"];

class UpstashStore implements OpeningStore {
  readonly [CIRCUITS] = SHARED;
  readonly name = "upstash";
  readonly traits = { persistent: true, shared: true, audited: false } as const;
  readonly #scripts: Scripts;
  readonly #prefix: string;
  readonly #ttlMs: string;
  readonly #clock: Clock | undefined;

  constructor(options: UpstashOptions) {
    known(SUBJECT, options, ["redis", "url", "token", "prefix", "ttlMs", "clock"]);
    const { prefix = "circuit_breaker", clock } = options;
    if (typeof prefix !== "string" || prefix === "" || prefix.length > 200) {
      refuse(SUBJECT, "prefix", "a text of 1-200 characters", prefix);
    }
    if (clock !== undefined && typeof clock !== "function") {
      refuse(SUBJECT, "clock", "a function", clock);
    }
    this.#prefix = prefix;
    this.#ttlMs = String(check(SUBJECT, "ttlMs", options.ttlMs, 30 * 86_400_000));
    this.#clock = clock;
    this.#scripts = new Scripts(SUBJECT, options);
  }

  together<T>(work: () => T): T {
    return this.#scripts.together(work);
  }

  async read(
    key: string,
    request: OutboxRequest & { readonly shape: Shape; readonly at: number },
  ): Promise<Snapshot> {
    const reply = await this.#run("read", key, { ...request, id: "-" }, []);
    return snapshotOf(reply, request.shape, request.outbox === "hand");
  }

  async record(key: string, tally: Tally): Promise<Recorded> {
    const { epoch, generation, began, successes, failures, rejected, slow, ageMs } = tally;
    const { ok: current, moved: _, ...answer } = await this.#change("record", key, tally, [
      ...[epoch, generation, began, successes, failures, rejected, slow, ageMs],
      ...[tally.lease ?? "", tally.policyHash],
    ]);
    return { current, ...answer };
  }

  async acquire(key: string, request: AcquireRequest): Promise<Acquired> {
    const { token, max, leaseMs } = request;
    const args = [token, max, leaseMs];
    const why = { reason: "cooldown_passed", actor: null };
    const { ok: granted, ...answer } = await this.#change("acquire", key, request, args, why);
    return { granted, ...answer };
  }

  transition(key: string, request: TransitionRequest): Promise<Changed> {
    const { to, event, reason, expected, lastFailure = null } = request;
    const cooldownMs = Math.round(request.cooldownMs);
    const { epoch, generation, began } = expected ?? { epoch: "", generation: "", began: "" };
    return this.#won("transition", key, request, [
      ...[to, event, cooldownMs, reason, epoch, generation, began],
      lastFailure === null ? "" : JSON.stringify(lastFailure),
    ], to === "OPEN" ? { cooldownMs, lastFailure } : {});
  }

  override(key: string, request: OverrideRequest): Promise<Changed> {
    const { kind, until, reason, actor } = request;
    const args = [kind ?? "", until ?? "", quoted(reason), quoted(actor)];
    return this.#won("override", key, request, args);
  }

  restore(key: string, request: RestoreRequest): Promise<Changed> {
    const { record, existing } = request;
    const args = [existing, record.snapshot.generation, ...contentsOf(record)];
    return this.#won("restore", key, request, args);
  }

  async list({ cursor, limit, at, shape, outbox }: ListRequest): Promise<ListPage> {
    const ends = [`${this.#prefix}:`, ":state"] as const;
    const match = ends.map((end) => end.replace(/[*?[\]\\]/g, "\\$&")).join("*");
    const page: unknown = await this.#scripts.ask((redis) =>
      redis.scan(cursor ?? "0", { match, count: limit })
    );
    const [next, found] = pageOf(page);
    const keys = [...new Set(found)].map((key) => key.slice(ends[0].length, -ends[1].length));
    const records = await this.together(() =>
      Promise.all(keys.map((key) => this.#dump(key, { at, id: "-", shape: shape(key), outbox })))
    );
    return { records: records.filter((record) => record !== null), cursor: next };
  }

  /** A whole record; `null` where the key turns out to be somebody else's. */
  async #dump(key: string, request: StoreRequest): Promise<CircuitRecord | null> {
    try {
      const reply = await this.#run("dump", key, request, []);
      return reply.fields && recordOf(key, reply, request.shape, request.outbox === "hand");
    } catch (error) {
      if (/WRONGTYPE|another prefix/.test(String(error))) return null;
      throw error;
    }
  }

  /** One request, and two commands. */
  async confirm(
    key: string,
    rows: readonly Admission[],
  ): Promise<void> {
    if (rows.length === 0) return;
    const request = { at: 0, id: "-", shape: { windowMs: 1, windowSize: 0 } };
    await this.#run("confirm", key, request, rows.map(rowField));
  }

  /** One request. */
  async check(): Promise<void> {
    const answer = await this.#scripts.ask((redis) =>
      redis.eval(CHECK, [`${this.#prefix}:check`], [])
    );
    if (answer !== 1) throw nonsense();
  }

  async remove(key: string): Promise<boolean> {
    return await this.#scripts.ask((redis) => redis.del(...this.#keys(key))) > 0;
  }

  /** A change that either is made by this request or is not. */
  async #won(
    operation: string,
    key: string,
    request: StoreRequest & Pick<OverrideRequest, "reason" | "actor">,
    args: readonly (string | number)[],
    more: Record<string, unknown> = {},
  ): Promise<Changed> {
    const { reason, actor } = request;
    const why = { reason, actor, ...more };
    const { ok: won, moved: _, ...answer } = await this.#change(operation, key, request, args, why);
    return { won, ...answer };
  }

  async #change(
    operation: string,
    key: string,
    request: StoreRequest,
    args: readonly (string | number)[],
    why: Record<string, unknown> = {},
  ): Promise<Answer & { readonly ok: boolean; readonly moved: boolean }> {
    const reply = await this.#run(operation, key, request, args, why);
    const { ok, moved, fields } = reply;
    const released = fields === null ? null : overrideOf(fields, "released");
    const snapshot = snapshotOf(reply, request.shape, request.outbox === "hand");
    return { ok, moved, snapshot, released };
  }

  async #run(
    operation: string,
    key: string,
    { id, at, shape, outbox, instance }: StoreRequest,
    args: readonly (string | number)[],
    why: Record<string, unknown> = {},
  ): Promise<Reply> {
    // What the trail is to say in the caller's words, with the isolate it came from.
    const words = outbox === undefined
      ? ""
      : JSON.stringify({ ...why, ...originOf({ id, instance }) });
    const run = {
      keys: this.#keys(key),
      args: [
        ...[operation, at, this.#clock?.() ?? "", id || newId()],
        ...[shape.windowMs, shape.windowSize, this.#ttlMs, this.#prefix.length, ...args],
        ...[words, outbox === "hand" ? 1 : ""],
      ].map(String),
    };
    return parseReply(await this.#scripts.run(run));
  }

  #keys(key: string): string[] {
    return PARTS.map((part) => `${this.#prefix}:${key}:${part}`);
  }
}

/** What SCAN answered: where to go on, and keys. */
function pageOf(page: unknown): [next: string | null, keys: string[]] {
  const [next, found] = Array.isArray(page) ? page as unknown[] : [];
  const cursor = typeof next === "number" ? String(next) : next;
  const fits = typeof cursor === "string" && /^\d+$/.test(cursor) && Array.isArray(found) &&
    Array.from(found).every((key) => typeof key === "string");
  if (!fits) throw nonsense();
  return [cursor === "0" ? null : cursor, found];
}

export type * from "../src/contract.ts";
export type { CircuitIdentity } from "../src/key.ts";
