/**
 * A table of families: a row for each, with our costs in terms of each peer's.
 *
 * @module
 */
import { NAMES, PEERS } from "./family.ts";
import { fastest, type Measured, ratio } from "./harness.ts";
import type { Programs, Runtime } from "./programs.ts";
import { budget, nanoseconds, type Table, times } from "./table.ts";

/** A row. */
export interface Row {
  readonly label: string;
  readonly family: string;
  /** The limit, as a multiple of the fastest of these. */
  readonly budgets: readonly Budget[];
  /** The candidate of the row. @default {NAMES.call} */
  readonly of?: string;
}

/** A limit, in terms of the fastest of these candidates. */
export interface Budget {
  readonly to: readonly string[];
  readonly limit: number;
}

/** The name of the table, and its contents. */
export interface TableOptions extends Pick<Table, "name" | "title" | "notes"> {
  readonly rows: readonly Row[];
  /** Candidates besides the peers to compare ours with. @default {[]} */
  readonly against?: readonly string[];
}

/** Runs the families one after the other. Rows of the same family share one race. */
export async function familiesTable(
  programs: Programs,
  runtime: Runtime,
  { name, title, rows, notes = [], against = [] }: TableOptions,
): Promise<Table> {
  const others = [...against, ...PEERS];
  const races = new Map<string, Measured[]>();
  const cells: string[][] = [];
  for (const { label, family, budgets, of = NAMES.call } of rows) {
    let measured = races.get(family);
    if (measured === undefined) {
      races.set(family, measured = await programs.race(family, runtime));
    }
    const named = (name: string) => measured.find((one) => one.name === name);
    const ours = named(of)!;
    cells.push([
      label,
      ...nanoseconds(ours.ns),
      ...of === NAMES.call ? nanoseconds(named(NAMES.tryCall)!.ns).slice(0, 1) : [""],
      ...others.flatMap((name) => {
        const other = named(name);
        return other === undefined ? ["", ""] : times(ratio(ours, other));
      }),
      budgets.map(({ to, limit }) => {
        const present = to.map(named).filter((one) => one !== undefined);
        if (present.length === 0) return "";
        const best = fastest(present);
        return `${best.name} ${budget(ratio(ours, best).median, limit)}`;
      }).filter((text) => text !== "").join(", "),
    ]);
  }
  const columns = [
    ...["call", "ns/call", SPREAD, "tryCall"],
    ...others.flatMap((name) => [`× ${name}`, SPREAD]),
    "budget",
  ];
  return {
    name,
    title,
    columns,
    rows: cells,
    notes: [
      "×: ours in terms of the peer's, median over rounds, each within one round.",
      "Each row is a process of its own.",
      ...programs.note,
      ...notes,
    ],
    readme: columns.filter((column) => column !== SPREAD),
  };
}

const SPREAD = "min–max";
