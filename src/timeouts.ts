/**
 * The timeouts of calls. Nearly all calls end long before theirs.
 *
 * @module
 */

/** A call on its way, and the time at which it is given up, by `performance.now()`. */
interface Wait {
  readonly at: number;
  readonly pass: () => void;
  /** Its index in `waits`. */
  place: number;
}

const isDeno = "Deno" in globalThis;

/** As it was found. Deno loads its timers when they are first touched, which takes longer than all of this. */
const found = Object.getOwnPropertyDescriptor(globalThis, "setTimeout");

/** The platform's own. Tests that fake the time replace it, and must get their timers. */
let platformTimeout: unknown;

/** The calls that wait for {@linkcode alarm}, in no order. An array: a Set would hash each of them. */
const waits: Wait[] = [];

/** It may run on after the last wait: without a listener it keeps no process alive. */
let alarm: AbortSignal | undefined;

/** When the alarm rings. */
let ringsAt = 0;

/**
 * Calls `pass` after a number of ms. Returns a function that prevents it.
 *
 * On Deno, setting and clearing a timer costs more than the rest of a call, so calls share an alarm
 * there. Elsewhere timers are cheap, and on Workers no request may wait for another's.
 */
export function passAfter(ms: number, pass: () => void): () => void {
  platformTimeout ??= found?.get?.call(globalThis) ?? found?.value;
  if (!isDeno || setTimeout !== platformTimeout) {
    const timer = setTimeout(pass, ms);
    return () => clearTimeout(timer);
  }
  const now = performance.now();
  const wait = { at: now + ms, pass, place: waits.length };
  waits.push(wait);
  ringBy(wait.at, now);
  return () => remove(wait);
}

function remove(wait: Wait): void {
  const { place } = wait;
  if (waits[place] !== wait) return;
  const last = waits.pop()!;
  if (last !== wait) waits[last.place = place] = last;
  else if (place === 0) alarm?.removeEventListener("abort", ring);
}

/** Sets the alarm, unless it rings early enough, and listens to it. */
function ringBy(at: number, now: number): void {
  if (alarm?.aborted !== false || at < ringsAt) {
    alarm?.removeEventListener("abort", ring);
    // Whole milliseconds, and never too early.
    const ms = Math.ceil(at - now);
    ringsAt = now + ms;
    alarm = AbortSignal.timeout(ms);
  } else if (waits.length > 1) return;
  alarm.addEventListener("abort", ring);
}

function ring(): void {
  // A platform's timers may be early by a fraction of a millisecond.
  const now = Math.max(ringsAt, performance.now());
  let next = Infinity;
  for (const wait of [...waits]) {
    // An earlier one in this loop may have removed it.
    if (waits[wait.place] !== wait) continue;
    if (wait.at > now) next = Math.min(next, wait.at);
    else {
      remove(wait);
      wait.pass();
    }
  }
  // Once: an alarm for each that is earlier than those before it could block for a second.
  if (waits.length > 0) ringBy(next, now);
}
