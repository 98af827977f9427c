/**
 * Generated tables in a page: the text between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->` is
 * replaced, and nothing else.
 *
 * @module
 */

/** The blocks to write. */
export interface BlockOptions {
  /** The kind, before the colon. Blocks of another kind are left alone. @default {"bench"} */
  readonly kind?: string;
  /**
   * The known names: a block by any other name is an error. By default names are not checked; a
   * block without a table is left alone.
   */
  readonly known?: Iterable<string>;
}

/** A block that was found: where its content begins and ends. */
interface Block {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/**
 * Returns the page with each table in its blocks. Tables without a block are ignored.
 *
 * @param tables Markdown by the block's name.
 * @throws {Error} If a block has no end, an end no beginning, or a block's name is unknown.
 */
export function writeBlocks(
  page: string,
  tables: ReadonlyMap<string, string>,
  options: BlockOptions = {},
): string {
  let written = "";
  let at = 0;
  for (const { name, start, end } of find(page, options)) {
    const table = tables.get(name);
    if (table === undefined) continue;
    written += `${page.slice(at, start)}\n\n${table.trim()}\n\n`;
    at = end;
  }
  return written + page.slice(at);
}

/** Returns the names of a page's blocks, in order. Throws as {@linkcode writeBlocks} does. */
export function blockNames(page: string, options: BlockOptions = {}): string[] {
  return find(page, options).map(({ name }) => name);
}

function find(page: string, { kind = "bench", known }: BlockOptions): Block[] {
  const names = known && new Set(known);
  const blocks: Block[] = [];
  let open: { name: string; start: number } | undefined;
  for (const match of page.matchAll(new RegExp(`<!--\\s*(/?)${kind}:(.*?)\\s*-->`, "g"))) {
    const [marker, slash, name = ""] = match;
    if (slash === "") {
      if (open) throw noEnd(kind, open.name);
      if (names && !names.has(name)) {
        throw new Error(
          `Cannot write tables: there is no table "${kind}:${name}", only ${[...names].join(", ")}`,
        );
      }
      open = { name, start: match.index + marker.length };
    } else {
      if (open?.name !== name) {
        throw open ? noEnd(kind, open.name) : new Error(
          `Cannot write tables: block "${kind}:${name}" ends, and has not begun`,
        );
      }
      blocks.push({ ...open, end: match.index });
      open = undefined;
    }
  }
  if (open) throw noEnd(kind, open.name);
  return blocks;
}

function noEnd(kind: string, name: string): Error {
  return new Error(
    `Cannot write tables: block "${kind}:${name}" has no end, "<!-- /${kind}:${name} -->"`,
  );
}
