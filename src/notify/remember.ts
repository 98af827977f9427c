/**
 * Remembers the changes that were sent as they happened, so that they are not sent again from the
 * trail.
 *
 * @module
 */

import {
  type CursorName,
  type DeliveredTrail,
  type KeepsTrails,
  TRAILS,
  type Trails,
} from "../cursors.ts";
import type { Fuse } from "../fuse.ts";
import { storesOf } from "../known.ts";
import type { Telling } from "./notices.ts";

/** The age of the rows with which a new cursor begins, in ms. */
export const LOOK_BACK_MS = 3_600_000;

/** The largest difference between an isolate's clock and the store's, in ms. */
const SLACK_MS = 10_000;

/** Returns the trails of the stores of a Fuse, by the store's name. */
export function trailsOf(fuse: Fuse): [store: string, Trails][] {
  return [...storesOf(fuse)].flatMap(([name, store]) => {
    const { [TRAILS]: trails } = store as Partial<KeepsTrails>;
    return trails === undefined ? [] : [[name, trails]];
  });
}

/** Remembers the changes that were sent over a channel, beside the trails. */
export async function remember(
  fuse: Fuse,
  cursor: CursorName,
  told: readonly Telling[],
): Promise<void> {
  const trails = new Map(trailsOf(fuse));
  const texts = new Map<DeliveredTrail, string[]>();
  for (const telling of told.flatMap((one) => one.all ?? [one])) {
    const trail = trails.get(telling.circuit.store)?.of(telling.circuit.key);
    const text = textOf(telling);
    if (trail === undefined || text === null) continue;
    texts.set(trail, [...texts.get(trail) ?? [], text]);
  }
  for (const [trail, changes] of texts) {
    await trail.announce({ ...cursor, lookBackMs: LOOK_BACK_MS }, changes);
  }
}

function textOf({ circuit, change, notice }: Telling): string | null {
  return change === null ? null : JSON.stringify([circuit.key, change, notice.at.getTime()]);
}

/**
 * Returns whether a change of a trail was sent as it happened. Each counts once: of two that look
 * alike, the second was not sent.
 */
export class Remembered {
  readonly #texts: Map<string, { readonly text: string; readonly at: number }[]> = new Map();
  /** The texts that were found so far. */
  readonly found: string[] = [];

  constructor(texts: readonly string[]) {
    for (const text of texts) {
      try {
        const [key, change, at] = JSON.parse(text);
        const id = JSON.stringify([key, change]);
        this.#texts.set(id, [...this.#texts.get(id) ?? [], { text, at: Number(at) }]);
      } catch {
        // Somebody has edited it.
      }
    }
  }

  has({ circuit, change, notice }: Telling): boolean {
    const alike = this.#texts.get(JSON.stringify([circuit.key, change])) ?? [];
    const isNamed = change !== "removed";
    const index = alike.findIndex(({ at }) =>
      isNamed || Math.abs(at - notice.at.getTime()) <= SLACK_MS
    );
    if (index < 0) return false;
    this.found.push(...alike.splice(index, 1).map(({ text }) => text));
    return true;
  }
}
