// Applications with a guarded route.
import { type CircuitOptions, createFuse, type FuseOptions } from "@fuse/edge";
import {
  circuitBreaker,
  type CircuitBreakerMiddlewareOptions,
  type FuseVariables,
} from "@fuse/edge/hono";
import { FakeClock } from "@fuse/edge/testing";
import { type Context, Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { chaos, memory } from "../../support/drivers.ts";

export const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 5_000 };

/** An application with one guarded route; its circuit is "api" unless another is named. */
export function guarded(
  options: Partial<CircuitBreakerMiddlewareOptions>,
  handler: (c: Context<{ Variables: FuseVariables }>) => Response | Promise<Response>,
) {
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now });
  const app = new Hono<{ Variables: FuseVariables }>();
  app.use("/:service?", circuitBreaker({ fuse, name: "api", options: TRIP, ...options }));
  app.all("*", handler);
  return { app, fuse: typeof options.fuse === "object" ? options.fuse : fuse, clock };
}

/** Fuses on a shared store. */
export function shared(options: FuseOptions = {}, faults: Parameters<typeof chaos>[1] = {}) {
  const clock = new FakeClock();
  const inner = memory({ clock: clock.now });
  let asked = 0;
  const store = chaos(inner, {
    ...faults,
    latencyMs: () => {
      asked++;
      return 0;
    },
  });
  const stores = { shared: store };
  const fuse = createFuse({ clock: clock.now, stores, defaults: TRIP, ...options });
  const shape = { windowMs: 120_000, windowSize: 0 };
  const stored = (key: string) =>
    (inner.read(key, { at: clock.now(), shape }) as { state: string }).state;
  return { fuse, store: chaos(inner, {}), clock, stored, asked: () => asked };
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function boom(): never {
  throw new Error("boom");
}

/** The error handler of Hono, without its console output. */
export function answerErrors(error: Error, c: Context): Response {
  return error instanceof HTTPException ? error.getResponse() : c.text("", 500);
}
