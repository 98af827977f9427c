/**
 * Remembers what was told as it happened, so that it is not told again from the trail.
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
import { type Fuse, storesOf } from "../fuse.ts";
import type { Telling } from "./notices.ts";

/** How far back a cursor begins that nobody has moved yet, in ms. */
export const LOOK_BACK_MS = 3_600_000;

/** How far the clock of an isolate may be off the store's, in ms. */
const SLACK_MS = 10_000;

/** Returns the trails of the stores of a Fuse, by the store's name. */
export function trailsOf(fuse: Fuse): [store: string, Trails][] {
  return [...storesOf(fuse)].flatMap(([name, store]) => {
    const { [TRAILS]: trails } = store as Partial<KeepsTrails>;
    return trails === undefined ? [] : [[name, trails]];
  });
}

/** Remembers, beside the trails, what a channel was told. */
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
 * Tells which changes of a trail were told as they happened. Each is told once: of two that look alike, the
 * second was not.
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
        // Somebody has spoilt it.
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
