/**
 * Plays a world whose store partly fails, and checks the promises of its kind.
 *
 * @module
 */
import { isStoreUnavailableError } from "@fuse/edge";
import { seeded, VirtualTime } from "../../../support/virtual_time.ts";
import { STORE_TIMEOUT_MS } from "../network.ts";
import type { Violation } from "../violation.ts";
import { inVirtualTime } from "../virtual_globals.ts";
import { type Asked, keyOf } from "./failing_store.ts";
import type { Outage, OutageKind } from "./outage.ts";
import { type OutageCall, type OutageOptions, Stage } from "./stage.ts";

/** The figures of a world. */
export interface PlayedOutage {
  readonly violation: Violation | null;
  /** The calls to the dead upstream of the isolate that sent most. */
  readonly deadCalls: number;
  /** Requests to the store, of all isolates. */
  readonly requests: number;
  readonly trialsAtOnce: number;
}

/** The longest interval of a back-off. */
const LONGEST_INTERVAL_MS = 30_000;
/** The costs of a herd for an isolate: to ask for the trial, to record it, and the transition. */
const HERD_REQUESTS = 3;
/** The costs of a thousand cold calls of an isolate. */
const COLD_REQUESTS = 40;
/**
 * For how long a store refuses all requests, and how often it is asked meanwhile: after 0.5, 1, 2,
 * 4, 8, 15, 15 s at least.
 */
const REFUSED_MS = 45_000;
const REFUSED_REQUESTS = 8;

/** Plays a world, to its end or to the first violation. */
export async function playOutage(
  outage: Outage,
  options: OutageOptions = {},
): Promise<PlayedOutage> {
  const time = new VirtualTime();
  const random = seeded(~outage.seed);
  return await inVirtualTime(time, random, async () => {
    const stage = new Stage(outage, time, random, options);
    let over = false;
    time.after(0, () => {
      PLAYS[outage.kind](stage).then(() => over = true, (error) => {
        stage.verdicts.check(false, "callers", () => `The world throws ${error}`);
      });
    });
    await time.run(() => stage.verdicts.first !== null || over);
    stage.verdicts.check(over, "callers", () => "Something waits for ever");
    return {
      violation: stage.verdicts.first,
      deadCalls: Math.max(0, ...deadCalls(stage)),
      requests: stage.store.asked.length,
      trialsAtOnce: stage.trialsAtOnce,
    };
  });
}

const PLAYS: Readonly<Record<OutageKind, (stage: Stage) => Promise<void>>> = {
  dead: playDead,
  herd: playHerd,
  cold: playCold,
  refused: playRefused,
  back: playBack,
  operator: playOperator,
  spoilt: playSpoilt,
};

/** A dead upstream gets no more calls in its first cooldown than detection takes, once over. */
async function playDead(stage: Stage): Promise<void> {
  const { deadFrom, gapMs, policy: { failureThreshold, cooldownMs } } = stage.outage;
  await stage.everybody(deadFrom + (cooldownMs as number) - 5_000);
  // And the calls before a deadline can pass: that of a record, and that of the transition after
  // it.
  const unawares = 2 * Math.floor(STORE_TIMEOUT_MS / gapMs);
  const most = 2 * failureThreshold! + 2 + unawares;
  deadCalls(stage).forEach((calls, isolate) =>
    stage.verdicts.check(
      calls <= most,
      "protects",
      () => `Isolate ${isolate} sends ${calls} calls to a dead upstream, ${most} allowed`,
    )
  );
}

function deadCalls({ calls, outage }: Stage): number[] {
  return Array.from(
    { length: outage.isolates },
    (_, isolate) => calls.filter((call) => call.isolate === isolate && call.dead).length,
  );
}

