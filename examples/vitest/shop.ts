/** An application that calls a shop, guarded by a circuit. Tests pass in its clock. */
import { type Clock, createFuse } from "@fuse/edge";

/** Creates the application. */
export function createShop(load: (id: string) => Promise<string>, clock?: Clock) {
  const shop = createFuse({ clock }).make("shop", {
    failureThreshold: 3,
    successThreshold: 1,
    cooldownMs: 30_000,
    fallback: () => "try again later",
    fallbackOn: "failure",
  });
  return { product: (id: string) => shop.call(() => load(id)), state: () => shop.getState() };
}
