/**
 * A simulated store that many isolates share: its requests, and our own costs.
 *
 * @module
 */
import { type CircuitBreaker, type CircuitPolicy, createFuse } from "@fuse/edge";
import { type Candidate, effort, race, ratio } from "./harness.ts";
import { operationsTable } from "./operations.ts";
import { consecutive } from "./policies.ts";
import type { Section } from "./section.ts";
import { integer, nanoseconds, times } from "./table.ts";
import { chaos, memory } from "../../support/drivers.ts";

/** Section `remote`. */
export const section: Section = {
  candidates,
  async *run({ quick }) {
    const makeStore = () => chaos(memory(), {});
    yield await operationsTable(
      "remote-calls",
      "Remote: what the store is asked",
      makeStore,
      quick,
    );
    const measured = await race(await candidates(), effort(quick));
    const base = measured[0]!;
    yield {
      name: "remote-share",
      title: "Remote: our own share of the time, the store answering at once",
      columns: ["call", "ns/call", "min–max", "calls/s", "× memory", "min–max"],
      rows: measured.map((one) => [
        one.name,
        ...nanoseconds(one.ns),
        integer(1e9 / one.ns.median),
        ...times(ratio(one, base)),
      ]),
      notes: ["chaos(memory(), {}), one tryCall after the other, real time."],
    };
  },
};

async function candidates(): Promise<Candidate[]> {
  const local = createFuse().make("api", consecutive);
  return [
    { name: "CLOSED, memory", run: run(local) },
    { name: "CLOSED, eventual", run: run(await remote("eventual", succeed)) },
    { name: "CLOSED, strong", run: run(await remote("strong", succeed)) },
    { name: "OPEN, eventual", run: run(await remote("eventual", fail)) },
    { name: "OPEN, strong", run: run(await remote("strong", fail)) },
  ];
}

/** Creates a circuit with as many calls as open it, if they fail. */
async function remote(
  consistency: NonNullable<CircuitPolicy["consistency"]>,
  fn: Work,
): Promise<CircuitBreaker> {
  const fuse = createFuse({ stores: { remote: chaos(memory(), {}) } });
  const breaker = fuse.make("api", { ...consecutive, consistency });
  for (let i = 0; i < consecutive.failureThreshold; i++) await breaker.tryCall(fn);
  await fuse.flush();
  return breaker;
}

function run(breaker: CircuitBreaker): Candidate["run"] {
  return async (calls) => {
    for (let i = 0; i < calls; i++) await breaker.tryCall(succeed);
  };
}

type Work = () => Promise<number>;
const succeed: Work = () => Promise.resolve(42);
const fail: Work = () => Promise.reject(new Error("down"));
