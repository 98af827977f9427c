/**
 * Keeps the trail of the one record that all isolates share, and compares the events with it.
 *
 * @module
 */
import type { FuseEvent } from "@fuse/edge";
import type { Deed, Request, Said } from "../server.ts";
import type { Verdicts } from "../violation.ts";
import type { Snapshot } from "@fuse/edge/store";

/** A change in the trail. */
export interface Row {
  readonly event: string;
  readonly from: string;
  readonly to: string;
  readonly generation: number;
  readonly life: number;
  /** On the store's clock. */
  readonly at: number;
}

/** The part of an answer that is being delivered. */
export interface Delivery {
  readonly request: Request;
  readonly said: Said;
  readonly life: number;
}

/** The target of each transition, by its name in the trail. */
const EDGES: Readonly<Record<string, readonly string[]>> = {
  opened: ["CLOSED>OPEN", "HALF_OPEN>OPEN"],
  half_opened: ["OPEN>HALF_OPEN"],
  closed: ["HALF_OPEN>CLOSED"],
  reset: ["CLOSED>CLOSED", "OPEN>CLOSED", "HALF_OPEN>CLOSED"],
};

/** The judge of the trail and of events. */
export class TrailJudge {
  readonly #verdicts: Verdicts;
  /** Situations that came up. */
  readonly #met: Set<string>;
  readonly #audited = new Set<string>();
  readonly #announced = new Set<string>();
  /** Oldest first. */
  readonly trail: Row[] = [];

  constructor(verdicts: Verdicts, met: Set<string>) {
    this.#verdicts = verdicts;
    this.#met = met;
  }

  /** A request has been applied, perhaps again: one answer claims each generation that begins. */
  witness(deed: Deed, again: boolean): void {
    const { request, said, risen, before, after } = deed;
    const made = !again && (said.won === true || said.moved === true);
    const claims = (said.released ? 1 : 0) + (made ? 1 : 0);
    this.#check(
      risen === claims,
      "audit",
      () => `${request.do} begins ${risen} generations, and its answer claims ${claims}`,
    );
    if (said.released) this.#enter("released", before!, before!, before!.generation, deed);
    if (!made || after === null) return;
    const event = request.do === "acquire"
      ? "half_opened"
      : request.do === "transition"
      ? request.body.event
      : "override";
    this.#enter(event, before, after, after.generation, deed);
  }

  #enter(
    event: string,
    before: Snapshot | null,
    after: Snapshot,
    generation: number,
    { life, now }: Deed,
  ): void {
    const change = `${life} ${after.epoch} ${generation}`;
    this.#check(
      !this.#audited.has(change),
      "audit",
      () => `${event} in generation ${generation} is audited twice`,
    );
    this.#audited.add(change);
    const from = before?.state ?? "CLOSED";
    this.trail.push({ event, from, to: after.state, generation, life, at: now });
    const edge = `${from}>${after.state}`;
    const legal = EDGES[event] ?? [`${from}>${from}`];
    this.#check(legal.includes(edge), "edges", () => `${event} takes the circuit along ${edge}`);
  }

  /** An isolate emits an event. */
  hear(event: FuseEvent, delivery: Delivery | null): void {
    if (!("from" in event) || event.type === "would_open") return;
    const { type, from, to, generation } = event;
    const what = `${type} from ${from} to ${to} in generation ${generation}`;
    this.#check(
      EDGES[type]!.includes(`${from}>${to}`),
      "edges",
      () => `An isolate announces ${what}`,
    );
    if (event.local) {
      this.#met.add(`${type} alone`);
      return;
    }
    if (delivery === null) {
      return this.#check(false, "announcements", () => `${what} is announced out of the blue`);
    }
    const { life, said: { snapshot: { epoch } } } = delivery;
    const row = this.trail.findLast((row) => row.life === life && row.generation === generation);
    this.#check(
      row?.event === type && row.from === from && row.to === to,
      "announcements",
      () => `${what} is announced, the trail has ${JSON.stringify(row)}`,
    );
    const move = `${life} ${epoch} ${generation}`;
    this.#check(!this.#announced.has(move), "announcements", () => `${what} is announced twice`);
    this.#announced.add(move);
  }

  #check: Verdicts["check"] = (...what) => this.#verdicts.check(...what);
}
