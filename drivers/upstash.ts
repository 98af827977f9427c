/**
 * The cache role: circuits in Redis, over Upstash's REST interface. One circuit is four hashes,
 * `<prefix>:<key>:state`, `:metrics`, `:failures` and `:successes`; every operation on it is one run
 * of one script, and one request.
 *
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

import { Redis } from "@upstash/redis/cloudflare";
import { newId } from "../src/circuit.ts";
import { check, known, refuse } from "../src/options.ts";
import {
  absentSnapshot,
  type Acquired,
  type AcquireRequest,
  type Answer,
  type Changed,
  type CircuitRecord,
  type CircuitState,
  type Clock,
  type ListPage,
  type ListRequest,
  type Override,
  type OverrideRecord,
  type OverrideRequest,
  type Recorded,
  type RestoreRequest,
  type Segment,
  type Shape,
  type Snapshot,
  SNAPSHOT_COUNTS,
  SNAPSHOT_TIMES,
  type Store,
  type StoreRequest,
  type Tally,
  type TransitionRequest,
  withoutExpiredOverride,
} from "../src/store.ts";
import { SCRIPT, SCRIPT_SHA1 } from "./upstash_scripts.ts";

/** What is needed of a Redis client. Every platform's class of `@upstash/redis` has it. */
export interface RedisLike {
  /** Runs a script that Redis knows by its hash. */
  evalsha(sha: string, keys: string[], args: (string | number)[]): Promise<unknown>;
  /** Runs a script. */
  eval(script: string, keys: string[], args: (string | number)[]): Promise<unknown>;
  /** Several commands in one request. */
  pipeline(): RedisPipelineLike;
  /** A page of keys. */
  scan(
    cursor: string | number,
    options?: { match?: string; count?: number },
  ): Promise<[string, string[]]>;
  /** Deletes keys, and answers how many there were. */
  del(...keys: string[]): Promise<number>;
}

/** What is needed of a pipeline. */
export interface RedisPipelineLike {
  /** Adds a script that Redis knows by its hash. */
  evalsha(sha: string, keys: string[], args: (string | number)[]): unknown;
  /** Sends what was added; with `keepErrors`, answers with `{ result, error }` for each. */
  exec(options?: { keepErrors?: boolean }): Promise<unknown[]>;
}

/** Options of {@linkcode upstash}: a client, or what one is made of, and settings of the store. */
export type UpstashOptions = UpstashSource & UpstashSettings;

/** Where Redis is. */
export type UpstashSource =
  | {
    /**
     * A client of yours, or a function that is asked for one for each request. The store passes
     * nothing through its retries that could count twice, but its deadline is the store's:
     * `new Redis({ …, retry: { retries: 0 } })`.
     */
    redis: RedisLike | (() => RedisLike);
  }
  | {
    /** The database's REST address, `https://…`. */
    url: string;
    /** Its token. It appears in no error and no event. */
    token: string;
  };

