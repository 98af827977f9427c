/**
 * Checks of a Redis over REST, mostly of behavior of Upstash that we know only from its
 * documentation.
 *
 * @module
 */
import { createFuse } from "@fuse/edge";
import type { CircuitRecord } from "@fuse/edge/store";
import { storeContract } from "@fuse/edge/testing";
import { type OpeningStore, upstash } from "../support/drivers.ts";
import { type Check, expect, inTime, refusal, type Run, runContract, Skipped } from "./check.ts";
import { closing, laying, opening, request, SHAPE, tally, trying } from "./requests.ts";

/** The address of Redis, and the prefix to use. */
export interface RedisSetting {
  readonly url: string;
  readonly token: string;
  readonly readOnlyToken: string | undefined;
  readonly prefix: string;
  readonly storeTimeoutMs: number;
}

const DAY_MS = 86_400_000;
const SLACK_MS = 120_000;
/** A TTL is longer than required, so that not every record has to renew it. */
const RENEWED = 1.126;

/** The answer of a Redis that does not know the flag. */
const NO_FLAG = "Unexpected flag in script shebang";

/** Runs the contract on Redis. */
export async function redisContract(run: Run, { url, token, prefix }: RedisSetting): Promise<void> {
  const make = (clock?: () => number) =>
    upstash({ url, token, prefix: `${prefix}:contract`, clock });
  const cases = storeContract(({ clock }) => make(clock));
  await runContract(run, "Redis", { ...make().traits }, cases);
}

/** Sends a command without any client. Rejects with the server's error. */
export async function sendRaw(
  { url, token }: Pick<RedisSetting, "url" | "token">,
  ...command: (string | number)[]
): Promise<unknown> {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(command) });
  const { result, error } = await response.json() as { result?: unknown; error?: string };
  if (error !== undefined) throw new Error(error);
  return result;
}

