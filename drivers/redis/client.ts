/**
 * Clients of Redis over TCP, as the clients over REST that the store speaks to.
 *
 * @module
 */

import { refuseUnseen } from "../../src/checks.ts";
import type { RedisLike, RedisPipelineLike } from "../upstash/client.ts";

/** The part of a client that is used: ioredis has `call`, node-redis has `sendCommand`. */
export type RedisClientLike =
  | {
    /** Sends a command. Rejects with the server's error. */
    call(command: string, ...args: string[]): Promise<unknown>;
  }
  | {
    /** Sends a command, whose name is the first of `args`. Rejects with the server's error. */
    sendCommand(args: string[]): Promise<unknown>;
  };

/** Sends a command. */
type Send = (...args: string[]) => Promise<unknown>;

/**
 * Returns a function that returns the client at each request.
 *
 * @throws {TypeError} If `client` is neither a client nor a function.
 */
export function clientOf(
  subject: string,
  client: RedisClientLike | (() => RedisClientLike),
): () => RedisLike {
  if (typeof client === "function") return () => overTcp(senderOf(client()));
  if (!isClient(client)) {
    const allowed = "a client of ioredis or node-redis, or a function that gives one";
    return refuseUnseen(subject, "client", allowed, client);
  }
  const prefix = (client as { options?: { keyPrefix?: unknown } }).options?.keyPrefix;
  if (prefix) {
    // ioredis adds it to the keys of a script, but not to the pattern of SCAN.
    throw new TypeError(
      `Cannot create ${subject}: "client" must have no "keyPrefix", use the option "prefix"`,
    );
  }
  const over = overTcp(senderOf(client));
  return () => over;
}

function isClient(client: unknown): client is RedisClientLike {
  const { call, sendCommand } = Object(client) as Record<string, unknown>;
  return typeof call === "function" || typeof sendCommand === "function";
}

function senderOf(client: RedisClientLike): Send {
  // ioredis has a `sendCommand` too, with other arguments.
  return "call" in client
    ? (command, ...args) => client.call(command!, ...args)
    : (...args) => client.sendCommand(args);
}

function overTcp(send: Send): RedisLike {
  const run = (command: string, script: string, keys: string[], args: (string | number)[]) =>
    send(command, script, String(keys.length), ...keys, ...args.map(String));
  return {
    evalsha: (sha, keys, args) => run("EVALSHA", sha, keys, args),
    eval: (script, keys, args) => run("EVAL", script, keys, args),
    pipeline: () => pipelineOf(run),
    scan: (cursor, { match = "*", count = 10 } = {}) =>
      send("SCAN", String(cursor), "MATCH", match, "COUNT", String(count)) as Promise<
        [string, string[]]
      >,
    del: (...keys) => send("DEL", ...keys) as Promise<number>,
  };
}

/** Commands that are sent without waiting between them share one round trip on a connection. */
function pipelineOf(
  run: (...command: [string, string, string[], (string | number)[]]) => Promise<unknown>,
): RedisPipelineLike {
  const added: [sha: string, keys: string[], args: (string | number)[]][] = [];
  return {
    evalsha: (...command) => added.push(command),
    async exec() {
      const sent = added.map(async (command) => await run("EVALSHA", ...command));
      return (await Promise.allSettled(sent)).map((answer) =>
        answer.status === "fulfilled" ? { result: answer.value } : { error: wordsOf(answer.reason) }
      );
    },
  };
}

/** Returns an error's message, which is never empty: an empty one would look like no error. */
function wordsOf(error: unknown): string {
  const { message } = Object(error) as { message?: unknown };
  return typeof message === "string" && message !== "" ? message : "failed";
}
