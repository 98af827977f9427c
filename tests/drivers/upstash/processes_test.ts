import { upstash } from "@fuse/edge/upstash";
import { processTraps } from "../../support/process_traps.ts";
import { sharedRedis } from "../../support/redis_server.ts";
import { startFace } from "../../support/upstash_face.ts";

const redis = await sharedRedis();
const { url, token } = await startFace({ redis });
const at = { url, token, prefix: "processes" };

processTraps("Redis", { store: "upstash", where: JSON.stringify(at), open: () => upstash(at) });
