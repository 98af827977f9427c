/**
 * The store itself: translates operations to runs of the script in Redis, and its answers to
 * results.
 *
 * @module
 */

import { CIRCUITS, type OpeningStore } from "../../src/circuit.ts";
import { isPlain, newId, originOf, withHeld } from "../../src/records.ts";
import { SHARED } from "../../src/shared/kind.ts";
import { check, refuse } from "../../src/checks.ts";
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
  OverrideRequest,
  ReadRequest,
  Recorded,
  RestoreRequest,
  Snapshot,
  SpoiltCircuit,
  StoreRequest,
  Tally,
  TransitionRequest,
} from "../../src/contract.ts";
import { isNonsense } from "../../src/rules/stored_fields.ts";
import { nonsense, REDIS, type Scripts } from "./client.ts";
import {
  contentsOf,
  isRemembered,
  overrideOf,
  parseReply,
  policyFields,
  quoted,
  recordOf,
  type Reply,
  rowField,
  snapshotOf,
} from "./fields.ts";

/** Settings of a store in Redis. */
export interface UpstashSettings {
  /**
   * The beginning of all keys, before a colon. 1–200 characters. Stores with different prefixes
   * share nothing. If one prefix is another with a suffix after a colon, two circuits could have
   * the same key: the store that comes second is refused that circuit.
   *
   * @default {"circuit_breaker"}
   */
  prefix?: string | undefined;
  /**
   * How long a circuit without traffic is kept, in ms. A positive integer. An open circuit is kept
   * for this time past its cooldown, and one under an override past the override's end; one that
   * has never opened and has no override is kept for a day at most.
   *
   * @default {2_592_000_000}
   */
  ttlMs?: number | undefined;
  /** The store's clock, in ms, for tests. By default, the server's clock decides. */
  clock?: Clock | undefined;
}

/** Writes a key, reads it and deletes it. */
const CHECK =
  "redis.call('SET',KEYS[1],1,'PX',999,'GET')redis.call('DEL',KEYS[1])return'='..ARGV[1]";
const PARTS = ["state", "metrics", "failures", "successes"];
/**
 * The operations that file a circuit in the indexes. A record does so only for a circuit that is
 * due.
 */
const CHANGES = /^(transition|override|restore|remove)$/;
/** The minimum of a request. */
const BARE: StoreRequest = { id: "", at: 0, shape: { windowMs: 1, windowSize: 0 } };
/**
 * The number of keys that a page reads while it searches for circuits: some ms of the server's
 * time.
 */
const LOOKED_AT = 16_384;
/** How often a list searches the database; an index that is lost each time does not stay. */
const LOOKS = 3;
/** The position of a list. */
type Cursor = [after: string, scan: string, mark: string, looks?: number];
/** The number of circuits that one run files: about 25 KB. */
const FILED_AT_ONCE = 500;
/** The number of circuits that are remembered for filing. */
const REMEMBERED = 1_000;

/** The options of a store, except for the connection to Redis. */
export const SETTINGS: readonly string[] = ["prefix", "ttlMs", "clock"];

/** Circuits in Redis; each operation is one run of the script. */
export class RedisStore implements OpeningStore {
  readonly [CIRCUITS] = SHARED;
  readonly name: string;
  readonly traits = { persistent: true, shared: true, audited: false } as const;
  readonly #scripts: Scripts;
  readonly #prefix: string;
  readonly #ttlMs: number;
  readonly #clock: Clock | undefined;
  /** Circuits whose next record files them in the indexes. */
  readonly #unfiled = new Set<string>();