/** Returns the checks of Redis. */
export function redisChecks(setting: RedisSetting): Check[] {
  const { url, token, readOnlyToken, prefix, storeTimeoutMs } = setting;
  const isUpstash = new URL(url).hostname.endsWith(".upstash.io");
  const send = (...command: (string | number)[]) => sendRaw(setting, ...command);
  const evaluate = (script: string, key: string) => send("EVAL", script, 1, key);
  const key = (name: string) => `${prefix}:raw:${name}`;
  const open = (name: string, as = token): OpeningStore =>
    upstash({ url, token: as, prefix: `${prefix}:${name}` });

  const checks: Record<string, () => Promise<string | void>> = {
    async "fuse.check() reads and writes"() {
      await using fuse = createFuse({ stores: { cache: open("check") }, storeTimeoutMs: 10_000 });
      const health = JSON.stringify(await fuse.check());
      expect(!/error/i.test(health), health);
    },

    async "a script may allow locking by key"() {
      const script = "#!lua flags=allow-key-locking\nreturn redis.call('GET', KEYS[1]) or 'none'";
      const answer = await evaluate(script, key("lock")).catch((error: Error) => error.message);
      if (answer === "none") return "taken";
      expect(!isUpstash && String(answer).includes(NO_FLAG), `answered ${answer}`);
      return `refused, as Redis does: ${answer}`;
    },

    async "TIME may come before a write in a script"() {
      const script = "local t = redis.call('TIME') redis.call('SET', KEYS[1], t[1]) " +
        "local u = redis.call('TIME') return {t[1], t[2], u[1], u[2]}";
      const answer = await evaluate(script, key("time")) as unknown[];
      expect(Array.isArray(answer) && answer.length === 4, `answered ${answer}`);
      const [s, us, ...later] = answer.map(Number) as [number, number, number, number];
      const offset = s * 1000 + us / 1000 - Date.now();
      expect(Math.abs(offset) < 300_000, `its clock is off by ${Math.round(offset)} ms`);
      const stands = later[0] === s && later[1] === us;
      return `${Math.round(offset)} ms from ours, and ${stands ? "stands" : "goes on"} in a script`;
    },

    async "an unknown script is answered by NOSCRIPT"() {
      const sha = Array.from({ length: 40 }, () => Math.floor(Math.random() * 16).toString(16));
      const { message } = await refusal(() => send("EVALSHA", sha.join(""), 1, key("sha")));
      expect(message.includes("NOSCRIPT"), message);
      return message;
    },

    async "HSCAN gives cursors as texts, and every field"() {
      const fields = Array.from({ length: 600 }, (_, i) => `field-${i}`);
      await send("HSET", key("hash"), ...fields.flatMap((field) => [field, "1"]));
      const { cursors, found } = await scanned((cursor) =>
        send("HSCAN", key("hash"), cursor, "COUNT", 100)
      );
      const seen = new Set(found.filter((_, i) => i % 2 === 0));
      expect(fields.every((field) => seen.has(field)), `${seen.size} of 600 fields`);
      return cursorsIn(cursors);
    },

    async "SCAN gives cursors as texts, and finds keys by their prefix"() {
      const { cursors, found, whole } = await scanned((cursor) =>
        send("SCAN", cursor, "MATCH", `${prefix}*`, "COUNT", 1000)
      );
      if (!whole) throw new Skipped(`the database is too large to look through`);
      expect(found.includes(key("hash")), `${key("hash")} is not among ${found.length} keys`);
      return cursorsIn(cursors);
    },

    async "pcall catches an error in a script, and may return it"() {
      const caught = "local r = redis.pcall('HGET', KEYS[1]) return type(r) == 'table' and r.err";
      const said = await evaluate(caught, key("pcall"));
      expect(typeof said === "string" && said.length > 0, `answered ${said}`);
      const returned = "redis.call('SET', KEYS[1], 1) return redis.pcall('HGET', KEYS[1], 'a')";
      const { message } = await refusal(() => evaluate(returned, key("pcall")));
      expect(message.includes("WRONGTYPE"), message);
      return `${said}; ${message}`;
    },

    async "error_reply in a script is an error with its text"() {
      const script = "return redis.error_reply('ERR of our own')";
      const { message } = await refusal(() => evaluate(script, key("error")));
      expect(message.includes("ERR of our own"), message);
      return message;
    },

    async "a circuit that is no circuit concerns itself alone"() {
      await send("SET", `${prefix}:scope:a:state`, "no hash");
      const { scope, message } = await refusal(() => open("scope").read("a", request()));
      expect(scope === "circuit", `scope ${scope}: ${message}`);
      await open("scope").read("b", request());
      return message;
    },

    "each kind of write leaves the TTL it should": () => ttls(open("ttl"), `${prefix}:ttl`, send),

    async "20 records at once are counted exactly, one by one and in a pipeline"() {
      const store = open("parallel");
      const record = () => store.record("a", tally({ successes: 1, failures: 1 }));
      await Promise.all(Array.from({ length: 20 }, record));
      await store.together!(() => Promise.all(Array.from({ length: 20 }, record)));
      const { totals } = await store.read("a", request());
      const { successes, failures } = totals;
      expect(successes === 40 && failures === 40, `${successes} successes, ${failures} failures`);
    },

    async "what another client has written is read at once"() {
      const [writer, reader] = [open("stale"), open("stale")];
      let plain = 0;
      for (let i = 1; i <= 20; i++) {
        await writer.record("a", tally({ failures: 1 }));
        const { totals } = await reader.read("a", request());
        expect(totals.failures === i, `${totals.failures} of ${i} records were seen`);
        await send("SET", key("stale"), i);
        if (Number(await send("GET", key("stale"))) !== i) plain++;
      }
      return `20 of 20 by a script; by a plain GET ${20 - plain} of 20`;
    },

    async "a wrong token concerns the whole store"() {
      const { scope, message } = await refusal(() => open("token", "wrong").read("a", request()));
      expect(scope === "store" && !message.includes(token), `scope ${scope}: ${message}`);
      return message;
    },

    async "a token that may only read concerns the whole store"() {
      if (readOnlyToken === undefined) {
        throw new Skipped("UPSTASH_REDIS_REST_READONLY_TOKEN is not set");
      }
      const { scope, message } = await refusal(() =>
        open("token", readOnlyToken).read("a", request())
      );
      expect(scope === "store", `scope ${scope}: ${message}`);
      return message;
    },

    "a record is in time": () => {
      const store = open("latency");
      return inTime(storeTimeoutMs, () => store.record("a", tally({ successes: 1 })));
    },
  };
  return Object.entries(checks).map(([name, run]) => ({ name: `Redis: ${name}`, run }));
}

