import { assert, assertEquals, assertRejects } from "@std/assert";
import { Redis, type RedisConfigNodejs } from "@upstash/redis";
import { startForeignFace } from "../../support/foreign_face.ts";
import { sharedRedis, startRedis } from "../../support/redis_server.ts";
import { type Face, type Fault, startFace } from "../../support/upstash_face.ts";

const redis = await sharedRedis();
const shared = await startFace({ redis });

/** A client that sends each request once: `retry: false` would send it twice. */
function clientOf(face: { url: string; token: string }, options?: Partial<RedisConfigNodejs>) {
  return new Redis({
    url: face.url,
    token: face.token,
    enableAutoPipelining: false,
    retry: { retries: 0 },
    ...options,
  });
}

/** A request as any HTTP client would make it. */
async function ask(
  path: string,
  { method = "POST", body, headers = { authorization: `Bearer ${shared.token}` } }: {
    method?: string;
    body?: BodyInit;
    headers?: Record<string, string>;
  } = {},
): Promise<[status: number, body: unknown]> {
  const answer = await fetch(shared.url + path, { method, headers, body: body ?? null });
  const text = await answer.text();
  return [answer.status, text === "" ? null : JSON.parse(text)];
}

for (const responseEncoding of ["base64", false] as const) {
  for (const automaticDeserialization of [true, false]) {
    const how = `${responseEncoding || "plain"}, ${automaticDeserialization ? "" : "not "}parsed`;
    const client = clientOf(shared, { responseEncoding, automaticDeserialization });

    Deno.test(`Face serves strings and hashes to the client (${how})`, async () => {
      assertEquals(await client.set("text", "=ä OK"), "OK");
      assertEquals(await client.get("text"), "=ä OK");
      assertEquals(await client.get("none"), null);
      assertEquals(await client.set("ok", "OK") && await client.get("ok"), "OK");
      await client.del("hash");
      assertEquals(await client.hset("hash", { a: 1, b: "=x" }), 2);
      assertEquals(await client.hget("hash", "a"), automaticDeserialization ? 1 : "1");
      assertEquals(await client.ping(), "PONG");
    });

    Deno.test(`Face serves the nested arrays that a script returns (${how})`, async () => {
      const script = "return {1, 'OK', {2, 'b', {'OK', false, '=c'}}, redis.status_reply('OK')}";
      assertEquals(await client.eval(script, [], []), [
        1,
        "OK",
        [2, "b", ["OK", null, "=c"]],
        "OK",
      ]);
    });

    Deno.test(`Face serves pipelines, and keeps their errors when asked to (${how})`, async () => {
      await client.set("word", "w");
      const answers = await client.pipeline().incr("word").get("word").exec({ keepErrors: true });
      assertEquals(answers.map(({ error }) => error), [
        "ERR value is not an integer or out of range",
        undefined,
      ]);
      assertEquals(answers[1].result, "w");
    });

    Deno.test(`Face serves transactions (${how})`, async () => {
      const answers = await client.multi().set("n", 1).incr("n").exec();
      assertEquals(answers, ["OK", 2]);
    });

    Deno.test(`Face serves SCAN to the client (${how})`, async () => {
      await client.set("scan:1", "x");
      assertEquals(await client.scan("0", { match: "scan:*", count: 10_000 }), ["0", ["scan:1"]]);
    });
  }
}

Deno.test("Face answers NOSCRIPT when a script is unknown", async () => {
  const hash = "0".repeat(40);
  await assertRejects(() => clientOf(shared).evalsha(hash, [], []), Error, "NOSCRIPT");
  const [{ error }] = await clientOf(shared).pipeline().evalsha(hash, [], [])
    .exec<[unknown]>({ keepErrors: true });
  assert(error?.startsWith("NOSCRIPT"), error);
});

Deno.test("Face runs a script by its hash when the script is loaded", async () => {
  const client = clientOf(shared);
  const hash = await client.scriptLoad("return ARGV[1] .. KEYS[1]");
  assertEquals(await client.evalsha(hash, ["k"], ["a"]), "ak");
});

