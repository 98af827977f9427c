/**
 * The connection to Redis: runs the script through a client, and reports errors in our own words.
 *
 * @module
 */

import { inLine } from "../../src/checks.ts";
import { StoreAnswerError } from "../../src/errors.ts";
import { looks } from "../../src/shared/asks.ts";
import { LOCKING, LOCKING_SHA1, SCRIPT, SCRIPT_SHA1 } from "./script.ts";

/** The part of a Redis client that is used. Every platform's class of `@upstash/redis` has it. */
export interface RedisLike {
  /** Runs a script that Redis has, by its hash. */
  evalsha(sha: string, keys: string[], args: (string | number)[]): Promise<unknown>;
  /** Runs a script. */
  eval(script: string, keys: string[], args: (string | number)[]): Promise<unknown>;
  /** Returns a pipeline: several commands in one request. */
  pipeline(): RedisPipelineLike;
  /** Returns a page of keys: those that `match`, about `count` of them. */
  scan(
    cursor: string | number,
    options?: { match?: string; count?: number },
  ): Promise<[string, string[]]>;
  /** Deletes keys, and returns how many there were. */
  del(...keys: string[]): Promise<number>;
}

/** The part of a pipeline that is used. */
export interface RedisPipelineLike {
  /** Adds a script that Redis has, by its hash. */
  evalsha(sha: string, keys: string[], args: (string | number)[]): unknown;
  /** Sends the added commands; with `keepErrors`, returns `{ result, error }` for each. */
  exec(options?: { keepErrors?: boolean }): Promise<unknown[]>;
}

/** The address of Redis, or a client. */
export type UpstashSource =
  | {
    /**
     * A client of yours, or a function that returns one at each request. Its own retries count
     * nothing twice, but exceed any deadline: `new Redis({ …, retry: { retries: 0 } })`.
     */
    redis: RedisLike | (() => RedisLike);
  }
  | {
    /** The database's REST address, `https://…`. */
    url: string;
    /** Its token. It appears in no error and no event. */
    token: string;
  };

/**
 * The number of runs in one request, and of callers of a run: about 50 KB, and some ms of the server's
 * time.
 */
const MOST_AT_ONCE = 100;

/**
 * How long the script may be on its way, in ms: a request of a Worker may die before any `finally`.
 */
const LONGEST_BRINGING_MS = 1_000;

/** The number of arguments of a tally without a policy, and the index of its lease. */
const [TALLY, LEASE] = [12, 10];

/** A run of the script. Its arguments are those of any run, those of tallies, and the last ones. */
export interface Run {
  /** The request's id, or those of all tallies. */
  readonly id: string;
  readonly keys: string[];
  readonly args: readonly string[];
  /** Empty unless it records. */
  readonly tallies: readonly (readonly string[])[];
  readonly last: readonly string[];
  /** Keys to add if the script answers that it needs them. It has changed nothing then. */
  readonly more?: string[] | undefined;
}

/** Takes the answer to a run. */
interface Caller {
  resolve(answer: unknown): void;
  reject(error: unknown): void;
}

/** A run that waits to be sent with others, with a caller for each tally. */
interface Gathered extends Run {
  id: string;
  readonly tallies: (readonly string[])[];
  readonly callers: Caller[];
  /** Equal for runs whose tallies one run may record, in order. */
  readonly kind: string | null;
}

/** Runs the script. */
export class Scripts {
  readonly #redis: () => RedisLike;
  readonly #token: string | undefined;
  /** `true` until the server refuses to lock only the keys that a script declares. */
  #locks: boolean;
  /** Until when another run sends the script to the server, by `performance.now()`. */
  #bringing = 0;
  /** Set while `together` runs, which awaits nothing. */
  #gathered: Map<string, Gathered[]> | null = null;
  /** `true` from an answer to another request on, until an answer is to its own again. */
  #slipped = false;

  /**
   * @param redis Returns a client; called at each request.
   * @param locks `true` if the server may be Upstash's, which locks the whole database for a script
   * unless its text asks for less.
   * @param token The token of a client of our own, which no error may repeat. `undefined` for a
   * user's client, whose own words are not repeated.
   */
  constructor(redis: () => RedisLike, locks: boolean, token?: string) {
    this.#redis = redis;
    this.#locks = locks;
    this.#token = token;
  }

