/**
 * The store in Redis: its requests to the server, and its speed, beside the seed's own access
 * pattern and a rate limiter on the same server in the same run.
 *
 * @module
 */
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";
import { type CircuitPolicy, createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import type { UpstashOptions } from "@fuse/edge/upstash";
import { setImmediate } from "node:timers";
import { type RedisServer, startRedis } from "../../support/redis_server.ts";
import { type FaceApart, startFaceApart } from "./face_process.ts";
import { callAtOnce, type Candidate, type Effort, effort, race, ratio } from "./harness.ts";
import { operationsTable, ratesTable } from "./operations.ts";
import type { Section } from "./section.ts";
import { seedCache } from "./seed_pattern.ts";
import { integer, type Table, times } from "./table.ts";
import { upstash } from "../../support/drivers.ts";
import { waits } from "./upstash_waits.ts";

/** Section `upstash`. */
export const section: Section = {
  async *run({ quick }) {
    await using redis = await startRedis();
    await using face = await startFaceApart(redis);
    const servers = { redis, face };
    // No script asks for the time on a virtual clock: with the server's, each does, once.
    const meter = async () => ({
      requests: await face.requests(),
      commands: await redis.commandCalls() + await face.requests(),
    });
    const onClock = (clock: () => number) => upstash({ ...fresh(face), clock });
    yield await operationsTable(
      "upstash-calls",
      "Redis: what a call asks for",
      onClock,
      quick,
      meter,
    );
    yield await ratesTable("upstash-rates", "Redis: by the rate of calls", onClock, quick, meter);
    for (const callers of [1, 64]) yield await speeds(servers, callers, quick);
    yield await waits(servers, quick);
    yield await growth(servers, [1, 100, 10_000]);
  },
};

interface Servers {
  readonly redis: RedisServer;
  readonly face: FaceApart;
}

let prefixes = 0;

function fresh({ url, token }: FaceApart): { url: string; token: string; prefix: string } {
  return { url, token, prefix: `bench-${prefixes++}` };
}

function connect({ url, token }: FaceApart): Redis {
  return new Redis({ url, token, enableAutoPipelining: false });
}

/** A guard of calls. */
interface Contender extends Candidate {
  /** The number of calls that Redis has counted; `null` if it counts none. */
  counted(): Promise<number | null>;
}

async function speeds(
  { redis, face }: Servers,
  callers: number,
  quick: boolean,
): Promise<Table> {
  const eventual = { consistency: "eventual" } as const;
  const strong = { consistency: "strong" } as const;
  const contenders = [
    seedCache(connect(face), `seed-${prefixes++}`, callers),
    limiter(face, callers),
    await ours(face, "CLOSED, eventual", eventual, 0, callers),
    await ours(face, "CLOSED, eventual, 5 % fail", eventual, 0.05, callers),
    await ours(face, "OPEN, eventual", eventual, 1, callers),
    await ours(face, "CLOSED, strong", strong, 0, callers),
    await ours(face, "OPEN, strong", strong, 1, callers),
  ];
  const made = contenders.map(() => 0);
  const counting = contenders.map(({ name, run }, i) => ({
    name,
    run(calls: number) {
      made[i]! += calls;
      return run(calls);
    },
  }));
  const asked: string[][] = [];
  for (const { run } of counting) {
    const requests = await face.requests();
    const commands = await redis.commandCalls();
    await run(1_000);
    const perCall = [await face.requests() - requests, await redis.commandCalls() - commands];
    asked.push(perCall.map((n) => (n / 1_000).toFixed(2)));
  }
  const measured = await race(counting, pace(quick));
  const base = measured[0]!;
  const rows: string[][] = [];
  for (const [i, one] of measured.entries()) {
    const counted = await contenders[i]!.counted();
    const verdict = counted === null ? "" : counted === made[i] ? "equal" : "NOT EQUAL";
    rows.push([
      one.name,
      integer(1e9 / one.ns.median),
      ...times(ratio(base, one)),
      ...asked[i]!,
      integer(made[i]!),
      counted === null ? "" : `${integer(counted)}, ${verdict}`,
    ]);
  }
  const how = callers === 1 ? "one after the other" : `by ${callers} callers at once`;
  return {
    name: `upstash-speed-${callers}`,
    title: `Redis: calls per second, ${how}`,
    columns: [
      ...["call", "calls/s", "× seed", "min–max", "requests/call", "commands/call"],
      ...["calls made", "counted in Redis"],
    ],
    rows,
    notes: [
      "The called function returns at once; the time includes sending what is pending at the end.",
      "Budget: eventual at least 50 times the seed's pattern, and what Redis has counted equal to the calls.",
      "Seed: read state and metrics, call, count, write the metrics back: 4 requests one after the other.",
      // Later versions need a flag of Upstash's own that Redis 7 does not know.
      "@upstash/ratelimit 2.0: one sliding-window decision, without its cache of denials.",
    ],
    readme: ["call", "calls/s", "× seed", "requests/call", "calls made", "counted in Redis"],
  };
}

/**
 * Longer batches than those of a call that takes 100 ns: here a single call may take a millisecond.
 */
function pace(quick: boolean): Effort {
  const { warmUpMs } = effort(quick);
  return { rounds: quick ? 5 : 15, batchMs: quick ? 40 : 120, warmUpMs };
}

function limiter(face: FaceApart, callers: number): Contender {
  const ratelimit = new Ratelimit({
    redis: connect(face),
    limiter: Ratelimit.slidingWindow(1_000_000_000, "10 s"),
    prefix: `ratelimit-${prefixes++}`,
    ephemeralCache: false,
  });
  return {
    name: "@upstash/ratelimit",
    run: (calls) =>
      callAtOnce(calls, callers, async () => await (await ratelimit.limit("api")).pending),
    counted: () => Promise.resolve(null),
  };
}

async function ours(
  face: FaceApart,
  name: string,
  policy: CircuitPolicy,
  failureRate: number,
  callers: number,
): Promise<Contender> {
  const options = fresh(face);
  const fuse = createFuse({ stores: { cache: upstash(options) } });
  const breaker = fuse.make("api", { ...policy, ...LONG });
  if (failureRate === 1) {
    for (let i = 0; i < 5; i++) await breaker.tryCall(fail);
    await fuse.flush();
  }
  const before = await countedIn(options);
  const every = failureRate > 0 ? Math.round(1 / failureRate) : Infinity;
  let called = 0;
  const call = async () => {
    await breaker.tryCall(++called % every === 0 ? fail : succeed);
    // Calls that wait for nothing would keep every answer waiting.
    if (called % 50 === 0) await nextTurn();
  };
  return {
    name,
    async run(calls) {
      await callAtOnce(calls, callers, call);
      await fuse.flush();
    },
    counted: async () => await countedIn(options) - before,
  };
}

/** Nothing changes by itself meanwhile. */
const LONG: CircuitPolicy = { cooldownMs: 86_400_000, maxCooldownMs: 86_400_000 };

/** Read by an observer that has made no call. */
async function countedIn(options: UpstashOptions): Promise<number> {
  const { totalSuccesses, totalFailures, totalRejected } = await createFuse({
    stores: { cache: upstash(options) },
  }).make("api").getMetrics();
  return totalSuccesses + totalFailures + totalRejected;
}

/** The size of a circuit in Redis, and the costs of flushing many. */
async function growth({ redis, face }: Servers, sizes: readonly number[]): Promise<Table> {
  const rows: string[][] = [];
  for (const size of sizes) {
    const clock = new FakeClock();
    const store = upstash({ ...fresh(face), clock: clock.now });
    const fuse = createFuse({
      stores: { cache: store },
      clock: clock.now,
      maxCircuits: 2 * size,
      storeTimeoutMs: 60_000,
    });
    const circuits = Array.from({ length: size }, (_, i) => fuse.make(`tenant-${i}`));
    const used = async () =>
      Number(/^used_memory:(\d+)/m.exec(String(await redis.command("INFO", "memory")))?.[1]);
    const callEach = async (fn: Work, some = circuits) => {
      for (const circuit of some) await circuit.tryCall(fn);
      const [requests, commands] = [await face.requests(), await redis.commandCalls()];
      await fuse.flush();
      return [await face.requests() - requests, await redis.commandCalls() - commands] as const;
    };
    const empty = await used();
    await callEach(succeed);
    const afterOne = (await used() - empty) / size;
    clock.advance(100);
    const [requests, commands] = await callEach(succeed);
    // This many give a mean.
    const some = circuits.slice(0, 200);
    const before = await used();
    for (let segment = 0; segment < 11; segment++) {
      clock.advance(12_000);
      await callEach(succeed, some);
      await callEach(fail, some);
    }
    const full = afterOne + (await used() - before) / some.length;
    rows.push([
      integer(size),
      integer(requests),
      (commands / size).toFixed(2),
      integer(afterOne),
      integer(full),
    ]);
  }
  return {
    name: "upstash-circuits",
    title: "Redis: many circuits",
    columns: [
      ...["circuits", "requests of one flush", "commands/record"],
      ...["bytes after one call", "bytes, window full"],
    ],
    rows,
    notes: [
      "One flush() after one call of each circuit. Bytes a circuit, by used_memory of the server.",
      "Full: successes and failures in every segment, and the ids of a minute's requests.",
    ],
  };
}

type Work = () => Promise<number>;
const succeed: Work = () => Promise.resolve(42);
const fail: Work = () => Promise.reject(new Error("down"));

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => resolve()));
}
