/**
 * How a store hands out its trail to be delivered: oldest first, from where a cursor has come to.
 *
 * @module
 */

import type { Admission, AuditEventName, StoredEvent } from "./trail.ts";

/** The property under which a store has its trails. Registered globally, like that of circuits. */
export const TRAILS: unique symbol = Symbol.for("@fuse/edge: trails");

/** A store whose trails can be delivered. */
export interface KeepsTrails {
  readonly [TRAILS]: Trails;
}

/** The trails of a store: one a database. */
export interface Trails {
  readonly all: readonly DeliveredTrail[];
  /** Returns the trail with the rows of a circuit. */
  of(key: string): DeliveredTrail;
  /** Has changes appended that wait elsewhere, as far as this costs little. `at` is the caller's clock, in ms. */
  gather?(at: number): Promise<void>;
}

/** Names a cursor: its reader, and the channel. */
export interface CursorName {
  readonly name: string;
  /** Counts from 0. */
  readonly channel: number;
}

/** A row of a trail. A row of a call, or of old, is of no generation. */
export interface DeliveredRow extends Omit<StoredEvent, "cursor"> {
  readonly generation: Admission | null;
}

/** Asks for the cursor and for what comes after it. */
export interface ClaimRequest extends CursorName {
  /** Names whoever asks. */
  readonly holder: string;
  /** For how long nobody else gets the cursor, in ms. */
  readonly holdMs: number;
  /** How far back a cursor begins with which nobody has delivered yet, in ms. */
  readonly lookBackMs: number;
  /** Which rows. */
  readonly events: readonly AuditEventName[];
  /** How many rows at most. */
  readonly limit: number;
}

/** A cursor that is held, and what comes after it. */
export interface Claim {
  /** Where the cursor stands. */
  readonly position: number;
  /** Where it may be moved once the rows are delivered. */
  readonly end: number;
  /** `true` if there are more rows. */
  readonly more: boolean;
  /** Oldest first. */
  readonly rows: readonly DeliveredRow[];
  /** The changes that were announced as they happened, as `announce` was given them. */
  readonly announced: readonly string[];
}

/** Asks to move a cursor that is held, and to let go of it. */
export interface MoveRequest extends CursorName {
  readonly holder: string;
  readonly from: number;
  readonly to: number;
  /** The changes that need not be remembered any more. */
  readonly announced: readonly string[];
}

/** A trail that can be delivered. Each method is one transaction. */
export interface DeliveredTrail {
  /** Returns `null` while somebody else holds the cursor. */
  claim(request: ClaimRequest): Promise<Claim | null>;
  /** Returns `false`, having done nothing, if the cursor is held by somebody else, or elsewhere. */
  move(request: MoveRequest): Promise<boolean>;
  /** Remembers that changes were announced as they happened. The newest {@linkcode ANNOUNCED} remain. */
  announce(
    cursor: CursorName & { readonly lookBackMs: number },
    changes: readonly string[],
  ): Promise<void>;
}

/** So many announced changes are remembered for each cursor: with those before, receivers hear twice. */
export const ANNOUNCED = 512;
