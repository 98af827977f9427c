/**
 * A process that is one isolate: a Fuse with its own clock, on a store that its arguments name. It
 * obeys lines of JSON on its standard input, answers each with a line, and ends with its input.
 * {@linkcode Work} defines the requests.
 *
 * @module
 */
import { type CircuitBreaker, type CircuitOptions, createFuse, type Store } from "@fuse/edge";
import { root } from "../tools/gate/project.ts";
import { lines } from "./lines.ts";
import { begin, Boom, type Held } from "./setups.ts";

/** The requests to an isolate: their arguments and their answers. */
export interface Work {
  /** Creates the circuit of all later requests. */
  make: [{ name: string; options: CircuitOptions }, null];
  /** Makes concurrent calls, of which the first `failures` fail. Answers when all have ended. */
  call: [{ calls: number; failures: number }, { ran: number; rejected: number }];
  /** Begins concurrent calls, and answers how many were admitted. They keep running. */
  begin: [{ calls: number }, { admitted: number }];
  /** Ends the running calls, all at once. */
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
  /** Sends all pending outcomes. */
  flush: [Record<string, never>, null];
  /** Returns the transitions announced since the circuit was created. */
  moves: [Record<string, never>, string[]];
}

/** The stores by name. Each takes one more argument: its address. */
const STORES: Record<string, (where: string) => Promise<Store>> = {
  /** JSON of a `url`, a `token` and a `prefix`. */
  async upstash(where) {
    const { upstash } = await import("@fuse/edge/upstash");
    return upstash(JSON.parse(where));
  },
  /** The url of a file with the schema in it. */
  async libsql(where) {
    const { libsql } = await import("@fuse/edge/libsql");
    // Hundreds of calls of several processes wait for one lock.
    return libsql({ url: where, busyTimeoutMs: 25_000 });
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

/** A running isolate. */
export interface IsolateProcess extends AsyncDisposable {
  /** Sends a request. One at a time. */
  ask<K extends keyof Work>(what: K, how: Work[K][0]): Promise<Work[K][1]>;
  /** Ends it at once, as a crash does. */
  kill(): Promise<void>;
}

/** Starts an isolate: `store` is a key of `STORES`, `where` its argument. */
export function startIsolate(store: string, where: string): IsolateProcess {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--frozen", "--quiet", import.meta.filename!, store, where],
    // The folder of the import map.
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
      // A process that ended by itself has closed it.
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
