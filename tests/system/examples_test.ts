// Runs each example as its reader would, with no more permissions than it needs, and compares its
// output. deno_deploy_test.ts serves `deno-deploy.ts`, demo_test.ts runs the demo.
import { assertEquals, assertMatch } from "@std/assert";
import { createClient } from "@libsql/client/web";
import { memory } from "@fuse/edge";
import { migrate } from "@fuse/edge/migrations";
import { storeContract } from "@fuse/edge/testing";
import { deno, filesBelow, root } from "../tools/gate/project.ts";
import { startRedis } from "../support/redis_server.ts";
import { Sqld } from "../support/sqld.ts";
import { startFace } from "../support/upstash_face.ts";

interface Example {
  readonly path: string;
  readonly flags: readonly string[];
  readonly output: string;
}

const NET = "--allow-net=127.0.0.1";
const STORES_ENV =
  "--allow-env=UPSTASH_REDIS_REST_URL,UPSTASH_REDIS_REST_TOKEN,TURSO_DATABASE_URL,TURSO_AUTH_TOKEN";

const HYBRID = `\
payment-processing in database: OPEN
user-service in cache: OPEN
internal-tool in array: CLOSED
on record: opened, consecutive_failures
on record: reset, the example begins
payment-processing in cache: CLOSED
`;

const examples: readonly Example[] = [
  {
    path: "fetch.ts",
    flags: [NET],
    output: `\
call 1: 503 Overloaded
call 2: 503 Overloaded
call 3: 503 Overloaded
call 4: 200 As yesterday
call 5: 200 As yesterday
the upstream has received 3 of 5 calls
open for 120 s
rejected: OPEN, to be told to callers as 503
the other host: 200 Sunny
`,
  },
  {
    path: "hono-proxy.ts",
    flags: [NET],
    output: `\
GET /catalog/shoes: 500 no database
GET /catalog/shoes: 500 no database
GET /catalog/shoes: 500 no database
GET /catalog/shoes: 503 Service Unavailable (60 s)
GET /images/shoes.png: 200 an image
GET /health: 200 {"status":"degraded","open":["catalog"],"openedBy":{"catalog":{"at":"…","kind":"Response","status":500,"instance":null}},"stores":{"array":"ok"}}
fuse_circuits{store="array",circuit="catalog",state="OPEN"} 1
fuse_calls_total{store="array",circuit="catalog",outcome="success"} 0
fuse_calls_total{store="array",circuit="catalog",outcome="failure"} 3
fuse_rejected_calls_total{store="array",circuit="catalog"} 1
`,
  },
  {
    path: "tenants.ts",
    flags: [],
    output: `\
opened: payments of tenant:acme in region:eu
acme in eu: queued
acme in us: failed, and was tried
initech in eu: charged
everybody: CLOSED
tenant:acme region:eu: OPEN
tenant:acme region:us: CLOSED
reset 2 circuits of acme
acme in eu is CLOSED
`,
  },
  {
    path: "streaming.ts",
    flags: [NET],
    output: `\
exports: success
line 1
line 2

exports: ignored
exports: failure
broke off after 200
exports: failure
exports: opened
broke off after 200
1 whole, 2 broken off
`,
  },
  {
    path: "server-sent-events.ts",
    flags: [NET],
    output: `\
model: success
goes-on: 200 Once upon a time
model: ignored
stalls: 200 Once
model: failure
stalls: 200 Once (BodyTimeoutError)
model: failure
model: opened
stalls: 200 Once (BodyTimeoutError)
goes-on: 503
`,
  },
  {
    path: "custom-strategy.ts",
    flags: [],
    output: `\
quiet: CLOSED
quiet opened by failures_and_share: 5 of 7 calls failed
busy: CLOSED
busy opened by failures_and_share: 11 of 106 calls failed
search opened by mostlyUseless: 0 of 10 calls failed
`,
  },
  {
    path: "openai.ts",
    flags: [NET, "--allow-env"],
    output: `\
answers: ok; received 1, CLOSED
refuses: NotFoundError 404, NotFoundError 404, NotFoundError 404, NotFoundError 404; received 4, CLOSED
hangs: APIConnectionTimeoutError; received 3, OPEN
answers: InternalServerError 503, InternalServerError 503; received 0, OPEN
chat after 3 mistakes of the user: CLOSED
`,
  },
  {
    path: "ky.ts",
    flags: [NET],
    output: `\
healthy: { stock: 3 }
call 1: HTTPError; received 3, OPEN
call 2: rejected, CircuitBreakerOpenError; received 3, OPEN
`,
  },
  {
    path: "hono-client.ts",
    flags: [NET],
    output: `\
{ id: "7", stock: 3 } CLOSED
CallTimeoutError CLOSED
CallTimeoutError OPEN
{ id: "unknown", stock: 0 } OPEN
`,
  },
  {
    path: "node-http.ts",
    flags: [NET],
    output: `\
200 user 7 (retry after: none)
502  (retry after: none)
Fuse: circuit "users" opened: "consecutive_failures"
502  (retry after: none)
503  (retry after: 60)
fuse_circuits{store="array",circuit="users",state="OPEN"} 1
fuse_transitions_total{store="array",circuit="users",to="OPEN"} 1
`,
  },
  {
    path: "operations/main.ts",
    flags: [NET],
    output: `\
payment 1: 503
payment 2: 503
payment 3: 503
payment 4: 503
a stranger: 401
payments was opened by status 503 on fra-1
forced_open by operator: the provider asks us to wait
from another site: 403
payments is CLOSED
`,
  },
  {
    path: "custom-driver/main.ts",
    flags: ["--unstable-kv"],
    output: `\
the other isolate was rejected
it is OPEN after 5 failures in a row
and now it is told: paid
`,
  },
  {
    path: "notify-cron.ts",
    flags: [NET, "--allow-env=LIBSQL_JS_DEV", "--allow-sys", "--allow-read", "--allow-ffi"],
    output: `\
told: payments opened, consecutive_failures, last failure TypeError
undo: deno run -A jsr:@fuse/edge/cli reset --store database --reason WHY payments
told: search opened, consecutive_failures, last failure TypeError
undo: deno run -A jsr:@fuse/edge/cli reset --store database --reason WHY search
cron, minute 1: 1 told
cron, minute 2: 0 told
forged: 401, who are you?
`,
  },
  {
    path: "hybrid.ts",
    // The database in memory is a native library.
    flags: [STORES_ENV + ",LIBSQL_JS_DEV", "--allow-sys", "--allow-read", "--allow-ffi"],
    output: HYBRID,
  },
];

