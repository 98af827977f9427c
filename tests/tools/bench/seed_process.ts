/**
 * A process with one breaker, for the seed's table: the first line of its standard input selects
 * it. It makes as many calls as each other line says, and answers with the time; `"end"` asks for
 * its memory and its counts.
 *
 * @module
 */
import type { Client } from "@libsql/client";
import type { CircuitPolicy, Store } from "@fuse/edge";
import { lines } from "../../support/lines.ts";
import { collect, gc, nextTurn, turn } from "./harness.ts";
import { consecutive } from "./policies.ts";

/** The breaker, and the place of its state. */
export interface SubjectOptions {
  readonly kind: keyof typeof SUBJECTS;
  readonly consistency?: NonNullable<CircuitPolicy["consistency"]>;
  readonly cache?: {
    readonly url: string;
    readonly token: string;
    readonly prefix: string;
    /** The same Redis, over TCP. */
    readonly tcp: string;
  };
  /** Url of a database with the schema in it. */
  readonly database?: string;
}

/** The time in ms. */
export interface Ran {
  readonly ms: number;
}

/** The results at the end. */
export interface Ended {
  /** The growth of heap and external memory since before the breaker was loaded. */
  readonly bytes: number;
  /** Calls made, and calls that the store has counted; `null` if it keeps no count. */
  readonly made: number;
  readonly counted: number | null;
}

/** A running process. */
export interface SubjectProcess extends AsyncDisposable {
  run(calls: number): Promise<Ran>;
  end(): Promise<Ended>;
}

/** Starts a process, and resolves once it has made its first call. */
export async function startSubject(options: SubjectOptions): Promise<SubjectProcess> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      // Code that V8 drops during the run would count as memory gained.
      ...["run", "-A", "--no-check", "--v8-flags=--expose-gc,--no-flush-bytecode"],
      import.meta.filename!,
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const input = child.stdin.getWriter();
  const answers = lines(child.stdout);
  const send = (what: unknown) =>
    input.write(new TextEncoder().encode(`${JSON.stringify(what)}\n`));
  async function ask<T>(what: number | "end"): Promise<T> {
    await send(what);
    const { value, done } = await answers.next();
    if (done) throw new Error(`The process of ${JSON.stringify(options.kind)} has ended`);
    return JSON.parse(value);
  }
  await send(options);
  await ask<Ran>(1);
  return {
    run: (calls) => ask<Ran>(calls),
    end: () => ask<Ended>("end"),
    async [Symbol.asyncDispose]() {
      await input.close().catch(() => {});
      await answers.return(undefined);
      await child.status;
    },
  };
}

interface Subject {
  run(calls: number): Promise<unknown>;
  counted(): Promise<number | null>;
}

// Imported here, so that each process loads only the code of its own breaker.
const SUBJECTS = {
  async "seed array"(): Promise<Subject> {
    const { seedArray } = await import("./seed_pattern.ts");
    return seedArray();
  },
  async "seed cache"({ cache }: SubjectOptions): Promise<Subject> {
    const { seedCache } = await import("./seed_pattern.ts");
    const { Redis } = await import("@upstash/redis");
    const { url, token, prefix } = cache!;
    return seedCache(new Redis({ url, token, enableAutoPipelining: false }), prefix);
  },
  async "seed database"({ database }: SubjectOptions): Promise<Subject> {
    const { seedDatabase } = await import("./seed_pattern.ts");
    return await seedDatabase(await connect(database!));
  },
  async memory(): Promise<Subject> {
    const { createFuse } = await import("@fuse/edge");
    const breaker = createFuse().make("a", consecutive);
    return {
      async run(calls) {
        for (let i = 0; i < calls; i++) await breaker.tryCall(succeed);
      },
      counted: async () => (await breaker.getMetrics()).totalSuccesses,
    };
  },
  async redis({ cache, consistency }: SubjectOptions): Promise<Subject> {
    const { redis } = await import("@fuse/edge/redis");
    const { Redis } = await import("ioredis");
    return await shared(redis(new Redis(cache!.tcp), { prefix: cache!.prefix }), consistency);
  },
  async upstash({ cache, consistency }: SubjectOptions): Promise<Subject> {
    return await shared(await redisStore(cache!), consistency);
  },
  async libsql({ database, consistency }: SubjectOptions): Promise<Subject> {
    const { libsql } = await import("@fuse/edge/libsql");
    return await shared(libsql({ url: database! }), consistency);
  },
  async tiered({ cache, database, consistency }: SubjectOptions): Promise<Subject> {
    const { libsql, tiered } = await import("@fuse/edge/libsql");
    const audit = libsql({ url: database! });
    return await shared(tiered({ state: await redisStore(cache!), audit }), consistency);
  },
  async cockatiel(): Promise<Subject> {
    const { cockatielConsecutive } = await import("./peer_cockatiel.ts");
    const breaker = cockatielConsecutive();
    return {
      async run(calls) {
        for (let i = 0; i < calls; i++) await breaker.execute(succeed);
      },
      counted: () => Promise.resolve(null),
    };
  },
  async opossum(): Promise<Subject> {
    const { opossum } = await import("./peer_opossum.ts");
    const breaker = opossum(succeed, "lean");
    return {
      async run(calls) {
        for (let i = 0; i < calls; i++) await breaker.fire();
      },
      counted: () => Promise.resolve(null),
    };
  },
};

async function redisStore(
  { url, token, prefix }: NonNullable<SubjectOptions["cache"]>,
): Promise<Store> {
  const { upstash } = await import("@fuse/edge/upstash");
  return upstash({ url, token, prefix });
}

async function connect(url: string): Promise<Client> {
  const { createClient } = url.startsWith("file:")
    ? await import("@libsql/client")
    : await import("@libsql/client/web");
  return createClient({ url });
}

async function shared(
  store: Store,
  consistency: CircuitPolicy["consistency"],
): Promise<Subject> {
  const { createFuse } = await import("@fuse/edge");
  const options = { stores: { shared: store }, storeTimeoutMs: 30_000 };
  const fuse = createFuse(options);
  const breaker = fuse.make("a", { ...consecutive, consistency });
  return {
    async run(calls) {
      for (let i = 1; i <= calls; i++) {
        await breaker.tryCall(succeed);
        // Calls that wait for nothing would keep every answer waiting.
        if (i % 50 === 0) await nextTurn();
      }
      await fuse.flush();
    },
    // Read by an observer that has made no call.
    counted: async () => (await createFuse(options).make("a").getMetrics()).totalSuccesses,
  };
}

const succeed = () => Promise.resolve(42);

async function used(): Promise<number> {
  await collect();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

if (import.meta.main) {
  const input = lines(Deno.stdin.readable);
  const options = JSON.parse((await input.next()).value!) as SubjectOptions;
  const before = await used();
  const subject = await SUBJECTS[options.kind](options);
  let made = 0;
  for await (const line of input) {
    const what = JSON.parse(line) as number | "end";
    if (what === "end") {
      const bytes = await used() - before;
      const ended: Ended = { bytes, made, counted: await subject.counted() };
      console.log(JSON.stringify(ended));
    } else {
      made += what;
      gc({ type: "minor" });
      await turn();
      const start = performance.now();
      await subject.run(what);
      const ran: Ran = { ms: performance.now() - start };
      console.log(JSON.stringify(ran));
    }
  }
  // Opossum's timers would keep the process alive.
  Deno.exit();
}
