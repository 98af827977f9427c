// Runs `deno task live` against our own Redis and database, so that it stays correct.
import { createClient } from "@libsql/client/web";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { deno, type Finished, root } from "../tools/gate/project.ts";
import { startRedis } from "../support/redis_server.ts";
import { IN_FULL } from "../support/scale.ts";
import { Sqld } from "../support/sqld.ts";
import { startFace } from "../support/upstash_face.ts";

const NAMES = [
  ...["UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN", "UPSTASH_REDIS_REST_READONLY_TOKEN"],
  ...["TURSO_DATABASE_URL", "TURSO_AUTH_TOKEN"],
] as const;

/** Runs the task with these variables alone. The long timeout allows for a busy machine. */
function live(variables: Partial<Record<typeof NAMES[number], string>>): Promise<Finished> {
  const env = Object.fromEntries(NAMES.map((name) => [name, variables[name] ?? ""]));
  return deno(["task", "--quiet", "live", "--store-timeout-ms=60000"], { env });
}

Deno.test({
  ...IN_FULL,
  name: "deno task live passes on our face and sqld, prints its cost and leaves nothing behind",
  async fn() {
    const [token, readOnlyToken] = [crypto.randomUUID(), crypto.randomUUID()];
    await using redis = await startRedis();
    const manners = { readOnlyToken, hugeCursors: true, beforeNoscript: "ERR " };
    await using face = await startFace({ redis, token, manners });
    const sqld = await Sqld.start();
    const client = createClient({ url: sqld.url });
    try {
      const variables = {
        ...{ UPSTASH_REDIS_REST_URL: face.url, UPSTASH_REDIS_REST_TOKEN: token },
        ...{ UPSTASH_REDIS_REST_READONLY_TOKEN: readOnlyToken },
        ...{ TURSO_DATABASE_URL: sqld.url, TURSO_AUTH_TOKEN: "any" },
      };
      const { ok, stdout, stderr } = await live(variables);
      assert(ok, stdout + stderr);
      const [, passed] = /^(\d+) passed, 0 failed$/.exec(stdout.trimEnd().split("\n").at(-1)!)!;
      assert(Number(passed) > 250, stdout);
      assertMatch(stdout, /^Redis: \d+ requests with \d+ commands, \d+ of them scripts/m);
      assertMatch(stdout, /^Turso: \d+ requests with \d+ statements$/m);
      for (const secret of [face.url, token, readOnlyToken, sqld.url]) {
        assert(!stdout.includes(secret), stdout);
      }

      const [, estimate, counted] = /about (\d+) commands .* has counted (\d+)/.exec(stdout)!;
      assert(Math.abs(Number(estimate) / Number(counted) - 1) < 0.2, stdout);

      assertEquals(await redis.command("KEYS", "*"), []);
      const { rows } = await client.execute(
        "select name from sqlite_master where name like 'fuse%'",
      );
      assertEquals(rows.length, 0);
    } finally {
      client.close();
      await sqld.stop();
    }
  },
});

Deno.test({
  ...IN_FULL,
  name: "deno task live counts failures, and shows no address",
  async fn() {
    await using redis = await startRedis();
    await using face = await startFace({ redis, manners: { requestsLeft: 200 } });
    const { ok, stdout } = await live({
      ...{ UPSTASH_REDIS_REST_URL: face.url, UPSTASH_REDIS_REST_TOKEN: face.token },
    });
    assert(!ok);
    assertMatch(stdout, /^Not set: TURSO_DATABASE_URL, TURSO_AUTH_TOKEN$/m);
    assertMatch(stdout, /^FAILED .*ERR max requests limit exceeded/m);
    assertMatch(stdout, /\n\d+ passed, [1-9]\d* failed\n$/);
    assert(!stdout.includes(new URL(face.url).host), stdout);
  },
});

Deno.test("deno task live removes its data when it is interrupted", async () => {
  await using redis = await startRedis();
  await using face = await startFace({ redis });
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL("tests/live/main.ts", root).pathname],
    env: {
      ...Object.fromEntries(NAMES.map((name) => [name, ""])),
      ...{ UPSTASH_REDIS_REST_URL: face.url, UPSTASH_REDIS_REST_TOKEN: face.token },
      NO_COLOR: "1",
    },
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let requests = 0;
  face.fault = () => {
    if (++requests === 20) child.kill("SIGINT");
    return undefined;
  };
  const { success, stdout } = await child.output();
  const printed = new TextDecoder().decode(stdout);
  assert(!success);
  assertMatch(printed, /^ok +Redis: all is removed: .*\n(.*\n)*Stopped before the end\n/m);
  assertMatch(printed, /\n\d+ passed, 0 failed\n$/);
  assertEquals(await redis.command("KEYS", "*"), []);
});

Deno.test("deno task live names the variables that are missing", async () => {
  const none = await live({});
  assert(!none.ok);
  const required = NAMES.filter((name) => !name.includes("READONLY")).join(", ");
  assertMatch(none.stdout, new RegExp(`^Not set: ${required}$`, "m"));
  assert(none.stdout.endsWith("\n0 passed, 0 failed\n"), none.stdout);

  const wrong = await live({ TURSO_DATABASE_URL: "secret", TURSO_AUTH_TOKEN: "any" });
  assertMatch(wrong.stdout, /^No address: TURSO_DATABASE_URL\n0 passed, 0 failed\n$/m);
  assert(!wrong.ok && !(wrong.stdout + wrong.stderr).includes("secret"));

  const half = await live({ TURSO_DATABASE_URL: "http://127.0.0.1:1" });
  assert(!half.ok);
  assert(half.stdout.endsWith("\n0 passed, 0 failed\n"), half.stdout);
});
