// The contract suite on Redis, with the client that the store creates and with clients of users.
import { assertEquals } from "@std/assert";
import { Redis } from "@upstash/redis";
import { Redis as CloudflareRedis } from "@upstash/redis/cloudflare";
import { FakeClock, storeContract } from "@fuse/edge/testing";
import type { RedisLike, UpstashSource } from "@fuse/edge/upstash";
import { startForeignFace } from "../../support/foreign_face.ts";
import { sharedRedis } from "../../support/redis_server.ts";
import { scaled } from "../../support/scale.ts";
import { startFace } from "../../support/upstash_face.ts";
import { listed } from "./store.ts";
import { type OpeningStore, upstash } from "../../support/drivers.ts";

const redis = await sharedRedis();
const face = await startFace({ redis });
const foreign = await startForeignFace({ redis });

const at = { url: face.url, token: face.token };
const atForeign = { url: foreign.url, token: foreign.token };
// The settings that the docs ask of users' clients; all others keep their defaults.
const retry = { retries: 0 };

/** Deserialization, base64 and auto-pipelining are on: the client of a user who reads no docs. */
const defaults = new Redis({ ...at, retry });

/** The clients may change answers in different ways; they receive the same requests. */
const SOURCES: Readonly<Record<string, UpstashSource>> = {
  "default client": { redis: defaults },
  "foreign face": { redis: new Redis({ ...atForeign, retry, responseEncoding: false }) },
  "no deserialization": { redis: new Redis({ ...at, retry, automaticDeserialization: false }) },
  "no base64": { redis: new Redis({ ...at, retry, responseEncoding: false }) },
  "neither": {
    redis: new Redis({
      ...at,
      retry,
      automaticDeserialization: false,
      responseEncoding: false,
    }),
  },
  "no auto-pipelining": { redis: new Redis({ ...at, retry, enableAutoPipelining: false }) },
  "cloudflare": { redis: new CloudflareRedis({ ...at, retry }) },
  "client per unit of work": { redis: () => new CloudflareRedis({ ...at, retry }) },
};

/**
 * Cases in which a client could change answers: texts, numbers, nothing, many at once, pipelines,
 * NOSCRIPT.
 */
const SUBSET =
  /^(list\(\) (goes|hands)|restore\(\) keeps|keys that|.* at once|.* arrives twice|.* tells? again|.* callers with one)/;

contract("upstash", at, /^/);
for (const [name, source] of Object.entries(SOURCES)) {
  const whole = name === "default client" || name === "foreign face";
  contract(`upstash, ${name}`, source, whole ? /^/ : SUBSET, whole ? scaled(SUBSET, /^/) : /^/);
}

/** Registers `which` cases; all except `now` are ignored in this run. */
function contract(title: string, source: UpstashSource, which: RegExp, now = /^/): void {
  for (const { name, run } of storeContract(({ clock }) => upstash({ ...source, clock }))) {
    const ignore = !now.test(name);
    if (which.test(name)) Deno.test({ name: `storeContract(${title}) ${name}`, ignore }, run);
  }
}

/** Texts that a client may misread, cut, or decode twice. */
const TEXTS = [
  ...["0", "123", "007", "-0", "1e3", "0x10", ".5", "12345678901234567890", "NaN", "Infinity"],
  ...["null", "true", "undefined", "[1]", '{"a":1}', '"quoted"', "=", "=x", "@1", "OK", " ", "\\"],
  ...["%41", "a\nb\tc", "\u0000", "ä", "日本語", "💥", "\ufeffbom", "MTIz", "NOSCRIPT"],
  "long ".repeat(200),
];

for (const [name, source] of Object.entries({ "its own client": at, ...SOURCES })) {
  Deno.test(`upstash() returns texts unchanged (${name})`, async () => {
    const clock = new FakeClock();
    const store = upstash({ ...source, clock: clock.now, prefix: `texts of ${name}` });
    await Promise.all(TEXTS.map((text, i) => handsBack(store, clock, `circuit-${i}`, text)));
    // Also for a page, whose circuits came in one request.
    const { records } = await listed(store);
    assertEquals(
      records.map(({ snapshot: { epoch, reason, override } }) => [
        // The id is followed by the moment of birth.
        epoch.replace(/\.\d+$/, ""),
        ...[reason, override?.actor],
      ]).toSorted(),
      TEXTS.map((text) => [text, text, text]).toSorted(),
    );
  });
}

const SHAPE = { windowMs: 10_000, windowSize: 10 };

async function handsBack(
  store: OpeningStore,
  clock: FakeClock,
  key: string,
  text: string,
): Promise<void> {
  const request = (id: string) => ({ id, at: clock.now(), shape: SHAPE });
  const tally = {
    ...{
      epoch: "",
      generation: 0,
      began: 0,
      successes: 1,
      failures: 0,
      rejected: 0,
      slow: 0,
      ageMs: 0,
    },
    ...{ lease: text, policyHash: text },
  };
  const first = await store.record(key, { ...request(text), ...tally });
  const born = `${text}.${clock.now()}`;
  assertEquals([first.current, first.snapshot.epoch, first.snapshot.policyHash], [true, born, ""]);
  const again = await store.record(key, { ...request(text), ...tally });
  assertEquals([again.snapshot.totals.successes, again.snapshot.policyHash], [1, text]);
  const opened = await store.transition(key, {
    ...request("trip"),
    ...{ to: "OPEN", event: "opened", cooldownMs: 0, reason: text, actor: text },
    expected: { epoch: born, generation: 1, began: clock.now() },
  });
  assertEquals([opened.won, opened.snapshot.reason], [true, text]);
  const lease = { token: text, max: 1, leaseMs: 1_000 };
  const trial = await store.acquire(key, { ...request("try"), ...lease });
  assertEquals([trial.granted, trial.snapshot.halfOpen.inFlight], [true, 1]);
  const same = await store.acquire(key, { ...request("again"), ...lease });
  const other = await store.acquire(key, { ...request("other"), ...lease, token: `${text}.` });
  assertEquals([same.granted, other.granted], [true, false]);
  await store.transition(key, {
    ...request("reset"),
    ...{ to: "CLOSED", event: "reset", cooldownMs: 0, reason: text, actor: null, expected: null },
  });
  for (const [i, words] of [text, "", null].entries()) {
    const forced = await store.override(key, {
      ...request(`force ${i}`),
      ...{ kind: "forced_open", until: null, reason: words, actor: words },
    });
    const { reason, actor } = forced.snapshot.override!;
    assertEquals([reason, actor], [words, words]);
  }
  await store.override(key, {
    ...request("last"),
    ...{ kind: "disabled", until: null, reason: text, actor: text },
  });
  const { epoch, reason, override } = await store.read(key, request(""));
  assertEquals([epoch, reason], [born, text]);
  assertEquals(override, { kind: "disabled", until: null, reason: text, actor: text });
}

Deno.test("upstash() asks for a client once for each unit of work, and not before", async () => {
  let asked = 0;
  const store = upstash({
    redis(): RedisLike {
      asked++;
      return defaults;
    },
  });
  assertEquals(asked, 0);
  const read = () => store.read("a", { at: 0, shape: SHAPE });
  await read();
  await read();
  assertEquals(asked, 2);
  // A request is a unit of work, whatever it consists of.
  await store.together!(() => Promise.all([read(), read(), read()]));
  assertEquals(asked, 3);
});
