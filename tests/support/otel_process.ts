/**
 * A process with a Fuse, for Deno's own OpenTelemetry: under `OTEL_DENO=true` Deno exports its
 * telemetry.
 *
 * @module
 */
import { createFuse } from "@fuse/edge";
import { otel } from "@fuse/edge/otel";
import { shared } from "@fuse/edge/store";
import { trace } from "@opentelemetry/api";
import { chaos, memory } from "./drivers.ts";

const stores = { strong: shared(memory()), eventual: chaos(memory(), {}) };
const fuse = createFuse({ stores, instance: "fra1" });
otel(fuse, { durations: true });
const tracer = trace.getTracer("shop");
const down = () => Promise.reject(Object.assign(new Error("token=s3cr3t"), { code: "ECONNRESET" }));

const handled = (name: string, work: () => Promise<unknown>) =>
  tracer.startActiveSpan(name, async (span) => {
    await work();
    span.end();
  });
for (const consistency of ["strong", "eventual"] as const) {
  const pay = fuse.store(consistency).make("pay", { consistency, failureThreshold: 1 });
  await handled(`${consistency} succeeds`, () => pay.call(() => "paid"));
  await handled(`${consistency} fails`, () => pay.tryCall(down));
  await fuse.flush();
  await handled(`${consistency} is rejected`, () => pay.tryCall(() => "paid"));
}
console.log("done");
// Deno collects metrics at intervals, and not when the process ends.
for await (const _ of Deno.stdin.readable);