/** A herd asks once for each isolate, and no caller runs a trial that the store did not grant. */
async function playHerd(stage: Stage): Promise<void> {
  const { isolates, callers, policy: { cooldownMs, halfOpenMaxConcurrent } } = stage.outage;
  const all = Array.from({ length: isolates }, (_, isolate) => isolate);
  // All isolates know that the circuit is open.
  await stage.breaker(0, 0).tryCall(() => Promise.reject(new Error("It trips")));
  await stage.fuse(0).flush();
  for (const isolate of all) await stage.breaker(isolate, 0).getState();
  const { openUntil } = stage.store.memory.peek(keyOf(0))!;
  stage.verdicts.check(openUntil !== null, "herd", () => "The circuit does not open");
  if (openUntil === null) return;
  // Isolates that use the circuit within the cooldown keep their views fresh.
  const rest = (openUntil - stage.time.now()) - (cooldownMs as number) / 2;
  await stage.time.sleep(rest);
  await Promise.all(all.map((isolate) => stage.breaker(isolate, 0).getState()));
  // By the clocks that lag, as far as an answer is on its way.
  await stage.time.sleep(openUntil - stage.time.now() + stage.outage.latencyMs[1] + 1);
  const from = stage.store.asked.length;
  await Promise.all(all.flatMap((isolate) =>
    Array.from({ length: callers }, async (_, i) => {
      await stage.time.sleep(i % 20);
      await stage.call(isolate, 0, 200);
    })
  ));
  const asked = stage.store.asked.slice(from);
  const most = HERD_REQUESTS * halfOpenMaxConcurrent!;
  for (const isolate of all) {
    const own = asked.filter((request) => request.isolate === isolate);
    stage.verdicts.check(
      own.length <= most,
      "herd",
      () =>
        `Isolate ${isolate} sends ${own.length} requests for ${callers} callers, ${most} allowed: ` +
        own.map(({ operation }) => operation).join(" "),
    );
  }
  stage.verdicts.check(
    stage.trialsAtOnce <= halfOpenMaxConcurrent!,
    "herd",
    () => `${stage.trialsAtOnce} trials run at once, ${halfOpenMaxConcurrent} allowed`,
  );
}

/** A cold isolate asks seldom, and its callers wait no longer than for one answer. */
async function playCold(stage: Stage): Promise<void> {
  const calls = Array.from({ length: stage.outage.callers }, async (_, i) => {
    await stage.time.sleep(i % 300);
    // Longer than the world takes: the costs of ended calls are judged elsewhere.
    return await stage.call(0, 0, 10_000);
  });
  await stage.time.sleep(5_000);
  const requests = stage.store.asked.length;
  stage.verdicts.check(
    // `strong` asks for each call, once it knows that the circuit is closed.
    requests <= COLD_REQUESTS || stage.outage.policy.consistency === "strong",
    "cold",
    () => `${calls.length} cold calls cost ${requests} requests, ${COLD_REQUESTS} allowed`,
  );
  const waited = (call: OutageCall) => (call.ranAt ?? call.endedAt ?? Infinity) - call.at;
  const longest = Math.max(...stage.calls.map(waited));
  stage.verdicts.check(
    longest <= STORE_TIMEOUT_MS + 1,
    "cold",
    () => `A cold call waits for ${longest} ms, ${STORE_TIMEOUT_MS} allowed`,
  );
  await Promise.all(calls);
}

/** A store that refuses all requests, or all writes, gets one request at a time, and seldom. */
async function playRefused(stage: Stage): Promise<void> {
  const { time, store, outage } = stage;
  const everybody = stage.everybody(REFUSED_MS);
  // The first calls detect refused reads, the second ones refused writes: successes gather before.
  const kinds = [
    ...outage.fault === "refuses_writes" ? [] : [{ isOf: isRead, from: 2_000 }],
    { isOf: isWrite, from: outage.gapMs + 2_000 },
  ];
  let most = 0;
  while (stage.at < REFUSED_MS) {
    const underWay = store.asked.slice(-50).filter(({ answeredAt }) => answeredAt === null);
    for (const { isOf, from } of kinds) {
      if (stage.at >= from) most = Math.max(most, underWay.filter(isOf).length);
    }
    await time.sleep(1);
  }
  stage.verdicts.check(
    most <= 1,
    "probes",
    () => `${most} requests of a kind are under way to a store that refuses them all`,
  );
  for (const { isOf, from } of kinds) {
    const asked = store.asked.filter((asked) => isOf(asked) && asked.at - stage.began >= from);
    stage.verdicts.check(
      asked.length <= REFUSED_REQUESTS,
      "probes",
      () => `${outage.circuits} circuits send ${asked.length} requests of a kind that is refused`,
    );
  }
  await everybody;
}

