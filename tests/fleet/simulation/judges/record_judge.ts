/**
 * Judges the one record that all isolates share, request by request. It keeps its own books and
 * trusts no answer: it computes which outcomes count, what is current, which slots are taken and
 * which transitions are due.
 *
 * @module
 */
import type { CircuitPolicyData } from "../../../../src/rules/policy.ts";
import type { AcquireRequest, Tally, TransitionRequest } from "../../../../src/contract.ts";
import { absentSnapshot, isSame } from "../../../../src/records.ts";
import type { DutyJudge } from "./duty_judge.ts";
import type { Deed } from "../server.ts";
import type { TrailJudge } from "./trail_judge.ts";
import type { Verdicts } from "../violation.ts";
import { ID_MEMORY_MS, type Snapshot, TOTALS_ONLY } from "@fuse/edge/store";

/** One generation's books. */
interface Generation {
  readonly number: number;
  readonly counts: { successes: number; failures: number; slow: number };
  /** Failures in a row. */
  run: number;
  /** The slots by token, with the end of their leases. */
  readonly leases: Map<string, number>;
  /** Returned tokens, with the end of their leases. */
  readonly ended: Map<string, number>;
}

/** One life's books: from one loss of the store to the next. */
interface Life {
  generation: Generation;
  readonly totals: { successes: number; failures: number; rejected: number };
  /** The end of the last success that counted. */
  succeededAt: number;
  /** Requests that counted: their time, and their answer. */
  readonly applied: Map<
    string,
    { readonly at: number; readonly told: boolean; readonly of: string }
  >;
}

/** The judge of a record. */
export class RecordJudge {
  readonly #verdicts: Verdicts;
  readonly #policy: CircuitPolicyData;
  readonly #lives = new Map<number, Life>();
  readonly #trail: TrailJudge;
  readonly #duties: DutyJudge;
  /** Situations that came up. */
  readonly #met: Set<string>;
  /**
   * The outcomes of each isolate's tallies, each once, however often and in how many lives it
   * counted.
   */
  readonly recorded = new Map<number, { calls: number; failures: number; rejected: number }>();
  readonly #tallies = new Set<string>();

  constructor(
    policy: CircuitPolicyData,
    verdicts: Verdicts,
    trail: TrailJudge,
    duties: DutyJudge,
    met: Set<string>,
  ) {
    this.#policy = policy;
    this.#verdicts = verdicts;
    this.#trail = trail;
    this.#duties = duties;
    this.#met = met;
  }