  /** Sends the runs of `work` as few requests. */
  together<T>(work: () => T): T {
    if (this.#gathered !== null) return work();
    const byCircuit = this.#gathered = new Map<string, Gathered[]>();
    try {
      return work();
    } finally {
      this.#gathered = null;
      const gathered = [...byCircuit.values()].flat();
      for (let i = 0; i < gathered.length; i += MOST_AT_ONCE) {
        this.#sendAll(gathered.slice(i, i + MOST_AT_ONCE));
      }
    }
  }

  /**
   * Runs the script: one request, two if Redis does not have it yet, and three if Redis refuses its
   * first text.
   */
  run(run: Run): Promise<unknown> {
    if (this.#gathered === null) return this.#send(run);
    const [circuit = ""] = run.keys;
    const runs = this.#gathered.get(circuit) ?? [];
    this.#gathered.set(circuit, runs);
    const before = runs.at(-1);
    const kind = kindOf(run);
    return new Promise((resolve, reject) => {
      const caller = { resolve, reject };
      if (kind !== null && kind === before?.kind && before.callers.length < MOST_AT_ONCE) {
        before.id += ` ${run.id}`;
        before.tallies.push(...run.tallies);
        before.callers.push(caller);
      } else runs.push({ ...run, tallies: [...run.tallies], callers: [caller], kind });
    });
  }

  /** Calls the client, and reports a failure in few words. */
  async ask<T>(ask: (redis: RedisLike) => Promise<T>): Promise<T> {
    try {
      return await ask(this.#redis());
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Runs a script that is sent with the request. */
  evaluate(script: string, keys: string[], args: string[]): Promise<unknown> {
    return this.ask((redis) => this.#evaluate(redis, script, keys, args));
  }

  async #evaluate(
    redis: RedisLike,
    script: string,
    keys: string[],
    args: string[],
  ): Promise<unknown> {
    if (this.#locks) {
      try {
        return await redis.eval(LOCKING + script, keys, args);
      } catch (error) {
        if (!isUnknownFlag(error)) throw error;
        this.#locks = false;
      }
    }
    return await redis.eval(script, keys, args);
  }

  /** The SHA-1 by which Redis knows the script. */
  get #sha1(): string {
    return this.#locks ? LOCKING_SHA1 : SCRIPT_SHA1;
  }

  async #send(run: Run): Promise<unknown[]> {
    const [keys, args] = [run.keys, argsOf(run)];
    const answer = await this.ask(async (redis) => {
      for (;;) {
        try {
          return await redis.evalsha(this.#sha1, keys, args);
        } catch (error) {
          if (!isUnknownScript(error)) throw error;
        }
        if (performance.now() >= this.#bringing) return await this.#bring(redis, run);
        for await (const _ of looks(LONGEST_BRINGING_MS)) {
          if (performance.now() >= this.#bringing) break;
        }
      }
    });
    const own = this.#own(answer, run);
    return needsMore(own, run) ? await this.#send(withMore(run)) : own;
  }

  /** Sends the script. It is long, so only one run at a time does. */
  async #bring(redis: RedisLike, run: Run): Promise<unknown> {
    this.#bringing = performance.now() + LONGEST_BRINGING_MS;
    try {
      return await this.#evaluate(redis, SCRIPT, run.keys, argsOf(run));
    } finally {
      this.#bringing = 0;
    }
  }

  /**
   * Returns the answer. @throws {Error} If it names another request, so that it was misdelivered.
   */
  #own(answer: unknown, { keys, id }: Run): unknown[] {
    if (!Array.isArray(answer)) throw nonsense();
    const names = (text: unknown, own = "") => text === `=${own.toWellFormed()}`;
    this.#slipped = !(names(answer[3], id) && names(answer[4], keys[0]));
    if (this.#slipped) throw new Error(`${REDIS}its answer is to another request`);
    return answer;
  }

  /** Never rejects: each result is reported separately. */
  async #sendAll(gathered: readonly Gathered[]): Promise<void> {
    if (gathered.length < 2) {
      for (const run of gathered) {
        await this.#send(run).then(
          (answer) => resolve(run, answer),
          (error) => reject(run, error),
        );
      }
      return;
    }
    try {
      const answers = await this.ask((redis) => {
        const pipeline = redis.pipeline();
        // An invalid client may return a promise here, whose rejection would be unhandled.
        if (pipeline instanceof Promise) pipeline.catch(() => {});
        for (const run of gathered) pipeline.evalsha(this.#sha1, run.keys, argsOf(run));
        return pipeline.exec({ keepErrors: true });
      });
      if (!Array.isArray(answers)) throw nonsense();
      const unknown: Gathered[] = [];
      const short: Gathered[] = [];
      for (const [i, run] of gathered.entries()) {
        const { result, error: message } = Object(answers[i]) as Record<string, unknown>;
        const error = { message };
        if (isUnknownScript(error)) unknown.push(run);
        else if (message) reject(run, this.#failure(error));
        else {
          try {
            const own = this.#own(result, run);
            if (needsMore(own, run)) short.push(withMore(run));
            else resolve(run, own);
          } catch (error) {
            reject(run, error);
          }
        }
      }
      // The first of them sends the script.
      await this.#sendAll(unknown.splice(0, 1));
      await this.#sendAll([...unknown, ...short]);
    } catch (error) {
      for (const run of gathered) reject(run, error);
    }
  }

  /**
   * Returns the error for a client's error, whose own message may repeat the command, an unreadable
   * body or an address: names, reasons and credentials must not be in an event.
   */
  #failure(error: unknown): Error {
    const kinds = ["name", "code"].map((field) => textOf(error, field));
    let words = textOf(error, "message", this.#token);
    if (
      kinds.includes("UpstashJSONParseError") ||
      /^(undefined|\[obj)|is not a function$/.test(words)
    ) {
      return nonsense();
    }
    // An unknown error may be about one circuit. If it is about all, several are refused in a row.
    const known = kinds.includes("UpstashError");
    const said = OF_ALL.test(words) ? "store" : known || OF_ONE.test(words) ? "circuit" : null;
    // While answers come to the wrong requests, so may errors.
    const scope = this.#slipped ? null : said;
    if (!this.#token && !known && !SERVER_SAYS.test(words)) {
      // The secrets of a user's client are unknown.
      words = ["its client failed", ...kinds.filter((text) => KIND.test(text))].join(", ");
    }
    // No address: it may contain credentials anywhere. A cluster's node is named without a scheme.
    words = words.replace(/[\w+.-]+:\/\/[^\s)]*|[\w.:-]+:\d+$/g, "…");
    words = REDIS + inLine(words.slice(0, 200));
    return scope ? new StoreAnswerError(words, { scope }) : new Error(words);
  }
}

/** Returns `true` for an answer that asks for more keys. */
function needsMore(answer: unknown[], { more }: Run): boolean {
  return more !== undefined && answer[1] === 1;
}

function withMore<R extends Run>(run: R): R {
  return { ...run, keys: [...run.keys, ...run.more ?? []], more: undefined };
}

/** Returns all arguments of a run. */
function argsOf({ args, tallies, last }: Run): string[] {
  const count = tallies.length > 0 ? [String(tallies.length)] : [];
  return [...args, ...count, ...tallies.flat(), ...last];
}

/** Returns the kind of a run; `null` for one that must be alone, because it has a policy or a lease. */
function kindOf({ keys, args, tallies: [tally], last }: Run): string | null {
  // All but the caller's clock and the id must be equal.
  return tally?.length === TALLY && tally[LEASE] === ""
    ? String([keys, args[2], args.slice(4), last])
    : null;
}

/** Gives each caller the answer to its tally. */
function resolve({ callers }: Gathered, answer: unknown[]): void {
  const [, moved, now, id, key, metrics, ...fields] = answer;
  const each = String(metrics).slice(1).split(";");
  // Changes are told to one caller only.
  const once = fields.findIndex((field) => /^(row:|released)/.test(String(field)));
  for (const [i, caller] of callers.entries()) {
    const counts = each[i] ?? "";
    const told = i === callers.length - 1 || once < 0 ? fields : fields.slice(0, once);
    caller.resolve(
      callers.length < 2 ? answer : [Number(counts[0]), moved, now, id, key, `=${counts}`, ...told],
    );
  }
}

function reject({ callers }: Gathered, error: unknown): void {
  for (const caller of callers) caller.reject(error);
}

/** The beginning of every error. */
export const REDIS = "Redis: ";

/** Returns the error for an invalid answer, such as a proxy's. */
export function nonsense(): Error {
  return new Error(`${REDIS}its answer is invalid`);
}

/** Answers of Redis and Upstash that refuse every circuit. A proxy may put words before them. */
const OF_ALL =
  /\b(OOM|READONLY|MISCONF|NO(PERM|AUTH|SCRIPT|REPLICAS)|WRONGPASS|LOADING|BUSY|[A-Z]+(DOWN|SLOT)|TRYAGAIN)\b|\b(MOVED|ASK) \d|(limit|quota|request size) exceeded|^Unauthorized$|ACL failure|: unauthenticated |the script can't/;

/** Part of any other error of Redis. */
const OF_ONE = /\b(ERR|WRONGTYPE)\b/;

/** An error of Redis itself begins with a code. */
const SERVER_SAYS = /^[A-Z]{2,20} /;

/** The name of a class of errors, or a system's code: `TypeError`, `ECONNREFUSED`. */
const KIND = /^([A-Z][A-Za-z]*(Error|Exception)|E[A-Z]{3,20}|[A-Z]+(_[A-Z]+)+)$/;

/**
 * Returns the beginning of an error's text, whatever the error is, because matching a long text is
 * slow. It leaves out texts that repeat a command, and so the caller's words.
 */
function textOf(error: unknown, field: string, secret = "\0"): string {
  let text: unknown;
  try {
    text = Object(error)[field];
  } catch {
    // An error that throws when it is read has no text.
  }
  // The secret is removed first: half of it would not be found.
  return typeof text === "string"
    ? text.replaceAll(secret, "…").slice(0, 500).split(/,? (?:command was|with args|script: )/)[0]!
    : "";
}

function isUnknownScript(error: unknown): boolean {
  return textOf(error, "message").includes("NOSCRIPT");
}

/** Returns `true` if the first line of a script was refused: as by Redis 7, or by Lua itself. */
function isUnknownFlag(error: unknown): boolean {
  return /shebang|near '#'/i.test(textOf(error, "message"));
}
