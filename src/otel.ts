/**
 * Reports metrics and span events of a Fuse to `@opentelemetry/api`. The registered SDK exports them, also
 * that of Deno (`OTEL_DENO=true`).
 *
 * @example
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { otel } from "@fuse/edge/otel";
 * import { assertEquals } from "@std/assert";
 *
 * const fuse = createFuse();
 * const stop = otel(fuse);
 *
 * // The next collection has fuse.calls { circuitbreaker.name: "payments", fuse.outcome: "success" }: 1
 * assertEquals(await fuse.make("payments").call(() => "paid"), "paid");
 * stop();
 * ```
 *
 * @module
 */

import {
  type Attributes,
  type BatchObservableResult,
  type Meter,
  metrics,
  type Observable,
  trace,
  type Tracer,
} from "@opentelemetry/api";
import { known, refuse, refuseUnseen } from "./checks.ts";
import { counted, type TransitionEvent } from "./events.ts";
import type { Fuse } from "./fuse.ts";
import { circuitsOf, knownStores, onForgotten } from "./known.ts";
import { attributesOf, errorTypeOf, failureAttributes, STATES } from "./otel/attributes.ts";
import { Sums, Totals } from "./otel/totals.ts";
import { readState } from "./rules/snapshot.ts";
import { inTurns } from "./turns.ts";

/** Options of {@linkcode otel}. */
export interface OtelOptions {
  /**
   * A `Meter` of `@opentelemetry/api`. By default, that of the global provider, which must be
   * registered before.
   */
  meter?: object | undefined;
  /** A `Tracer` of `@opentelemetry/api`. By default, that of the global provider. */
  tracer?: object | undefined;
  /**
   * `true` to separate scopes, by `fuse.context` and `fuse.boundary`. Without it, spans name no
   * tenants, and in metrics the circuits of all scopes add up under their name: most backends
   * cannot keep a series for each tenant.
   *
   * @default {false}
   */
  scopes?: boolean | undefined;
  /**
   * `true` to record the histogram `fuse.call.duration`. It measures every call, which costs more than the
   * breaker itself.
   *
   * @default {false}
   */
  durations?: boolean | undefined;
}

const SUBJECT = "otel";
const NAME = "@fuse/edge";
/** The name of the span events, and of the spans of changes that no caller waits for. */
const CHANGE = "circuitbreaker.state_change";

/**
 * Reports a Fuse to OpenTelemetry, as this isolate sees it. The backend adds up the counters of the
 * isolates.
 *
 * Counters are read from the core's own totals when metrics are collected, so calls cost no more, except
 * with `durations`. A change of state becomes an event of the active span if the caller waits for it, and
 * otherwise a span of its own. The page lists the names.
 *
 * Cost: at each collection, a `peek()` of each circuit that this isolate knows, between which calls go on;
 * no I/O.
 *
 * @param fuse The Fuse, or a view of it.
 * @param options See {@linkcode OtelOptions}.
 * @returns A function that ends collection, events and spans.
 * @throws {TypeError | RangeError} Naming the option.
 *
 * @example With a provider of your own
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { otel } from "@fuse/edge/otel";
 * import { metrics, trace } from "@opentelemetry/api";
 *
 * const fuse = createFuse();
 * const meter = metrics.getMeter("shop");
 * const stop = otel(fuse, { meter, tracer: trace.getTracer("shop"), scopes: true });
 * stop();
 * ```
 */
export function otel(fuse: Fuse, options: OtelOptions = {}): () => void {
  known(SUBJECT, options, ["meter", "tracer", "scopes", "durations"]);
  const { scopes = false, durations = false } = options;
  for (const [option, value] of Object.entries({ scopes, durations })) {
    if (typeof value !== "boolean") refuse(SUBJECT, option, "true or false", value);
  }
  const meter = given<Meter>("meter", options.meter, "addBatchObservableCallback") ??
    metrics.getMeter(NAME);
  const tracer = given<Tracer>("tracer", options.tracer, "startSpan") ?? trace.getTracer(NAME);
  const stops = [
    observe(fuse, meter, scopes),
    ...durations ? measure(fuse, meter, scopes) : [],
    ...STATES.map(({ event }) => fuse.on(event, (change) => tell(tracer, change, scopes))),
  ];
  return () => stops.forEach((stop) => stop());
}

function given<T>(option: string, value: object | undefined, method: keyof T & string): T | null {
  if (value === undefined) return null;
  const isFit = typeof (Object(value) as Partial<T>)[method] === "function";
  return isFit
    ? value as T
    : refuseUnseen(SUBJECT, option, `a ${option} of @opentelemetry/api`, value);
}

/** Observes everything except durations. Returns a function that stops it. */
function observe(fuse: Fuse, meter: Meter, scopes: boolean): () => void {
  const calls = new Totals(scopes);
  const changes = new Sums();
  const errors = new Sums();
  const stops = [
    onForgotten(fuse, (circuit) => calls.take(circuit)),
    ...STATES.map(({ event, state }) =>
      fuse.on(event, (change) => {
        changes.add({ ...attributesOf(change, scopes), "circuitbreaker.state": state });
      })
    ),
    fuse.on(
      "store_error",
      counted(({ store, circuit, operation, error }) => {
        errors.add({
          ...(circuit === undefined ? { "fuse.store": store } : attributesOf(circuit, scopes)),
          ...{ "fuse.operation": operation, "error.type": errorTypeOf(error) },
        });
      }),
    ),
  ];
  const instruments = instrumentsOf(meter);
  const observeStates = stateObserver(fuse, scopes, instruments);
  const all = Object.values(instruments);
  const callback = async (result: BatchObservableResult) => {
    for await (const circuits of inTurns(circuitsOf(fuse))) {
      for (const circuit of circuits) calls.take(circuit);
    }
    await calls.observe(result, instruments);
    await changes.observe(result, instruments.transitions);
    await errors.observe(result, instruments.storeErrors);
    await observeStates(result);
  };
  meter.addBatchObservableCallback(callback, all);
  return () => {
    meter.removeBatchObservableCallback(callback, all);
    stops.forEach((stop) => stop());
  };
}

