import { storeContract } from "@fuse/edge/testing";
import { upstash } from "@fuse/edge/upstash";
import { sharedRedis } from "./support/redis_server.ts";
import { startFace } from "./support/upstash_face.ts";

const redis = await sharedRedis();
const face = await startFace({ redis });

for (
  const { name, run } of storeContract(({ clock }) =>
    upstash({ url: face.url, token: face.token, clock })
  )
) Deno.test(`storeContract(upstash) ${name}`, run);
