/**
 * Listens to changes of circuits, and sends notices to channels.
 *
 * @module
 */

import type { AuditEventName } from "../contract.ts";
import { check, known, MAX_TIMER_MS, refuse } from "../checks.ts";
import { type Fuse, insideOf } from "../fuse.ts";
import { EVENTS } from "../history.ts";
import { mustBeName } from "../key.ts";
import type { Channel } from "./channels.ts";
import { drainTrails } from "./drain.ts";
import { makeSenders } from "./senders.ts";
import { type LiveEvent, ofEvent, type Telling } from "./notices.ts";
import { Quiet } from "./quiet.ts";
import type { Parts } from "./parts.ts";
import { remember } from "./remember.ts";

/** Options of `notify()`. */
export interface NotifyOptions {
  /** The channels that get the notices: at least 1. Each is independent of the others. */
  channels: readonly Channel[];
  /**
   * The events that get a notice. `edited`, `success` and `failure` are only sent by `drain()`, from the
   * trail. `reborn` is only sent if it is listed here, as it happens, by each isolate that knew the circuit.
   *
   * @default {all but success, failure and half_opened}
   */
  events?: readonly AuditEventName[] | undefined;
  /**
   * The time after a notice in which further changes of the same circuit are gathered, in ms. A single
   * notice then has the last of them and their number. An integer of at least 0.
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
   * Reads the trail from the last delivered row on, and sends the notices that were not sent before: each
   * at least once, even if an isolate dies meanwhile. It is meant for a cron trigger. If two run at once,
   * one delivers and the other returns 0. A new cursor begins with the rows of the last hour.
   *
   * Cost: two round trips for each channel, and two more for 100 rows. With `tiered()`, also a list of the
   * circuits that are not plainly CLOSED.
   *
   * @returns The number of delivered notices, each counted once.
   * @throws {TypeError} If no store of the view keeps a trail that can be delivered.
   * @throws {Error} If a channel or a store fails. The cursor is not moved, so the next `drain()` begins
   * at the same row.
   */
  drain(): Promise<number>;
  /** Stops sending notices, and drops gathered changes. `drain()` still works. */
  stop(): void;
}

const SUBJECT = "notify";
const UNTOLD: readonly AuditEventName[] = ["success", "failure", "half_opened"];

/** Does what `notify()` does, with the caller's clock and timers. */
export function notifyBy(fuse: Fuse, options: NotifyOptions, parts: Parts): Notifier {
  const { channels, events, quietMs, name } = checked(options);
  const senders = makeSenders(channels, parts);
  const tell = async (tellings: readonly Telling[]) => {
    await senders.tell(tellings, (channel, told) => remember(fuse, { name, channel }, told));
  };
  const quiet = new Quiet(fuse, quietMs, tell, parts);
  // Every isolate that knew a lost circuit gets the event, and would send a notice.
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
    refuse(SUBJECT, "channels", "a non-empty list of channels, such as slack() makes", channels);
  }
  const standard = EVENTS.filter((event) => !UNTOLD.includes(event));
  const { events = standard } = options;
  if (!Array.isArray(events)) refuse(SUBJECT, "events", "a list of events", events);
  for (const event of events) {
    if (!EVENTS.includes(event)) {
      refuse(SUBJECT, "events", `names of ${EVENTS.join(", ")}`, event);
    }
  }
  mustBeName(SUBJECT, name);
  const quietMs = check(SUBJECT, "quietMs", options.quietMs, 0, 0, MAX_TIMER_MS);
  return { channels: [...channels], events: [...new Set(events)], quietMs, name };
}
