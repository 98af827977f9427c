/**
 * Tells people when a circuit opens, closes, or an operator acts on it: over a signed webhook, in Slack,
 * or on any channel of your own.
 *
 * @example
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { notify, type Notice } from "@fuse/edge/notify";
 * import { assertStringIncludes } from "@std/assert";
 *
 * const fuse = createFuse();
 * const told: Notice[] = [];
 * const channel = (notices: readonly Notice[]) => Promise.resolve(void told.push(...notices));
 * const notices = notify(fuse, { channels: [channel] });
 *
 * await fuse.make("payments").forceOpen({ reason: "provider is down", actor: "ada" });
 * await fuse.flush();
 * assertStringIncludes(told[0]!.text, 'Circuit "payments"');
 * notices.stop();
 * ```
 *
 * @module
 */

import type { Fuse } from "./fuse.ts";
import { type Notifier, notifyBy, type NotifyOptions } from "./notify/notifier.ts";
import { PLATFORM } from "./notify/parts.ts";

export {
  type Channel,
  slack,
  type SlackOptions,
  webhook,
  type WebhookOptions,
} from "./notify/channels.ts";
export type { Notice } from "./notify/notices.ts";
export type { Notifier, NotifyOptions } from "./notify/notifier.ts";

/**
 * Sends a notice to channels for each change of a circuit. The isolate that made the change sends it. If
 * that isolate dies first, `drain()` finds the change in the trail.
 *
 * Sending is background work: it uses the `waitUntil` of `createFuse`, and `flush()` waits for it. Each
 * channel is tried up to three times, one request at a time, behind a circuit of its own. A receiver gets
 * a notice again, with the same `data.id`, if its answer to an earlier try was lost. A notice whose tries
 * all fail is dropped, and the event `listener_error` reports that, without addresses.
 *
 * @param fuse The Fuse, or a view of it.
 * @param options See {@linkcode NotifyOptions}.
 * @returns See {@linkcode Notifier}. Making it performs no I/O and sets no timer.
 * @throws {TypeError | RangeError} Naming the option.
 */
export function notify(fuse: Fuse, options: NotifyOptions): Notifier {
  return notifyBy(fuse, options, PLATFORM);
}
