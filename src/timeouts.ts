/**
 * The timeouts of calls, which nearly all end long before.
 *
 * @module
 */

/** A call that waits, and the moment at which it is given up, by `performance.now()`. */
interface Wait {
  readonly at: number;
  readonly pass: () => void;
}

const isDeno = "Deno" in globalThis;

/** Tests that fake the time replace it, and want timers of theirs. */
const platformTimeout = globalThis.setTimeout;

/** The calls that wait for {@linkcode alarm}. */
const waits = new Set<Wait>();

/** It may go on when nobody waits any more: as long as nobody listens, it keeps no process alive. */
let alarm: AbortSignal | undefined;

/** When the alarm rings. */
let ringsAt = 0;

/**
 * Calls `pass` after so many ms. Returns how to call that off.
 *
 * On Deno, to set a timer and to clear it costs more than all the rest of a call, so that calls share an
 * alarm there. Elsewhere timers are cheap, and on Workers no request may wait for another's.
 */
export function passAfter(ms: number, pass: () => void): () => void {
  if (!isDeno || setTimeout !== platformTimeout) {
    const timer = setTimeout(pass, ms);
    return () => clearTimeout(timer);
  }
  const now = performance.now();
  const wait = { at: now + ms, pass };
  waits.add(wait);
  ringBy(wait.at, now);
  return () => {
    if (waits.delete(wait) && waits.size === 0) alarm?.removeEventListener("abort", ring);
  };
}

/** Sets the alarm, unless it rings early enough. */
function ringBy(at: number, now: number): void {
  if (alarm?.aborted !== false || at < ringsAt) {
    alarm?.removeEventListener("abort", ring);
    // Whole milliseconds, and never too early.
    const ms = Math.ceil(at - now);
    ringsAt = now + ms;
    alarm = AbortSignal.timeout(ms);
  }
  // Again, it costs little and changes nothing.
  alarm.addEventListener("abort", ring);
}

function ring(): void {
  // A platform's timers may be early by a fraction of a millisecond.
  const now = Math.max(ringsAt, performance.now());
  for (const wait of waits) {
    if (wait.at > now) ringBy(wait.at, now);
    else {
      waits.delete(wait);
      wait.pass();
    }
  }
}
