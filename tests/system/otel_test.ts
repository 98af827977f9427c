// Deno's own OpenTelemetry exports the telemetry of otel() to a real OTLP receiver.
import { assert, assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";

const PROCESS = fileURLToPath(new URL("../support/otel_process.ts", import.meta.url));

/** The part of OTLP in JSON that this test reads. */
interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: string | number };
}
interface Point {
  readonly attributes: readonly Attribute[];
  readonly asInt?: string | number;
  readonly asDouble?: number;
  readonly count?: string | number;
  readonly explicitBounds?: readonly number[];
}
type Told = { readonly name: string; readonly attributes: readonly Attribute[] };
interface Span extends Told {
  readonly traceId: string;
  readonly events?: readonly Told[];
}
interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly sum?: { readonly dataPoints: readonly Point[]; readonly isMonotonic: boolean };
  readonly gauge?: { readonly dataPoints: readonly Point[] };
  readonly histogram?: { readonly dataPoints: readonly Point[] };
}

/** Runs the process under Deno's OpenTelemetry. Returns its exports. */
async function exported() {
  const metrics = new Map<string, Metric>();
  const spans: Span[] = [];
  let heard = () => {};
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    async (request) => {
      const body = await request.json();
      for (const { scopeMetrics } of body.resourceMetrics ?? []) {
        for (const metric of scopeMetrics.flatMap((s: { metrics: Metric[] }) => s.metrics)) {
          metrics.set(metric.name, metric);
          if (metric.name === "fuse.calls") heard();
        }
      }
      for (const { scopeSpans } of body.resourceSpans ?? []) {
        spans.push(...scopeSpans.flatMap((s: { spans: Span[] }) => s.spans));
      }
      return Response.json({});
    },
  );
  await using child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", PROCESS],
    env: {
      OTEL_DENO: "true",
      OTEL_DENO_CONSOLE: "ignore",
      OTEL_METRIC_EXPORT_INTERVAL: "50",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${server.addr.port}`,
    },
    ...{ stdin: "piped", stdout: "piped", stderr: "inherit" },
  }).spawn();
  const output = child.stdout.getReader();
  await output.read();
  // The first export after it may have been collected before.
  for (let i = 0; i < 2; i++) await new Promise<void>((resolve) => heard = resolve);
  await child.stdin.close();
  await output.cancel();
  assert((await child.status).success);
  return { metrics, spans };
}

const textOf = (attributes: readonly Attribute[]) =>
  Object.fromEntries(attributes.map(({ key, value }) => [
    key,
    value.stringValue ?? Number(value.intValue),
  ]));

/** Returns the values of a metric by the store and one more attribute. */
function valuesOf(metric: Metric | undefined, attribute: string): Record<string, number> {
  const points = (metric?.sum ?? metric?.gauge ?? metric?.histogram)?.dataPoints ?? [];
  return Object.fromEntries(points.map(({ attributes, asInt, asDouble, count }) => {
    const { "fuse.store": store, [attribute]: value } = textOf(attributes);
    return [`${store} ${value}`, Number(asInt ?? asDouble ?? count)];
  }));
}

Deno.test("otel() exports metrics, span events and spans under OTEL_DENO=true", async () => {
  const { metrics, spans } = await exported();
  const calls = metrics.get("fuse.calls");
  assertEquals([calls?.unit, calls?.sum?.isMonotonic], ["{call}", true]);
  const each = { "success": 1, "failure": 1, "ignored": 0 };
  const stores = ["strong", "eventual"];
  const all = (counts: Record<string, number>) =>
    Object.fromEntries(
      stores.flatMap((store) => Object.entries(counts).map(([of, n]) => [`${store} ${of}`, n])),
    );
  assertEquals(valuesOf(calls, "fuse.outcome"), all(each));
  assertEquals(valuesOf(metrics.get("fuse.rejections"), "circuitbreaker.name"), all({ pay: 1 }));
  assertEquals(
    valuesOf(metrics.get("fuse.transitions"), "circuitbreaker.state"),
    all({ open: 1 }),
  );
  assertEquals(
    valuesOf(metrics.get("fuse.circuits"), "circuitbreaker.state"),
    all({ closed: 0, open: 1, half_open: 0 }),
  );
  const durations = metrics.get("fuse.call.duration");
  assertEquals([durations?.unit, durations?.histogram?.dataPoints[0]?.explicitBounds?.[0]], [
    "s",
    0.005,
  ]);
  assertEquals(valuesOf(durations, "fuse.outcome"), all({ success: 1, failure: 1 }));

  // A strong call waits for the change, and has it on its span.
  const of = (name: string) => spans.find((span) => span.name === name);
  const [event, ...more] = of("strong fails")?.events ?? [];
  assertEquals([event?.name, more], ["circuitbreaker.state_change", []]);
  const change = of("circuitbreaker.state_change");
  assertEquals(change?.traceId, of("eventual fails")?.traceId);
  for (const [told, store] of [[event, "strong"], [change, "eventual"]] as const) {
    const attributes = textOf(told?.attributes ?? []);
    assertEquals(
      ["fuse.store", "circuitbreaker.previous_state", "circuitbreaker.state"]
        .map((name) => attributes[name]),
      [store, "closed", "open"],
    );
    assertEquals(
      [attributes["fuse.last_failure.kind"], attributes["fuse.last_failure.instance"]],
      ["ECONNRESET", "fra1"],
    );
  }
  assert(!JSON.stringify([...metrics.values(), ...spans]).includes("s3cr3t"));
});