Deno.test("Face runs a script that locks its keys, and refuses other keys to it", async () => {
  const client = clientOf(shared);
  const script = "#!lua flags=allow-key-locking\nreturn redis.call('SET', ARGV[1], 1)";
  const digest = await crypto.subtle.digest("SHA-1", new TextEncoder().encode(script));
  const hash = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0"))
    .join("");
  assertEquals(await client.eval(script, ["k"], ["k"]), "OK");
  assertEquals(await client.evalsha(hash, ["k"], ["k"]), "OK");
  await assertRejects(() => client.eval(script, ["k"], ["other"]), Error, "does not declare");
  await assertRejects(() => client.evalsha(hash, [], ["k"]), Error, "does not declare");
});

Deno.test("Face refuses to lock keys as Redis 7 does when configured to", async () => {
  await using face = await startFace({ redis, manners: { keyLocking: "refused" } });
  await assertRejects(
    () => clientOf(face).eval("#!lua flags=allow-key-locking\nreturn 1", [], []),
    Error,
    "ERR Unexpected flag in script shebang: allow-key-locking",
  );
});

for (const path of ["/", "/pipeline", "/multi-exec", "/get/k"]) {
  Deno.test(`Face refuses ${path} when the token is wrong`, async () => {
    const body = path === "/" ? '["PING"]' : '[["PING"]]';
    for (const headers of [{}, { authorization: "Bearer other" }] as Record<string, string>[]) {
      assertEquals(await ask(path, { headers, body }), [401, {
        error: "WRONGPASS invalid or missing auth token",
      }]);
    }
    const [status] = await ask(`${path}?_token=other`, { headers: {}, body });
    assertEquals(status, 401);
  });

  Deno.test(`Face takes the token from the query of ${path} when there is no header`, async () => {
    const body = path === "/" ? '["PING"]' : path === "/get/k" ? "" : '[["PING"]]';
    assertEquals((await ask(`${path}?_token=${shared.token}`, { headers: {}, body }))[0], 200);
  });
}

Deno.test("Face takes a command from the path when the body has none", async () => {
  assertEquals(await ask("/SET/path%2F1/b%C3%A4r/EX/100", { method: "GET" }), [200, {
    result: "OK",
  }]);
  assertEquals(await redis.command("GET", "path/1"), "bär");
  assertEquals(await ask("/set/path2?EX=100", { body: "a/b" }), [200, { result: "OK" }]);
  assertEquals(await redis.command("GET", "path2"), "a/b");
  assertEquals(await redis.command("TTL", "path2"), 100);
  assertEquals(await ask("/get/path2", { method: "PUT" }), [200, { result: "a/b" }]);
});

Deno.test("Face encodes everything but the status OK when base64 is requested", async () => {
  const bytes = new Uint8Array([0xff, 0x00, 0xfe]);
  await ask("/set/bytes", { body: bytes });
  const headers = { authorization: `Bearer ${shared.token}`, "upstash-encoding": "base64" };
  assertEquals(await ask("/get/bytes", { headers }), [200, { result: "/wD+" }]);
  assertEquals(await ask("/get/bytes"), [200, { result: "\ufffd\0\ufffd" }]);
  assertEquals(await ask("/set/bytes/OK", { headers }), [200, { result: "OK" }]);
  assertEquals(await ask("/get/bytes", { headers }), [200, { result: btoa("OK") }]);
});

Deno.test("Face converts arguments to strings when they are numbers or booleans", async () => {
  assertEquals(await ask("/", { body: '["RPUSH", "args", 1, 2.5, true, "x"]' }), [200, {
    result: 4,
  }]);
  assertEquals(await redis.command("LRANGE", "args", "0", "-1"), ["1", "2.5", "true", "x"]);
});

for (
  const [what, path, body] of [
    ["a body is no JSON", "/", "nonsense"],
    ["a body is no array", "/", '{"command": "PING"}'],
    ["a command is empty", "/", "[]"],
    ["an argument is null", "/", '["SET", "k", null]'],
    ["a pipeline is one command", "/pipeline", '["PING"]'],
    ["a transaction is one command", "/multi-exec", '["PING"]'],
    ["Redis refuses", "/", '["INCR"]'],
    ["there is no such command", "/nonsense", ""],
    ["a command needs a connection", "/", '["SUBSCRIBE", "c"]'],
  ] as const
) {
  Deno.test(`Face answers 400 with an error when ${what}`, async () => {
    const [status, answer] = await ask(path, { body });
    assertEquals([status, Object.keys(answer as object)], [400, ["error"]]);
  });
}

