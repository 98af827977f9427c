/**
 * The project's pages: every Markdown file, with its sections, blocks of code, links and tables.
 *
 * @module
 */
import { deno, filesBelow, root } from "../gate/project.ts";
import { blockNames, type BlockOptions, writeBlocks } from "./blocks.ts";

/** A Markdown file. */
export interface Page {
  /** Its path from the top of the project. */
  readonly path: string;
  readonly text: string;
}

/** A section: from its heading to the next heading of its level or above. */
export interface Section {
  readonly title: string;
  readonly text: string;
}

/** Pages whose blocks of code import `cloudflare:workers`: `tests/system/workerd_test.ts` runs them. */
const WORKERS = "examples/cloudflare-worker/";

/** Reads every page, in the order of their paths. */
export function readPages(): Page[] {
  return filesBelow("", ".md").map((path) => ({
    path,
    text: Deno.readTextFileSync(new URL(path, root)),
  }));
}

/**
 * Reads the pages that explain the package: the README of the project and of each folder, and the
 * pages beside the examples, but not those of a single example.
 */
export function readGuide(): Page[] {
  return readPages().filter(({ path }) =>
    path.startsWith("examples/") ? !path.includes("/", 9) : /(^|\/)README\.md$/.test(path)
  );
}

/** The paths of the pages whose blocks of code are run as doc tests. */
export function docTestedPages(): string[] {
  return filesBelow("", ".md").filter((path) => !path.startsWith(WORKERS));
}

/** Finds a section by its title, on any page of the guide. */
export function sectionOf(guide: readonly Page[], title: string): Section & { path: string } {
  const found = guide.flatMap(({ path, text }) =>
    sectionsOf(text).filter((section) => section.title === title)
      .map((section) => ({ ...section, path }))
  );
  if (found.length !== 1) {
    const where = found.map(({ path }) => path).join(", ") || "no page";
    throw new Error(`Section "${title}" must stand on one page, found it on ${where}`);
  }
  return found[0]!;
}

/** Returns the sections of a page, in order. Ignores lines of code that look like headings. */
export function sectionsOf(page: string): Section[] {
  const lines = page.split("\n");
  const inCode = linesInCode(lines);
  const headings = lines.flatMap((line, at) => {
    const [, marks, title] = inCode[at] ? [] : /^(#+) (.+?)\s*$/.exec(line) ?? [];
    return marks === undefined ? [] : [{ at, level: marks.length, title: title! }];
  });
  return headings.map(({ at, level, title }, i) => {
    const end = headings.slice(i + 1).find((next) => next.level <= level)?.at;
    return { title, text: lines.slice(at + 1, end).join("\n") };
  });
}

/** Returns the code of a page's blocks with exactly this info string: `ts`, or `ts ignore`. */
export function codeOf(page: string, info: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${info}\\n(.*?)^\`\`\`$`, "gms"))]
    .map(([, code = ""]) => code);
}

/** Returns the anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(page: string): string[] {
  const seen = new Map<string, number>();
  return sectionsOf(page).map(({ title }) => {
    const anchor = title.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-");
    const times = seen.get(anchor) ?? 0;
    seen.set(anchor, times + 1);
    return times === 0 ? anchor : `${anchor}-${times}`;
  });
}

/**
 * Returns the targets of a page's links into the project: paths relative to the page, anchors, or
 * both.
 */
export function linksOf(page: string): string[] {
  const lines = page.split("\n");
  const inCode = linesInCode(lines);
  const prose = lines.filter((_, at) => !inCode[at]).join("\n").replace(/`[^`\n]*`/g, "``");
  return [...prose.matchAll(/\]\(\s*<?([^)>\s]+)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !/^[a-z][a-z+.-]*:/i.test(target));
}

/**
 * Checks the blocks for tables on all pages.
 *
 * @throws {Error} As {@linkcode writeBlocks} does, with the page's path.
 */
export function checkTables(options: BlockOptions): void {
  placeTables(readPages(), new Map(), options);
}

/**
 * Returns the pages that have a block for one of the tables, with the tables in their blocks and the
 * names of these.
 *
 * @param tables Markdown by the block's name.
 * @throws {Error} As {@linkcode writeBlocks} does, with the page's path.
 */
export function placeTables(
  pages: readonly Page[],
  tables: ReadonlyMap<string, string>,
  options: BlockOptions,
): (Page & { readonly names: readonly string[] })[] {
  return pages.flatMap(({ path, text }) => {
    try {
      const blocks = new Set(blockNames(text, options));
      const names = [...tables.keys()].filter((name) => blocks.has(name));
      return names.length === 0 ? [] : [{ path, text: writeBlocks(text, tables, options), names }];
    } catch (cause) {
      throw new Error(`${path}: ${(cause as Error).message}`, { cause });
    }
  });
}

/**
 * Writes each table into its blocks, on any page, and formats these pages.
 *
 * @returns The names of the tables written, by the path of the page. Tables without a block are
 * left out.
 * @throws {Error} As {@linkcode placeTables} does; no page has been written then.
 */
export async function writeTables(
  tables: ReadonlyMap<string, string>,
  options: BlockOptions,
): Promise<Map<string, readonly string[]>> {
  const changed = placeTables(readPages(), tables, options);
  for (const { path, text } of changed) await Deno.writeTextFile(new URL(path, root), text);
  const paths = changed.map(({ path }) => path);
  if (paths.length > 0) {
    const { ok, stderr } = await deno(["fmt", "--quiet", ...paths]);
    if (!ok) throw new Error(`Cannot format ${paths.join(", ")}\n${stderr}`);
  }
  return new Map(changed.map(({ path, names }) => [path, names]));
}

/** For each line, `true` if it belongs to a block of code, its fences included. */
function linesInCode(lines: readonly string[]): boolean[] {
  let open = false;
  return lines.map((line) => {
    const fence = /^\s*```/.test(line);
    if (fence) open = !open;
    return open || fence;
  });
}
