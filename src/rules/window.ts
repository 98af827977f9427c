/**
 * The time window: outcomes are counted in segments, and a whole segment at a time leaves the window.
 *
 * @module
 */

/** The number of segments in a window. `drivers/upstash/script.lua` has the same number. */
const SEGMENTS = 10;

/**
 * Returns the length of a segment, in whole ms: a tenth of the window, rounded up. Outcomes closer
 * than that may be counted as one moment.
 *
 * @param windowMs The length of the window, in ms.
 */
export function segmentMs(windowMs: number): number {
  return Math.ceil(windowMs / SEGMENTS);
}
