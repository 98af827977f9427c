/**
 * `deno task live [--store-timeout-ms=500]`: a smoke test of Upstash and Turso, for somebody with accounts.
 *
 * It runs the contract and checks behavior that we know only from documentation, under a random
 * prefix; it removes its data, and prints its costs. It shows no address and no token.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type Run, runCheck, runChecks } from "./check.ts";
import {
  databaseChecks,
  databaseContract,
  type DatabaseSetting,
  migrating,
  removeFromDatabase,
} from "./database.ts";
import { type Meter, startMeter } from "./meter.ts";
import {
  redisChecks,
  redisContract,
  type RedisSetting,
  removeFromRedis,
  sendRaw,
} from "./redis.ts";

/**
 * The average number of commands of a script run, over all checks: measured on a Redis that counts
 * them.
 */
const WITHIN_A_SCRIPT = 4.6;

const { values } = parseArgs({
  args: Deno.args,
  options: { "store-timeout-ms": { type: "string", default: "500" } },
});
Deno.exit(await main(Number(values["store-timeout-ms"])));

async function main(storeTimeoutMs: number): Promise<number> {
  const redisVariables = read("UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN");
  const databaseVariables = read("TURSO_DATABASE_URL", "TURSO_AUTH_TOKEN");
  const missing = [...redisVariables.missing, ...databaseVariables.missing];
  if (missing.length > 0) console.log(`Not set: ${missing.join(", ")}`);
  const halves = [redisVariables, databaseVariables].filter(({ missing }) => missing.length === 1);
  if (missing.length === 4 || halves.length > 0) {
    console.log("A service needs both of its variables\n0 passed, 0 failed");
    return 1;
  }

  const wrong = ["UPSTASH_REDIS_REST_URL", "TURSO_DATABASE_URL"]
    .filter((name) => Deno.env.get(name) && !URL.canParse(Deno.env.get(name)!));
  if (wrong.length > 0) {
    console.log(`No address: ${wrong.join(", ")}\n0 passed, 0 failed`);
    return 1;
  }

  const id = crypto.randomUUID().slice(0, 8);
  const [url = "", token = ""] = redisVariables.values;
  const [databaseUrl = "", authToken = ""] = databaseVariables.values;
  const readOnlyToken = Deno.env.get("UPSTASH_REDIS_REST_READONLY_TOKEN") || undefined;
  const redis: RedisSetting | undefined = url === ""
    ? undefined
    : { url, token, readOnlyToken, prefix: `fuse-live-${id}`, storeTimeoutMs };
  const database: DatabaseSetting | undefined = databaseUrl === ""
    ? undefined
    : { url: databaseUrl, authToken, prefix: `fuse_live_${id}_`, storeTimeoutMs };
  const secrets = [
    url,
    token,
    readOnlyToken,
    databaseUrl,
    authToken,
    hostOf(url),
    hostOf(databaseUrl),
  ]
    .filter((secret) => secret !== undefined && secret.length > 3) as string[];
  const run: Run = { counts: { passed: 0, failed: 0, skipped: 0 }, stopped: false, secrets };
  const stop = () => void (run.stopped = true);
  Deno.addSignalListener("SIGINT", stop);

  using meter = startMeter(redis?.url);
  const before = redis === undefined ? null : await commandsOf(redis);
  try {
    if (redis !== undefined) {
      await redisContract(run, redis);
      await runChecks(run, redisChecks(redis));
    }
    if (database !== undefined && !run.stopped) {
      await runCheck(run, migrating(database));
      await databaseContract(run, database);
      await runChecks(run, databaseChecks(database, redis));
    }
  } finally {
    if (redis !== undefined) {
      await runCheck(run, {
        name: "Redis: all is removed",
        run: () => removeFromRedis(redis, meter.keys),
      });
    }
    if (database !== undefined) {
      await runCheck(run, {
        name: "Turso: all is removed",
        run: () => removeFromDatabase(database),
      });
    }
    Deno.removeSignalListener("SIGINT", stop);
  }
  const after = redis === undefined ? null : await commandsOf(redis);
  tellCosts(meter, before === null || after === null ? null : after - before);
  const { passed, failed, skipped } = run.counts;
  if (skipped > 0) console.log(`${skipped} skipped`);
  if (run.stopped) console.log("Stopped before the end");
  console.log(`${passed} passed, ${failed} failed`);
  return failed > 0 || run.stopped ? 1 : 0;
}

/**
 * Returns the values of variables, and the names of the missing ones. An empty value counts as
 * missing.
 */
function read(...names: string[]): { values: (string | undefined)[]; missing: string[] } {
  const values = names.map((name) => Deno.env.get(name) || undefined);
  return { values, missing: names.filter((_, i) => values[i] === undefined) };
}

function hostOf(url: string): string {
  return URL.parse(url)?.host ?? "";
}

/**
 * Returns the number of commands that the server has run so far, including those in scripts, or
 * `null` if it does not say.
 */
async function commandsOf(redis: RedisSetting): Promise<number | null> {
  const stats = await sendRaw(redis, "INFO", "commandstats").catch(() => "");
  const calls = [...String(stats).matchAll(/^cmdstat_[^:]*:calls=(\d+)/gm)];
  return calls.length === 0 ? null : calls.reduce((sum, [, n]) => sum + Number(n), 0);
}

function tellCosts(meter: Meter, counted: number | null): void {
  const { redisRequests, commands, scripts, databaseRequests, statements } = meter;
  if (redisRequests > 0) {
    const estimate = Math.round(commands + scripts * WITHIN_A_SCRIPT);
    const told = counted === null ? "" : `; the server has counted ${counted}, others' included`;
    console.log(
      `Redis: ${redisRequests} requests with ${commands} commands, ${scripts} of them scripts; ` +
        `about ${estimate} commands with those within scripts${told}`,
    );
  }
  if (databaseRequests > 0) {
    console.log(`Turso: ${databaseRequests} requests with ${statements} statements`);
  }
}