// All at once: Deno's own start takes most of the time.
const [outputs, hybrid, overTcp, contract] = await Promise.all([
  Promise.all(examples.map(({ path, flags }) => run(path, flags))),
  hybridOnServers(),
  redisOverTcp(),
  deno(["test", "-A", "--no-check", "--unstable-kv", "examples/custom-driver/contract.ts"]),
]);

for (const [i, { path, output }] of examples.entries()) {
  Deno.test(`example ${path} shows what it promises`, () => {
    const shown = outputs[i]!.output.replaceAll(/"at":"[^"]+"/g, '"at":"…"');
    assertEquals({ ...outputs[i], output: shown }, { output, errors: "" });
  });
}

Deno.test("example hybrid.ts keeps circuits in a real Redis and a real sqld", () => {
  assertEquals(hybrid, {
    shown: { output: HYBRID, errors: "" },
    inRedis: ["user-service"],
    inDatabase: ["payment-processing"],
  });
});

Deno.test("example redis.ts shares a circuit between two clients of a real Redis", () => {
  const output = `\
Redis answers: true
in the shop: OPEN
in the office: rejected
after a reset, in the office: CLOSED
`;
  assertEquals(overTcp, { output, errors: "" });
});

Deno.test("example custom-driver passes the whole contract suite of a store", () => {
  const all = storeContract(() => memory()).length + 1; // and that two connections share it
  assertMatch(contract.stdout, new RegExp(`ok \\| ${all} passed \\| 0 failed`), contract.stderr);
});

Deno.test("example vitest passes under vitest", async () => {
  const { stdout, stderr } = await deno(
    ["run", "-A", "--quiet", "npm:vitest@^3.0.0", "run", "--root", "examples/vitest"],
    { env: { NO_COLOR: "1" } },
  );
  assertMatch(stdout, /Tests +1 passed \(1\)/, stderr);
});

Deno.test("every example is run, and the index of examples says how", () => {
  const programs = filesBelow("examples", ".ts").filter((path) =>
    path.split("/").length === 2 || path.endsWith("/main.ts")
  );
  const run = examples.map(({ path }) => `examples/${path}`);
  const elsewhere = [
    ...["examples/deno-deploy.ts", "examples/demo/main.ts"],
    "examples/redis.ts",
  ];
  assertEquals(programs, [...run, ...elsewhere].sort());

  const index = Deno.readTextFileSync(new URL("examples/README.md", root));
  const unnamed = [
    ...run,
    "examples/deno-deploy.ts",
    "examples/redis.ts",
    "examples/custom-driver/contract.ts",
  ]
    .filter((path) => !index.includes(path));
  assertEquals(unnamed, []);
});

async function run(path: string, flags: readonly string[], env: Record<string, string> = {}) {
  const { stdout, stderr } = await deno(
    ["run", "--no-prompt", "--quiet", ...flags, `examples/${path}`],
    { env },
  );
  // console.log() prints a space before an empty argument; and times differ in each run.
  const output = stdout.replaceAll(/ +$/gm, "").replaceAll(/"at":"[^"]+Z"/g, '"at":"…"');
  return { output, errors: stderr };
}

async function redisOverTcp() {
  await using redis = await startRedis();
  // The libraries read variables of their own, such as DEBUG.
  return await run("redis.ts", [NET, "--allow-env"], { REDIS_URL: redis.url });
}

/** Runs `hybrid.ts` with the addresses of servers, and returns their contents afterwards. */
async function hybridOnServers() {
  const [redis, server] = await Promise.all([startRedis(), Sqld.start()]);
  try {
    await using face = await startFace({ redis });
    const client = createClient({ url: server.url });
    await migrate(client);
    const shown = await run("hybrid.ts", [NET, STORES_ENV], {
      UPSTASH_REDIS_REST_URL: face.url,
      UPSTASH_REDIS_REST_TOKEN: face.token,
      TURSO_DATABASE_URL: server.url,
    });
    const keys = await redis.command("KEYS", "circuit_breaker:*:state") as string[];
    const { rows } = await client.execute("select name from circuit_breakers");
    return {
      shown,
      inRedis: keys.map((key) => key.split(":")[1]),
      inDatabase: rows.map(({ name }) => name),
    };
  } finally {
    await Promise.all([redis.stop(), server.stop()]);
  }
}
