/**
 * Tables for a terminal or for a page.
 *
 * @module
 */
import type { Spread } from "./harness.ts";

/** Rows under headings, and the notes that a reader needs. */
export interface Table {
  /** The name by which a page places it: the same in every run, and listed in `sections.ts`. */
  readonly name: string;
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly notes?: readonly string[];
  /** The columns that a page shows, or other ones. All but budgets by default. */
  readonly readme?: readonly string[] | Cells;
}

/** Rows under headings. */
export type Cells = Pick<Table, "columns" | "rows">;

const SPREAD = "min–max";

/** Returns the table as text for a terminal: the first column to the left, figures to the right. */
export function render({ title, columns, rows, notes = [] }: Table): string {
  const [header, ...body] = aligned([columns, ...rows]);
  const ruler = header!.map((cell) => "-".repeat(cell.length));
  return [
    title,
    ...[header!, ruler, ...body].map((cells) => `  ${cells.join("  ")}`),
    ...notes.map((note) => `  ${note}`),
    "",
  ].join("\n");
}

/** Returns the table in Markdown with fewer columns: a range goes into the cell of its value. */
export function renderForReadme(table: Table): string {
  const { columns, rows } = forReadme(table);
  const [header, ...lines] = aligned([columns, ...rows]);
  const ruler = header!.map(({ length }, column) =>
    column === 0 ? "-".repeat(length) : `${"-".repeat(length - 1)}:`
  );
  return [header!, ruler, ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function forReadme({ name, columns, rows, readme }: Table): Cells {
  if (readme !== undefined && "rows" in readme) return readme;
  const shown = readme ??
    columns.filter((column) => column !== SPREAD && !/^budget\b/.test(column));
  const cellsOf = shown.map((column) => {
    const at = columns.indexOf(column);
    if (at === -1) throw new Error(`Table "${name}" has no column "${column}"`);
    const spread = columns[at + 1] === SPREAD ? at + 1 : NaN;
    return (row: readonly string[]) => {
      const [cell = "", range = ""] = [row[at], row[spread]];
      const [least, most = least] = range.split("–");
      return least === most ? cell : `${cell} (${range})`;
    };
  });
  return { columns: shown, rows: rows.map((row) => cellsOf.map((cell) => cell(row))) };
}

/**
 * Puts rows that differ in one column alone side by side: `values` of each of its cells, without
 * those that are 0 everywhere.
 */
export function sideBySide(
  { columns, rows }: Cells,
  by: string,
  keys: readonly string[],
  values: readonly string[],
): Cells {
  const cell = (row: readonly string[], column: string) => row[columns.indexOf(column)] ?? "";
  const idOf = (row: readonly string[]) => keys.map((key) => cell(row, key));
  const ids = new Map(rows.map((row) => [idOf(row).join("\n"), idOf(row)]));
  const pairs = [...new Set(rows.map((row) => cell(row, by)))].flatMap((group) =>
    values.map((value) => ({
      heading: `${group}, ${value}`,
      cells: new Map(
        rows.filter((row) => cell(row, by) === group)
          .map((row) => [idOf(row).join("\n"), cell(row, value)]),
      ),
    }))
  ).filter(({ cells }) => [...cells.values()].some((shown) => shown !== "0"));
  return {
    columns: [...keys, ...pairs.map(({ heading }) => heading)],
    rows: [...ids].map((
      [id, shown],
    ) => [...shown, ...pairs.map(({ cells }) => cells.get(id) ?? "")]),
  };
}

function aligned(lines: readonly (readonly string[])[]): string[][] {
  const widths = lines[0]!.map((_, column) =>
    Math.max(3, ...lines.map((cells) => cells[column]?.length ?? 0))
  );
  return lines.map((cells) =>
    widths.map((width, column) => {
      const cell = cells[column] ?? "";
      return column === 0 ? cell.padEnd(width) : cell.padStart(width);
    })
  );
}

/** Formats nanoseconds per call. */
export function nanoseconds(ns: Spread): string[] {
  return [ns.median.toFixed(0), `${ns.min.toFixed(0)}–${ns.max.toFixed(0)}`];
}

/** Formats a ratio with its range, to three digits. */
export function times({ median, min, max }: Spread): string[] {
  const shown = (value: number) =>
    value < 99.95 ? value.toFixed(value < 9.995 ? 2 : 1) : integer(value);
  return [shown(median), `${shown(min)}–${shown(max)}`];
}

/** Formats a budget, and whether it is met. */
export function budget(value: number, limit: number, unit = ""): string {
  const shown = Number.isInteger(limit) && limit >= 100 ? integer(limit) : String(limit);
  return `≤ ${shown}${unit}: ${value <= limit ? "met" : "OVER"}`;
}

/** Formats a whole number with thin groups of three. */
export function integer(value: number): string {
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, " ");
}
