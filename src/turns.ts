/**
 * Operations over very many items, which let other work run in between.
 *
 * @module
 */

/** How many circuits are handled in one turn of the event loop: a few ms of work. */
export const MOST_IN_TURN = 1_000;

/** Resolves in a later turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve));
}

/**
 * Yields the items in slices, each in a turn of the event loop of its own. A single slice costs no timer.
 *
 * @param items Read at once: what changes meanwhile has no effect.
 */
export async function* inTurns<T>(items: Iterable<T>): AsyncGenerator<readonly T[], void, void> {
  const all = [...items];
  for (let from = 0; from < all.length; from += MOST_IN_TURN) {
    if (from > 0) await nextTurn();
    yield all.slice(from, from + MOST_IN_TURN);
  }
}
