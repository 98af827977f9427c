import { assert, assertEquals, assertRejects } from "@std/assert";
import { redisMissing, type RedisServer, sharedRedis, startRedis } from "./redis_server.ts";

const shared = await sharedRedis();

Deno.test("redisMissing() returns null when there is a Redis", async () => {
  assertEquals(await redisMissing(), null);
});

Deno.test("redisMissing() says what to install when there is none", async () => {
  const said = await redisMissing("");
  assert(said?.includes("apt-get install redis-server"), said ?? "null");
  assert(said?.includes("brew install redis"), said ?? "null");
});

Deno.test("command() answers as Redis does", async () => {
  assertEquals(await shared.command("SET", "text", "ä"), "OK");
  assertEquals(await shared.command("GET", "text"), "ä");
  assertEquals(await shared.command("GET", "none"), null);
  assertEquals(await shared.command("EVAL", "return {1, 'a', {2}}", "0"), [1, "a", [2]]);
});

Deno.test("command() rejects when Redis refuses", async () => {
  await assertRejects(() => shared.command("INCR"), Error, "wrong number of arguments");
});

Deno.test("commandCalls() counts the commands that a script calls", async () => {
  const before = await shared.commandCalls();
  await shared.command("EVAL", "redis.call('SET', 'n', 1); return redis.call('INCR', 'n')", "0");
  assertEquals(await shared.commandCalls() - before, 3);
});

Deno.test("commandCalls() does not count bookkeeping commands", async () => {
  const before = await shared.commandCalls();
  await shared.command("PING");
  await shared.command("CONFIG", "GET", "save");
  await shared.command("SCRIPT", "LOAD", "return 1");
  assertEquals(await shared.commandCalls(), before);
});

Deno.test("startRedis() gives each server its own port and data", async () => {
  await using one = await startRedis();
  await using two = await startRedis();
  await one.command("SET", "mine", "1");
  assertEquals(await two.command("GET", "mine"), null);
  assertEquals(new Set([one.port, two.port, shared.port]).size, 3);
});

Deno.test("startRedis() persists nothing by default", async () => {
  assertEquals(await shared.command("CONFIG", "GET", "save"), ["save", ""]);
  assertEquals(await shared.command("CONFIG", "GET", "appendonly"), ["appendonly", "no"]);
});

Deno.test("startRedis() accepts further configuration", async () => {
  await using redis = await startRedis({ config: { maxmemory: "1" } });
  await assertRejects(() => redis.command("SET", "k", "v"), Error, "OOM");
});

Deno.test("startRedis() rejects when Redis does not accept the configuration", async () => {
  await assertRejects(() => startRedis({ config: { nonsense: "1" } }), Error, "Cannot start Redis");
});

Deno.test("stop() leaves nothing behind, however often it is called", async () => {
  const redis = await startRedis();
  const folder = await folderOf(redis);
  await redis.stop();
  await redis.stop();
  await assertRejects(() => redis.command("PING"), Error, "ECONNREFUSED");
  await assertRejects(() => Deno.stat(folder), Deno.errors.NotFound);
});

Deno.test("restart() starts a killed server again, empty and on its port", async () => {
  await using redis = await startRedis();
  await redis.command("SET", "k", "v");
  const { pid, url } = redis;
  await redis.kill();
  await assertRejects(() => redis.command("PING"), Error, "ECONNREFUSED");
  await redis.restart();
  assertEquals(await redis.command("GET", "k"), null);
  assertEquals(redis.url, url);
  assert(redis.pid !== pid);
});

Deno.test("pause() holds answers back until resume()", async () => {
  await using redis = await startRedis();
  redis.pause();
  let answered = false;
  const answer = redis.command("PING").then((text) => {
    answered = true;
    return text;
  });
  // Waits for as long as several other round trips take: the paused request would have been
  // answered.
  for (let i = 0; i < 10; i++) await shared.command("PING");
  assertEquals(answered, false);
  redis.resume();
  assertEquals(await answer, "PONG");
});

Deno.test("stop() ends a paused server", async () => {
  const redis = await startRedis();
  redis.pause();
  await redis.stop();
  await assertRejects(() => redis.command("PING"), Error, "ECONNREFUSED");
});

for (const shape of ["startRedis", "sharedRedis"]) {
  Deno.test(`${shape}() leaves no process behind when its own is killed`, async () => {
    const support = new URL("./redis_server.ts", import.meta.url).href;
    const code = `const { ${shape}: start } = await import(${JSON.stringify(support)});
      const { port } = await start();
      console.log(port);
      await new Promise((never) => setTimeout(never, 1e9));`;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", code],
      cwd: new URL("../..", import.meta.url),
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    const port = Number(new TextDecoder().decode(value));
    const id = await runIdOf(port);
    assert(id !== null);
    child.kill("SIGKILL");
    await child.status;
    await reader.cancel();
    await untilGone(port, id!);
  });
}

/**
 * Resolves when this Redis no longer answers on the port; the runner ends a test that waits for
 * ever. A server that shuts down resets connections, refuses them, or drops them before they are
 * established, and another server may take the port meanwhile.
 */
async function untilGone(port: number, id: string): Promise<void> {
  let told: string | null = id;
  while (told === id) told = await runIdOf(port).catch(isRefused);

  /** Returns whether no server listens; any other error may come from a server that shuts down. */
  function isRefused(error: unknown): string | null {
    return error instanceof Deno.errors.ConnectionRefused ? null : id;
  }
}

/** Returns the run id of the Redis on a port, or `null` if another program answers. */
async function runIdOf(port: number): Promise<string | null> {
  using connection = await Deno.connect({ port });
  await connection.write(new TextEncoder().encode("INFO server\r\n"));
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of connection.readable) {
    text += decoder.decode(bytes, { stream: true });
    const id = /^run_id:(\w+)\r/m.exec(text);
    if (id) return id[1]!;
    if (!text.startsWith("$")) return null;
  }
  throw new Deno.errors.ConnectionReset("The server closed the connection");
}

async function folderOf(redis: RedisServer): Promise<string> {
  const [, folder] = await redis.command("CONFIG", "GET", "dir") as [string, string];
  return folder;
}
