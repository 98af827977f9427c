/**
 * Upstash's REST API over any Redis, faithful to its documentation:
 * https://upstash.com/docs/redis/features/restapi
 *
 * RESP2 answers and the streaming endpoints are left out. A command that belongs to a connection,
 * which a REST request does not have, is refused as Upstash refuses unsupported commands.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { type Context, Hono } from "hono";

/** Runs commands. Rejects with a `RedisError` if Redis refuses them. */
export interface Backend {
  run(command: Argument[]): Promise<Reply>;
  /**
   * Runs all or none. Replies of commands that failed at run time are `RedisError`s among the
   * others.
   */
  transact(commands: Argument[][]): Promise<Reply[]>;
}

export type Argument = string | Buffer;

/** A status, a text or bytes, an integer, nothing, an error, or many of those. */
export type Reply = string | Buffer | number | null | RedisError | Reply[];

/** An error that Redis returned. */
export class RedisError extends Error {}

/** The differences of servers, plans and tokens of Upstash. May be changed at any time. */
export interface Manners {
  /** The answer to a wrong token: the current text, or an older one. @default {"WRONGPASS"} */
  wrongToken?: "WRONGPASS" | "Unauthorized";
  /** Another token, which may only read, and run no script and no SCAN. None by default. */
  readOnlyToken?: string;
  /** The number of further requests that the plan allows. No limit by default. */
  requestsLeft?: number;
  /** Answers `ERR DB capacity quota exceeded` if its Redis answers OOM: give that a `maxmemory`. */
  capacityQuota?: boolean;
  /** The longest body that is accepted. No limit by default. */
  maxRequestBytes?: number;
  /** Whether cursors of SCAN are beyond 2^53. */
  hugeCursors?: boolean;
  /**
   * The treatment of a script that begins with `#!lua flags=allow-key-locking`: as at Upstash, it
   * may access the keys that it declares and no others; or the flag is refused, as by a Redis 7
   * behind a proxy.
   *
   * @default {"held"}
   */
  keyLocking?: "held" | "refused";
  /** A text before NOSCRIPT, as some servers put there. None by default. */
  beforeNoscript?: string;
}

/** The commands that a read-only token may send. */
const READS = new Set(
  "ECHO EXISTS GET HGET HGETALL HLEN HMGET MGET PING PTTL STRLEN TTL TYPE".split(" "),
);

/** The offset of huge cursors over those of Redis. */
const HUGE = 1n << 62n;

/** The line that Upstash accepts, and Redis 7 refuses. */
const LOCKING = "#!lua flags=allow-key-locking\n";

/** Precedes a script, and restricts it to the keys that it declares. */
const HOLD = `local redis = (function(real, declared)
  for _, key in ipairs(KEYS) do declared[key] = true end
  local refused = 'ERR Script attempted to access a key that it does not declare'
  return setmetatable({
    call = function(command, key, ...)
      if command == 'TIME' then return real.call(command) end
      if not declared[key] then error({ err = refused }) end
      return real.call(command, key, ...)
    end,
    pcall = function(command, key, ...)
      if not declared[key] then return { err = refused } end
      return real.pcall(command, key, ...)
    end,
  }, { __index = real })
end)(redis, {})
`;

/** The hashes of scripts with {@linkcode HOLD}, by those without. */
const held = new Map<string, string>();

/** Returns the script that Redis runs for one that locks its keys. */
function heldTo(command: Argument[]): Argument[] {
  const [name, script] = command.map(String);
  if (/^evalsha$/i.test(name!)) return [name!, held.get(script!) ?? script!, ...command.slice(2)];
  if (!/^eval$/i.test(name!) || !script!.startsWith(LOCKING)) return command;
  const text = HOLD + script!.slice(LOCKING.length);
  held.set(sha1(script!), sha1(text));
  return [name!, text, ...command.slice(2)];
}

function sha1(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}

