/**
 * A Redis for tests: a real `redis-server` on a free port, which persists nothing and never
 * outlives the process that started it.
 *
 * Start it at a file's top level with `sharedRedis()`, or inside a test with
 * `await using redis = await startRedis()`.
 *
 * @module
 */
import { createClient } from "@redis/client";
import { findRedis } from "./redis_binary.ts";
export { redisMissing } from "./redis_binary.ts";

/** The kind of Redis. */
export interface RedisOptions {
  /** More configuration: `{ maxmemory: "2mb", "maxmemory-policy": "noeviction" }`. */
  readonly config?: Readonly<Record<string, string>>;
}

/** A running Redis. */
export interface RedisServer extends AsyncDisposable {
  readonly port: number;
  /** `redis://127.0.0.1:PORT` */
  readonly url: string;
  /** The id of the current process. */
  readonly pid: number;
  /**
   * Sends a command over a connection of its own. The answer is raw: a string, a number, `null` or
   * an array of those. Rejects with the error of Redis, and if the server is unreachable.
   */
  command(...args: string[]): Promise<unknown>;
  /**
   * Returns the number of commands so far, including those inside of scripts, which is what Upstash
   * bills. Commands by which tests inspect the server are left out: CLIENT, COMMAND, CONFIG, HELLO,
   * INFO, PING, SCRIPT.
   */
  commandCalls(): Promise<number>;
  /** Makes it hang: connections stay open, and no request is answered. */
  pause(): void;
  /** Resumes it. */
  resume(): void;
  /** Ends it at once, as a crash does; `restart()` starts it again. */
  kill(): Promise<void>;
  /** Starts it again on the same port, empty. */
  restart(): Promise<void>;
  /** Ends it for good. */
  stop(): Promise<void>;
}

/** The methods of a shared Redis that the tests of a file may use: all but those that end it. */
export type SharedRedis = Omit<RedisServer, "kill" | "restart" | "stop" | keyof AsyncDisposable>;

/**
 * Returns a Redis for all tests of a file. Call this at the file's top level. The Redis ends with
 * the test process.
 */
export function sharedRedis(options?: RedisOptions): Promise<SharedRedis> {
  return startRedis(options);
}

/**
 * Starts a Redis, and resolves once it answers. Throws if none is available, and says what to
 * install.
 */
export async function startRedis({ config = {} }: RedisOptions = {}): Promise<RedisServer> {
  const { path } = await findRedis();
  const folder = await Deno.makeTempDir({ prefix: "fuse-edge-redis-" });
  // The name under which it runs makes the binary a server: see redis_binary.ts.
  const program = `${folder}/redis-server`;
  await Deno.symlink(path, program);

  const start = (port: number) => launch(program, folder, port, config);
  const [port, first] = await onFreePort(start).catch(async (error) => {
    await Deno.remove(folder, { recursive: true });
    throw error;
  });

  let current = first;
  const abandon = () => {
    current.signal("SIGKILL");
    Deno.removeSync(folder, { recursive: true });
  };
  globalThis.addEventListener("unload", abandon);
  let stopping: Promise<void> | undefined;
  const stop = () =>
    stopping ??= (async () => {
      globalThis.removeEventListener("unload", abandon);
      await current.end();
      await Deno.remove(folder, { recursive: true });
    })();
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    get pid() {
      return current.pid;
    },
    command: (...args) => send(port, args),
    commandCalls: async () => sumOfCalls(await send(port, ["INFO", "commandstats"]) as string),
    pause: () => current.signal("SIGSTOP"),
    resume: () => current.signal("SIGCONT"),
    kill: () => current.end(),
    async restart() {
      await current.end();
      current = await start(port);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Another process may have taken a port that was free a moment ago: tries several. */
async function onFreePort(
  start: (port: number) => Promise<RedisProcess>,
): Promise<[port: number, running: RedisProcess]> {
  for (let left = 4;; left--) {
    const port = freePort();
    try {
      return [port, await start(port)];
    } catch (error) {
      if (left === 0) throw error;
    }
  }
}

/** Starts Redis, and ends it again if it does not answer. */
async function launch(...[program, folder, port, config]: Parameters<typeof spawn>) {
  const running = spawn(program, folder, port, config);
  if (await answers(running, port)) return running;
  await running.end();
  throw new Error(`Cannot start Redis on port ${port}: it does not answer`);
}

const START_DEADLINE_MS = 20_000;
const RETRY_MS = 5;

interface RedisProcess {
  readonly pid: number;
  readonly ended: boolean;
  /** Sends a signal to the process, unless it has ended. */
  signal(name: Deno.Signal): void;
  /** Kills it, and waits until it is gone. Does nothing when called again. */
  end(): Promise<void>;
}

function spawn(
  program: string,
  folder: string,
  port: number,
  config: Readonly<Record<string, string>>,
): RedisProcess {
  const settings = {
    port: `${port}`,
    bind: "127.0.0.1",
    dir: folder,
    save: "",
    appendonly: "no",
    ...config,
  };
  const child = new Deno.Command(program, {
    args: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  // When this process is killed, for example by a runner past its deadline, the pipe to the
  // watchdog breaks, and the watchdog cleans up.
  const watchdog = new Deno.Command("sh", {
    args: ["-c", `read -r _; kill -9 ${child.pid}; rm -rf -- "$1"`, "watchdog", folder],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  let ended = false;
  const exit = child.status.then(() => {
    ended = true;
  });
  // The id of an ended process may be reused: sends no signals after its end is known.
  const signal = (name: Deno.Signal) => {
    try {
      if (!ended) child.kill(name);
    } catch (error) {
      // Deno already knew that it is gone.
      if (!(error instanceof TypeError)) throw error;
    }
  };
  let ending: Promise<void> | undefined;
  return {
    pid: child.pid,
    get ended() {
      return ended;
    },
    signal,
    end: () =>
      ending ??= (async () => {
        watchdog.kill("SIGKILL");
        await watchdog.status;
        await watchdog.stdin.close().catch(() => {});
        signal("SIGKILL");
        await exit;
      })(),
  };
}

/** Resolves, once known, to whether this process answers on the port. */
async function answers(running: RedisProcess, port: number): Promise<boolean> {
  const deadline = Date.now() + START_DEADLINE_MS;
  while (!running.ended) {
    try {
      const info = await send(port, ["INFO", "server"]) as string;
      // Another Redis may have taken the port first.
      return Number(/^process_id:(\d+)/m.exec(info)?.[1]) === running.pid;
    } catch {
      if (Date.now() > deadline) return false;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  return false;
}

/**
 * Opens a connection for each command: no connection stays open in a test, whatever happens to the
 * server.
 */
async function send(port: number, args: string[]): Promise<unknown> {
  const client = createClient({
    RESP: 2,
    socket: { host: "127.0.0.1", port, reconnectStrategy: false },
  });
  // Errors also reject the call; an event without a listener would throw.
  client.on("error", () => {});
  try {
    await client.connect();
    return await client.sendCommand(args);
  } finally {
    client.destroy();
  }
}

const BOOKKEEPING = ["client", "command", "config", "hello", "info", "ping", "script"];

/** Parses lines such as `cmdstat_config|get:calls=2,usec=…`. */
function sumOfCalls(stats: string): number {
  let sum = 0;
  for (const [, name, calls] of stats.matchAll(/^cmdstat_([^|:]+)[^:]*:calls=(\d+)/gm)) {
    if (!BOOKKEEPING.includes(name!)) sum += Number(calls);
  }
  return sum;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
