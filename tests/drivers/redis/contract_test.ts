// The contract suite on a real Redis over TCP, with each client of users.
import { storeContract } from "@fuse/edge/testing";
import { redis } from "../../support/drivers.ts";
import { sharedRedis } from "../../support/redis_server.ts";
import { CLIENTS } from "./clients.ts";

const server = await sharedRedis();

for (const [name, connect] of Object.entries(CLIENTS)) {
  // Connected once: an application keeps its client for the life of the process.
  const { client } = await connect(server.url);
  for (const { name: title, run } of storeContract(({ clock }) => redis(client, { clock }))) {
    Deno.test(`storeContract(redis, ${name}) ${title}`, run);
  }
}