/** Creates the app. Every route requires the token. */
export function upstashApp(
  { token, backend, manners = {} }: { token: string; backend: Backend; manners?: Manners },
): Hono {
  const app = new Hono();
  let syncToken = 0;

  const tokenOf = (c: Context) =>
    c.req.header("authorization")?.match(/^Bearer (.*)$/i)?.[1] ?? c.req.query("_token");

  app.use(async function authenticate(c, next) {
    const given = tokenOf(c);
    if (given !== token && (given === undefined || given !== manners.readOnlyToken)) {
      const error = manners.wrongToken === "Unauthorized"
        ? "Unauthorized"
        : "WRONGPASS invalid or missing auth token";
      c.res = c.json({ error }, 401);
    } else if (!["HEAD", "GET", "POST", "PUT"].includes(c.req.method)) {
      c.res = c.json({ error: "Method Not Allowed" }, 405);
    } else {
      await next();
      c.header("upstash-sync-token", `${++syncToken}`);
    }
  });

  app.use(async function limit(c, next) {
    const { requestsLeft, maxRequestBytes = Infinity } = manners;
    if (requestsLeft !== undefined && (manners.requestsLeft = requestsLeft - 1) < 0) {
      throw new RedisError(
        "ERR max requests limit exceeded. Limit: 500000, Usage: 500000. See " +
          "https://upstash.com/docs/redis/troubleshooting/max_requests_limit for details",
      );
    }
    const { byteLength } = await c.req.arrayBuffer();
    if (byteLength > maxRequestBytes) {
      throw new RedisError(
        `ERR max request size exceeded. Limit: ${maxRequestBytes} bytes, Actual: ${byteLength} bytes`,
      );
    }
    await next();
  });

  /** Checks the commands of a token, and reverses the change of `told` to a cursor. */
  function permitted(command: unknown[], c: Context): Argument[] {
    const args = sendable(command);
    const name = String(args[0]).toLowerCase();
    if (tokenOf(c) !== token && !READS.has(name.toUpperCase())) {
      throw new RedisError(`NOPERM this user has no permissions to run the '${name}' command`);
    }
    if (manners.hugeCursors && name === "scan" && String(args[1]) !== "0") {
      args[1] = String(BigInt(String(args[1])) - HUGE);
    }
    return manners.keyLocking === "refused" ? args : heldTo(args);
  }

  /** Changes a reply as this server does. */
  function told(reply: Reply, [name]: Argument[]): Reply {
    if (reply instanceof RedisError) return refusal(reply);
    if (!manners.hugeCursors || String(name).toLowerCase() !== "scan") return reply;
    const [cursor, keys] = reply as [Reply, Reply];
    return [String(cursor) === "0" ? "0" : String(BigInt(String(cursor)) + HUGE), keys];
  }

  function refusal({ message }: RedisError): RedisError {
    const { beforeNoscript = "", capacityQuota } = manners;
    if (message.startsWith("NOSCRIPT")) return new RedisError(beforeNoscript + message);
    if (!capacityQuota || !message.startsWith("OOM")) return new RedisError(message);
    return new RedisError("ERR DB capacity quota exceeded. Limit: 268435456, Usage: 268435456");
  }

  async function run(command: unknown[], c: Context): Promise<unknown> {
    const args = permitted(command, c);
    try {
      return resultOf(told(await backend.run(args), args), c);
    } catch (error) {
      throw error instanceof RedisError ? refusal(error) : error;
    }
  }

  app.all("/pipeline", async (c) => {
    const answers = [];
    // One after the other, because a pipeline is not atomic: other commands may run in between.
    for (const command of await commandsOf(c)) {
      try {
        answers.push({ result: await run(command, c) });
      } catch (error) {
        answers.push({ error: messageOf(error) });
      }
    }
    return c.json(answers);
  });

  app.all("/multi-exec", async (c) => {
    const commands = (await commandsOf(c)).map((command) => permitted(command, c));
    const replies = await backend.transact(commands);
    return c.json(replies.map((reply, i) => {
      const answer = told(reply, commands[i]!);
      return answer instanceof RedisError
        ? { error: answer.message }
        : { result: resultOf(answer, c) };
    }));
  });

  app.all("*", async (c) => {
    const [command = []] = await commandsOf(c);
    return c.json({ result: await run(command, c) });
  });

  app.onError((error, c) =>
    error instanceof RedisError
      ? c.json({ error: error.message }, 400)
      : c.json({ error: `ERR internal error: ${error.message}` }, 500)
  );
  return app;
}

