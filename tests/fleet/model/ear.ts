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

/** The events of all isolates, and whether each of them could be true. */
export class Ear {
  /** The number of transitions and operator actions. */
  changes = 0;
  /** The number of overrides that ended by themselves. */
  expired = 0;
  /** The tallies that were given up. */
  unconfirmed = 0;
  readonly #faults: boolean;
  readonly #nonsense: boolean;
  readonly #guesses: boolean;
  #heard: string[] = [];
  /**
   * Events that must never occur. Kept in a list, because a listener that throws only causes
   * another event.
   */
  readonly #wrong: string[] = [];
  readonly #generations = new Set<number>();
  /** By isolate and generation. */
  readonly #warnings = new Set<string>();

  constructor(may: {
    /** Whether the store fails now and then. */
    readonly faults: boolean;
    /** Whether a cooldown function returns nonsense now and then. */
    readonly nonsense: boolean;
    /**
     * Whether a success is announced before its isolate knows from the store whether it was late.
     */
    readonly guesses?: boolean;
  }) {
    this.#faults = may.faults;
    this.#nonsense = may.nonsense;
    this.#guesses = may.guesses ?? false;
  }

  /** Returns the name under which an ending is compared. */
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
        // The stand-in of an unreachable store counts its own generations.
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
      // Whether a neutral ending was late changes nothing, and is not always known.
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
        // A lagging replica may not have the circuit.
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

  /** Returns the call, transition and operator events since the last call, in order. */
  take(where: string): string[] {
    assertEquals(this.#wrong, [], where);
    const heard = this.#heard;
    this.#heard = [];
    return heard;
  }

  /** Returns whether any isolate warned in this generation that it would have opened. */
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
