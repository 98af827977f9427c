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
 * Tells channels what happens to circuits. A change is told as it happens by the isolate that made it, at
 * most once; if that isolate dies before, nobody hears of it until `drain()` reads the trail.
 *
 * Sending is background work: it goes through the `waitUntil` of `createFuse`, and `flush()` waits for it.
 * A channel is tried three times, behind a circuit of its own, one request at a time. Its failures
 * are told by `listener_error`, without addresses.
 *
 * @param fuse The Fuse, or a view of it.
 * @param options See {@linkcode NotifyOptions}.
 * @returns See {@linkcode Notifier}. Making it performs no I/O and sets no timer.
 * @throws {TypeError | RangeError} Naming the option.
 */
export function notify(fuse: Fuse, options: NotifyOptions): Notifier {
  return notifyBy(fuse, options, PLATFORM);
}

export type * from "../mod.ts";