/** The form of a request in the API. */
export type Route = "command" | "pipeline" | "multi-exec" | "path";

/** Returns the form that the path of a request selects. */
export function routeOf(url: URL): Route {
  if (url.pathname === "/") return "command";
  if (url.pathname === "/pipeline") return "pipeline";
  return url.pathname === "/multi-exec" ? "multi-exec" : "path";
}

/** Returns the commands of a request, as sent. Throws a `RedisError` if they are invalid. */
export function parseCommands(url: URL, body: Buffer): unknown[][] {
  const route = routeOf(url);
  if (route === "path") return [pathCommand(url, body)];
  const parsed = parseJson(body);
  const commands = route === "command" ? [parsed] : parsed;
  if (!isArrayOf(commands, (command) => isArrayOf(command, () => true))) {
    throw new RedisError(`ERR failed to parse ${route} request`);
  }
  return commands as unknown[][];
}

/** `/set/foo?EX=100` with body `bar` is `SET foo bar EX 100`. */
function pathCommand(url: URL, body: Buffer): unknown[] {
  const segments = url.pathname.slice(1).split("/").map((segment) => {
    try {
      return decodeURIComponent(segment);
    } catch {
      throw new RedisError("ERR failed to parse path request");
    }
  });
  const parameters = [...url.searchParams].filter(([name]) => name !== "_token")
    .flatMap(([name, value]) => value === "" ? [name] : [name, value]);
  return [...segments, ...body.length > 0 ? [body] : [], ...parameters];
}

async function commandsOf(c: Context): Promise<unknown[][]> {
  return parseCommands(new URL(c.req.url), Buffer.from(await c.req.arrayBuffer()));
}

/** Commands that affect a connection, or that wait. */
const NOT_OFFERED = new Set(
  ("AUTH BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN CLIENT DISCARD EXEC HELLO MONITOR " +
    "MULTI PSUBSCRIBE QUIT RESET SELECT SHUTDOWN SSUBSCRIBE SUBSCRIBE UNWATCH WAIT WATCH").split(
      " ",
    ),
);

function sendable(command: unknown[]): Argument[] {
  if (command.length === 0) throw new RedisError("ERR empty command");
  const args = command.map((argument): Argument => {
    if (typeof argument === "string" || Buffer.isBuffer(argument)) return argument;
    if (typeof argument === "number" || typeof argument === "boolean") return String(argument);
    if (argument === null) throw new RedisError("ERR null args are not supported");
    throw new RedisError("ERR failed to parse command: an argument is an object");
  });
  const name = String(args[0]).toUpperCase();
  if (NOT_OFFERED.has(name)) throw new RedisError(`ERR Command is not available: '${name}'`);
  return args;
}

/** With `Upstash-Encoding: base64`, everything but the status "OK" is encoded, at every depth. */
function resultOf(reply: Reply, c: Context): unknown {
  const encoding = c.req.header("upstash-encoding") === "base64" ? "base64" : "utf8";
  if (reply === "OK") return reply;
  return encoded(reply);

  function encoded(reply: Reply): unknown {
    if (reply === null || typeof reply === "number") return reply;
    if (Array.isArray(reply)) return reply.map(encoded);
    const bytes = reply instanceof RedisError ? Buffer.from(reply.message) : Buffer.from(reply);
    return bytes.toString(encoding);
  }
}

function messageOf(error: unknown): string {
  if (error instanceof RedisError) return error.message;
  throw error;
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    throw new RedisError("ERR failed to parse request: invalid JSON");
  }
}

function isArrayOf(value: unknown, is: (item: unknown) => boolean): value is unknown[] {
  return Array.isArray(value) && value.every(is);
}
