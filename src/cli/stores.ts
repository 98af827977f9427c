/**
 * The commands about whole stores: `check`, `migrate`, `export` and `import`.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { connectorTo } from "../../drivers/libsql/web_client.ts";
import { migrate as migrateSchema } from "../../migrations/mod.ts";
import { inLine } from "../checks.ts";
import { settingsOf } from "../env_settings.ts";
import { withRefused } from "../known.ts";
import { noteRefused } from "./circuits.ts";
import { chosen, connectOwn, type GlobalOptions } from "./connect.ts";
import { CliError, type Terminal } from "./terminal.ts";

/** Asks each store for a read and a write. Returns the exit code. */
export async function check(terminal: Terminal, options: GlobalOptions): Promise<number> {
  const fleet = await connectOwn(terminal, options);
  const rows: Record<string, { ok: boolean; latencyMs: number; error?: string }> = {};
  for (const store of await chosen(fleet, options)) {
    const { ok, latencyMs, error } = (await fleet.fuse.store(store).check())[store]!;
    rows[store] = ok ? { ok, latencyMs } : { ok, latencyMs, error: terminal.reasonOf(error) };
  }
  if (terminal.json) terminal.document(rows);
  else {
    terminal.table(
      Object.entries(rows).map(([store, { ok, latencyMs, error = "" }]) => [
        inLine(store),
        ok ? "ok" : "FAILED",
        `${Math.round(latencyMs)} ms`,
        error,
      ]),
    );
  }
  return Object.values(rows).every(({ ok }) => ok) ? 0 : 1;
}

/** Brings the schema of the database up to date. */
export async function migrate(terminal: Terminal, options: GlobalOptions): Promise<void> {
  if (options.config !== undefined || options.api !== undefined) {
    throw new CliError("migrate takes the database from environment variables alone");
  }
  const { database } = settingsOf(terminal.process.env);
  // A process has no bindings: a Worker migrates its own.
  if (database === null || !("url" in database)) {
    throw new CliError("No database to migrate: set TURSO_DATABASE_URL and TURSO_AUTH_TOKEN");
  }
  const { applied } = await migrateSchema(connectorTo(database.url, database.authToken, null));
  if (terminal.json) return terminal.document({ applied });
  terminal.line(applied.length === 0 ? "Up to date" : `Applied ${applied.join(", ")}`);
}

/** Prints the state of all circuits as JSON. Returns the exit code. */
export async function exportState(terminal: Terminal, options: GlobalOptions): Promise<number> {
  const fleet = await connectOwn(terminal, options);
  const stores = await chosen(fleet, options);
  const [exports, refused] = await withRefused(fleet.fuse, async () => {
    const exports = [];
    for (const store of stores) exports.push(await fleet.fuse.store(store).exportState());
    return exports;
  });
  terminal.document({ ...exports[0], circuits: exports.flatMap(({ circuits }) => circuits) });
  noteRefused(terminal, refused);
  return refused.length > 0 ? 1 : 0;
}

/** Imports an export. */
export async function importState(
  terminal: Terminal,
  file: string,
  options: GlobalOptions & { readonly existing?: "replace" | "keep" },
): Promise<void> {
  const fleet = await connectOwn(terminal, options);
  const stores = await chosen(fleet, options);
  const data = parse(file, file === "-" ? await terminal.process.stdin() : await read(file));
  const { fuse } = fleet;
  const view = options.store === undefined ? fuse : fuse.store(stores[0]!);
  terminal.progress("Importing circuits");
  const result = await view.importState(placed(data, stores), {
    existing: options.existing,
    onProgress: (count) => terminal.progress(`Imported ${count} circuits`),
  });
  await fleet.close();
  if (terminal.json) return terminal.document(result);
  terminal.line(`Imported ${result.imported} circuits, kept ${result.kept}`);
}

/**
 * Returns an export whose circuits are all in these stores: in the first one, if their own is not among
 * them. They must not go to the memory of this process, which ends.
 */
function placed(data: unknown, stores: readonly string[]): unknown {
  const { circuits } = Object(data) as { circuits?: unknown };
  if (!Array.isArray(circuits)) return data;
  const moved = circuits.map((entry) => {
    const { store } = Object(entry) as { store?: unknown };
    const stays = typeof store !== "string" || store === "" || stores.includes(store);
    return stays ? entry : { ...entry, store: stores[0] };
  });
  return { ...data as object, circuits: moved };
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new CliError(`Cannot read ${inLine(file)}`, { cause: error });
  }
}

function parse(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CliError(`${file === "-" ? "The input" : inLine(file)} is not JSON`);
  }
}
