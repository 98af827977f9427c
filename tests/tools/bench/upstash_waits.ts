/**
 * The waits of callers beside an upstream of 20 ms, and the requests to Redis meanwhile.
 *
 * @module
 */
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";
import { type CircuitPolicy, createFuse } from "@fuse/edge";
import process from "node:process";
import { upstash } from "../../support/drivers.ts";
import type { RedisServer } from "../../support/redis_server.ts";
import type { FaceApart } from "./face_process.ts";
import { callAtOnce, gc, spread, turn } from "./harness.ts";
import { startUpstream } from "./http_server.ts";
import { seedCache } from "./seed_pattern.ts";
import type { Table } from "./table.ts";

const UPSTREAM_MS = 20;
const CALLERS = 16;

/** Makes calls, {@linkcode CALLERS} at a time. */
interface Contender {
  readonly name: string;
  /** Makes one call. */
  call(): Promise<unknown>;
  /** Sends pending outcomes. */
  end?(): Promise<void>;
}

/** The results of a contender. */
interface Waited {
  readonly ms: number[];
  readonly p50: number[];
  cpuMs: number;
  requests: number;
  commands: number;
}

/** Times the contenders in turn. */
export async function waits(
  { redis, face }: { redis: RedisServer; face: FaceApart },
  quick: boolean,
): Promise<Table> {
  await using upstream = await startUpstream();
  const fetchIt = async () => await (await fetch(`${upstream.url}${UPSTREAM_MS}`)).json();
  const all = await contenders(face, fetchIt);
  const calls = CALLERS * (quick ? 4 : 20);
  const waited = all.map((): Waited => ({ ms: [], p50: [], cpuMs: 0, requests: 0, commands: 0 }));
  const rounds = quick ? 3 : 11;
  for (const contender of all) await batch(contender, calls);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < all.length; i++) {
      const at = (round + i) % all.length;
      const into = waited[at]!;
      await turn();
      gc({ type: "minor" });
      const [requests, commands] = [await face.requests(), await redis.commandCalls()];
      const before = process.cpuUsage();
      const ms = await batch(all[at]!, calls);
      const { user, system } = process.cpuUsage(before);
      into.cpuMs += (user + system) / 1_000;
      into.requests += await face.requests() - requests;
      into.commands += await redis.commandCalls() - commands;
      into.p50.push(ms[ms.length >> 1]!);
      into.ms.push(...ms);
    }
  }
  const bare = waited[0]!;
  return {
    name: "upstash-waits",
    title: `Redis: beside an upstream of ${UPSTREAM_MS} ms, ${CALLERS} callers at once`,
    columns: ["call", "p50, ms", "added, ms", "p99, ms", "CPU, ms", "requests", "commands"],
    rows: waited.map((one, i) => {
      const added = spread(one.p50.map((ms, round) => ms - bare.p50[round]!)).median;
      const perCall = (sum: number) => (sum / (calls * rounds)).toFixed(2);
      one.ms.sort((a, b) => a - b);
      return [
        all[i]!.name,
        spread(one.p50).median.toFixed(1),
        i === 0 ? "" : added.toFixed(1),
        one.ms[Math.ceil(0.99 * one.ms.length) - 1]!.toFixed(1),
        perCall(one.cpuMs),
        ...i === 0 ? ["", ""] : [perCall(one.requests), perCall(one.commands)],
      ];
    }),
    notes: [
      "Added: to the upstream alone, median over rounds. CPU of the process that calls, requests to the",
      "REST face and commands in Redis: a call, what goes on in the background included.",
    ],
  };
}

let prefixes = 0;

async function contenders(
  face: FaceApart,
  fetchIt: () => Promise<unknown>,
): Promise<Contender[]> {
  const { url, token } = face;
  const redis = new Redis({ url, token, enableAutoPipelining: false });
  const seed = seedCache(redis, "waits-seed", 1, fetchIt);
  const ratelimit = new Ratelimit({
    redis,
    limiter: Ratelimit.slidingWindow(1_000_000_000, "10 s"),
    prefix: "waits-ratelimit",
    ephemeralCache: false,
  });
  const ours = async (
    name: string,
    consistency: NonNullable<CircuitPolicy["consistency"]>,
    failureRate: number,
  ): Promise<Contender> => {
    const cache = upstash({ url, token, prefix: `waits-${prefixes++}` });
    const fuse = createFuse({ stores: { cache } });
    const breaker = fuse.make("api", {
      consistency,
      cooldownMs: 86_400_000,
      maxCooldownMs: 86_400_000,
    });
    let called = 0;
    const fn = async () => {
      if (failureRate < 1) await fetchIt();
      if (called++ % Math.round(1 / failureRate) === 0) throw new Error("down");
    };
    if (failureRate === 1) {
      for (let i = 0; i < 5; i++) await breaker.tryCall(fn);
      await fuse.flush();
    }
    return { name, call: () => breaker.tryCall(fn), end: () => fuse.flush() };
  };
  return [
    { name: "the upstream alone", call: fetchIt },
    { name: seed.name, call: () => seed.run(1) },
    {
      name: "@upstash/ratelimit",
      async call() {
        await (await ratelimit.limit("api")).pending;
        await fetchIt();
      },
    },
    await ours("CLOSED, eventual", "eventual", 0),
    await ours("CLOSED, eventual, 5 % fail", "eventual", 0.05),
    await ours("OPEN, eventual", "eventual", 1),
    await ours("CLOSED, strong", "strong", 0),
    await ours("CLOSED, strong, 5 % fail", "strong", 0.05),
  ];
}

/** Returns the time of each call, in ms, the shortest first. */
async function batch({ call, end }: Contender, calls: number): Promise<number[]> {
  const took: number[] = [];
  await callAtOnce(calls, CALLERS, async () => {
    const began = performance.now();
    await call();
    took.push(performance.now() - began);
  });
  await end?.();
  return took.sort((a, b) => a - b);
}