  /** A request has been applied. */
  witness(deed: Deed, by: number): void {
    const { request, after } = deed;
    const life = this.#life(deed);
    const again = this.#again(deed, life);
    this.#trail.witness(deed, again !== undefined);
    if (request.do === "record") {
      this.#record(deed, request.body, life, again !== undefined, by);
    } else if (again !== undefined && request.do !== "acquire") {
      this.#check(
        same(deed.before, after, true),
        "audit",
        () => `${request.do} sent again changes the record`,
      );
    }
    if (request.do === "acquire") this.#acquire(deed, request.body, life);
    if (request.do === "transition" && again === undefined) {
      this.#transition(deed, request.body, life.generation);
    }
    if (request.do === "read" || request.do === "override" || request.do === "record") {
      this.#check(
        after === null || (deed.before?.state ?? "CLOSED") === after.state,
        "edges",
        () => `${request.do} moves the circuit from ${deed.before?.state} to ${after?.state}`,
      );
    }
    this.#turn(deed, life);
    this.#owe(deed, life.generation);
    this.#count(deed, life.generation);
  }

  #check: Verdicts["check"] = (...what) => this.#verdicts.check(...what);

  #life({ life, before }: Deed): Life {
    let books = this.#lives.get(life);
    if (books === undefined) {
      this.#lives.set(
        life,
        books = {
          generation: openBooks(before?.generation ?? 1),
          totals: { successes: 0, failures: 0, rejected: 0 },
          succeededAt: -Infinity,
          applied: new Map(),
        },
      );
    }
    // An override expired: the next writer finds another generation.
    if (before !== null && before.generation > books.generation.number) {
      books.generation = openBooks(before.generation);
    }
    return books;
  }

  /** The earlier answer to a request that has counted already. */
  #again({ request, now, said }: Deed, { applied }: Life): boolean | undefined {
    if (request.do === "read") return undefined;
    const { id } = request.body;
    const before = applied.get(id);
    const told = said.won ?? said.current ?? said.moved!;
    const of = request.do === "record" ? contentOf(request.body) : "";
    if (before === undefined || now - before.at >= ID_MEMORY_MS) {
      this.#check(
        before === undefined || request.do !== "record",
        "tallies",
        () => `Tally ${id} arrives again after ${now - before!.at} ms, when it is forgotten`,
      );
      // A request that moved nothing leaves no trace.
      if (request.do !== "acquire" || told) applied.set(id, { at: now, told, of });
      return undefined;
    }
    this.#met.add("request applied again");
    this.#check(
      told === before.told,
      "audit",
      () => `${request.do} ${id} is told ${told} when sent again, ${before.told} at first`,
    );
    if (request.do === "record") {
      this.#check(
        of === before.of,
        "tallies",
        () => `Tally ${id} is ${of} when sent again, was ${before.of}`,
      );
    }
    return before.told;
  }

  #record(
    { before, after, said, now: at }: Deed,
    tally: Tally,
    life: Life,
    again: boolean,
    by: number,
  ): void {
    const { generation, totals, applied } = life;
    const now = before?.generation ?? 1;
    const current = tally.epoch === ""
      ? tally.generation === 0 && now === 1
      : isSame(tally, before ?? after!);
    if (again) {
      return this.#check(
        same(before, after, true),
        "tallies",
        () => `Tally ${tally.id} counts again when it is sent again: ${differences(before, after)}`,
      );
    }
    const { successes, failures, rejected } = tally;
    totals.successes += successes;
    totals.failures += failures;
    totals.rejected += rejected;
    const held = after?.totals;
    this.#check(
      held?.successes === totals.successes && held.failures === totals.failures &&
        held.rejected === totals.rejected,
      "tallies",
      () =>
        `After ${applied.size} requests totals are ${JSON.stringify(held)}, not ${
          JSON.stringify(totals)
        }`,
    );
    if (!this.#tallies.has(tally.id)) {
      this.#tallies.add(tally.id);
      const sums = this.recorded.get(by) ?? { calls: 0, failures: 0, rejected: 0 };
      sums.calls += successes + failures;
      sums.failures += failures;
      sums.rejected += rejected;
      this.recorded.set(by, sums);
    }
    if (tally.lease !== null) {
      const until = generation.leases.get(tally.lease);
      if (generation.leases.delete(tally.lease)) generation.ended.set(tally.lease, until!);
    }
    if (current) {
      generation.counts.successes += successes;
      generation.counts.failures += failures;
      generation.counts.slow += tally.slow;
      const endedAt = at - tally.ageMs;
      const firstAt = at - (tally.firstFailureAgeMs ?? tally.ageMs);
      if (successes > 0) {
        generation.run = 0;
        life.succeededAt = Math.max(life.succeededAt, failures > 0 ? firstAt : endedAt);
      }
      // Those that ended before the last success do not lengthen the run; some of them may have.
      if (endedAt >= life.succeededAt) {
        generation.run += firstAt >= life.succeededAt ? failures : Math.min(1, failures);
      }
      if (failures > 1) this.#met.add("several failures in a tally");
    } else if (after !== null) {
      if (tally.generation !== TOTALS_ONLY) this.#met.add("late tally");
      // After a loss of the store, it may be the request that creates the record.
      const { epoch, now: moment } = after;
      const none = { ...absentSnapshot(moment), epoch, generation: 1, began: moment };
      const which = tally.generation === TOTALS_ONLY
        ? "of no"
        : `of generation ${tally.generation} in`;
      this.#check(
        same(before ?? none, after, false),
        "late",
        () =>
          `A tally ${which} generation ${now} changes the record: ${
            differences(before ?? none, after)
          }`,
      );
    }
    this.#check(
      said.current === current,
      "late",
      () =>
        `A tally of generation ${tally.generation} is told ${said.current} in generation ${now}`,
    );
  }

  #acquire({ before, after, said, now }: Deed, request: AcquireRequest, life: Life): void {
    if (before?.state === "OPEN" && after?.state === "HALF_OPEN") {
      const wait = (before.openUntil ?? 0) - now;
      this.#check(
        wait <= 0 || wait > before.cooldownMs! + Math.max(before.cooldownMs!, 60_000),
        "edges",
        () => `The circuit goes half-open ${wait} ms before its cooldown is over`,
      );
    }
    if (after === null || !said.granted) return;
    const refuses = after.override?.kind === "forced_open" ||
      (after.override === null && after.state === "OPEN");
    this.#check(
      !refuses,
      "edges",
      () => `A call is let through while the circuit is ${after.state}`,
    );
    if (after.state !== "HALF_OPEN" || after.override !== null) return;
    const books = after.generation > life.generation.number
      ? life.generation = openBooks(after.generation)
      : life.generation;
    const { leases, ended } = books;
    for (const [token, until] of leases) {
      if (until > now) continue;
      leases.delete(token);
      this.#met.add("lease ran out");
    }
    const { token, leaseMs } = request;
    this.#check(
      !((ended.get(token) ?? -Infinity) > now),
      "trials",
      () => `The slot of ${token} was given back and is granted again`,
    );
    if (!leases.has(token)) leases.set(token, now + leaseMs);
    const max = this.#policy.halfOpenMaxConcurrent;
    this.#check(
      leases.size <= max,
      "trials",
      () => `${leases.size} trials are out in generation ${after.generation}, ${max} allowed`,
    );
  }

  #transition({ before, said }: Deed, request: TransitionRequest, { counts }: Generation): void {
    const { event, expected } = request;
    if (!said.won || event === "reset") return;
    this.#check(before?.override === null, "edges", () => `${event} under an override`);
    this.#check(
      expected === null || before === null ? expected === before : isSame(expected, before),
      "edges",
      () =>
        `${event} was decided in generation ${expected?.generation} and made in ${before?.generation}`,
    );
    const { successes, failures } = counts;
    const enough = event === "closed"
      ? failures < this.#policy.halfOpenFailureThreshold &&
        successes >= this.#policy.successThreshold
      : before?.state === "HALF_OPEN"
      ? failures >= this.#policy.halfOpenFailureThreshold
      : this.#mayTrip(counts);
    this.#check(
      enough,
      "edges",
      () => `${event} after ${successes} successes and ${failures} failures in its generation`,
    );
  }

  /** The minimum that any strategy needs; the order of calls and the window may ask for more. */
  #mayTrip({ failures, slow }: Generation["counts"]): boolean {
    const { rules, failureThreshold, minimumThroughput, percentageThreshold } = this.#policy;
    if (rules[0]!.name === "consecutive_failures") return failures >= failureThreshold;
    const needed = minimumThroughput * percentageThreshold / 100;
    return (rules[0]!.name === "slow_calls" ? slow : failures) >= needed;
  }

  /**
   * Notes the duties of the receiver of this answer, as far as they are known without the window.
   */
  #owe({ request, said, after }: Deed, { counts, run }: Generation): void {
    const { rules, failureThreshold, successThreshold, halfOpenFailureThreshold } = this.#policy;
    if (after === null || after.override !== null) return;
    if (request.do === "acquire" ? !said.granted : !(request.do === "record" && said.current)) {
      return;
    }
    if (after.state === "HALF_OPEN") {
      if (counts.failures >= halfOpenFailureThreshold) this.#duties.makesDue(said, "opened");
      else if (counts.successes >= successThreshold) this.#duties.makesDue(said, "closed");
    } else if (after.state === "CLOSED" && request.do === "record") {
      const inARow = rules.length === 1 && rules[0]!.name === "consecutive_failures";
      if (inARow && run >= failureThreshold) this.#duties.makesDue(said, "opened");
    }
  }

  /** Returned slots are free, and no others. */
  #count({ request, after, now }: Deed, { leases }: Generation): void {
    if (after?.state !== "HALF_OPEN" || after.override !== null) return;
    let out = 0;
    for (const until of leases.values()) if (until > now) out++;
    const { inFlight } = after.halfOpen;
    this.#check(
      inFlight === out,
      "trials",
      () =>
        `After ${request.do} ${inFlight} slots are taken in generation ${after.generation}, ${out} trials are out`,
    );
  }

  #turn({ after, request }: Deed, books: Life): void {
    if (after === null) return;
    const { generation } = books;
    this.#check(
      after.generation >= generation.number,
      "edges",
      () =>
        `${request.do} takes the record back from generation ${generation.number} to ${after.generation}`,
    );
    if (after.generation > generation.number) books.generation = openBooks(after.generation);
  }
}

