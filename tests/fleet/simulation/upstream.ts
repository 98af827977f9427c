/**
 * The upstream of the isolates, and the ways in which it fails.
 *
 * @module
 */
import type { Step } from "./scenario.ts";

type Change = Extract<Step, { do: "upstream" }>;

/** The condition that a call meets. */
export interface Reply {
  readonly fails: boolean;
  readonly lastsMs: number;
  /** An observer would not have called. */
  readonly dead: boolean;
}

const FLAP_MS = 700;

/** The upstream of one world. */
export class Upstream {
  readonly #errorRate: number;
  #spells: (Change & { readonly until: number })[] = [];

  constructor(errorRate: number) {
    this.#errorRate = errorRate;
  }

  /** Begins a condition, for a time; a later one takes precedence over an earlier one. */
  change(change: Change, now: number): void {
    this.#spells.unshift({ ...change, until: now + change.forMs });
  }

  /** Ends all conditions. */
  heal(): void {
    this.#spells = [];
  }

  /** Returns the result of a call of this isolate that begins now. */
  meet(slot: number, { luck, lastsMs }: Extract<Step, { do: "call" }>, now: number): Reply {
    const spell = this.#spells.find(({ isolate, until }) =>
      until > now && (isolate === null || isolate === slot)
    );
    switch (spell?.is) {
      case "dead":
        return { fails: true, lastsMs, dead: true };
      case "flapping": {
        const dead = Math.floor(now / FLAP_MS) % 2 === 0;
        return { fails: dead || luck < this.#errorRate, lastsMs, dead };
      }
      case "slow":
        return { fails: false, lastsMs: lastsMs + 100 + luck * 1_500, dead: false };
      case "unreliable":
        return { fails: luck < 0.5, lastsMs, dead: false };
      case undefined:
        return { fails: luck < this.#errorRate, lastsMs, dead: false };
    }
  }
}
