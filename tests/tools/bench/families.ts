/**
 * All families, and how to race one in a process of its own. Runs on Deno and on Node: `programs.ts`
 * bundles and starts it.
 *
 * @module
 */
import process from "node:process";
import { CLOSED_FAMILIES } from "./closed_families.ts";
import type { Family } from "./family.ts";
import { type Effort, race } from "./harness.ts";
import { REJECTION_FAMILIES } from "./rejection_families.ts";
import { TIMEOUT_FAMILIES } from "./timeout_families.ts";

/** By name. */
export const FAMILIES: Readonly<Record<string, Family>> = {
  ...CLOSED_FAMILIES,
  ...REJECTION_FAMILIES,
  ...TIMEOUT_FAMILIES,
};

/** What to race: the process's argument, as JSON. */
export interface FamilyRequest {
  readonly family: string;
  readonly effort: Effort;
  /** The address of std's module; `null` if there is none. */
  readonly std: string | null;
}

/** Races what the process's argument says; its last line is the JSON of what was measured. */
export async function raceFamily(): Promise<never> {
  const { family, effort, std }: FamilyRequest = JSON.parse(process.argv[2]!);
  const candidates = await FAMILIES[family]!({ std: std === null ? null : await import(std) });
  console.log(JSON.stringify(await race(candidates, effort)));
  // Opossum's timers would keep the process alive.
  process.exit();
}
