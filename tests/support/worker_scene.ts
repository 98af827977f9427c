/**
 * The surroundings of a Worker in a test: a real Redis and a real sqld, each behind a turnstile,
 * and an origin.
 *
 * @module
 */
import { createFuse, type Fuse } from "@fuse/edge";
import { upstash } from "@fuse/edge/upstash";
import { libsql, type LibsqlStore } from "@fuse/edge/libsql";
import { type Client, createClient } from "@libsql/client/web";
import { deno } from "../tools/gate/project.ts";
import { type SharedRedis, sharedRedis } from "./redis_server.ts";
import { type Sqld, sqldForFile } from "./sqld.ts";
import { startTurnstile, type Turnstile } from "./turnstile.ts";
import { startFace } from "./upstash_face.ts";
import {
  bundleWorkers,
  EXAMPLE,
  type Isolate,
  readWrangler,
  type WorkerBundle,
  type Workerd,
  type WorkerdHost,
  workerdHost,
  workerProject,
} from "./workerd.ts";

/** Answers the Worker's outgoing calls. */
type Answer = (request: Request) => Response | Promise<Response>;

/** The upstream of the Worker. */
export interface Origin {
  /** The requested paths. */
  readonly calls: string[];
  /**
   * Answers 200 and the path by default; a path such as `/status/500` is answered with that status.
   */
  answer: Answer;
}

/** A scene. A test owns all parts except Redis and sqld, which the file shares. */
export interface Scene extends AsyncDisposable {
  readonly workerd: Workerd;
  readonly isolates: readonly Isolate[];
  /** The turnstile before Redis. */
  readonly cache: Turnstile;
  /** The turnstile before sqld. */
  readonly trail: Turnstile;
  readonly origin: Origin;
  /** Reads Redis directly, past the turnstile. */
  readonly redis: Fuse;
  /** Reads sqld directly, past the turnstile. */
  readonly database: LibsqlStore;
  /** The address of sqld itself. */
  readonly sqldUrl: string;
}

/** Starts scenes for a test file. */
export interface Stage {
  /**
   * Starts one isolate for each of these Workers, with bindings that replace those of
   * wrangler.jsonc.
   */
  scene(mains: readonly string[], bindings?: Record<string, string>): Promise<Scene>;
  readonly bundles: Readonly<Record<string, WorkerBundle>>;
  readonly host: WorkerdHost;
}

/** The folder of the fixtures. In a project it is `fixtures/`. */
const FIXTURES = new URL("../system/workers/", import.meta.url);

/**
 * For a whole test file, at its top level: bundles these Workers, starts Redis and sqld. `written`
 * are further files of the project, by path.
 */
export async function stageForFile(
  mains: readonly string[],
  written: Readonly<Record<string, string>> = {},
): Promise<Stage> {
  const host = workerdHost();
  addEventListener("unload", () => host.abandon());
  const [redis, sqld, bundles] = await Promise.all([
    sharedRedis(),
    migratedSqld(),
    bundleAll(mains, written),
  ]);
  return {
    bundles,
    host,
    scene: (mains, bindings = {}) =>
      startScene(host, redis, sqld, mains.map((main) => bundles[main]!.code), bindings),
  };
}

async function bundleAll(
  mains: readonly string[],
  written: Readonly<Record<string, string>>,
): Promise<Record<string, WorkerBundle>> {
  await using project = await workerProject(FIXTURES);
  for (const [path, code] of Object.entries(written)) {
    await Deno.writeTextFile(`${project.folder}/${path}`, code);
  }
  return await bundleWorkers(project, mains);
}

/** As the README of the example says. */
async function migratedSqld(): Promise<Sqld> {
  const sqld = await sqldForFile();
  const { ok, stderr } = await deno(["run", "-A", new URL("migrate.ts", EXAMPLE).href], {
    env: { TURSO_DATABASE_URL: sqld.url },
  });
  if (!ok) throw new Error(`Cannot migrate: ${stderr}`);
  return sqld;
}

async function startScene(
  host: WorkerdHost,
  shared: SharedRedis,
  sqld: Sqld,
  codes: readonly string[],
  bindings: Record<string, string>,
): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  await shared.command("FLUSHALL");
  const face = stack.use(await startFace({ redis: shared }));
  const cache = stack.use(startTurnstile(face.url));
  const trail = stack.use(startTurnstile(sqld.url));

  const origin: Origin = { calls: [], answer: byPath };
  const stop = new AbortController();
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {}, signal: stop.signal },
    (request) => {
      origin.calls.push(new URL(request.url).pathname);
      return origin.answer(request);
    },
  );
  stack.defer(async () => {
    stop.abort();
    await server.finished;
  });

  const redis = createFuse({
    stores: { cache: upstash({ url: face.url, token: face.token }) },
    storeTimeoutMs: 30_000,
  });
  // Redis has the script from now on, as a Redis in use does.
  await redis.make("unknown").getState();
  const client = createClient({ url: sqld.url });
  stack.defer(() => client.close());
  await empty(client);
  const database = libsql({ client });

  const { vars } = await readWrangler();
  const workerd = stack.use(
    await host.start(codes.map((code) => ({
      code,
      bindings: {
        ...vars,
        ORIGIN: `http://127.0.0.1:${server.addr.port}`,
        UPSTASH_REDIS_REST_URL: cache.url,
        UPSTASH_REDIS_REST_TOKEN: face.token,
        TURSO_DATABASE_URL: trail.url,
        TURSO_AUTH_TOKEN: "token",
        // A long limit: a busy machine must not be mistaken for an outage of the store.
        STORE_TIMEOUT_MS: "60000",
        AUDIT_TIMEOUT_MS: "30000",
        ...bindings,
      },
    }))),
  );
  const rest = stack.move();
  return {
    workerd,
    isolates: workerd.isolates,
    cache,
    trail,
    origin,
    redis,
    database,
    sqldUrl: sqld.url,
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  };
}

/** Deletes all rows, except those of the ledger of migrations. */
async function empty(client: Client): Promise<void> {
  const tables = await client.execute(
    "select name from sqlite_master where type = 'table' and name like 'circuit_breaker%'",
  );
  await client.batch(tables.rows.map(({ name }) => `delete from ${name}`), "write");
}

const byPath: Answer = (request) => {
  const { pathname } = new URL(request.url);
  const status = /^\/status\/(\d+)$/.exec(pathname)?.[1];
  return new Response(pathname, { status: Number(status ?? 200) });
};
