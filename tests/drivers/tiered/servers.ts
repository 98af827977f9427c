// A Redis and a sqld that the tests of a file share.
import { createClient } from "@libsql/client/web";
import { migrate } from "@fuse/edge/migrations";
import { sharedRedis } from "../../support/redis_server.ts";
import { sqldForFile } from "../../support/sqld.ts";
import { startFace } from "../../support/upstash_face.ts";

export const redis = await sharedRedis();
export const face = await startFace({ redis });
const server = await sqldForFile();
export const client = createClient({ url: server.url });
await migrate(client);

/** Returns a name that no other test uses: tests share a database. */
export function unique(): string {
  return `circuit-${crypto.randomUUID()}`;
}