/** Settings of an {@linkcode upstash} store. */
export interface UpstashSettings {
  /**
   * What all keys begin with, before a colon. 1–200 characters. Stores with different prefixes
   * share nothing, but no prefix may be another one followed by a colon and the name of a circuit.
   *
   * @default {"circuit_breaker"}
   */
  prefix?: string | undefined;
  /**
   * For how long a circuit without traffic is kept, in ms. A positive integer. An open circuit is
   * kept so long past its cooldown, and one under an override past the override's end.
   *
   * @default {2_592_000_000}
   */
  ttlMs?: number | undefined;
  /** The store's clock, in ms, for tests. Left out, it is the server's. */
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
const PARTS = ["state", "metrics", "failures", "successes"];
/** How long a request may take that nobody waits for any more: what waits has its own deadline. */
const REQUEST_TIMEOUT_MS = 10_000;

/** How many operations go into one request: about 50 KB, and some ms of the server's time. */
const MOST_AT_ONCE = 100;

/** What the script is run with. */
interface Run {
  readonly keys: string[];
  readonly args: string[];
}

/** A run that waits to be sent with others. */
interface Gathered extends Run {
  resolve(reply: unknown): void;
  reject(error: unknown): void;
}

/** What the script answered: whether it did as asked, the moment, and a circuit's fields if there is one. */
interface Reply {
  readonly ok: boolean;
  readonly moved: boolean;
  readonly now: number;
  readonly fields: Fields | null;
}

type Fields = Readonly<Record<string, string | undefined>>;

class UpstashStore implements Store {
  readonly name = "upstash";
  readonly traits = { persistent: true, shared: true, audited: false } as const;
  readonly #redis: () => RedisLike;
  readonly #prefix: string;
  readonly #ttlMs: string;
  readonly #clock: Clock | undefined;
  readonly #token: string | undefined;
  /** There while `together` runs, which awaits nothing. */
  #gathered: Gathered[] | null = null;

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
    if ("token" in options) this.#token = options.token;
    this.#redis = clientOf(options);
  }

