/**
 * Generates a module of the SQL files of `migrations/`, for runtimes without files: part of `deno
 * task db:generate`.
 *
 * @module
 */
import { root } from "../gate/project.ts";

const FOLDER = new URL("migrations/", root);

interface Journal {
  readonly entries: readonly { readonly when: number; readonly tag: string }[];
}

/** Returns the text of `migrations/files.ts`, as it must be. */
export async function embedded(): Promise<string> {
  const journal: Journal = JSON.parse(
    await Deno.readTextFile(new URL("meta/_journal.json", FOLDER)),
  );
  const entries = await Promise.all(journal.entries.map(async ({ tag, when }) => {
    const sql = await Deno.readTextFile(new URL(`${tag}.sql`, FOLDER));
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(sql));
    const hash = new Uint8Array(digest).toHex();
    const text = sql.replace(/[\\`$]/g, "\\$&");
    return `  {\n    tag: ${JSON.stringify(tag)},\n    when: ${when},\n    hash: "${hash}",\n` +
      `    sql: \`${text}\`,\n  },\n`;
  }));
  return `// Written by \`deno task db:generate\` from the .sql files beside it. Do not edit.
// deno-fmt-ignore-file

/** One step of the schema, as drizzle-kit made it. */
export interface Migration {
  /** Name of its file, without \`.sql\`. */
  readonly tag: string;
  /** When it was made, in ms: drizzle's ledger knows it by this. */
  readonly when: number;
  /** SHA-256 of its file, in hex. */
  readonly hash: string;
  /** Its statements, with drizzle's breakpoints between them. */
  readonly sql: string;
}

/** All steps, oldest first. */
export const migrations: readonly Migration[] = [
${entries.join("")}];
`;
}

if (import.meta.main) await Deno.writeTextFile(new URL("files.ts", FOLDER), await embedded());