Deno.test("Face answers 405 when the API has no such method", async () => {
  assertEquals((await ask("/", { method: "DELETE" }))[0], 405);
});

Deno.test("Face runs no part of a transaction when it refuses one", async () => {
  await redis.command("SET", "whole", "before");
  const body = '[["SET", "whole", "after"], ["INCR"]]';
  const [status] = await ask("/multi-exec", { body });
  assertEquals([status, await redis.command("GET", "whole")], [400, "before"]);
});

Deno.test("Face runs the rest of a transaction when a part fails at run time", async () => {
  const [status, answer] = await ask("/multi-exec", {
    body: '[["SET", "part", "w"], ["INCR", "part"], ["APPEND", "part", "x"]]',
  });
  assertEquals(status, 200);
  assertEquals(answer, [
    { result: "OK" },
    { error: "ERR value is not an integer or out of range" },
    { result: 2 },
  ]);
});

Deno.test("Face counts requests by their form", async () => {
  await using face = await startFace({ redis });
  const client = clientOf(face);
  await client.ping();
  await client.pipeline().ping().get("k").exec();
  await client.multi().ping().exec();
  await (await fetch(`${face.url}/ping?_token=${face.token}`)).body?.cancel();
  assertEquals(face.requests, 4);
  assertEquals(face.routes, { command: 1, pipeline: 1, "multi-exec": 1, path: 1 });
  assertEquals(face.log[1]?.commands, [["ping"], ["get", "k"]]);
  face.reset();
  assertEquals([face.requests, face.routes.path, face.log.length], [0, 0, 0]);
});

Deno.test("Face returns a later sync token with each answer", async () => {
  const tokenOf = async () => {
    const answer = await fetch(`${shared.url}/ping?_token=${shared.token}`);
    await answer.body?.cancel();
    return Number(answer.headers.get("upstash-sync-token"));
  };
  assert(await tokenOf() < await tokenOf());
});

