/**
 * The requests to a shared store, call by call. Time is virtual, so that "100 calls/s" is exact;
 * answers take a turn of the event loop, which separates the requests that a call waits for from
 * the others.
 *
 * @module
 */
import {
  type CircuitBreaker,
  type CircuitOptions,
  type CircuitState,
  type Clock,
  createFuse,
} from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { observe, type Operation } from "./observed_store.ts";
import { consecutive } from "./policies.ts";
import { budget, integer, sideBySide, type Table } from "./table.ts";
import type { OpeningStore } from "../../support/drivers.ts";

/** Creates an empty store, on this clock. */
export type MakeStore = (clock: Clock) => OpeningStore;

/** The counts so far of a real server: their names in tables, and their values. */
export type Meter = () => Promise<Readonly<Record<string, number>>>;

/** Callers that meet a running trial. */
const REFUSED = 10;

/** Counts blocking and background requests in every situation of design section 3. */
export async function operationsTable(
  name: string,
  title: string,
  makeStore: MakeStore,
  quick: boolean,
  meter: Meter = () => Promise.resolve({}),
): Promise<Table> {
  const seconds = quick ? 10 : 60;
  const rows: string[][] = [];
  const counted = Object.keys(await meter());
  for (const consistency of ["eventual", "strong"] as const) {
    const bench = { makeStore, consistency, meter };
    const add = (name: string, tally: Tally, limits: Limits) =>
      rows.push(toRow(consistency, name, tally, limits, counted));
    add("CLOSED, 100 calls/s", await closed(bench, seconds, 0), { blocking: [0, 2], ...RARE });
    add("CLOSED, 100 calls/s, 5 % fail", await closed(bench, seconds, 0.05), {
      blocking: [0, 2],
      ...RARE,
    });
    add("CLOSED, a failure among them", await failures(bench, quick ? 50 : 500), {
      blocking: [0, 2],
    });
    add("CLOSED, 1 call/s", await closed(bench, seconds, 0, 1), { blocking: [0, 2] });
    add("OPEN, 100 calls/s", await open(bench, seconds), { blocking: [0, 1], ...RARE });
    const cycles = await trips(bench, quick ? 20 : 200);
    add("the failure that trips", cycles.trip, { blocking: [0, 3] });
    add("trial that succeeds", cycles.trial, { blocking: [2, 2] });
    add("trial that closes", cycles.closing, { blocking: [3, 3] });
    add("trial that reopens", cycles.reopening, { blocking: [3, 3] });
    // The first may have to ask; its refusal holds for the others.
    add("refused beside a trial", cycles.refused, { blocking: [1 / REFUSED, 1] });
  }
  const columns = [
    ...["call", "consistency", "calls", "blocking", "background"],
    ...KINDS,
    ...counted,
    "budget",
  ];
  return {
    name,
    title,
    columns,
    rows,
    notes: ["Per call. Blocking: answered before the call ended. Each is one round trip."],
    readme: sideBySide({ columns, rows }, "consistency", ["call"], [
      ...["blocking", "background"],
      // If each round trip is a request, they are sent already.
      ...counted.filter((name) => name !== "requests"),
    ]),
  };
}

/** Round trips per call. */
interface Limits {
  readonly blocking: readonly [eventual: number, strong: number];
  readonly background?: number;
}

const RARE = { background: 0.2 };

type Consistency = "eventual" | "strong";

interface Bench {
  readonly makeStore: MakeStore;
  readonly consistency: Consistency;
  readonly meter: Meter;
}

/** Round trips, and their costs for the server, of an isolate with a number of calls a second. */
export async function ratesTable(
  name: string,
  title: string,
  makeStore: MakeStore,
  quick: boolean,
  meter: Meter,
): Promise<Table> {
  const counted = Object.keys(await meter());
  const rows: string[][] = [];
  for (const consistency of ["eventual", "strong"] as const) {
    for (const callsPerSecond of [0.05, 1, 10, 100]) {
      for (const failureRate of [0, 0.05]) {
        const calls = (quick ? 200 : 1_000) * Math.max(1, callsPerSecond / 10);
        const bench = { makeStore, consistency, meter };
        const tally = await closed(bench, calls / callsPerSecond, failureRate, callsPerSecond);
        rows.push([
          `${callsPerSecond} calls/s`,
          consistency,
          `${failureRate * 100} %`,
          integer(tally.calls),
          perCall(tally, tally.blocking),
          perCall(tally, tally.all - tally.blocking),
          ...counted.map((name) => perCall(tally, tally.metered[name] ?? 0)),
          ...counted.map((name) => ((tally.metered[name] ?? 0) / tally.kinds.record).toFixed(2)),
        ]);
      }
    }
  }
  const perCalls = counted.map((name) => `${name}/call`);
  const columns = [
    ...["rate", "consistency", "failures", "calls", "blocking", "background"],
    ...perCalls,
    ...counted.map((name) => `${name}/record`),
  ];
  return {
    name,
    title,
    columns,
    rows,
    notes: ["Of one isolate, by its own rate: CLOSED, virtual time, one call after the other."],
    readme: sideBySide({ columns, rows }, "consistency", ["rate", "failures"], perCalls),
  };
}

function perCall({ calls }: Tally, count: number): string {
  return (count / calls).toFixed(2).replace(/\.00$/, "");
}

function toRow(
  consistency: Consistency,
  name: string,
  tally: Tally,
  limits: Limits,
  counted: readonly string[],
): string[] {
  const background = tally.all - tally.blocking;
  const allowed = limits.blocking[consistency === "eventual" ? 0 : 1];
  const verdicts = [`blocking ${budget(tally.blocking / tally.calls, allowed)}`];
  if (limits.background !== undefined) {
    verdicts.push(`background ${budget(background / tally.calls, limits.background)}`);
  }
  return [
    name,
    consistency,
    integer(tally.calls),
    perCall(tally, tally.blocking),
    perCall(tally, background),
    ...KINDS.map((kind) => perCall(tally, tally.kinds[kind])),
    ...counted.map((name) => perCall(tally, tally.metered[name] ?? 0)),
    verdicts.join(", "),
  ];
}

