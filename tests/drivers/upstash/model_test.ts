import { upstash } from "../../support/drivers.ts";
import type { Clock } from "@fuse/edge";
import { check } from "../../fleet/model/verify.ts";
import { busy } from "../../support/busy.ts";
import { sharedRedis } from "../../support/redis_server.ts";
import { type Fault, startFace } from "../../support/upstash_face.ts";
import { seeded } from "../../support/virtual_time.ts";

const redis = await sharedRedis();
const face = await startFace({ redis });

/** A session has hundreds of requests, each a real one. */
const SHARE = 1 / 30;
/** No real answer takes that long, however busy the machine. */
const storeTimeoutMs = 30_000;

let sessions = 0;
/** A separate store for a session, on the shared server. */
function open(clock: Clock) {
  const prefix = `session-${sessions++}`;
  return upstash({ url: face.url, token: face.token, clock, prefix });
}

Deno.test("CircuitBreaker() agrees with the model when consistency is strong over Redis", async () => {
  await check({ alone: false, clockGoesBack: true, share: SHARE }, (clock) => ({
    ...busy(open(clock.now)),
    options: { consistency: "strong" },
    agreement: "exact",
    settle: true,
    storeTimeoutMs,
  }));
});

Deno.test("CircuitBreaker() agrees with the model when consistency is eventual and the isolate alone on Redis", async () => {
  await check({ alone: true, clockGoesBack: false, share: SHARE }, (clock) => ({
    ...busy(open(clock.now)),
    options: { consistency: "eventual", flushSize: 4 },
    agreement: "exact",
    settle: true,
    storeTimeoutMs,
  }));
});

Deno.test("CircuitBreaker() accounts for every call when consistency is eventual over Redis", async () => {
  await check({ alone: false, clockGoesBack: false, share: SHARE }, (clock) => ({
    ...busy(open(clock.now)),
    options: { consistency: "eventual", flushSize: 4 },
    agreement: "settled",
    storeTimeoutMs,
  }));
});

Deno.test("CircuitBreaker() never violates a promise when the network to Redis fails", async () => {
  const faults: readonly Fault[] = ["refuse", "lose", "lose", 500, "truncated"];
  await check({ alone: false, clockGoesBack: false, share: SHARE }, (clock, { faults: seed }) => {
    const random = seeded(seed);
    face.fault = () => random() < 0.25 ? faults[Math.floor(random() * faults.length)] : undefined;
    return {
      ...busy(open(clock.now)),
      options: { consistency: seed % 2 === 0 ? "eventual" : "strong", flushSize: 4 },
      agreement: "faulty",
      storeTimeoutMs,
      heal() {
        face.fault = undefined;
      },
    };
  }).finally(() => face.fault = undefined);
});
