/**
 * The costs of a failing store for callers: the time of calls that would take none, in virtual
 * time.
 *
 * @module
 */
import { createFuse } from "@fuse/edge";
import { inVirtualTime } from "../../fleet/simulation/virtual_globals.ts";
import { chaos, memory } from "../../support/drivers.ts";
import { seeded, VirtualTime } from "../../support/virtual_time.ts";
import type { Section } from "./section.ts";

/** The state of the store: the time of its answers, in ms, or why there is none. */
const STATES: Readonly<Record<string, (random: () => number) => number | "refused">> = {
  "answers in 20 ms": () => 20,
  "hangs": () => NEVER_MS,
  "half of it hangs": (random) => random() < 0.5 ? NEVER_MS : 20,
  "refuses": () => "refused",
  "answers in 400 ms": () => 400,
  "answers in 700 ms": () => 700,
};

const NEVER_MS = 1e9;
const CONSISTENCIES = ["eventual", "strong"] as const;
const CALLS_A_SECOND = 20;
/** The time for which the store works before. */
const WELL_MS = 10_000;

/** Section `outages`. */
export const section: Section = {
  async *run({ quick }) {
    const minutes = quick ? 2 : 10;
    const rows: string[][] = [];
    for (const state of Object.keys(STATES)) {
      const cells: string[] = [];
      for (const consistency of CONSISTENCIES) {
        const waits = await waited(state, consistency, minutes * 60_000);
        const at = (share: number) => waits[Math.ceil(share * waits.length) - 1]!.toFixed(0);
        const slow = waits.filter((ms) => ms > 100).length / waits.length;
        cells.push(at(0.5), at(0.99), `${(100 * slow).toFixed(1)} %`);
      }
      rows.push([state, ...cells]);
    }
    yield {
      name: "outages",
      title: "What a dying store costs callers, in ms of waiting",
      columns: [
        "the store",
        ...CONSISTENCIES.flatMap((c) => [`${c}, p50`, `${c}, p99`, `${c}, over 100 ms`]),
      ],
      rows,
      notes: [
        `One isolate, ${CALLS_A_SECOND} calls a second for ${minutes} minutes, in virtual time; the ` +
        "store was well before. The call itself takes no time.",
      ],
    };
  },
};

/** Returns the times of the calls while the store was in a state, in ms, the shortest first. */
async function waited(
  state: string,
  consistency: typeof CONSISTENCIES[number],
  forMs: number,
): Promise<number[]> {
  const time = new VirtualTime();
  const random = seeded(1);
  return await inVirtualTime(time, random, async () => {
    const began = time.now();
    const isDying = () => time.now() - began >= WELL_MS;
    const reply = () => isDying() ? STATES[state]!(random) : 20;
    const store = chaos(memory({ clock: time.now }), {
      latencyMs: () => {
        const ms = reply();
        return ms === "refused" ? 0 : ms;
      },
      down: () => reply() === "refused",
    });
    const fuse = createFuse({ stores: { store }, clock: time.now });
    // No listener, and no output.
    fuse.on("*", () => {});
    const breaker = fuse.make("api", { consistency });
    const waits: number[] = [];
    const calls = forMs / 1_000 * CALLS_A_SECOND;
    let left = calls;
    for (let at = 0; at < WELL_MS + forMs; at += 1_000 / CALLS_A_SECOND) {
      time.after(at, async () => {
        const calledAt = time.now();
        await breaker.call(() => "ok");
        if (calledAt - began < WELL_MS) return;
        waits.push(time.now() - calledAt);
        left--;
      });
    }
    await time.run(() => left === 0);
    return waits.sort((a, b) => a - b);
  });
}
