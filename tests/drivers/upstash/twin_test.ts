import { sharedRedis } from "../../support/redis_server.ts";
import { answersAsMemory } from "../../support/twin.ts";
import { startFace } from "../../support/upstash_face.ts";
import { upstash } from "../../support/drivers.ts";

const redis = await sharedRedis();
const { url, token } = await startFace({ redis });

Deno.test("upstash() answers as memory() does to random requests", async () => {
  await answersAsMemory((clock) => upstash({ url, token, clock }));
});
