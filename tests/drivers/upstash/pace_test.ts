// Processes that share a Redis hold back by what it tells of their traffic.
import { assert, assertEquals, assertGreater } from "@std/assert";
import type { CircuitOptions } from "@fuse/edge";
import { startIsolate } from "../../support/isolate_process.ts";
import { sharedRedis } from "../../support/redis_server.ts";
import { startFace } from "../../support/upstash_face.ts";

const PROCESSES = 8;
const redis = await sharedRedis();

/** Without a limit each process asks fifty times a second, if the machine lets it. */
const OPTIONS: CircuitOptions = {
  flushIntervalMs: 20,
  revalidateMs: 20,
  cooldownMs: 1_000,
  maxStalenessMs: 1_000,
};
const LIMIT = 20;
/** Healthy, with a dead upstream, and healthy again. */
const PHASES = { failing: [3_000, 6_000], forMs: 9_000 } as const;

Deno.test("processes with a limit send Redis a fraction of what they send without one, well or not", async () => {
  await using face = await startFace({ redis });
  const where = JSON.stringify({ url: face.url, token: face.token, prefix: "herd" });
  const isolates = Array.from({ length: PROCESSES }, () => startIsolate("upstash", where));
  try {
    // So that all are there before the first of them begins.
    await Promise.all(isolates.map((isolate) => isolate.ask("flush", {})));
    const sent = { paced: new Map<number, number>(), free: new Map<number, number>() };
    const begun = performance.now();
    face.fault = ({ commands }) => {
      const second = Math.floor((performance.now() - begun) / 1_000);
      for (const command of commands) {
        const name = command.some((part) => String(part).includes("paced")) ? "paced" : "free";
        sent[name].set(second, (sent[name].get(second) ?? 0) + 1);
      }
      return undefined;
    };
    // The same processes at the same time, so that what holds up one holds up the other.
    const circuits = [
      { name: "paced", options: { ...OPTIONS, maxRequestsPerSecond: LIMIT } },
      { name: "free", options: { ...OPTIONS, maxRequestsPerSecond: 1_000_000 } },
    ];
    const driven = await Promise.all(
      isolates.map((isolate) => isolate.ask("drive", { circuits, everyMs: 5, ...PHASES })),
    );
    const figures = (name: "paced" | "free") => [...sent[name].values()];
    console.log("Commands by second, with a limit:", ...figures("paced"));
    console.log("Commands by second, without:", ...figures("free"));
    for (const { ran, rejected } of driven) assert(ran > 0 && rejected > 0);
    const total = (name: "paced" | "free") =>
      figures(name).reduce((sum, figure) => sum + figure, 0);
    assertGreater(total("free"), 3 * total("paced"));
    // The failures were counted, and both circuits have closed again.
    for (const name of ["paced", "free"]) {
      await isolates[0]!.ask("make", { name, options: {} });
      assertEquals(await isolates[0]!.ask("look", {}), "CLOSED", name);
    }
  } finally {
    await Promise.all(isolates.map((isolate) => isolate[Symbol.asyncDispose]()));
  }
});
