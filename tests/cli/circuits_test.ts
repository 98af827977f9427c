import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createFuse, type Fuse } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { upstash } from "@fuse/edge/upstash";
import { fileForFile } from "../support/databases.ts";
import { sharedRedis } from "../support/redis_server.ts";
import { startFace } from "../support/upstash_face.ts";
import { cli, type Environment, json } from "./process.ts";

const redis = await sharedRedis();
const TOKEN = "AXsecretTokenOfRedis";
const database = await fileForFile();

/** Runs `body` with both stores, each with a Fuse beside the command line. */
async function withStores(
  name: "cache" | "database",
  body: (env: Environment, fuse: Fuse) => Promise<void>,
): Promise<void> {
  await using face = await startFace({ redis, token: TOKEN });
  const prefix = `cli-${crypto.randomUUID()}`;
  const client = database.connect();
  const stores = {
    cache: () => upstash({ url: face.url, token: TOKEN, prefix }),
    database: () => libsql({ client }),
  };
  const envs = {
    cache: {
      UPSTASH_REDIS_REST_URL: face.url,
      UPSTASH_REDIS_REST_TOKEN: TOKEN,
      FUSE_CACHE_PREFIX: prefix,
    },
    database: { TURSO_DATABASE_URL: database.url },
  };
  await using fuse = createFuse({
    stores: { [name]: stores[name]() },
    defaults: { failureThreshold: 1, consistency: "strong" },
  });
  try {
    await body(envs[name], fuse);
  } finally {
    client.close();
  }
}

function fail(fuse: Fuse, name: string): Promise<unknown> {
  return fuse.make(name).tryCall(() => Promise.reject(new TypeError("down")));
}

