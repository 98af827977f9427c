/**
 * Judges the immediate duties of isolates: an isolate that learns of a due transition requests it,
 * and one that ends a trial returns the slot. Later remedies, such as the end of a lease, are only
 * for dead isolates.
 *
 * @module
 */
import type { FuseEvent } from "@fuse/edge";
import type { Call } from "./caller_judge.ts";
import type { Sender } from "../network.ts";
import type { Request, Said } from "../server.ts";
import type { Verdicts } from "../violation.ts";

/** A transition that an answer makes due. */
export type Due = "opened" | "closed";

/** The judge of duties. */
export class DutyJudge {
  readonly #verdicts: Verdicts;
  readonly #due = new WeakMap<Said, Due>();
  /** The duties of this step, and their isolates. */
  #owed: { readonly by: Sender; readonly event: Due } | null = null;
  readonly #returned = new Set<string>();
  /** Isolates whose last request to the store was not answered. */
  readonly #troubled = new Set<number>();

  constructor(verdicts: Verdicts) {
    this.#verdicts = verdicts;
  }

  /** According to the judge's books, the receiver of this answer has to request a transition. */
  makesDue(said: Said, event: Due): void {
    this.#due.set(said, event);
  }

  /** An isolate receives an answer that it waits for. */
  hears(by: Sender, said: Said): void {
    const event = this.#due.get(said);
    if (event !== undefined) this.#owed = { by, event };
  }

  /** An isolate sends something. */
  sends(by: Sender, { do: operation, body }: Request): void {
    if (operation === "record" && body.lease !== null) this.#returned.add(body.lease);
    if (operation !== "transition" || this.#owed?.by !== by) return;
    if (body.event === this.#owed.event) this.#owed = null;
  }

  /** An isolate emits an event. */
  listens(by: Sender, { type }: FuseEvent): void {
    if (type === "store_error") this.#troubled.add(by.number);
    if (type === "store_recovered") this.#troubled.delete(by.number);
  }

  /** All consequences of the last event have happened. */
  rests(): void {
    const owed = this.#owed;
    if (owed === null) return;
    this.#owed = null;
    this.#verdicts.check(
      false,
      "edges",
      () => `Isolate ${owed.by.number} learns that "${owed.event}" is due and does not ask for it`,
    );
  }

  /**
   * A caller has its answer. An isolate that leaves the store alone leaves the slot to its lease.
   */
  settles({ by, trial }: Call): void {
    this.#verdicts.check(
      trial === null || this.#returned.has(trial) || this.#troubled.has(by.number),
      "trials",
      () => `A trial of isolate ${by.number} has ended and keeps its slot, ${trial}`,
    );
  }
}