function instrumentsOf(meter: Meter) {
  const counter = (name: string, unit: string, description: string): Observable =>
    meter.createObservableCounter(`fuse.${name}`, { unit, description });
  const gauge = (name: string, unit: string, description: string): Observable =>
    meter.createObservableGauge(`fuse.${name}`, { unit, description });
  return {
    calls: counter("calls", "{call}", "Calls that ended, by their outcome."),
    slowCalls: counter("slow_calls", "{call}", "Calls that took slowCallMs or longer."),
    rejections: counter("rejections", "{call}", "Rejected calls."),
    transitions: counter("transitions", "{transition}", "Changes of state made by this isolate."),
    storeErrors: counter("store.errors", "{error}", "Failures of the store in this isolate."),
    circuits: gauge("circuits", "{circuit}", "Circuits, by the state beneath any override."),
    overridden: gauge("overridden_circuits", "{circuit}", "Circuits under an override."),
    local: gauge("local_circuits", "{circuit}", "Circuits that this isolate decides about alone."),
    pace: gauge(
      "pace_ratio",
      "1",
      "How much less often this isolate asks about a circuit, at most.",
    ),
    up: gauge("store.up", "1", "1 if the last requests to the store did not fail."),
  };
}

/** Returns a callback that observes the stores, and the circuits as this isolate knows them. */
function stateObserver(
  fuse: Fuse,
  scopes: boolean,
  { circuits, overridden, local, pace, up }: ReturnType<typeof instrumentsOf>,
): (result: BatchObservableResult) => Promise<void> {
  const kept = [new Sums(), new Sums(), new Sums()] as const;
  return async (result) => {
    // Two readers may collect at once.
    const [states, overrides, alone] = [new Sums(), new Sums(), new Sums()] as const;
    const ratios = new Map<string, number>();
    for await (const known of inTurns(circuitsOf(fuse))) {
      for (const circuit of known) {
        const { snapshot, now, local, paceRatio = 1 } = circuit.peek();
        const attributes = attributesOf(circuit.identity, scopes);
        const current = readState(snapshot, now);
        // A state without circuits is 0, so that its series does not end.
        for (const { of, state } of STATES) {
          states.add({ ...attributes, "circuitbreaker.state": state }, of === current ? 1 : 0);
        }
        const { override } = snapshot;
        if (override !== null) overrides.add({ ...attributes, "fuse.override": override.kind });
        const store = attributes["fuse.store"] as string;
        alone.add({ "fuse.store": store }, local ? 1 : 0);
        ratios.set(store, Math.max(ratios.get(store) ?? 1, paceRatio));
      }
    }
    for (const [i, sums] of [states, overrides, alone].entries()) {
      kept[i]!.replace(sums);
      await kept[i]!.observe(result, [circuits, overridden, local][i]!);
    }
    for (const [store, ratio] of ratios) result.observe(pace, ratio, { "fuse.store": store });
    for (const { name, down } of knownStores(fuse)) {
      result.observe(up, down ? 0 : 1, { "fuse.store": name.toWellFormed() });
    }
  };
}

/** Records the duration of every call. */
function measure(fuse: Fuse, meter: Meter, scopes: boolean): (() => void)[] {
  const histogram = meter.createHistogram("fuse.call.duration", {
    ...{ unit: "s", description: "How long calls took." },
    // OpenTelemetry's conventions for durations in seconds. The defaults of SDKs are for ms.
    advice: {
      explicitBucketBoundaries: [
        ...[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
      ],
    },
  });
  return (["success", "failure", "ignored"] as const).map((outcome) =>
    fuse.on(outcome, (call) => {
      const attributes = { ...attributesOf(call, scopes), "fuse.outcome": outcome };
      histogram.record(call.durationMs / 1_000, attributes);
    })
  );
}

/**
 * Reports a change of state: on the span of the caller that waits for it, or in a span of its own.
 */
function tell(tracer: Tracer, change: TransitionEvent, scopes: boolean): void {
  const { from, to, reason, generation, background, local, snapshot: { lastFailure } } = change;
  const stateOf = (wanted: string) => STATES.find(({ of }) => of === wanted)!.state;
  const attributes: Attributes = {
    ...attributesOf(change, scopes),
    ...{ "circuitbreaker.state": stateOf(to), "circuitbreaker.previous_state": stateOf(from) },
    ...{ "fuse.reason": reason.toWellFormed(), "fuse.generation": generation },
    ...local ? { "fuse.local": true } : null,
    ...to === "OPEN" && lastFailure !== null ? failureAttributes(lastFailure) : null,
  };
  const span = trace.getActiveSpan();
  if (span?.isRecording() && !background) span.addEvent(CHANGE, attributes);
  else tracer.startSpan(CHANGE, { attributes }).end();
}
