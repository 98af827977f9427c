/**
 * All families, and the race of one in a process of its own. Runs on Deno and on Node:
 * `programs.ts` bundles and starts it.
 *
 * @module
 */
import process from "node:process";
import { CLOSED_FAMILIES } from "./closed_families.ts";
import type { Family } from "./family.ts";
import { type Effort, race } from "./harness.ts";
import { REJECTION_FAMILIES } from "./rejection_families.ts";
import { TIMEOUT_FAMILIES } from "./timeout_families.ts";

/** The families by name. */
export const FAMILIES: Readonly<Record<string, Family>> = {
  ...CLOSED_FAMILIES,
  ...REJECTION_FAMILIES,
  ...TIMEOUT_FAMILIES,
};

/** The race to run: the process's argument, as JSON. */
export interface FamilyRequest {
  readonly family: string;
  readonly effort: Effort;
  /** The address of std's module; `null` if there is none. */
  readonly std: string | null;
}

/** Runs the race in the process's argument; the last line of output is the JSON of the results. */
export async function raceFamily(): Promise<never> {
  const { family, effort, std }: FamilyRequest = JSON.parse(process.argv[2]!);
  const candidates = await FAMILIES[family]!({ std: std === null ? null : await import(std) });
  console.log(JSON.stringify(await race(candidates, effort)));
  // Opossum's timers would keep the process alive.
  process.exit();
}