/** The part of a tally that repetition must not change. */
function contentOf(
  { epoch, generation, successes, failures, rejected, slow, lease }: Tally,
): string {
  return `generation ${generation} of "${epoch}": ${successes} ${failures} ${rejected} ${slow} ${lease}`;
}

function openBooks(number: number): Generation {
  return {
    number,
    counts: { successes: 0, failures: 0, slow: 0 },
    run: 0,
    leases: new Map(),
    ended: new Map(),
  };
}

/** What may not change by itself. The moment, who wrote last, and how often, are no part of it. */
function essence(s: Snapshot | null, totals: boolean): Record<string, unknown> {
  if (s === null) return {};
  const { now: _, policyHash: __, requestsPerSecond: ___, halfOpen, ...rest } = s;
  const { successes, failures } = halfOpen;
  return { ...rest, halfOpen: { successes, failures }, totals: totals ? s.totals : null };
}

function same(a: Snapshot | null, b: Snapshot | null, totals: boolean): boolean {
  return JSON.stringify(essence(a, totals)) === JSON.stringify(essence(b, totals));
}

function differences(a: Snapshot | null, b: Snapshot | null): string {
  const [before, after] = [essence(a, true), essence(b, true)];
  return Object.keys(after)
    .filter((field) => JSON.stringify(before[field]) !== JSON.stringify(after[field]))
    .map((field) => `${field} ${JSON.stringify(before[field])} > ${JSON.stringify(after[field])}`)
    .join(", ");
}
