/**
 * The grounds of the drivers: real servers, a store for each isolate, and faults on the wire.
 *
 * @module
 */
import type { Clock } from "@fuse/edge";
import { startRedis } from "../../support/redis_server.ts";
import { type Fault, startFace } from "../../support/upstash_face.ts";
import { libsqlGround, tieredGround } from "./databases.ts";
import { switching, telling } from "./stores.ts";
import { chaos, memory, type OpeningStore, upstash } from "../../support/drivers.ts";

/** The fault between isolates and the store. `calm` is none. */
export type Weather = "calm" | "wire" | "dead" | "chaos";

/** The options of a ground. */
export interface GroundOptions {
  /** The stores' clock; without it, each uses its server's own. */
  readonly clock: Clock | undefined;
  /** 0 to 1. */
  readonly random: () => number;
  /** Whether faults that take real time occur, too: requests without an answer, locks. */
  readonly slow: boolean;
  /** Receives circuits that a full store evicted. */
  readonly evicted: (key: string) => void;
}

/** The ground of a driver. */
export interface Ground extends AsyncDisposable {
  /** The store of one isolate; the first isolate's may be of another kind. */
  isolate(index: number): OpeningStore;
  /** The store of an observer, without faults. */
  readonly observer: OpeningStore;
  /** Begins a fault, and returns a function that ends it. */
  weather(kind: "wire" | "dead"): Promise<() => Promise<void>>;
  /** The size of the store, in bytes, and its place; `null` if it is in this process. */
  size(): Promise<{ readonly bytes: number; readonly of: string } | null>;
  /** Faults in the store beside its totals, in words. */
  check(now: Clock, wait: () => Promise<unknown>): Promise<string[]>;
}

/** By the names that `--driver` accepts; a prefix selects all drivers that begin with it. */
export const GROUNDS: Readonly<Record<string, (options: GroundOptions) => Promise<Ground>>> = {
  memory: memoryGround,
  upstash: upstashGround,
  "libsql-file": (options) => libsqlGround("file", options),
  "libsql-sqld": (options) => libsqlGround("sqld", options),
  tiered: tieredGround,
};

/** Fewer than there are circuits, so that some are evicted. */
const MAX_CIRCUITS = 250;

/** The first isolate has the store in its process; it is remote to the others. */
async function memoryGround({ clock, random, evicted, slow }: GroundOptions): Promise<Ground> {
  const store = telling(memory({ maxCircuits: MAX_CIRCUITS, ...clock && { clock } }), evicted);
  let kind: Weather = "calm";
  const seed = () => Math.floor(random() * 2 ** 31);
  const remote = () => {
    const calm = chaos(store, {});
    const wire = chaos(store, { ...roughly(random, slow), seed: seed() });
    const dead = chaos(store, { down: () => true });
    return switching(() => kind === "wire" ? wire : kind === "dead" ? dead : calm);
  };
  return await Promise.resolve({
    isolate: (index) => index === 0 ? store : remote(),
    observer: store,
    weather(begun) {
      kind = begun;
      return Promise.resolve(() => {
        kind = "calm";
        return Promise.resolve();
      });
    },
    size: () => Promise.resolve(null),
    check: () => Promise.resolve([]),
    async [Symbol.asyncDispose]() {},
  });
}

/** The faults between an isolate and its store, for `chaos`. */
export function roughly(random: () => number, slow: boolean) {
  return {
    latencyMs: () => random() < 0.5 ? 0 : random() * 12,
    errorRate: 0.01,
    lostAnswerRate: 0.02,
    duplicateRate: 0.1,
    staleReadRate: 0.05,
    ...slow && { timeoutRate: 0.002 },
  };
}

const FAULTS: readonly Fault[] = ["refuse", "lose", "lose", 429, 500, 502, "garbage", "truncated"];
const HANGING: readonly Fault[] = ["hang", "hang_after"];

/** A Redis with a face; also the half of {@linkcode tieredGround} that decides. */
export async function redisGround({ clock, random, slow }: GroundOptions) {
  const redis = await startRedis();
  const face = await startFace({ redis });
  const faults = slow ? [...FAULTS, ...HANGING] : FAULTS;
  let amiss = false;
  const weather = async (kind: "wire" | "dead") => {
    if (kind === "dead") {
      face.fault = () => "refuse";
      // Pending requests already hang, and are answered late.
      redis.pause();
    } else {
      face.delayMs = () => random() < 0.5 ? 0 : random() * (slow && random() < 0.002 ? 800 : 10);
      face.fault = () => {
        // The next request finds no script.
        if (random() < 0.01) redis.command("SCRIPT", "FLUSH").catch(() => amiss = true);
        return random() < 0.04 ? faults[Math.floor(random() * faults.length)] : undefined;
      };
    }
    return await Promise.resolve(async () => {
      redis.resume();
      face.fault = () => undefined;
      face.delayMs = 0;
      await redis.command("PING");
      if (amiss) throw new Error("Redis did not flush its scripts");
    });
  };
  return {
    store: (): OpeningStore => upstash({ url: face.url, token: face.token, ...clock && { clock } }),
    weather,
    async used(): Promise<number> {
      const info = await redis.command("INFO", "memory") as string;
      return Number(/^used_memory:(\d+)/m.exec(info)![1]);
    },
    async [Symbol.asyncDispose]() {
      redis.resume();
      await face.stop();
      await redis.stop();
    },
  };
}

async function upstashGround(options: GroundOptions): Promise<Ground> {
  const ground = await redisGround(options);
  return {
    isolate: ground.store,
    observer: ground.store(),
    weather: ground.weather,
    size: async () => ({ bytes: await ground.used(), of: "Redis" }),
    check: () => Promise.resolve([]),
    [Symbol.asyncDispose]: () => ground[Symbol.asyncDispose](),
  };
}
