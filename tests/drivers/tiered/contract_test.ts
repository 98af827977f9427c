// The contract suite on two stores as one: state in a real Redis, or in memory, and the trail in libSQL.
import { createClient } from "@libsql/client";
import { memory, type Store } from "@fuse/edge";
import { libsql, tiered } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { chaos, storeContract } from "@fuse/edge/testing";
import { upstash } from "@fuse/edge/upstash";
import type { Clock } from "../../../src/contract.ts";
import { sharedRedis } from "../../support/redis_server.ts";
import { startFace } from "../../support/upstash_face.ts";

const redis = await sharedRedis();
const face = await startFace({ redis });
const client = createClient({ url: ":memory:" });
await migrate(client);
addEventListener("unload", () => client.close());

type Make = (clock: Clock) => Store;

/** The store of the state, with and without an outbox. */
const STATES: Readonly<Record<string, Make>> = {
  "Redis and libsql": (clock) => upstash({ url: face.url, token: face.token, clock }),
  "memory and libsql": (clock) => memory({ clock }),
  "a remote store without outbox and libsql": (clock) => chaos(memory({ clock }), {}),
};

for (const [name, state] of Object.entries(STATES)) {
  const cases = storeContract(({ clock }) =>
    // A long limit, because a busy machine is no outage of the database.
    tiered({ state: state(clock), audit: libsql({ client, clock }), auditTimeoutMs: 60_000 })
  );
  for (const { name: promise, run } of cases) {
    Deno.test(`storeContract(tiered, ${name}) ${promise}`, run);
  }
}
