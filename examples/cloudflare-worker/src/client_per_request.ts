import { createFuse } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { createClient } from "@libsql/client/web";
import { env, waitUntil } from "cloudflare:workers";
import { createApp, prune } from "./app.ts";

// Called for each unit of work: a client that requests share queues their requests, and one request
// would wait for another's.
const client = () => createClient({ url: env.TURSO_DATABASE_URL, authToken: env.TURSO_AUTH_TOKEN });

const database = libsql({ client });
const fuse = createFuse({
  stores: { database },
  storeTimeoutMs: Number(env.STORE_TIMEOUT_MS),
  waitUntil,
});

export default {
  fetch: createApp(fuse).fetch,
  scheduled: () => prune(database, env),
};