/** Runs a scan, at most 200 pages of it. Cursors are never converted to numbers. */
async function scanned(
  page: (cursor: string) => Promise<unknown>,
): Promise<{ cursors: string[]; found: string[]; whole: boolean }> {
  const cursors: string[] = [];
  const found: string[] = [];
  for (let cursor = "0", pages = 0; pages < 200; pages++) {
    const [next, items] = await page(cursor) as [unknown, string[]];
    expect(typeof next === "string", `the cursor is a ${typeof next}`);
    found.push(...items);
    if (next === "0") return { cursors, found, whole: true };
    cursors.push(cursor = next);
  }
  return { cursors, found, whole: false };
}

function cursorsIn(cursors: readonly string[]): string {
  const huge = cursors.filter((cursor) => BigInt(cursor) > BigInt(Number.MAX_SAFE_INTEGER)).length;
  return `${cursors.length + 1} pages, ${huge} cursors beyond 2^53`;
}

/** Writes in each way, and compares the remaining time of a circuit with the page on Redis. */
async function ttls(
  store: OpeningStore,
  prefix: string,
  send: (...command: string[]) => Promise<unknown>,
): Promise<string> {
  const hour = 3_600_000;
  const found: string[] = [];
  const look = async (write: string, key: string, expected: number) => {
    const left = Number(await send("PTTL", `${prefix}:${key}:state`));
    const right = expected === -1
      ? left === -1
      : left > expected - SLACK_MS && left <= expected * RENEWED + SLACK_MS;
    expect(right, `after ${write}, ${left} ms are left, and not ${expected}`);
    for (const part of ["metrics", "failures", "successes"]) {
      const other = Number(await send("PTTL", `${prefix}:${key}:${part}`));
      expect(other === -2 || other > 0, `after ${write}, :${part} has a PTTL of ${other}`);
    }
    found.push(write);
  };
  await store.record("a", tally({ successes: 1, failures: 1 }));
  await look("record", "a", DAY_MS);
  await store.transition("a", opening(0));
  await look("transition", "a", 30 * DAY_MS);
  await store.acquire("a", trying());
  await look("acquire", "a", 30 * DAY_MS);
  await store.transition("a", closing());
  await look("reset", "a", 30 * DAY_MS);
  await store.transition("a", opening(hour));
  await look("transition with a cooldown of an hour", "a", 30 * DAY_MS + hour);
  await store.override("b", laying("forced_open", null));
  await look("override without an end", "b", -1);
  await store.override("b", laying(null, null));
  await look("release", "b", 30 * DAY_MS);
  await store.override("b", laying("disabled", Date.now() + hour));
  await look("override for an hour", "b", 30 * DAY_MS + hour);
  let record: CircuitRecord | undefined;
  // The first pages may have no circuits, while an index is built.
  for (let cursor: string | null = null, pages = 0; record === undefined && pages < 200; pages++) {
    const page = await store.list({ cursor, limit: 9, at: Date.now(), shape: () => SHAPE });
    record = page.records.find(({ key }) => key === "a");
    cursor = page.cursor;
    if (cursor === null) break;
  }
  expect(record !== undefined, "the circuit is not listed");
  const restoring = {
    ...request(),
    record,
    existing: "replace",
    reason: null,
    actor: null,
  } as const;
  await store.restore("c", restoring);
  await look("restore", "c", 30 * DAY_MS + hour);
  await store.remove("c");
  await look("remove", "c", -2);
  for (const index of ["circuits", "open"]) {
    const left = Number(await send("PTTL", `${prefix}:${index}`));
    expect(left === -1 || left > 0, `the index :${index} has a PTTL of ${left}`);
  }
  return found.join(", ");
}

/** Returns the checks that all keys are gone after the deletion. */
export async function removeFromRedis(
  setting: RedisSetting,
  keys: ReadonlySet<string>,
): Promise<string> {
  const own = [...keys].filter((key) => key.startsWith(setting.prefix));
  let deleted = 0;
  for (let i = 0; i < own.length; i += 200) {
    deleted += Number(await sendRaw(setting, "DEL", ...own.slice(i, i + 200)));
  }
  const { found, whole } = await scanned((cursor) =>
    sendRaw(setting, "SCAN", cursor, "MATCH", `${setting.prefix}*`, "COUNT", 1000)
  );
  expect(found.length === 0, `${found.length} keys that begin with ${setting.prefix} are left`);
  return `${deleted} keys deleted${whole ? ", none is left" : ""}`;
}
