/**
 * An SDK of OpenTelemetry in this process, without timers.
 *
 * @module
 */
import { type Attributes, context, type Meter, type Tracer } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { AggregationTemporality, MeterProvider, MetricReader } from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, type ReadableSpan } from "@opentelemetry/sdk-trace-base";

/** The values of a metric, by its attributes as `name=value` in order. */
export type Points = Record<string, number>;

/** The SDK. */
export interface Sdk extends AsyncDisposable {
  /** The options for `otel()`. */
  readonly to: { readonly meter: Meter; readonly tracer: Tracer };
  /** Collects the metrics of the meter, by their names. A histogram's value is its count. */
  collect(): Promise<Record<string, Points>>;
  /** Returns the spans that have ended. */
  readonly spans: readonly ReadableSpan[];
}

/** Returns attributes as text. */
export function textOf(attributes: Attributes): string {
  return Object.entries(attributes).map(([name, value]) => `${name}=${value}`).sort().join(" ");
}

class Reader extends MetricReader {
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }
  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }
}

/** Starts an SDK. Its context manager is the global one until it is disposed. */
export function startSdk(): Sdk {
  const reader = new Reader({
    aggregationTemporalitySelector: () => AggregationTemporality.CUMULATIVE,
  });
  const meters = new MeterProvider({ readers: [reader] });
  const spans: ReadableSpan[] = [];
  // The SDK's own exporter into memory sets timers.
  const tracers = new BasicTracerProvider({
    spanProcessors: [{
      onStart: () => {},
      onEnd: (span) => void spans.push(span),
      forceFlush: () => Promise.resolve(),
      shutdown: () => Promise.resolve(),
    }],
  });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  return {
    to: { meter: meters.getMeter("test"), tracer: tracers.getTracer("test") },
    async collect() {
      const { resourceMetrics, errors } = await reader.collect();
      if (errors.length > 0) throw errors[0];
      const metrics = resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics);
      return Object.fromEntries(metrics.map(({ descriptor, dataPoints }) => [
        descriptor.name,
        Object.fromEntries(dataPoints.map(({ attributes, value }) => [
          textOf(attributes),
          typeof value === "number" ? value : value.count,
        ])),
      ]));
    },
    spans,
    async [Symbol.asyncDispose]() {
      context.disable();
      await meters.shutdown();
      await tracers.shutdown();
    },
  };
}
