/**
 * The network between the isolates and their store: it delays, loses and repeats requests, and cuts
 * isolates off.
 *
 * @module
 */
import type { Awaitable } from "../../../src/contract.ts";
import type { VirtualTime } from "../../support/virtual_time.ts";
import type { Weather } from "./scenario.ts";
import type { Request, Said, Server } from "./server.ts";
import { chance } from "./virtual_globals.ts";
import { CIRCUITS, type OpeningStore, SHARED } from "../../support/drivers.ts";

/** A sender. */
export interface Sender {
  /** A number that no two senders share. */
  readonly number: number;
  /** The place that it fills, also in succession. */
  readonly slot: number;
  readonly alive: boolean;
}

/** The listeners of the network: the judge, and the diary. */
export interface Observer {
  /** An isolate sends a request. */
  sending(by: Sender, request: Request): void;
  /** An answer reaches its isolate; the rest of this step follows from it. */
  delivering(to: Sender, request: Request, said: Said, arrival: Arrival): void;
  note(line: () => string): void;
}

/** The arrival of an answer. */
export interface Arrival {
  /** The life of the store in which it was given. */
  readonly life: number;
  /** The time of its request. */
  readonly sentAt: number;
  /** Whether the isolate waits for it: it is the first one, and in time. */
  readonly awaited: boolean;
}

/** A period of faults. */
interface Spell {
  readonly will: Weather;
  readonly isolate: number | null;
  readonly share: number;
  readonly until: number;
}

/** Milliseconds after which an isolate gives up on the store: the default. */
export const STORE_TIMEOUT_MS = 500;
/** The longest time of a request on its way. Stores remember ids for longer. */
const LONGEST_DELAY_MS = 20_000;

/** The network of one world. */
export class Network {
  readonly #time: VirtualTime;
  readonly #server: Server;
  readonly #observer: Observer;
  readonly #seed: number;
  readonly #latencyMs: readonly [number, number];
  #spells: Spell[] = [];
  #sent = 0;
  #now = 0;
  /** Requests that isolates have sent. */
  requests = 0;

  constructor(
    time: VirtualTime,
    server: Server,
    observer: Observer,
    { seed, latencyMs }: { seed: number; latencyMs: readonly [number, number] },
  ) {
    this.#time = time;
    this.#server = server;
    this.#observer = observer;
    this.#seed = seed;
    this.#latencyMs = latencyMs;
  }

  /** Begins faults, for a time. */
  worsen(will: Weather, isolate: number | null, share: number, forMs: number): void {
    this.#spells.push({ will, isolate, share, until: this.#time.now() + forMs });
  }

  /** Ends all faults. */
  heal(): void {
    this.#spells = [];
  }

  /** The store as an isolate sees it. */
  wire(of: Sender): OpeningStore {
    const no = (what: string) => (): never => {
      throw new Error(`Nobody asks the simulated store to ${what}`);
    };
    return {
      [CIRCUITS]: SHARED,
      name: "simulated",
      traits: { persistent: true, shared: true, audited: false },
      read: async (key, body) => (await this.#send(of, { do: "read", key, body })).snapshot,
      record: (key, body) => this.#send(of, { do: "record", key, body }) as Awaitable<never>,
      acquire: (key, body) => this.#send(of, { do: "acquire", key, body }) as Awaitable<never>,
      transition: (key, body) =>
        this.#send(of, { do: "transition", key, body }) as Awaitable<never>,
      override: (key, body) => this.#send(of, { do: "override", key, body }) as Awaitable<never>,
      restore: no("restore"),
      list: no("list"),
      remove: no("remove"),
    };
  }

  #send(by: Sender, request: Request): Promise<Said> {
    return new Promise((resolve, reject) => {
      if (!by.alive) return;
      this.requests++;
      const sentAt = this.#time.now();
      let waits = true;
      const fails = (message: string) => {
        if (!by.alive) return;
        waits = false;
        reject(new Error(message));
      };
      this.#observer.sending(by, request);
      const dice = this.#dice(by);
      const { note } = this.#observer;
      note(() => `isolate ${by.number} sends ${describe(request)}`);
      const wayMs = () => {
        const [least, most] = this.#latencyMs;
        return least + dice() * (most - least);
      };
      const arrive = (again: boolean) => {
        if (this.#strikes("lose", by, dice)) {
          return note(() => `lost on its way there: ${describe(request)} of ${by.number}`);
        }
        if (!again && this.#strikes("refuse", by, dice)) {
          this.#time.after(wayMs(), () => fails("Connection refused"));
          return;
        }
        const said = this.#server.apply(request, by.number);
        const { life } = this.#server;
        const answered = this.#strikes("lose_answer", by, dice);
        if (answered) note(() => `the answer to ${describe(request)} of ${by.number} is lost`);
        // The loss of a connection may be detected or not.
        if (answered && dice() < 0.5) return;
        this.#time.after(wayMs(), () => {
          if (!by.alive) return;
          if (answered) return fails("Connection reset");
          if (this.#strikes("lose", by, dice)) return;
          const awaited = waits && this.#time.now() - sentAt < STORE_TIMEOUT_MS;
          this.#observer.delivering(by, request, said, { life, sentAt, awaited });
          waits = false;
          resolve(said);
        });
      };
      const lateMs = this.#strikes("delay", by, dice) ? dice() ** 3 * LONGEST_DELAY_MS : 0;
      this.#time.after(wayMs() + lateMs, () => arrive(false));
      if (this.#strikes("duplicate", by, dice)) {
        this.#time.after(wayMs() + dice() * 1_000, () => arrive(true));
      }
      if (this.#strikes("echo", by, dice)) {
        this.#time.after(wayMs() + dice() * LONGEST_DELAY_MS, () => arrive(true));
      }
    });
  }

  /**
   * Returns numbers that depend on the sender and the moment alone, so that shrinking changes
   * little else.
   */
  #dice(by: Sender): () => number {
    const now = this.#time.now();
    if (now !== this.#now) this.#sent = 0;
    this.#now = now;
    const sent = this.#sent++;
    let drawn = 0;
    return () => chance(this.#seed, by.slot, now, sent, drawn++);
  }

  /** Returns whether a fault meets this request. */
  #strikes(will: Weather, { slot }: Sender, dice: () => number): boolean {
    const now = this.#time.now();
    let strikes = false;
    this.#spells = this.#spells.filter(({ until }) => until > now);
    for (const spell of this.#spells) {
      if (spell.will !== will || (spell.isolate !== null && spell.isolate !== slot)) continue;
      if (spell.share >= 1 || dice() < spell.share) strikes = true;
    }
    return strikes;
  }
}

/** Prints a request in one line. */
export function describe(request: Request): string {
  switch (request.do) {
    case "read":
      return "read";
    case "record": {
      const { id, epoch, generation, successes, failures, rejected, lease } = request.body;
      const ends = lease === null ? "" : `, ends lease ${lease}`;
      return `record ${id} (generation ${generation} of "${epoch}": ${successes} successes, ` +
        `${failures} failures, ${rejected} rejected${ends})`;
    }
    case "acquire":
      return `acquire ${request.body.id} for ${request.body.token}`;
    case "transition": {
      const { id, to, event, expected } = request.body;
      return `transition ${id} to ${to} (${event}, from generation ${
        expected?.generation ?? "any"
      })`;
    }
    case "override":
      return `override ${request.body.id} by ${request.body.kind}`;
  }
}
