/**
 * Tables for a terminal or for a README.
 *
 * @module
 */
import type { Spread } from "./harness.ts";

/** Rows under headings, and what a reader must know to read them. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly notes?: readonly string[];
}

/** The table as text: the first column to the left, figures to the right. */
export function render(table: Table, format: "plain" | "markdown"): string {
  const lines = [table.columns, ...table.rows];
  const widths = table.columns.map((_, column) =>
    Math.max(3, ...lines.map((cells) => cells[column]?.length ?? 0))
  );
  const line = (cells: readonly string[]) =>
    widths.map((width, column) => {
      const cell = cells[column] ?? "";
      return column === 0 ? cell.padEnd(width) : cell.padStart(width);
    });
  const [header, ...body] = lines.map(line);
  const notes = table.notes ?? [];
  if (format === "plain") {
    const ruler = widths.map((width) => "-".repeat(width));
    return [
      table.title,
      ...[header!, ruler, ...body].map((cells) => `  ${cells.join("  ")}`),
      ...notes.map((note) => `  ${note}`),
      "",
    ].join("\n");
  }
  const ruler = widths.map((width, column) =>
    column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`
  );
  return [
    `### ${table.title}`,
    "",
    ...[header!, ruler, ...body].map((cells) => `| ${cells.join(" | ")} |`),
    "",
    ...notes.flatMap((note) => [note, ""]),
  ].join("\n");
}

/** Nanoseconds a call. */
export function nanoseconds(ns: Spread): string[] {
  return [ns.median.toFixed(0), `${ns.min.toFixed(0)}–${ns.max.toFixed(0)}`];
}

/** A ratio with its spread. */
export function times(ratio: Spread): string[] {
  return [ratio.median.toFixed(2), `${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)}`];
}

/** A budget, and whether it is kept. */
export function budget(value: number, limit: number, unit = ""): string {
  const shown = Number.isInteger(limit) && limit >= 100 ? integer(limit) : String(limit);
  return `≤ ${shown}${unit}: ${value <= limit ? "met" : "OVER"}`;
}

/** A whole number with thin groups of three. */
export function integer(value: number): string {
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, " ");
}