  /** @throws {RangeError | TypeError} Naming the setting, what came and what is allowed. */
  constructor(name: string, scripts: Scripts, settings: UpstashSettings) {
    const subject = `${name} store`;
    const { prefix = "circuit_breaker", clock } = settings;
    if (typeof prefix !== "string" || prefix === "" || prefix.length > 200) {
      refuse(subject, "prefix", "a text of 1-200 characters", prefix);
    }
    if (clock !== undefined && typeof clock !== "function") {
      refuse(subject, "clock", "a function", clock);
    }
    this.name = name;
    this.#prefix = prefix;
    this.#ttlMs = check(subject, "ttlMs", settings.ttlMs, 30 * 86_400_000);
    this.#clock = clock;
    this.#scripts = scripts;
  }

  together<T>(work: () => T): T {
    return this.#scripts.together(work);
  }

  async read(key: string, request: ReadRequest): Promise<Snapshot> {
    const named = request.unconfirmed?.map((id) => `id:${id}`) ?? [];
    const reply = await this.#run("read", key, { ...request, id: "" }, named);
    return withHeld(snapshotOf(reply, request), request, (id) => isRemembered(reply, id));
  }

  async record(key: string, tally: Tally): Promise<Recorded> {
    const { epoch, generation, began, successes, failures, rejected, slow, ageMs } = tally;
    const { ok: current, answer } = await this.#change("record", key, tally, [
      ...[epoch, generation, began, successes, failures, rejected, slow, ageMs],
      ...[
        tally.firstFailureAgeMs ?? ageMs,
        tally.lease ?? "",
        tally.policyHash,
        ...policyFields(tally.policy).flat(),
      ],
    ]);
    return { current, ...answer };
  }

  async acquire(key: string, request: AcquireRequest): Promise<Acquired> {
    const { token, max, leaseMs } = request;
    const args = [token, max, leaseMs];
    const why = { reason: "cooldown_passed", actor: null };
    const { ok: granted, moved, answer } = await this.#change("acquire", key, request, args, why);
    return { granted, moved, ...answer };
  }

  transition(key: string, request: TransitionRequest): Promise<Changed> {
    const { to, event, reason, expected, lastFailure = null, failuresBelow = 1 } = request;
    const cooldownMs = Math.round(request.cooldownMs);
    const { epoch, generation, began } = expected ?? { epoch: "", generation: "", began: "" };
    const ask = () =>
      this.#won("transition", key, request, [
        ...[to, event, cooldownMs, reason, epoch, generation, began],
        lastFailure === null ? "" : JSON.stringify(lastFailure),
        failuresBelow,
        ...policyFields(request.policy).flat(),
      ], to === "OPEN" ? { cooldownMs, lastFailure } : {});
    return expected === null ? this.#anew(key, ask) : ask();
  }

  override(key: string, request: OverrideRequest): Promise<Changed> {
    const { kind, until, reason, actor } = request;
    const args = [kind ?? "", until ?? "", quoted(reason), quoted(actor)];
    return this.#won("override", key, request, args);
  }

  restore(key: string, request: RestoreRequest): Promise<Changed> {
    const { record, existing } = request;
    const args = [existing, record.snapshot.generation, ...contentsOf(record)];
    const ask = () => this.#won("restore", key, request, args);
    return existing === "replace" ? this.#anew(key, ask) : ask();
  }

  /** Repeats the request without the record, if that is invalid. */
  async #anew<T>(key: string, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (!isNonsense(error) && !/WRONGTYPE/.test(String(error))) throw error;
      await this.remove(key);
      return await ask();
    }
  }

  /**
   * Two requests; one more if circuits have disappeared since. If an index is lost, the whole
   * database is searched first, by pages without circuits.
   */
  async list(request: ListRequest): Promise<ListPage> {
    const { cursor, limit, at, open = false } = request;
    // The circuit after which to continue; during a search, the position, the mark, and the number
    // of searches so far.
    const [after, scan, mark, looks = 0] = placeOf(cursor);
    if (scan !== "") {
      const next = await this.#lookFor(scan, at);
      return { records: [], cursor: JSON.stringify([after, next, mark, looks]) };
    }
    const id = newId();
    const args = [open ? 2 : 1, after, limit, mark];
    const page = await this.#ask("page", this.#indexes, { ...BARE, at, id }, args) as unknown[];
    const [ok, , now, , , ...members] = page;
    const found = members.map((key) => String(key).slice(1));
    if (ok !== 1) {
      if (looks === LOOKS) {
        throw new Error(`${REDIS}its index of circuits is lost as soon as it is built`);
      }
      return { records: [], cursor: JSON.stringify([after, "0", id, looks + 1]) };
    }
    const spoilt: SpoiltCircuit[] = [];
    const records = await this.together(() =>
      Promise.all(found.map((key) => this.#dump(key, request, spoilt)))
    );
    const isStale = (key: string, record: CircuitRecord | null | undefined) =>
      record ? open && isPlain(record.snapshot) : !spoilt.some((one) => one.key === key);
    const stale = found.filter((key, i) => isStale(key, records[i]));
    // The next list drops them.
    if (stale.length > 0) await this.#index(stale, at).catch(() => {});
    return {
      ...{ records: records.filter((record) => record !== null), spoilt },
      cursor: found.length < limit ? null : JSON.stringify([found.at(-1), "", ""]),
      now: Number(now),
    };
  }

  /**
   * Searches a page of the database for circuits, and files them. Returns the next position; `""`
   * at the end.
   */
  async #lookFor(cursor: string, at: number): Promise<string> {
    const ends = [`${this.#prefix}:`, ":state"] as const;
    const match = ends.map((end) => end.replace(/[*?[\]\\]/g, "\\$&")).join("*");
    const page: unknown = await this.#scripts.ask((redis) =>
      redis.scan(cursor, { match, count: LOOKED_AT })
    );
    const [next, found] = Array.isArray(page) ? page as unknown[] : [];
    if (!/^\d+$/.test(String(next)) || !Array.isArray(found)) throw nonsense();
    const keys = found.map((key) => String(key).slice(ends[0].length, -ends[1].length));
    // Also if there are none: the answer of SCAN names no request, but the next one does.
    await this.#index(keys, at);
    return Number(next) ? String(next) : "";
  }

  /** Updates the index entries of circuits from the circuits. */
  async #index(keys: readonly string[], at: number): Promise<void> {
    const runs: Promise<unknown>[] = [];
    for (let i = 0; i === 0 || i < keys.length; i += FILED_AT_ONCE) {
      const states = keys.slice(i, i + FILED_AT_ONCE).map((key) => this.#keys(key)[0]!);
      runs.push(this.#ask("index", [...states, ...this.#indexes], { ...BARE, at }, []));
    }
    await Promise.all(runs);
  }

  /**
   * Returns a record; `null` if there is none, it is invalid, or the key turns out to be foreign.
   */
  async #dump(
    key: string,
    { at, shape, outbox, brief }: ListRequest,
    spoilt: SpoiltCircuit[],
  ): Promise<CircuitRecord | null> {
    try {
      const request = { id: "", at, shape: shape(key), outbox };
      const reply = await this.#run(brief ? "read" : "dump", key, request, []);
      return reply.fields && recordOf(key, reply, request);
    } catch (error) {
      if (isNonsense(error)) spoilt.push({ key, error });
      else if (!/WRONGTYPE|another prefix/.test(String(error))) throw error;
      return null;
    }
  }

  /** Confirms rows: one request, and two commands. */
  async confirm(key: string, rows: readonly Admission[]): Promise<void> {
    if (rows.length > 0) await this.#run("confirm", key, BARE, rows.map(rowField));
  }

  /** Checks reads and writes: one request. */
  async check(): Promise<void> {
    const id = newId();
    const answer = await this.#scripts.evaluate(CHECK, [`${this.#prefix}:check`], [id]);
    if (answer !== `=${id}`) throw nonsense();
  }

  async remove(key: string): Promise<boolean> {
    return (await this.#run("remove", key, BARE, [])).ok;
  }

  /** A change that this request makes completely or not at all. */
  async #won(
    operation: string,
    key: string,
    request: StoreRequest & Pick<OverrideRequest, "reason" | "actor">,
    args: readonly (string | number)[],
    more: Record<string, unknown> = {},
  ): Promise<Changed> {
    const { reason, actor } = request;
    const why = { reason, actor, ...more };
    const { ok: won, answer } = await this.#change(operation, key, request, args, why);
    return { won, ...answer };
  }

  async #change(
    operation: string,
    key: string,
    request: StoreRequest,
    args: readonly (string | number)[],
    why: Record<string, unknown> = {},
  ): Promise<Pick<Reply, "ok" | "moved"> & { readonly answer: Answer }> {
    const reply = await this.#run(operation, key, request, args, why);
    const { ok, moved, fields } = reply;
    const released = fields && overrideOf(fields, "released");
    return { ok, moved, answer: { snapshot: snapshotOf(reply, request), released } };
  }

  async #run(
    operation: string,
    key: string,
    request: StoreRequest,
    args: readonly (string | number)[],
    why: Record<string, unknown> = {},
  ): Promise<Reply> {
    const records = operation === "record";
    // With Upstash's locking of keys, circuits that all declare the indexes would wait for one
    // another.
    const files = records ? this.#unfiled.has(key) : CHANGES.test(operation);
    const keys = [...this.#keys(key), ...files ? this.#indexes : []];
    const more = records && !files ? this.#indexes : undefined;
    const reply = parseReply(await this.#ask(operation, keys, request, args, why, more));
    this.#note(key, reply);
    return reply;
  }

  /** Notes whether the next record of a circuit must file it in the indexes. */
  #note(key: string, { fields, now }: Reply): void {
    this.#unfiled.delete(key);
    // Slightly before the script asks for it.
    const ms = Math.min(this.#ttlMs, 86_400_000) / 9;
    if (fields !== null && now - Number(fields.indexed || -Infinity) < ms) return;
    this.#unfiled.add(key);
    if (this.#unfiled.size > REMEMBERED) this.#unfiled.delete(this.#unfiled.values().next().value!);
  }

  #ask(
    operation: string,
    keys: string[],
    { id: given, at, shape, outbox, instance }: StoreRequest,
    args: readonly (string | number)[],
    why: Record<string, unknown> = {},
    more?: string[],
  ): Promise<unknown> {
    const id = given || newId();
    // The caller's words for the trail, with the name of the isolate.
    const words = outbox === undefined
      ? ""
      : JSON.stringify({ ...why, ...originOf({ id: given, instance }) });
    const records = operation === "record";
    return this.#scripts.run({
      ...{ id, keys, more },
      args: [
        ...[operation, at, this.#clock?.() ?? "", id],
        ...[shape.windowMs, shape.windowSize, this.#ttlMs, this.#prefix.length],
        ...records ? [] : args,
      ].map(String),
      tallies: records ? [[id, ...args].map(String)] : [],
      last: [words, outbox === "hand" ? "1" : ""],
    });
  }

  #keys(key: string): string[] {
    return PARTS.map((part) => `${this.#prefix}:${key}:${part}`);
  }

  /** The keys of the circuits of the prefix, and of those that are not plainly CLOSED. */
  get #indexes(): string[] {
    return [`${this.#prefix}:circuits`, `${this.#prefix}:open`];
  }
}

/** Reads the cursor of a list; another store's cursor begins anew. */
function placeOf(cursor: string | null): Cursor {
  try {
    const place = JSON.parse(cursor ?? "null");
    const [after, scan, mark, looks = 0] = place;
    const areTexts = [after, scan, mark].every((text) => typeof text === "string");
    if (areTexts && /^\d*$/.test(scan) && Number.isSafeInteger(looks)) return place;
  } catch {
    // The text is not JSON, or not a list.
  }
  return ["", "", ""];
}