const isRead = ({ operation }: Asked) => operation === "read" || operation === "acquire";
const isWrite = (asked: Asked) => !isRead(asked);

/** Once the store is back, an isolate rejects for at most one back-off. */
async function playBack(stage: Stage): Promise<void> {
  const { faultFrom, faultForMs, gapMs, latencyMs, isolates } = stage.outage;
  const back = faultFrom + faultForMs;
  await stage.everybody(back + 2 * LONGEST_INTERVAL_MS);
  const tripMs = 2 * latencyMs[1] + 1;
  for (let isolate = 0; isolate < isolates; isolate++) {
    // One back-off, at its longest, and the answer to the request after it.
    const allowed = back + STORE_TIMEOUT_MS + LONGEST_INTERVAL_MS + 2 * (gapMs + 10 + tripMs);
    const late = stage.calls.find((call) =>
      call.isolate === isolate && call.ranAt === null && !call.shut &&
      call.at - stage.began > allowed
    );
    stage.verdicts.check(
      late === undefined,
      "recovers",
      () =>
        `Isolate ${isolate} rejects a call at ${late!.at - stage.began} ms (${
          late!.refusal
        }); the ` +
        `store is back since ${back}, and was to be asked by ${allowed}`,
    );
  }
}

/** An operator's action is tried in spite of an outage, and succeeds once the store is back. */
async function playOperator(stage: Stage): Promise<void> {
  const { faultFrom, faultForMs } = stage.outage;
  const everybody = stage.everybody(faultFrom + faultForMs + 5_000);
  const operator = () => stage.breaker(0, 0);
  const overridden = () => stage.store.memory.peek(keyOf(0))?.override?.kind ?? null;
  const asked = () => stage.store.asked.filter(({ operation }) => operation === "override").length;
  await stage.time.sleep(faultFrom + faultForMs / 2);
  const before = asked();
  await operator().forceOpen().catch((error) =>
    stage.verdicts.check(
      isStoreUnavailableError(error) && error.cause !== undefined,
      "operators",
      () => `forceOpen() throws ${error}, because of ${error.cause}`,
    )
  );
  stage.verdicts.check(asked() > before, "operators", () => "forceOpen() does not ask the store");
  await stage.time.sleep(faultForMs / 2 + 1);
  await operator().forceOpen().catch((error) =>
    stage.verdicts.check(false, "operators", () => `forceOpen() throws ${error} of a sound store`)
  );
  stage.verdicts.check(
    overridden() === "forced_open",
    "operators",
    () => `The store is back, and forceOpen() has left it at ${overridden()}`,
  );
  await everybody;
}

/** One refused circuit does not affect the store's other circuits. */
async function playSpoilt(stage: Stage): Promise<void> {
  const { faultFrom, faultForMs, isolates, circuits } = stage.outage;
  await stage.everybody(Math.min(20_000, faultFrom + faultForMs));
  const refused = stage.calls.find(({ circuit, ranAt }) => circuit !== 0 && ranAt === null);
  stage.verdicts.check(
    refused === undefined,
    "scopes",
    () => `Circuit ${refused!.circuit} is refused with ${refused!.refusal}`,
  );
  for (let isolate = 0; isolate < isolates; isolate++) await stage.fuse(isolate).flush();
  for (let circuit = 1; circuit < circuits; circuit++) {
    const ran = stage.calls.filter((call) => call.circuit === circuit).length;
    const { successes } = stage.store.memory.peek(keyOf(circuit))!.totals;
    stage.verdicts.check(
      successes === ran,
      "scopes",
      () => `Circuit ${circuit} has ${successes} successes in the store, ${ran} there were`,
    );
  }
}
