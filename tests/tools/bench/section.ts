/**
 * One part of the benchmark. To add one, write a file with a `section`, and an entry in
 * `sections.ts`.
 *
 * @module
 */
import type { Candidate } from "./harness.ts";
import type { Table } from "./table.ts";

/** The options of every section. */
export interface SectionOptions {
  /** Fewer rounds, smaller numbers: a first look, not a result. */
  readonly quick: boolean;
  /** The path of a checkout of denoland/std, for its circuit breaker. */
  readonly std?: string | undefined;
}

/** A part of the benchmark. It runs in a process of its own. */
export interface Section {
  /** Yields tables, each as soon as it is known. */
  run(options: SectionOptions): AsyncIterable<Table>;
  /** Its candidates, for `profile.ts`. */
  candidates?(): Candidate[] | Promise<Candidate[]>;
}
