/**
 * A process that is one isolate: a Fuse of its own, on its own clock, on a store that its arguments
 * name. It does what lines of JSON on its standard input say, answers each with one, and ends with
 * its input. What can be asked of it is in {@linkcode Work}.
 *
 * @module
 */
import { type CircuitBreaker, type CircuitOptions, createFuse, type Store } from "@fuse/edge";
import { root } from "../tools/gate/project.ts";
import { lines } from "./lines.ts";
import { begin, Boom, type Held } from "./setups.ts";

/** What an isolate can be asked to do: what it takes, and what it answers. */
export interface Work {
  /** Makes the circuit that the rest is about. */
  make: [{ name: string; options: CircuitOptions }, null];
  /** Calls at once, of which the first `failures` fail. Answers when all have ended. */
  call: [{ calls: number; failures: number }, { ran: number; rejected: number }];
  /** Begins calls at once, and answers how many were let through. They go on. */
  begin: [{ calls: number }, { admitted: number }];
  /** Ends the calls that go on, all at once. */
  end: [{ failed: boolean }, null];
  /**
   * Calls several circuits in turn, over and over, from now on for so long: each fails while `failing` of
   * these ms pass. Answers how many calls ran.
   */
  drive: [
    {
      circuits: readonly { readonly name: string; readonly options: CircuitOptions }[];
      everyMs: number;
      forMs: number;
      failing: readonly [fromMs: number, toMs: number];
    },
    { ran: number; rejected: number },
  ];
  /** Reads the state. */
  look: [Record<string, never>, string];
  /** Sends all that is pending. */
  flush: [Record<string, never>, null];
  /** The transitions announced since the circuit was made. */
  moves: [Record<string, never>, string[]];
}

/** The stores by name, each from one more argument: where it is. */
const STORES: Record<string, (where: string) => Promise<Store>> = {
  /** JSON of a `url`, a `token` and a `prefix`. */
  async upstash(where) {
    const { upstash } = await import("@fuse/edge/upstash");
    return upstash(JSON.parse(where));
  },
  /** The url of a database with the schema in it. */
  async libsql(where) {
    const { libsql } = await import("@fuse/edge/libsql");
    const { createClient } = await import("@libsql/client");
    // Hundreds of calls of four processes wait for one lock.
    return libsql({ client: createClient({ url: where }), busyTimeoutMs: 25_000 });
  },
  /** JSON of a `url`, a `token`, a `prefix` and the url of a `database`. */
  async tiered(where) {
    const { upstash } = await import("@fuse/edge/upstash");
    const { libsql, tiered } = await import("@fuse/edge/libsql");
    const { database, ...cache } = JSON.parse(where);
    const audit = libsql({ url: database });
    return tiered({ state: upstash(cache), audit, auditTimeoutMs: 20_000 });
  },
};

/** A running one. */
export interface IsolateProcess extends AsyncDisposable {
  /** Asks it to do something. One thing at a time. */
  ask<K extends keyof Work>(what: K, how: Work[K][0]): Promise<Work[K][1]>;
  /** Ends it at once, as a crash does. */
  kill(): Promise<void>;
}

/** Starts one: `store` is a key of `STORES`, `where` its argument. */
export function startIsolate(store: string, where: string): IsolateProcess {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--frozen", "--quiet", import.meta.filename!, store, where],
    // Where the import map is.
    cwd: root,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const input = child.stdin.getWriter();
  const answers = lines(child.stdout);
  return {
    async ask(what, how) {
      await input.write(new TextEncoder().encode(`${JSON.stringify([what, how])}\n`));
      const { value, done } = await answers.next();
      if (done) throw new Error(`The isolate has ended, asked to ${what}`);
      return JSON.parse(value);
    },
    async kill() {
      child.kill("SIGKILL");
      await child.status;
    },
    async [Symbol.asyncDispose]() {
      // A process that has ended on its own account closed it.
      await input.close().catch(() => {});
      await answers.return(undefined);
      await child.status;
    },
  };
}

type Worker = { [K in keyof Work]: (how: Work[K][0]) => Promise<Work[K][1]> };

function isolate(store: Store): Worker {
  const fuse = createFuse({ stores: { shared: store }, storeTimeoutMs: 30_000 });
  let breaker: CircuitBreaker;
  let held: Held[] = [];
  let moves: string[] = [];
  for (const type of ["opened", "half_opened", "closed"] as const) {
    fuse.on(type, () => moves.push(type));
  }
  return {
    make({ name, options }) {
      breaker = fuse.make(name, options);
      moves = [];
      return Promise.resolve(null);
    },
    async call({ calls, failures }) {
      const results = await Promise.all(
        Array.from({ length: calls }, (_, i) =>
          breaker.tryCall(() => {
            if (i < failures) throw new Boom();
          })),
      );
      const rejected = results.filter((result) => !result.ok && result.rejected).length;
      return { ran: calls - rejected, rejected };
    },
    async begin({ calls }) {
      const begun = await Promise.all(Array.from({ length: calls }, () => begin(breaker)));
      held = begun.filter(({ admitted }) => admitted);
      return { admitted: held.length };
    },
    async end({ failed }) {
      await Promise.all(held.map((call) => failed ? call.fail() : call.succeed()));
      return null;
    },
    async drive({ circuits, everyMs, forMs, failing: [fromMs, toMs] }) {
      const breakers = circuits.map(({ name, options }) => fuse.make(name, options));
      const begun = performance.now();
      const passedMs = () => performance.now() - begun;
      const made = { ran: 0, rejected: 0 };
      while (passedMs() < forMs) {
        const failed = passedMs() >= fromMs && passedMs() < toMs;
        const results = breakers.map((breaker) =>
          breaker.tryCall(() => {
            if (failed) throw new Boom();
          })
        );
        for (const result of await Promise.all(results)) {
          made[!result.ok && result.rejected ? "rejected" : "ran"]++;
        }
        await new Promise((resolve) => setTimeout(resolve, everyMs));
      }
      await fuse.flush();
      return made;
    },
    look: () => breaker.getState(),
    async flush() {
      await fuse.flush();
      return null;
    },
    moves: () => Promise.resolve(moves),
  };
}

if (import.meta.main) {
  const [store, where] = Deno.args as [string, string];
  const worker = isolate(await STORES[store]!(where));
  for await (const line of lines(Deno.stdin.readable)) {
    const [what, how] = JSON.parse(line) as [keyof Work, never];
    console.log(JSON.stringify(await worker[what](how)));
  }
}
