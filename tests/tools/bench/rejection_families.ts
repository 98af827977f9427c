/**
 * Calls that an open circuit rejects.
 *
 * @module
 */
import { createFuse, isCircuitBreakerOpenError } from "@fuse/edge";
import { BrokenCircuitError, CircuitState } from "cockatiel";
import { type Family, NAMES, type Peers } from "./family.ts";
import type { Candidate } from "./harness.ts";
import { cockatielConsecutive } from "./peer_cockatiel.ts";
import { opossum } from "./peer_opossum.ts";
import { stdBreaker } from "./peer_std.ts";
import { consecutive } from "./policies.ts";

/** The name of the family. */
export const REJECTION = "rejection";

/** The families by name. */
export const REJECTION_FAMILIES: Readonly<Record<string, Family>> = { [REJECTION]: candidates };

async function candidates({ std }: Peers): Promise<Candidate[]> {
  const fn = () => Promise.resolve(42);
  const ours = createFuse().make("open", consecutive);
  const cockatiel = cockatielConsecutive();
  const fail = () => Promise.reject(new Error("down"));
  for (let i = 0; i < 5; i++) {
    await ours.call(fail).catch(() => {});
    await cockatiel.execute(fail).catch(() => {});
  }
  const lean = opossum(fn, "lean");
  lean.open();
  const refusal = await ours.call(fn).catch((error: unknown) => error);
  if (!isCircuitBreakerOpenError(refusal)) throw new Error("Ours is not open");
  const theirs = await cockatiel.execute(fn).catch((error: unknown) => error);
  if (!(theirs instanceof BrokenCircuitError) || cockatiel.state !== CircuitState.Open) {
    throw new Error("Cockatiel is not open");
  }
  if (!lean.opened) throw new Error("Opossum is not open");
  const stds = std && stdBreaker(std);
  stds?.forceOpen();
  // The costs of awaiting and catching alone, with an error created beforehand.
  const made = new Error("made once");
  const bare = () => Promise.reject(made);
  return [
    {
      name: NAMES.bare,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) {
          try {
            await bare();
          } catch { /* rejected */ }
        }
      },
    },
    {
      name: NAMES.call,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) {
          try {
            await ours.call(fn);
          } catch { /* rejected */ }
        }
      },
    },
    {
      name: NAMES.tryCall,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await ours.tryCall(fn);
      },
    },
    {
      name: NAMES.cockatiel,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) {
          try {
            await cockatiel.execute(fn);
          } catch { /* rejected */ }
        }
      },
    },
    ...stds === null ? [] : [{
      name: NAMES.std,
      run: async (calls: number) => {
        for (let i = 0; i < calls; i++) {
          try {
            await stds.execute(fn);
          } catch { /* rejected */ }
        }
      },
    }],
    {
      name: NAMES.opossum,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) {
          try {
            await lean.fire();
          } catch { /* rejected */ }
        }
      },
    },
  ];
}
