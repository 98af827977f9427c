// Scopes that tests share, and the circuits that a Fuse lists.
import type { CircuitFilter, Fuse } from "@fuse/edge";

export const down = () => Promise.reject(new Error("down"));
export const T1 = { type: "tenant", id: 1 };
export const T2 = { type: "tenant", id: 2 };
export const EU = { type: "region", id: "eu" };

export async function names(fuse: Fuse, filter?: CircuitFilter): Promise<string[]> {
  const all = await Array.fromAsync(fuse.list(filter));
  return all.map(({ store, key }) => store === "array" ? key : `${store}/${key}`).sort();
}