const KINDS = ["read", "record", "acquire", "transition"] as const;

/** Makes a number of calls a second, after one that has made the circuit known. */
async function closed(
  bench: Bench,
  seconds: number,
  failureRate: number,
  callsPerSecond = 100,
): Promise<Tally> {
  const { clock, breaker, call } = setUp(bench);
  await call(succeed, new Tally());
  const tally = new Tally();
  for (let i = 0; i < seconds * callsPerSecond; i++) {
    clock.advance(1000 / callsPerSecond);
    // Spread evenly, never two in a row: the circuit must stay closed.
    const fails = failureRate > 0 && i % Math.round(1 / failureRate) === 0;
    await call(fails ? fail : succeed, tally);
  }
  await expectState(breaker, "CLOSED");
  return tally;
}

/** A single failure after every ten successes. */
async function failures(bench: Bench, count: number): Promise<Tally> {
  const { clock, breaker, call } = setUp(bench);
  const tally = new Tally();
  for (let i = 0; i < count; i++) {
    for (let success = 0; success < 10; success++) {
      clock.advance(10);
      await call(succeed, new Tally());
    }
    clock.advance(10);
    await call(fail, tally);
  }
  await expectState(breaker, "CLOSED");
  return tally;
}

async function open(bench: Bench, seconds: number): Promise<Tally> {
  const { clock, breaker, call } = setUp(bench);
  for (let i = 0; i < 5; i++) await call(fail, new Tally());
  await expectState(breaker, "OPEN");
  const tally = new Tally();
  for (let i = 0; i < seconds * 100; i++) {
    clock.advance(10);
    await call(succeed, tally);
  }
  await expectState(breaker, "OPEN");
  return tally;
}

/** Through the states and back, call by call. */
async function trips(bench: Bench, cycles: number): Promise<Record<Step, Tally>> {
  const { clock, breaker, call, besideTrial } = setUp(bench, { cooldownMs: 60_000 });
  const tallies: Record<Step, Tally> = {
    trip: new Tally(),
    trial: new Tally(),
    closing: new Tally(),
    reopening: new Tally(),
    refused: new Tally(),
  };
  for (let i = 0; i < cycles; i++) {
    for (let failure = 0; failure < 4; failure++) await call(fail, new Tally());
    await call(fail, tallies.trip);
    await expectState(breaker, "OPEN");
    clock.advance(60_000);
    await call(fail, tallies.reopening);
    await expectState(breaker, "OPEN");
    clock.advance(60_000);
    await call(succeed, tallies.trial);
    await expectState(breaker, "HALF_OPEN");
    await call(succeed, tallies.closing);
    await expectState(breaker, "CLOSED");
    for (let failure = 0; failure < 5; failure++) await call(fail, new Tally());
    clock.advance(60_000);
    await besideTrial(async () => {
      for (let caller = 0; caller < REFUSED; caller++) await call(succeed, tallies.refused);
    });
    await call(succeed, new Tally());
    await expectState(breaker, "CLOSED");
  }
  return tallies;
}

type Step = "trip" | "trial" | "closing" | "reopening" | "refused";

/** The requests of calls of one kind. */
class Tally {
  calls = 0;
  blocking = 0;
  all = 0;
  readonly kinds: Record<Operation["kind"], number> = {
    read: 0,
    record: 0,
    acquire: 0,
    transition: 0,
    other: 0,
  };
  readonly metered: Record<string, number> = {};
}

function setUp({ makeStore, consistency, meter }: Bench, policy: CircuitOptions = {}) {
  const clock = new FakeClock();
  const { store, operations, quiet } = observe(makeStore(clock.now));
  // Round trips are counted here, and a busy machine is no outage.
  const fuse = createFuse({ stores: { remote: store }, clock: clock.now, storeTimeoutMs: 30_000 });
  const breaker = fuse.make("api", { ...consecutive, ...policy, consistency });
  let before: Readonly<Record<string, number>> | null = null;
  const call = async (fn: Work, tally: Tally) => {
    // Requests of other calls since do not belong to this one.
    if (before === null || operations.length > 0) before = await meter();
    operations.length = 0;
    await breaker.tryCall(fn);
    tally.calls++;
    tally.blocking += operations.filter(({ answered }) => answered).length;
    await quiet();
    tally.all += operations.length;
    for (const { kind } of operations) tally.kinds[kind]++;
    if (operations.length === 0) return;
    const after = await meter();
    for (const [name, count] of Object.entries(after)) {
      tally.metered[name] = (tally.metered[name] ?? 0) + count - before[name]!;
    }
    before = after;
    operations.length = 0;
  };
  const besideTrial = async (during: () => Promise<void>) => {
    const begun = Promise.withResolvers<void>();
    const result = Promise.withResolvers<number>();
    const trial = breaker.tryCall(() => {
      begun.resolve();
      return result.promise;
    });
    await begun.promise;
    await during();
    result.resolve(42);
    await trial;
    await quiet();
  };
  return { clock, breaker, call, besideTrial };
}

async function expectState(breaker: CircuitBreaker, expected: CircuitState): Promise<void> {
  const { state } = await breaker.snapshot();
  if (state !== expected) throw new Error(`The circuit should be ${expected}, it is ${state}`);
}

type Work = () => Promise<number>;
const succeed: Work = () => Promise.resolve(42);
const fail: Work = () => Promise.reject(new Error("down"));