  together<T>(work: () => T): T {
    if (this.#gathered !== null) return work();
    const gathered: Gathered[] = this.#gathered = [];
    try {
      return work();
    } finally {
      this.#gathered = null;
      for (let i = 0; i < gathered.length; i += MOST_AT_ONCE) {
        this.#sendAll(gathered.slice(i, i + MOST_AT_ONCE));
      }
    }
  }

  async read(
    key: string,
    request: { readonly shape: Shape; readonly at: number },
  ): Promise<Snapshot> {
    const reply = await this.#run("read", key, { ...request, id: "-" }, []);
    return withoutExpiredOverride(snapshotOf(reply, request.shape), reply.now);
  }

  async record(key: string, tally: Tally): Promise<Recorded> {
    const { epoch, generation, successes, failures, rejected, slow, ageMs } = tally;
    const { ok: current, ...answer } = await this.#change("record", key, tally, [
      ...[epoch, generation, successes, failures, rejected, slow, ageMs],
      ...[tally.lease ?? "", tally.policyHash],
    ]);
    return { current, ...answer };
  }

  async acquire(key: string, request: AcquireRequest): Promise<Acquired> {
    const { token, max, leaseMs, maxCooldownMs } = request;
    const args = [token, max, leaseMs, maxCooldownMs];
    const { ok: granted, ...answer } = await this.#change("acquire", key, request, args);
    return { granted, ...answer };
  }

  async transition(key: string, request: TransitionRequest): Promise<Changed> {
    const { to, event, cooldownMs, reason, expected } = request;
    const { ok: won, ...answer } = await this.#change("transition", key, request, [
      ...[to, event, cooldownMs, reason],
      ...(expected === null ? ["", ""] : [expected.epoch, expected.generation]),
    ]);
    return { won, ...answer };
  }

  async override(key: string, request: OverrideRequest): Promise<Changed> {
    const { kind, until, reason, actor } = request;
    const args = [kind ?? "", until ?? "", quoted(reason), quoted(actor)];
    const { ok: won, ...answer } = await this.#change("override", key, request, args);
    return { won, ...answer };
  }

  async restore(key: string, request: RestoreRequest): Promise<Changed> {
    const { record, existing } = request;
    const args = [existing, record.snapshot.generation, ...contentsOf(record)];
    const { ok: won, ...answer } = await this.#change("restore", key, request, args);
    return { won, ...answer };
  }

  async list({ cursor, limit, at, shape }: ListRequest): Promise<ListPage> {
    const ends = [`${this.#prefix}:`, ":state"] as const;
    const match = ends.map((end) => end.replace(/[*?[\]\\]/g, "\\$&")).join("*");
    const [next, found] = await this.#ask((redis) =>
      redis.scan(cursor ?? "0", { match, count: limit })
    );
    const keys = [...new Set(found)].map((key) => key.slice(ends[0].length, -ends[1].length));
    const replies = await this.together(() =>
      Promise.all(keys.map((key) => this.#run("dump", key, { at, id: "-", shape: shape(key) }, [])))
    );
    const records = replies.map((reply, i) => recordOf(keys[i]!, reply, shape(keys[i]!)))
      // Of a longer prefix it is another store's, whatever it looks like.
      .filter((_, i) => replies[i]!.fields?.prefix === String(this.#prefix.length));
    return { records, cursor: String(next) === "0" ? null : String(next) };
  }

  async remove(key: string): Promise<boolean> {
    return await this.#ask((redis) => redis.del(...this.#keys(key))) > 0;
  }

  async #change(
    operation: string,
    key: string,
    request: StoreRequest,
    args: readonly (string | number)[],
  ): Promise<Answer & { readonly ok: boolean; readonly moved: boolean }> {
    const reply = await this.#run(operation, key, request, args);
    const { ok, moved, now, fields } = reply;
    const released = fields === null ? null : overrideOf(fields, "released");
    const snapshot = withoutExpiredOverride(snapshotOf(reply, request.shape), now);
    return { ok, moved, snapshot, released };
  }

  async #run(
    operation: string,
    key: string,
    { id, at, shape }: StoreRequest,
    args: readonly (string | number)[],
  ): Promise<Reply> {
    const run = {
      keys: this.#keys(key),
      args: [
        ...[operation, at, this.#clock?.() ?? "", id || newId()],
        ...[shape.windowMs, shape.windowSize, this.#ttlMs, this.#prefix.length, ...args],
      ].map(String),
    };
    return parse(
      await (this.#gathered === null ? this.#evaluate(run) : new Promise<unknown>(
        (resolve, reject) => this.#gathered!.push({ ...run, resolve, reject }),
      )),
    );
  }

  #keys(key: string): string[] {
    return PARTS.map((part) => `${this.#prefix}:${key}:${part}`);
  }

  /** One request; two where Redis does not know the script yet. */
  #evaluate({ keys, args }: Run): Promise<unknown> {
    return this.#ask(async (redis) => {
      try {
        return await redis.evalsha(SCRIPT_SHA1, keys, args);
      } catch (error) {
        if (!isUnknownScript(error)) throw error;
        return await redis.eval(SCRIPT, keys, args);
      }
    });
  }

  /** What was gathered as one request. Never rejects: each is told for itself. */
  async #sendAll(gathered: readonly Gathered[]): Promise<void> {
    const [first, ...others] = gathered;
    if (first === undefined) return;
    if (others.length === 0) return this.#evaluate(first).then(first.resolve, first.reject);
    try {
      const answers = await this.#ask((redis) => {
        const pipeline = redis.pipeline();
        for (const { keys, args } of gathered) pipeline.evalsha(SCRIPT_SHA1, keys, args);
        return pipeline.exec({ keepErrors: true });
      }) as { result: unknown; error?: string }[];
      const unknown: Gathered[] = [];
      for (const [i, run] of gathered.entries()) {
        const { result, error } = Object(answers[i]);
        if (!error) run.resolve(result);
        else if (isUnknownScript(error)) unknown.push(run);
        else run.reject(this.#failure(error));
      }
      const [teacher, ...rest] = unknown;
      if (teacher === undefined) return;
      await this.#evaluate(teacher).then(teacher.resolve, teacher.reject);
      await this.#sendAll(rest);
    } catch (error) {
      for (const { reject } of gathered) reject(error);
    }
  }

  async #ask<T>(ask: (redis: RedisLike) => Promise<T>): Promise<T> {
    try {
      return await ask(this.#redis());
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /**
   * What went wrong, in few words. A client's own message repeats the command, an unreadable body
   * or an address: names, reasons and credentials have no business in an event.
   */
  #failure(error: unknown): Error {
    const { name, message = String(error) } = Object(error) as Partial<Error>;
    const said = name === "UpstashJSONParseError" || message.endsWith("is not a function")
      ? "the answer is not one of Redis"
      : message.split(/,? (?:command was|with args)/)[0]!;
    const words = said.replaceAll(this.#token || "\n", "…").replace(/\/\/[^\s/]*@/g, "//…@");
    return new Error(`Redis over REST: ${words.slice(0, 200)}`);
  }
}

function clientOf(options: UpstashSource): () => RedisLike {
  const { redis, url, token } = options as {
    redis?: RedisLike | (() => RedisLike);
    url?: unknown;
    token?: unknown;
  };
  if (redis !== undefined) {
    if (url !== undefined || token !== undefined) {
      throw new TypeError(`Cannot create ${SUBJECT}: "redis" stands in place of "url" and "token"`);
    }
    if (typeof redis === "function") return redis;
    if (typeof redis?.evalsha === "function") return () => redis;
    return refuse(
      SUBJECT,
      "redis",
      "a client of @upstash/redis, or a function that gives one",
      redis,
    );
  }
  const address = "an https or http address without credentials";
  // What came is not repeated where it may be a secret.
  if (typeof url !== "string" || !/^https?:\/\/[^\s@]+$/.test(url)) {
    refuse(SUBJECT, "url", address, typeof url === "string" ? Symbol("another text") : url);
  }
  if (typeof token !== "string" || !/^\S+$/.test(token)) {
    refuse(
      SUBJECT,
      "token",
      "a text without spaces",
      typeof token === "string" ? Symbol("another text") : token,
    );
  }
  const client = new Redis({
    url,
    token,
    // `false` still sends twice.
    retry: { retries: 0 },
    signal: () => AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    automaticDeserialization: false,
    responseEncoding: false,
    // It hands one promise to all who ask in the same turn.
    enableAutoPipelining: false,
    enableTelemetry: false,
  });
  return () => client;
}

function isUnknownScript(error: unknown): boolean {
  return String(error instanceof Error ? error.message : error).includes("NOSCRIPT");
}

function quoted(text: string | null): string {
  return text === null ? "" : `=${text}`;
}

function parse(reply: unknown): Reply {
  const [ok, moved, now, ...flat] = Array.isArray(reply) ? reply as unknown[] : [];
  if (typeof ok !== "number" || typeof now !== "number" || flat.length % 2 > 0) {
    throw new Error("Redis over REST: the answer is not one of the script");
  }
  const fields: Record<string, string> = {};
  for (let i = 0; i < flat.length; i += 2) fields[String(flat[i])] = String(flat[i + 1]).slice(1);
  return { ok: ok === 1, moved: moved === 1, now, fields: flat.length > 0 ? fields : null };
}

function snapshotOf({ now, fields: f }: Reply, { windowSize }: Shape): Snapshot {
  const absent = absentSnapshot(now);
  if (f === null) return absent;
  const count = (field: string) => Number(f[field] || 0);
  const counts = <T extends object>(like: T, group: string) =>
    assemble(Object.keys(like), (name) => count(`${group}.${name}`)) as T;
  const outcomes = windowSize > 0 ? (f.outcomes ?? "").slice(-windowSize) : "";
  const leases = Object.keys(f).filter((field) => field.startsWith("lease:"))
    .map((field) => f[field]!.split(" ").map(Number) as [ends: number, length: number])
    // The length of a lease whose trial has ended is 0.
    .filter(([ends, length]) => ends > now && length > 0);
  return {
    ...absent,
    ...assemble(SNAPSHOT_TIMES, (field) => f[field] ? Number(f[field]) : null),
    ...assemble(SNAPSHOT_COUNTS, count),
    state: f.state as CircuitState,
    epoch: f.epoch!,
    reason: f.reason ?? "",
    policyHash: f["answer.policyHash"]!,
    totals: counts(absent.totals, "totals"),
    window: counts(absent.window, "answer"),
    sinceClosed: counts(absent.sinceClosed, "sinceClosed"),
    last: { size: outcomes.length, failures: outcomes.split("F").length - 1 },
    halfOpen: {
      ...counts(absent.halfOpen, "halfOpen"),
      inFlight: leases.length,
      freeAt: leases.length > 0 ? Math.min(...leases.map(([ends]) => ends)) : null,
    },
    override: overrideOf(f, "override"),
  };
}

function assemble<K extends string, V>(names: readonly K[], of: (name: K) => V): Record<K, V> {
  return Object.fromEntries(names.map((name) => [name, of(name)])) as Record<K, V>;
}

function overrideOf(f: Fields, at: "override" | "released"): OverrideRecord | null {
  const kind = f[at] as Override | "" | undefined;
  const [until, reason, actor] = OVERRIDE.map((field) => f[`${at}.${field}`] || null);
  if (!kind) return null;
  // Words begin with "=".
  const words = (text: string | null | undefined) => text?.slice(1) ?? null;
  return { kind, until: until ? Number(until) : null, reason: words(reason), actor: words(actor) };
}

const OVERRIDE = ["until", "reason", "actor"] as const;

/** Of what `dump` answered. */
function recordOf(key: string, reply: Reply, shape: Shape): CircuitRecord {
  const held = snapshotOf(reply, shape);
  const snapshot = withoutExpiredOverride(held, reply.now);
  const f = reply.fields;
  // What an override that has run out had counted goes with it.
  if (f === null || snapshot !== held) return { key, snapshot, segments: [], outcomes: "" };
  const segments = new Map<string, { -readonly [K in keyof Segment]: number }>();
  const put = (start: string, kind: "successes" | "failures" | "slow", n: string | undefined) => {
    const segment = segments.get(start) ??
      { start: Number(start), successes: 0, failures: 0, slow: 0 };
    segments.set(start, segment);
    segment[kind] = Number(n || 0);
  };
  for (const field in f) {
    const [, kind, slow, start] = /^(successes|failures):(s?)(-?\d+)$/.exec(field) ?? [];
    if (start === undefined || f[`${kind}:of`] !== `${f.epoch}:${f.since}`) continue;
    if (f.floor && Number(start) <= Number(f.floor)) continue;
    put(start, slow ? "slow" : kind as "successes" | "failures", f[field]);
  }
  for (const kind of ["successes", "failures", "slow"] as const) {
    if (f.start) put(f.start, kind, f[`newest.${kind}`]);
  }
  const oldestFirst = [...segments.values()].sort((a, b) => a.start - b.start);
  return { key, snapshot, segments: oldestFirst, outcomes: f.outcomes ?? "" };
}

/** What `restore` takes: how many fields, their names and values, and the segments. Times are behind "@". */
function contentsOf({ snapshot: s, segments, outcomes }: CircuitRecord): (string | number)[] {
  const time = (at: number | null) => at === null ? "" : `@${Math.round(at)}`;
  const { state, reason, policyHash, totals, sinceClosed, override } = s;
  const [, ...counted] = SNAPSHOT_COUNTS;
  const group = (name: string, counts: object) =>
    Object.entries(counts).map(([kind, n]) => [`${name}.${kind}`, n]);
  const contents = Object.entries({
    ...{ state, reason, policyHash, outcomes },
    ...assemble(SNAPSHOT_TIMES, (field) => time(s[field])),
    ...assemble(counted, (field) => s[field]),
    ...Object.fromEntries([...group("totals", totals), ...group("sinceClosed", sinceClosed)]),
    "override": override?.kind,
    "override.until": time(override?.until ?? null),
    "override.reason": quoted(override?.reason ?? null),
    "override.actor": quoted(override?.actor ?? null),
  }).filter(([, value]) => value) as [string, string | number][];
  const rows = segments.map(({ start, successes, failures, slow }) =>
    [time(start), successes, failures, slow] as const
  );
  return [contents.length, ...contents.flat(), ...rows.flat()];
}
