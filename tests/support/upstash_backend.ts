/**
 * The Redis behind the Upstash face.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createClient, ErrorReply, RESP_TYPES } from "@redis/client";
import { type Backend, RedisError, type Reply } from "./upstash_app.ts";

/** Connects to a Redis. */
export async function connectBackend(url: string): Promise<Backend & { close(): Promise<void> }> {
  let client = connect(url);
  await client;

  // Not left to the client: its timers would leak into a test that did not start them.
  async function ready(): Promise<Client> {
    const current = client;
    const connected = await current.catch(() => undefined);
    if (connected?.isReady) return connected;
    // All concurrent callers get the connection that the first of them makes.
    if (client === current) client = connect(url);
    return await client;
  }

  return {
    async run(command) {
      try {
        return replyOf(await (await ready()).sendCommand(command));
      } catch (error) {
        throw errorOf(error);
      }
    },
    async transact(commands) {
      const on = await ready();
      // Sent at once, so that no other request's command comes in between on this one connection.
      const sent = [["MULTI"], ...commands, ["EXEC"]].map((command) => on.sendCommand(command));
      const settled = await Promise.allSettled(sent);
      const refused = settled.find((answer) => answer.status === "rejected");
      if (refused) throw errorOf(refused.reason);
      return replyOf(await sent.at(-1)) as Reply[];
    },
    async close() {
      (await client.catch(() => undefined))?.destroy();
    },
  };
}

type Client = Awaited<ReturnType<typeof connect>>;

async function connect(url: string) {
  const client = createClient({
    url,
    // The types of Upstash's REST API: statuses, bulk strings and integers, no maps and no doubles.
    RESP: 2,
    // Bytes: text that is not UTF-8 survives base64, and the status "OK" differs from the text
    // "OK".
    commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
    disableOfflineQueue: true,
    socket: { reconnectStrategy: false },
  });
  // Errors also reject the commands; an event without a listener would throw.
  client.on("error", () => {});
  await client.connect();
  return client;
}

function replyOf(reply: unknown): Reply {
  if (Array.isArray(reply)) return reply.map(replyOf);
  return (reply instanceof ErrorReply ? new RedisError(reply.message) : reply) as Reply;
}

function errorOf(error: unknown): unknown {
  return error instanceof ErrorReply ? new RedisError(error.message) : error;
}
