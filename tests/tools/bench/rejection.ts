/**
 * What it costs to be turned away.
 *
 * @module
 */
import { createFuse, isCircuitBreakerOpenError } from "@fuse/edge";
import { BrokenCircuitError, CircuitState } from "cockatiel";
import { type Candidate, effort, fastest, race, ratio } from "./harness.ts";
import { cockatielConsecutive } from "./peer_cockatiel.ts";
import { opossum } from "./peer_opossum.ts";
import { consecutive } from "./policies.ts";
import type { Section } from "./section.ts";
import { budget, nanoseconds, times } from "./table.ts";

const OURS = { thrown: "fuse call, thrown", told: "fuse tryCall" };
const PEERS = ["cockatiel", "opossum lean", "opossum default statistics"];

/** Section `rejection`. */
export const section: Section = {
  candidates,
  async *run({ quick }) {
    const measured = await race(await candidates(), effort(quick));
    const named = (name: string) => measured.find((one) => one.name === name)!;
    const peer = fastest(PEERS.map(named));
    yield {
      name: "rejection",
      title: "OPEN: one call that is rejected",
      columns: ["candidate", "ns/call", "min–max", "ratio", "min–max", "budget"],
      rows: measured.map((one) => {
        const to = ratio(one, peer);
        const ours = one.name === OURS.thrown || one.name === OURS.told;
        const limit = one.name === OURS.thrown ? 0.3 : ratio(named(OURS.thrown), peer).median;
        return [
          one.name,
          ...nanoseconds(one.ns),
          ...times(to),
          ours ? budget(to.median, Number(limit.toFixed(2))) : "",
        ];
      }),
      notes: [`Ratio: to the fastest peer, ${peer.name}, within one round.`],
    };
  },
};

async function candidates(): Promise<Candidate[]> {
  const fn = () => Promise.resolve(42);
  const fuse = createFuse();
  const ours = fuse.make("open", consecutive);
  const cockatiel = cockatielConsecutive();
  const fail = () => Promise.reject(new Error("down"));
  for (let i = 0; i < 5; i++) {
    await ours.call(fail).catch(() => {});
    await cockatiel.execute(fail).catch(() => {});
  }
  const lean = opossum(fn, "lean");
  const full = opossum(fn, "default");
  lean.open();
  full.open();
  const refusal = await ours.call(fn).catch((error: unknown) => error);
  if (!isCircuitBreakerOpenError(refusal)) throw new Error("Ours is not open");
  const theirs = await cockatiel.execute(fn).catch((error: unknown) => error);
  if (!(theirs instanceof BrokenCircuitError) || cockatiel.state !== CircuitState.Open) {
    throw new Error("Cockatiel is not open");
  }
  if (!lean.opened || !full.opened) throw new Error("Opossum is not open");
  // What awaiting and catching costs by itself, the error made beforehand.
  const made = new Error("made once");
  const bare = () => Promise.reject(made);
  return [
    {
      name: "bare rejection, error made once",
      run: async (calls) => {
        for (let i = 0; i < calls; i++) {
          try {
            await bare();
          } catch { /* rejected */ }
        }
      },
    },
    {
      name: OURS.thrown,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) {
          try {
            await ours.call(fn);
          } catch { /* rejected */ }
        }
      },
    },
    {
      name: OURS.told,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await ours.tryCall(fn);
      },
    },
    {
      name: "cockatiel",
      run: async (calls) => {
        for (let i = 0; i < calls; i++) {
          try {
            await cockatiel.execute(fn);
          } catch { /* rejected */ }
        }
      },
    },
    {
      name: "opossum lean",
      run: async (calls) => {
        for (let i = 0; i < calls; i++) {
          try {
            await lean.fire();
          } catch { /* rejected */ }
        }
      },
    },
    {
      name: "opossum default statistics",
      run: async (calls) => {
        for (let i = 0; i < calls; i++) {
          try {
            await full.fire();
          } catch { /* rejected */ }
        }
      },
    },
  ];
}
