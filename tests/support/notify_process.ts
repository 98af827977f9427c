/**
 * An isolate that trips a circuit, and sends a notice over a webhook. Its arguments are the URL of
 * the database, that of the webhook, and `dies` if it dies before it can send.
 *
 * @module
 */
import { createFuse } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { type Channel, notify, webhook } from "@fuse/edge/notify";
import { createClient } from "@libsql/client";

const [database, url, fate] = Deno.args as [string, string, string];
const client = createClient({ url: database });
const stores = { database: libsql({ client, busyTimeoutMs: 5_000 }) };
const fuse = createFuse({ stores, instance: fate, storeTimeoutMs: 10_000 });
const tell = webhook({ url, secret: "key" });
const channel: Channel = (notices) => {
  if (fate === "dies") Deno.kill(Deno.pid, "SIGKILL");
  return tell(notices);
};
notify(fuse, { channels: [channel] });
const breaker = fuse.make(fate, { failureThreshold: 1 });
await breaker.tryCall(() => Promise.reject(new TypeError("token=s3cr3t")));
await fuse.flush();
client.close();
