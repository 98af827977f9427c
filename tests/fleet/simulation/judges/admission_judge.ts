/**
 * Judges the generations of recorded outcomes: an outcome belongs to the generation in which its
 * call was admitted, and never to a generation that its isolate did not know then.
 *
 * @module
 */
import type { Call } from "./caller_judge.ts";
import type { Sender } from "../network.ts";
import type { Request, Said } from "../server.ts";
import type { Verdicts } from "../violation.ts";
import { TOTALS_ONLY } from "@fuse/edge/store";

/** The latest known generation by epoch. Replaced and never changed, because calls keep it. */
type Heard = ReadonlyMap<string, number>;

/** The state of one isolate: known generations, calls and outcomes. */
interface Books {
  heard: Heard;
  /** The last time at which it learned that there is no record. */
  absentAt: number;
  /** Calls that ran and did not end neutrally, by the generation that was known. */
  readonly ran: Map<Heard, number>;
  /** Outcomes by the epoch and the generation under which they were recorded. */
  readonly told: Map<string, Map<number, number>>;
  readonly tallies: Set<string>;
}

/** The judge of admissions. */
export class AdmissionJudge {
  readonly #verdicts: Verdicts;
  readonly #isolates = new Map<number, Books>();
  readonly #admitted = new Map<Call, Heard>();

  constructor(verdicts: Verdicts) {
    this.#verdicts = verdicts;
  }

  /** An isolate receives an answer; `heard` if it still waits for this answer, and follows it. */
  hears(by: Sender, { snapshot: s }: Said, sentAt: number, now: number, heard: boolean): void {
    const books = this.#books(by);
    // An expired override ends its generation, without an answer from the store.
    const generation = s.generation + (s.override !== null && s.override.until !== null ? 1 : 0);
    if (s.epoch === "") books.absentAt = now;
    const forgets = s.epoch !== "" && books.heard.has("") && heard && sentAt > books.absentAt;
    if ((books.heard.get(s.epoch) ?? -1) >= generation && !forgets) return;
    const next = new Map(books.heard);
    next.set(s.epoch, Math.max(generation, next.get(s.epoch) ?? 0));
    // An isolate that knows a life admits under it, and under none no longer.
    if (forgets) next.delete("");
    books.heard = next;
  }

  /** A call has been admitted, and its function runs. */
  runs(call: Call): void {
    const { heard, ran } = this.#books(call.by);
    this.#admitted.set(call, heard);
    ran.set(heard, (ran.get(heard) ?? 0) + 1);
  }

  /** It ended as neutral. */
  ignores(call: Call): void {
    const heard = this.#admitted.get(call);
    if (heard === undefined) return;
    const { ran } = this.#books(call.by);
    ran.set(heard, ran.get(heard)! - 1);
  }

  /** An isolate sends something, for the first time or again. */
  sends(by: Sender, request: Request): void {
    if (request.do !== "record") return;
    const { id, epoch, generation, successes, failures } = request.body;
    const books = this.#books(by);
    if (books.tallies.has(id)) return;
    books.tallies.add(id);
    if (generation === TOTALS_ONLY || successes + failures === 0) return;
    let told = books.told.get(epoch);
    if (told === undefined) books.told.set(epoch, told = new Map());
    told.set(generation, (told.get(generation) ?? 0) + successes + failures);
    this.#judge(by, epoch, generation);
  }

  /** All calls have ended, and all outcomes are sent. */
  finish(isolates: Iterable<Sender>): void {
    for (const by of isolates) {
      for (const [epoch, told] of this.#books(by).told) {
        for (const generation of told.keys()) this.#judge(by, epoch, generation);
      }
    }
  }

  /** No generation has more outcomes, with those after it, than calls ran that knew of it. */
  #judge(by: Sender, epoch: string, generation: number): void {
    const { told, ran } = this.#books(by);
    let outcomes = 0;
    for (const [of, count] of told.get(epoch)!) if (of >= generation) outcomes += count;
    let calls = 0;
    for (const [heard, count] of ran) if ((heard.get(epoch) ?? -1) >= generation) calls += count;
    this.#verdicts.check(
      outcomes <= calls,
      "late",
      () =>
        `Isolate ${by.number} records ${outcomes} outcomes from generation ${generation} of ` +
        `"${epoch}" on; ${calls} of its calls were admitted when it had heard of that`,
    );
  }

  #books({ number }: Sender): Books {
    let books = this.#isolates.get(number);
    if (books === undefined) {
      books = {
        heard: new Map([["", 0]]),
        absentAt: -Infinity,
        ran: new Map(),
        told: new Map(),
        tallies: new Set(),
      };
      this.#isolates.set(number, books);
    }
    return books;
  }
}
