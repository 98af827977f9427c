/**
 * Families of candidates that are timed against each other, each family in a process of its own, so
 * that earlier work has no influence. They run on Deno and on Node.
 *
 * @module
 */
import type { Candidate } from "./harness.ts";
import type { StdModule } from "./peer_std.ts";

/** Further modules for a family, beside npm's. */
export interface Peers {
  /** `null` if no path was given. */
  readonly std: StdModule | null;
}

/** Creates the candidates of a family, by the names of {@linkcode NAMES}. */
export type Family = (peers: Peers) => Candidate[] | Promise<Candidate[]>;

/** The names of candidates, the same in every family. */
export const NAMES = {
  bare: "bare",
  call: "fuse",
  tryCall: "fuse, tryCall",
  cockatiel: "cockatiel",
  std: "std",
  opossum: "opossum",
} as const;

/** The other breakers. */
export const PEERS = [NAMES.cockatiel, NAMES.std, NAMES.opossum] as const;
