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
  if (alarm === undefined || alarm.aborted || wait.at < ringsAt) setAlarm(now, wait.at);
  else if (waits.size === 0) alarm.addEventListener("abort", ring);
  waits.add(wait);
  return () => {
    if (waits.delete(wait) && waits.size === 0) alarm?.removeEventListener("abort", ring);
  };
}

function setAlarm(now: number, at: number): void {
  alarm?.removeEventListener("abort", ring);
  // Whole milliseconds, and never too early.
  const ms = Math.ceil(at - now);
  ringsAt = now + ms;
  alarm = AbortSignal.timeout(ms);
  alarm.addEventListener("abort", ring);
}

function ring(): void {
  alarm = undefined;
  const now = Math.max(ringsAt, performance.now());
  let next = Infinity;
  for (const wait of waits) {
    if (wait.at > now) next = Math.min(next, wait.at);
    else {
      waits.delete(wait);
      wait.pass();
    }
  }
  // What passed may have set the alarm for a call of its own.
  if (next < Infinity && (alarm === undefined || next < ringsAt)) setAlarm(now, next);
}
