/**
 * A Worker with its own SDK of OpenTelemetry, for workerd: it answers with the collected telemetry.
 *
 * @module
 */
import { createFuse } from "@fuse/edge";
import { otel } from "@fuse/edge/otel";
import { metrics, trace } from "@opentelemetry/api";
import { AggregationTemporality, MeterProvider, MetricReader } from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";

/** Collects when the Worker is asked: there are no timers at module scope. */
class Reader extends MetricReader {
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }
  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }
}

const reader = new Reader({
  aggregationTemporalitySelector: () => AggregationTemporality.CUMULATIVE,
});
metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
const spans: { name: string; attributes: Record<string, unknown> }[] = [];
trace.setGlobalTracerProvider(
  new BasicTracerProvider({
    spanProcessors: [{
      onStart: () => {},
      onEnd: ({ name, attributes }) => void spans.push({ name, attributes }),
      forceFlush: () => Promise.resolve(),
      shutdown: () => Promise.resolve(),
    }],
  }),
);

const fuse = createFuse();
otel(fuse, { durations: true });

export default {
  async fetch(request: Request): Promise<Response> {
    if (new URL(request.url).pathname === "/fail") {
      const pay = fuse.make("pay", { failureThreshold: 1 });
      await pay.tryCall(() => Promise.reject(new TypeError("token=s3cr3t")));
      await pay.tryCall(() => "paid");
    }
    const { resourceMetrics } = await reader.collect();
    const collected = resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
      .map(({ descriptor, dataPoints }) => [
        descriptor.name,
        dataPoints.map(({ attributes, value }) => ({ attributes, value })),
      ]);
    return Response.json({ metrics: Object.fromEntries(collected), spans });
  },
};