/** The client's view of each fault, and whether its command was run. */
const FAULTS: [fault: Fault, name: string, message: RegExp, done: boolean][] = [
  ["refuse", "TypeError", /^fetch failed$/, false],
  ["lose", "TypeError", /^fetch failed$/, true],
  [401, "UpstashError", /^Unauthorized, command was: \["incr","n"\]$/, false],
  [429, "UpstashError", /^ERR max daily request limit exceeded\..*command was: /, false],
  [500, "UpstashError", /^ERR internal error, command was: /, false],
  [502, "UpstashJSONParseError", /^Unable to parse response body: <html>/, false],
  ["garbage", "UpstashJSONParseError", /^Unable to parse response body: <nothing/, true],
  ["truncated", "UpstashJSONParseError", /^Unable to parse response body: \{"res/, true],
];

for (const [fault, name, message, done] of FAULTS) {
  Deno.test(`Face causes a ${name} when its fault is ${fault}`, async () => {
    await using face = await startFace({ redis, fault: () => fault });
    await redis.command("SET", "n", "0");
    const error = await assertRejects(() => clientOf(face).incr("n")) as Error;
    assertEquals(error.name, name);
    assert(message.test(error.message), error.message);
    assertEquals(await redis.command("GET", "n"), done ? "1" : "0");
    assertEquals(face.requests, 1);
  });
}

for (const responseEncoding of ["base64", false] as const) {
  Deno.test(`Face answers nonsense when its fault is wrong_shape (${responseEncoding || "plain"})`, async () => {
    await using face = await startFace({ redis, fault: () => "wrong_shape" });
    await redis.command("SET", "n", "0");
    assertEquals(await clientOf(face, { responseEncoding }).incr("n") as unknown, "nonsense");
    assertEquals(await redis.command("GET", "n"), "1");
  });
}

for (const [fault, done] of [["hang", "0"], ["hang_after", "1"]] as const) {
  Deno.test(`Face answers only when it stops, if its fault is ${fault}`, async () => {
    const face = await startFace({ redis, fault: () => fault });
    await redis.command("SET", "n", "0");
    let answered = false;
    const answer = clientOf(face).incr("n").finally(() => answered = true);
    const rejected = assertRejects(() => answer, TypeError, "fetch failed");
    await untilRequested(face, 1);
    if (done === "1") { while (await redis.command("GET", "n") !== "1"); }
    for (let i = 0; i < 10; i++) await redis.command("PING");
    assertEquals([answered, await redis.command("GET", "n")], [false, done]);
    await face.stop();
    await rejected;
  });
}

Deno.test("Face decides for each request when its fault is a function", async () => {
  await using face = await startFace({ redis });
  face.fault = ({ commands, route }) =>
    commands[0]?.[0] === "get" ? 500 : route === "pipeline" ? 429 : undefined;
  const client = clientOf(face);
  assertEquals(await client.set("k", "v"), "OK");
  await assertRejects(() => client.get("k"), Error, "internal error");
  await assertRejects(() => client.pipeline().ping().exec(), Error, "max daily request limit");
  face.fault = undefined;
  assertEquals(await client.get("k"), "v");
});

Deno.test("Face does nothing before its delay is over", async () => {
  const face = await startFace({ redis, delayMs: 60_000 });
  await redis.command("SET", "n", "0");
  const rejected = assertRejects(() => clientOf(face).incr("n"), TypeError);
  await untilRequested(face, 1);
  face.delayMs = ({ commands }) => commands[0]?.[0] === "get" ? 1 : 0;
  assertEquals(await clientOf(face).get("n"), 0);
  await face.stop();
  await rejected;
});

Deno.test("Face is unreachable when it has stopped listening", async () => {
  await using face = await startFace({ redis });
  await clientOf(face).ping();
  await face.stopListening();
  await assertRejects(() => clientOf(face).ping(), TypeError, "fetch failed");
  assertEquals(face.requests, 1);
});

Deno.test("Face answers 500 when its Redis is gone, and works again when Redis is back", async () => {
  await using own = await startRedis();
  await using face = await startFace({ redis: own });
  await own.kill();
  await assertRejects(() => clientOf(face).ping(), Error, "ERR internal error");
  await own.restart();
  assertEquals(await clientOf(face).ping(), "PONG");
});

Deno.test("Face runs other requests between the commands of a pipeline", async () => {
  const client = clientOf(shared);
  await client.set("between", 0);
  const long = client.pipeline();
  for (let i = 0; i < 1_000; i++) long.incr("between");
  let running = true;
  const answers = long.exec<number[]>().finally(() => running = false);
  while (running) await client.incr("between");
  const steps = (await answers).map((n, i, all) => n - (all[i - 1] ?? n - 1));
  assert(steps.some((step) => step > 1), "the pipeline ran as if it were a transaction");
});

for (const start of [startFace, startForeignFace]) {
  Deno.test(`${start.name}() leaves no connection to Redis after it has stopped`, async () => {
    await using own = await startRedis();
    const connections = async () =>
      `${await own.command("CLIENT", "LIST")}`.trim().split("\n").length;
    const face = await start({ redis: own });
    assertEquals(await connections(), 2);
    await face.stop();
    assertEquals(await connections(), 1);
  });
}

Deno.test("ForeignFace serves the client when base64 is off", async () => {
  await using face = await startForeignFace({ redis });
  const client = clientOf(face, { responseEncoding: false });
  assertEquals(await client.set("foreign", "f"), "OK");
  assertEquals(await client.get("foreign"), "f");
  assertEquals(await client.pipeline().get("foreign").exec(), ["f"]);
  await assertRejects(() => client.evalsha("0".repeat(40), [], []), Error, "NOSCRIPT");
});

Deno.test("Face answers a wrong token in the older format when configured to", async () => {
  await using face = await startFace({ redis, manners: { wrongToken: "Unauthorized" } });
  const other = clientOf({ url: face.url, token: "other" });
  await assertRejects(() => other.ping(), Error, "Unauthorized, command was");
  delete face.manners.wrongToken;
  await assertRejects(() => other.ping(), Error, "WRONGPASS invalid or missing auth token");
});

Deno.test("Face lets a read-only token read, and nothing else", async () => {
  await using face = await startFace({ redis, manners: { readOnlyToken: "reader" } });
  await clientOf(face).set("readable", "r");
  const reader = clientOf({ url: face.url, token: "reader" });
  assertEquals(await reader.get("readable"), "r");
  for (
    const [name, ask] of Object.entries({
      evalsha: () => reader.evalsha("0".repeat(40), [], []),
      eval: () => reader.eval("return 1", [], []),
      set: () => reader.set("readable", "w"),
      scan: () => reader.scan("0"),
    })
  ) await assertRejects(ask, Error, `NOPERM this user has no permissions to run the '${name}'`);
  const answers = await reader.pipeline().get("readable").set("readable", "w")
    .exec({ keepErrors: true });
  assertEquals(answers.map(({ result }) => result), ["r", undefined]);
  assert(answers[1].error?.startsWith("NOPERM"));
  await assertRejects(() => reader.multi().set("readable", "w").exec(), Error, "NOPERM");
});

Deno.test("Face refuses requests beyond the plan's limit, with 400", async () => {
  await using face = await startFace({ redis, manners: { requestsLeft: 1 } });
  assertEquals(await clientOf(face).ping(), "PONG");
  const quota = "ERR max requests limit exceeded. Limit: 500000";
  await assertRejects(() => clientOf(face).ping(), Error, quota);
  await assertRejects(() => clientOf(face).pipeline().ping().exec(), Error, quota);
  const answer = await fetch(`${face.url}/ping?_token=${face.token}`);
  assertEquals(answer.status, 400);
  await answer.body?.cancel();
});

Deno.test("Face refuses writes beyond the database's capacity, and continues to read", async () => {
  await using own = await startRedis();
  await using face = await startFace({ redis: own, manners: { capacityQuota: true } });
  const client = clientOf(face);
  await client.set("kept", "k");
  await own.command("CONFIG", "SET", "maxmemory", "1");
  await assertRejects(() => client.set("more", "m"), Error, "ERR DB capacity quota exceeded");
  const script = "return redis.call('SET', KEYS[1], 1)";
  await assertRejects(() => client.eval(script, ["more"], []), Error, "ERR DB capacity quota");
  assertEquals(await client.get("kept"), "k");
});

Deno.test("Face refuses a request that is too long, and no other", async () => {
  await using face = await startFace({ redis, manners: { maxRequestBytes: 100 } });
  const client = clientOf(face);
  assertEquals(await client.set("short", "s"), "OK");
  const long = () => client.set("long", "l".repeat(100));
  await assertRejects(long, Error, "ERR max request size exceeded. Limit: 100 bytes");
});

Deno.test("Face returns SCAN cursors beyond 2^53, which lead through all keys", async () => {
  await using own = await startRedis();
  await using face = await startFace({ redis: own, manners: { hugeCursors: true } });
  const client = clientOf(face);
  for (let i = 0; i < 100; i++) await own.command("SET", `huge:${i}`, "h");
  const keys = new Set<string>();
  let pages = 0;
  for (let cursor = "0"; pages === 0 || cursor !== "0"; pages++) {
    const [next, found] = await client.scan(cursor, { count: 10 });
    assert(next === "0" || BigInt(next) > Number.MAX_SAFE_INTEGER, next);
    for (const key of found) keys.add(key);
    cursor = next;
  }
  assert(pages > 2);
  assertEquals(keys.size, 100);
});

Deno.test("Face puts words before NOSCRIPT when configured to", async () => {
  await using face = await startFace({ redis, manners: { beforeNoscript: "ERR upstream: " } });
  const hash = "0".repeat(40);
  await assertRejects(() => clientOf(face).evalsha(hash, [], []), Error, "ERR upstream: NOSCRIPT");
  const [{ error }] = await clientOf(face).pipeline().evalsha(hash, [], [])
    .exec<[unknown]>({ keepErrors: true });
  assert(error?.startsWith("ERR upstream: NOSCRIPT"), error);
});

async function untilRequested(face: Face, requests: number): Promise<void> {
  while (face.requests < requests) await redis.command("PING");
}
