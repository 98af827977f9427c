/**
 * Runs sessions by the hundred, and reports one that fails.
 *
 * @module
 */
import fc from "fast-check";
import type { FakeClock } from "@fuse/edge/testing";
import { print, type Session, sessions } from "./commands.ts";
import { scaled } from "../../support/scale.ts";
import { type Ground, play } from "./world.ts";

/**
 * The same sessions each time, so that a red gate is red for everyone. `MODEL_SEED=random` (or a
 * number) and `MODEL_RUNS=5000` search further; a failure prints seed and path, which replay it
 * when given as `MODEL_SEED` and `MODEL_PATH`.
 */
const SEED = seedOf(Deno.env.get("MODEL_SEED"));
const RUNS = Number(Deno.env.get("MODEL_RUNS") ?? scaled(60, 300));
const PATH = Deno.env.get("MODEL_PATH");

/** The kind of sessions. */
export interface Shape {
  /** Whether there is one isolate only. */
  readonly alone: boolean;
  readonly clockGoesBack: boolean;
  /** The share of the usual runs: a real server takes longer. @default {1} */
  readonly share?: number;
}

/** Plays sessions on the real breaker, with the model beside it. */
export function check(
  shape: Shape,
  ground: (clock: FakeClock, session: Session) => Ground | Promise<Ground>,
): Promise<void> {
  return verify(shape, (session) => play(session, ground));
}

/** Runs sessions; a session that throws is shrunk and printed. */
export function verify(
  { share = 1, ...shape }: Shape,
  run: (session: Session) => Promise<void>,
): Promise<void> {
  const property = fc.asyncProperty(sessions({ maxCommands: 100, ...shape }), async (session) => {
    try {
      await run(session);
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      throw new Error(`${what}\n${print(session)}`, { cause: error });
    }
  });
  return fc.assert(property, {
    seed: SEED,
    numRuns: Math.ceil(RUNS * share),
    includeErrorInReport: true,
    ...(PATH === undefined ? {} : { path: PATH }),
  });
}

function seedOf(given: string | undefined): number {
  if (given === "random") return Math.floor(Math.random() * 2 ** 31);
  return given === undefined ? 20_251_123 : Number(given);
}
