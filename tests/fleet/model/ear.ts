/**
 * Listens to all isolates of a session.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { FuseEvent } from "@fuse/edge";

const OPERATED = ["forced_open", "forced_closed", "disabled", "metrics_only", "released", "reset"];
const LEGAL = [
  "opened CLOSED>OPEN",
  "opened HALF_OPEN>OPEN",
  "half_opened OPEN>HALF_OPEN",
  "closed HALF_OPEN>CLOSED",
];

/** What was announced, by whichever isolate, and whether it could be true. */
export class Ear {
  /** Transitions and operator actions. */
  changes = 0;
  /** Overrides that ended by themselves. */
  expired = 0;
  /** Tallies that were given up. */
  unconfirmed = 0;
  readonly #faults: boolean;
  readonly #nonsense: boolean;
  readonly #guesses: boolean;
  #heard: string[] = [];
  /** What no event may ever say. Kept, for a listener that throws only makes another event. */
  readonly #wrong: string[] = [];
  readonly #generations = new Set<number>();
  /** By isolate and generation. */
  readonly #warnings = new Set<string>();

  constructor(may: {
    /** Whether the store fails now and then. */
    readonly faults: boolean;
    /** Whether a cooldown function answers nonsense now and then. */
    readonly nonsense: boolean;
    /** Whether a success is told before its isolate knows from the store whether it came late. */
    readonly guesses?: boolean;
  }) {
    this.#faults = may.faults;
    this.#nonsense = may.nonsense;
    this.#guesses = may.guesses ?? false;
  }

  /** The name of an ending as it is compared. */
  nameOf(type: string, late: boolean): string {
    return late && !(this.#guesses && type === "success") ? `${type} late` : type;
  }

  /** Listens to one isolate. */
  hear(isolate: number, event: FuseEvent): void {
    switch (event.type) {
      case "opened":
      case "half_opened":
      case "closed": {
        const edge = `${event.type} ${event.from}>${event.to}`;
        if (!LEGAL.includes(edge)) this.#wrong.push(`${edge} is no legal edge`);
        // The stand-in of a store that does not answer counts its own generations.
        if (event.local === true) return;
        this.#once(event.generation);
        this.#heard.push(`${edge} #${event.generation}`);
        return;
      }
      case "would_open": {
        if (event.local === true) return;
        const warning = `${isolate} #${event.generation}`;
        if (this.#warnings.has(warning)) this.#wrong.push(`would_open twice: ${warning}`);
        this.#warnings.add(warning);
        return;
      }
      case "success":
      case "failure":
        this.#heard.push(this.nameOf(event.type, event.late === true));
        return;
      // Whether a neutral ending came late changes nothing, and is not always known.
      case "ignored":
      case "rejected":
        this.#heard.push(event.type);
        return;
      case "slow":
        return;
      case "unconfirmed":
        this.unconfirmed++;
        if (!this.#faults) this.#wrong.push("unconfirmed, although no fault was made");
        return;
      case "store_error":
        if (!this.#faults) this.#wrong.push(`No fault was made: ${event.error}`);
        return;
      case "store_recovered":
        return;
      case "listener_error":
        if (!this.#nonsense) this.#wrong.push(`Nobody throws: ${event.error}`);
        return;
      case "reborn":
        // A replica that lags may never have heard of the circuit.
        if (!this.#faults) this.#wrong.push("reborn, although nothing was lost");
        return;
      default:
        if (!OPERATED.includes(event.type)) {
          this.#wrong.push(`"${event.type}" is for other occasions`);
          return;
        }
        this.changes++;
        if (event.type === "released" && event.reason === "expired") this.expired++;
        else this.#heard.push(event.type);
    }
  }

  /** Call, transition and operator events since the last look, in order. */
  take(where: string): string[] {
    assertEquals(this.#wrong, [], where);
    const heard = this.#heard;
    this.#heard = [];
    return heard;
  }

  /** Whether any isolate warned in this generation that it would have opened. */
  hasWarned(generation: number): boolean {
    return [...this.#warnings].some((warning) => warning.endsWith(` #${generation}`));
  }

  #once(generation: number): void {
    if (this.#generations.has(generation)) {
      this.#wrong.push(`Generation ${generation} was announced twice`);
    }
    this.#generations.add(generation);
    this.changes++;
  }
}
