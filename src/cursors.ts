/**
 * The interface by which a store hands out its trail for delivery: oldest first, from the position
 * of a cursor.
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

/** The trails of a store: one for each database. */
export interface Trails {
  readonly all: readonly DeliveredTrail[];
  /** Returns the trail with the rows of a circuit. */
  of(key: string): DeliveredTrail;
  /**
   * Appends changes that wait elsewhere, as far as this costs little. `at` is the caller's clock,
   * in ms.
   */
  gather?(at: number): Promise<void>;
}

/** Names a cursor: its reader, and the channel. */
export interface CursorName {
  readonly name: string;
  /** Counts from 0. */
  readonly channel: number;
}

/** A row of a trail. The row of a call, or an old one, has no generation. */
export interface DeliveredRow extends Omit<StoredEvent, "cursor"> {
  readonly generation: Admission | null;
}

/** Asks for the cursor and for the rows after it. */
export interface ClaimRequest extends CursorName {
  /** The name of the caller. */
  readonly holder: string;
  /** The time for which no other caller gets the cursor, in ms. */
  readonly holdMs: number;
  /** The age of the rows with which a new cursor begins, in ms. */
  readonly lookBackMs: number;
  /** The events to return. */
  readonly events: readonly AuditEventName[];
  /** The largest number of rows. */
  readonly limit: number;
}

/** A cursor that is held, and the rows after it. */
export interface Claim {
  /** The position of the cursor. */
  readonly position: number;
  /** The position to move it to once the rows are delivered. */
  readonly end: number;
  /** `true` if there are more rows. */
  readonly more: boolean;
  /** Oldest first. */
  readonly rows: readonly DeliveredRow[];
  /** The changes that were announced as they happened, as passed to `announce`. */
  readonly announced: readonly string[];
}

/** Asks to move a cursor that is held, and to release it. */
export interface MoveRequest extends CursorName {
  readonly holder: string;
  readonly from: number;
  readonly to: number;
  /** The changes that need not be remembered any more. */
  readonly announced: readonly string[];
}

/** A trail that can be delivered. Each method is one transaction. */
export interface DeliveredTrail {
  /** Returns `null` while another caller holds the cursor. */
  claim(request: ClaimRequest): Promise<Claim | null>;
  /** Returns `false`, having done nothing, if another caller holds the cursor, or it has moved. */
  move(request: MoveRequest): Promise<boolean>;
  /** Remembers that changes were announced as they happened. The newest {@linkcode ANNOUNCED} remain. */
  announce(
    cursor: CursorName & { readonly lookBackMs: number },
    changes: readonly string[],
  ): Promise<void>;
}

/**
 * The number of announced changes that are remembered for each cursor: earlier ones are sent twice.
 */
export const ANNOUNCED = 512;
