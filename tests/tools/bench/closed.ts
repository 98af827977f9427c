/**
 * What a call costs while all is well.
 *
 * @module
 */
import { createFuse } from "@fuse/edge";
import { type Candidate, effort, fastest, type Measured, race, ratio } from "./harness.ts";
import { cockatielConsecutive, cockatielSampling } from "./peer_cockatiel.ts";
import { opossum } from "./peer_opossum.ts";
import { consecutive, rolling } from "./policies.ts";
import type { Section } from "./section.ts";
import { budget, nanoseconds, type Table, times } from "./table.ts";

const BARE = "bare await fn()";
const OURS = { consecutive: "fuse consecutive_failures", rolling: "fuse rolling_window" };
const PEERS = {
  consecutive: ["cockatiel ConsecutiveBreaker", "opossum lean"],
  rolling: ["cockatiel SamplingBreaker", "opossum lean"],
};

/** Section `closed`. */
export const section: Section = {
  candidates,
  async *run({ quick }) {
    const measured = await race(candidates(), effort(quick));
    const named = (name: string) => measured.find((one) => one.name === name)!;
    yield table(measured, {
      [OURS.consecutive]: fastest(PEERS.consecutive.map(named)),
      [OURS.rolling]: fastest(PEERS.rolling.map(named)),
    });
  },
};

function table(measured: readonly Measured[], peers: Record<string, Measured>): Table {
  return {
    name: "closed",
    title: "CLOSED: one call that succeeds",
    columns: ["candidate", "ns/call", "min–max", "ratio", "min–max", "to", "budget (aim 0.8)"],
    rows: measured.map((one) => {
      const peer = peers[one.name];
      const cells = [one.name, ...nanoseconds(one.ns)];
      if (peer === undefined) return cells;
      const to = ratio(one, peer);
      return [...cells, ...times(to), peer.name, budget(to.median, 1)];
    }),
    notes: [
      "Ratio: median over rounds of ours / the faster peer of the same kind, each within one round.",
      "opossum has one strategy, a rolling percentage; lean: without latency percentiles and snapshots.",
    ],
  };
}

function candidates(): Candidate[] {
  const fn = () => Promise.resolve(42);
  const fuse = createFuse();
  const byRun = fuse.make("consecutive", consecutive);
  const byWindow = fuse.make("rolling", rolling);
  const run = cockatielConsecutive();
  const sampling = cockatielSampling();
  const lean = opossum(fn, "lean");
  const full = opossum(fn, "default");
  return [
    {
      name: BARE,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await fn();
      },
    },
    {
      name: OURS.consecutive,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await byRun.call(fn);
      },
    },
    {
      name: "fuse consecutive_failures, tryCall",
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await byRun.tryCall(fn);
      },
    },
    {
      name: "cockatiel ConsecutiveBreaker",
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await run.execute(fn);
      },
    },
    {
      name: OURS.rolling,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await byWindow.call(fn);
      },
    },
    {
      name: "cockatiel SamplingBreaker",
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await sampling.execute(fn);
      },
    },
    {
      name: "opossum lean",
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await lean.fire();
      },
    },
    {
      name: "opossum default statistics",
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await full.fire();
      },
    },
  ];
}
