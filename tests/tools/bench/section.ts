/**
 * One part of the benchmark. A new one is a file with a `section`, and an entry in `sections.ts`.
 *
 * @module
 */
import type { Candidate } from "./harness.ts";
import type { Table } from "./table.ts";

/** What every section is told. */
export interface SectionOptions {
  /** Fewer rounds, smaller numbers: a look, not a result. */
  readonly quick: boolean;
  /** The path of a checkout of denoland/std, for its circuit breaker. */
  readonly std?: string | undefined;
}

/** A part of the benchmark. It runs in a process of its own. */
export interface Section {
  /** Tables, each as soon as it is known. */
  run(options: SectionOptions): AsyncIterable<Table>;
  /** What it times, for `profile.ts`. */
  candidates?(): Candidate[] | Promise<Candidate[]>;
}
