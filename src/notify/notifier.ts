/**
 * Hears what happens to circuits, and has channels told.
 *
 * @module
 */

import type { AuditEventName } from "../contract.ts";
import { check, known, MAX_TIMER_MS, received, refuse } from "../checks.ts";
import { type Fuse, insideOf } from "../fuse.ts";
import { EVENTS } from "../history.ts";
import { isName } from "../key.ts";
import type { Channel } from "./channels.ts";
import { drainTrails } from "./drain.ts";
import { makeSenders } from "./senders.ts";
import { type LiveEvent, ofEvent, type Telling } from "./notices.ts";
import { Quiet } from "./quiet.ts";
import type { Parts } from "./parts.ts";
import { remember } from "./remember.ts";

/** Options of `notify()`. */
export interface NotifyOptions {
  /** Where notices go. At least one. They are told one by one: a channel that fails holds up no other. */
  channels: readonly Channel[];
  /**
   * Which events are told. `edited`, `success` and `failure` come from the trail alone, by `drain()`.
   * `reborn` is told as it happens by each isolate that knew the circuit, and only where it is named here.
   *
   * @default {all but success, failure and half_opened}
   */
  events?: readonly AuditEventName[] | undefined;
  /**
   * For how long after a notice further changes of the same circuit are gathered, in ms. A single notice then
   * says how many there were, and the last of them. An integer of at least 0.
   *
   * @default {0}
   */
  quietMs?: number | undefined;
  /**
   * Names the cursors that `drain()` keeps in `circuit_breaker_cursors`, one for each channel in its
   * place. Two readers of a trail need two names. 1–255 characters.
   *
   * @default {"default"}
   */
  name?: string | undefined;
}

/** Returned by `notify()`. */
export interface Notifier {
  /**
   * Delivers what the trail has since what was delivered last: at least once, whatever dies meanwhile.
   * For a cron trigger. If two of them run at once, one delivers and the other returns 0. A cursor begins
   * an hour back.
   *
   * Cost: two round trips for each channel, and two more for 100 rows. With `tiered()`, a list of what is
   * not plainly CLOSED besides.
   *
   * @returns How many notices were delivered, each counted once.
   * @throws {TypeError} If no store of the view keeps a trail that can be delivered.
   * @throws {Error} If a channel or a store fails. Cursors stand where they were: the next `drain()`
   * begins there.
   */
  drain(): Promise<number>;
  /** Stops telling what happens, and drops what waits for a quiet time to end. `drain()` still works. */
  stop(): void;
}

const SUBJECT = "notify";
const UNTOLD: readonly AuditEventName[] = ["success", "failure", "half_opened"];

/** Does what `notify()` does, with a clock and timers of the caller's. */
export function notifyBy(fuse: Fuse, options: NotifyOptions, parts: Parts): Notifier {
  const { channels, events, quietMs, name } = checked(options);
  const senders = makeSenders(channels, parts);
  const tell = async (tellings: readonly Telling[]) => {
    await senders.tell(tellings, (channel, told) => remember(fuse, { name, channel }, told));
  };
  const quiet = new Quiet(fuse, quietMs, tell, parts);
  // Each isolate that knew a circuit hears that it is lost: all of them would tell.
  const live = events.filter(isLive)
    .filter((type) => type !== "reborn" || options.events !== undefined);
  const stops = live.map((type) =>
    fuse.on(
      type,
      (event) => quiet.hear(ofEvent(event as LiveEvent, insideOf(fuse)?.registry.instance ?? null)),
    )
  );
  return {
    drain: () => drainTrails({ fuse, events, quietMs, name, senders, quiet }),
    stop() {
      for (const stop of stops) stop();
      quiet.stop();
    },
  };
}

/** Events that an isolate announces itself. */
type LiveName = LiveEvent["type"];

function isLive(event: AuditEventName): event is LiveName {
  return !["edited", "success", "failure"].includes(event);
}

/** @throws {TypeError | RangeError} Naming the option. */
function checked(options: NotifyOptions) {
  known(SUBJECT, options, ["channels", "events", "quietMs", "name"]);
  const { channels, name = "default" } = options;
  const areChannels = Array.isArray(channels) && channels.length > 0 &&
    channels.every((channel) => typeof channel === "function");
  if (!areChannels) {
    refuse(SUBJECT, "channels", "a list of channels, such as webhook() and slack() make", channels);
  }
  const standard = EVENTS.filter((event) => !UNTOLD.includes(event));
  const { events = standard } = options;
  if (!Array.isArray(events)) refuse(SUBJECT, "events", "a list of events", events);
  for (const event of events) {
    if (!EVENTS.includes(event)) {
      refuse(SUBJECT, "events", `names of ${EVENTS.join(", ")}`, event);
    }
  }
  if (!isName(name)) {
    throw new RangeError(
      `Cannot create ${SUBJECT}: "name" must have 1-255 characters, received ${received(name)}`,
    );
  }
  const quietMs = check(SUBJECT, "quietMs", options.quietMs, 0, 0, MAX_TIMER_MS);
  return { channels: [...channels], events: [...new Set(events)], quietMs, name };
}