for (const store of ["cache", "database"] as const) {
  Deno.test(`runCli() reads circuits in the ${store} and acts on them`, async (t) => {
    await withStores(store, async (env, fuse) => {
      const name = `payments-${store}`;
      await fuse.make(`calm-${store}`).call(() => 1);
      await fail(fuse, name);
      await fuse.flush();

      await t.step("status lists open circuits first", async () => {
        const circuits = await json<{ name: string; state: string }[]>(env, "status");
        assertEquals(circuits[0]!.name, name);
        assertEquals(circuits.map(({ state }) => state), ["OPEN", "CLOSED"]);
        const { code, stdout } = await cli(env, "status", "--fail");
        assertEquals(code, 2);
        assertMatch(stdout, /^STATE +CIRCUIT +STORE.*\nOPEN +"payments-.*\nCLOSED +"calm-/);
        assertStringIncludes(stdout, "TypeError");
        assertStringIncludes(stdout, "2 circuits, 1 open, 0 overridden");
        const closed = await cli(env, "status", "--state", "closed", "--fail");
        assertEquals(closed.code, 0);
        assert(!closed.stdout.includes(name));
      });

      await t.step("show explains a circuit", async () => {
        const shown = await json<{ circuit: { state: string }; explanation: string }>(
          ...[env, "show", name] as const,
        );
        assertEquals(shown.circuit.state, "OPEN");
        assertStringIncludes(shown.explanation, `Circuit "${name}" is OPEN`);
        const { stdout } = await cli(env, "show", name);
        assertMatch(stdout, /^Circuit .* is OPEN.*\ncircuit +"payments/);
      });

      await t.step("other isolates see an action with its reason, actor and end", async () => {
        // An empty actor, as from a variable that is not set.
        await cli(env, "metrics-only", name, "--reason", "drill", "--actor", "");
        assert((await fuse.make(name).snapshot()).override?.actor);
        const said = await cli(
          ...[env, "force-close", name, "--reason", "known bug", "--actor", "grace"] as const,
          ...["--for", "10m"],
        );
        assertEquals(said.code, 0, said.stderr);
        assertMatch(said.stdout, /is forced_closed until .* by grace: known bug/);
        const { override } = await fuse.make(name).snapshot();
        assertEquals([override?.kind, override?.actor], ["forced_closed", "grace"]);
        const left = override!.until!.getTime() - Date.now();
        assert(left > 0 && left <= 600_000);
      });

      await t.step("release, reset and remove undo an action", async () => {
        assertEquals((await cli(env, "release", name, "--reason", "fixed")).code, 0);
        assertEquals((await fuse.make(name).snapshot()).override, null);
        assertEquals((await cli(env, "reset", name, "--reason", "fixed")).code, 0);
        assertEquals(await fuse.make(name).getState(), "CLOSED");
        const removed = await json<{ circuit: unknown }>(
          ...[env, "remove", name, "--reason", "gone"] as const,
        );
        assertEquals(removed.circuit, null);
        assertEquals((await cli(env, "show", name)).code, 1);
      });

      await t.step(
        "a circuit of a scope is separate from the unscoped circuit of that name",
        async () => {
          const scoped = ["--context", "tenant:42", "--boundary", "region:eu"];
          const { circuit } = await json<{ circuit: { context: string; boundary: string } }>(
            ...[env, "open", name, "--reason", "abuse", "--create", ...scoped] as const,
          );
          assertEquals([circuit.context, circuit.boundary], ["tenant:42", "region:eu"]);
          const wrong = await cli(env, "show", name);
          assertEquals(wrong.code, 1);
          assertStringIncludes(wrong.stderr, "for tenant:42 in region:eu");
        },
      );

      await t.step("an unknown circuit is refused, and a similar name is suggested", async () => {
        const { code, stdout, stderr } = await cli(
          ...[env, "open", `clam-${store}`, "--reason", "r"] as const,
        );
        assertEquals([code, stdout], [1, ""]);
        assertStringIncludes(stderr, `did you mean "calm-${store}"?`);
      });
    });
  });
}

Deno.test("status and show print names in full, and escape control characters in scopes", () =>
  withStores("database", async (env, fuse) => {
    const name = `https://api.example.com/${"v1/".repeat(30)}`;
    const id = "\u009b2J\u202e\u2028";
    await fuse.for({ type: "tenant", id }).make(name).forceOpen({ reason: "drill" });
    for (const args of [["status"], ["show", name, "--context", `tenant:${id}`]]) {
      const { code, stdout, stderr } = await cli(env, ...args);
      assertEquals(code, 0, stderr);
      assertStringIncludes(stdout, `"${name}" for tenant:\\u009b2J\\u202e\\u2028`);
      assert(!/[\u0080-\u009f\u202e\u2028]/.test(stdout));
    }
  }));

Deno.test("scopes are printed as --context and --boundary read them", () =>
  withStores("database", async (env, fuse) => {
    const context = { type: "tenant", id: "eu/7:50%" };
    const boundary = { type: "region", id: "a:b" };
    await fuse.for(context).boundary(boundary).make("scoped-shop").forceOpen({ reason: "drill" });
    const title = `"scoped-shop" for tenant:eu/7:50% in region:a:b`;
    const unknown = await cli(env, "show", "scoped-shop");
    assertStringIncludes(unknown.stderr, `did you mean ${title}?`);
    const scopes = ["--context", "tenant:eu/7:50%", "--boundary", "region:a:b"];
    for (const args of [["status"], ["show", "scoped-shop", ...scopes], ["history"]]) {
      const { code, stdout, stderr } = await cli(env, ...args);
      assertEquals(code, 0, stderr);
      assertStringIncludes(stdout, title);
    }
  }));

Deno.test("exchanged letters in the name of a circuit are a slip", () =>
  withStores("database", async (env, fuse) => {
    await fuse.make("shop").forceOpen({ reason: "drill" });
    const { stderr } = await cli(env, "show", "shpo");
    assertStringIncludes(stderr, `did you mean "shop"?`);
  }));

Deno.test("a store that does not answer can be left out with --store", async () => {
  const env = {
    UPSTASH_REDIS_REST_URL: "http://127.0.0.1:1",
    UPSTASH_REDIS_REST_TOKEN: TOKEN,
    TURSO_DATABASE_URL: database.url,
  };
  const order = ["open", "beside-a-store-that-is-down", "--reason", "down", "--create"];
  const refused = await cli(env, ...order);
  assertEquals(refused.code, 1);
  assertMatch(refused.stderr, /error: Say with --store .*Store "cache" does not answer/);
  const { code, stdout, stderr } = await cli(env, ...order, "--store", "database");
  assertEquals(code, 0, stderr);
  assertMatch(stdout, /is forced_open/);
});

Deno.test("an action succeeds when the trail does not answer", () =>
  withStores("cache", async (cache) => {
    const env = {
      ...cache,
      FUSE_STORE: "tiered",
      TURSO_DATABASE_URL: "http://127.0.0.1:1",
      TURSO_AUTH_TOKEN: "AXtokenOfTheDatabase",
    };
    const opened = await cli(env, "open", "payments", "--reason", "down", "--create");
    assertEquals(opened.code, 0, opened.stderr);
    assertMatch(opened.stdout, /is forced_open/);
    const released = await cli(env, "release", "payments", "--reason", "back");
    assertEquals(released.code, 0, released.stderr);
    const { code, stdout, stderr } = await cli(env, "show", "payments", "--json");
    assertEquals([code, JSON.parse(stdout).circuit.override], [1, null]);
    assertMatch(stderr, /error: the trail of store tiered is missing: /);
    assert(!stderr.includes(env.TURSO_AUTH_TOKEN));
  }));

Deno.test("an error about an unreachable store does not show its token", async () => {
  const env = {
    UPSTASH_REDIS_REST_URL: "http://127.0.0.1:1",
    UPSTASH_REDIS_REST_TOKEN: TOKEN,
    TURSO_DATABASE_URL: database.url,
  };
  for (const args of [["status"], ["check"], ["show", "payments"], ["status", "--json"]]) {
    const { code, stdout, stderr } = await cli(env, ...args);
    assertEquals(code, 1, args.join(" "));
    assert(!`${stdout}${stderr}`.includes(TOKEN), stderr);
    assertStringIncludes(`${stdout}${stderr}`, "cache");
  }
});

Deno.test("an error about a refused token does not show the token", async () => {
  await using face = await startFace({ redis, token: TOKEN });
  const wrong = "AXwrongTokenOfRedis";
  const env = { UPSTASH_REDIS_REST_URL: face.url, UPSTASH_REDIS_REST_TOKEN: wrong };
  const { code, stdout, stderr } = await cli(env, "check", "--json");
  assertEquals(code, 1);
  assertEquals(JSON.parse(stdout).cache.ok, false);
  assert(!`${stdout}${stderr}`.includes(wrong));
});
