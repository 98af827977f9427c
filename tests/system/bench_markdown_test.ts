import { assert, assertEquals, assertThrows } from "@std/assert";
import { TABLES } from "../tools/bench/sections.ts";
import { renderForReadme, sideBySide } from "../tools/bench/table.ts";
import { BLOCKS } from "../fleet/simulation/tables.ts";
import { blockNames, writeBlocks } from "../tools/pages/blocks.ts";
import { checkTables, placeTables, readPages } from "../tools/pages/pages.ts";

const two = [
  "# Title",
  "<!-- bench:closed -->",
  "| typed | by hand |",
  "<!-- /bench:closed -->",
  "between",
  "<!-- bench:size --><!-- /bench:size -->",
  "<!-- simulate:fleet --> theirs <!-- /simulate:fleet -->",
  "the end",
].join("\n");

Deno.test("writeBlocks() replaces what is in the named block, and nothing else", () => {
  const written = writeBlocks(two, new Map([["closed", "| $& | $1 |"], ["elsewhere", "no"]]));
  assertEquals(
    written,
    two.replace("\n| typed | by hand |\n", () => "\n\n| $& | $1 |\n\n"),
  );
});

Deno.test("writeBlocks() writes the same page when it runs again", () => {
  const tables = new Map([["closed", "| a |"], ["size", "| b |"]]);
  const once = writeBlocks(two, tables);
  assertEquals(writeBlocks(once, tables), once);
  assert(once.includes("<!-- bench:size -->\n\n| b |\n\n<!-- /bench:size -->"), once);
});

Deno.test("writeBlocks() fills every block of the same name", () => {
  const block = "<!-- bench:size -->\n<!-- /bench:size -->\n";
  const written = writeBlocks(block + block, new Map([["size", "| b |"]]));
  assertEquals(written.split("| b |").length, 3);
});

Deno.test("writeBlocks() writes blocks of another kind on request", () => {
  const written = writeBlocks(two, new Map([["fleet", "ours"], ["closed", "no"]]), {
    kind: "simulate",
    known: ["fleet"],
  });
  assertEquals(written, two.replace(" theirs ", "\n\nours\n\n"));
});

Deno.test("placeTables() writes each table on the pages that have its block", () => {
  const page = (path: string, name: string) => ({
    path,
    text: `<!-- bench:${name} --><!-- /bench:${name} -->`,
  });
  const pages = [page("a.md", "closed"), page("b/README.md", "size"), page("c.md", "memory")];
  const tables = new Map([["closed", "| a |"], ["size", "| b |"], ["elsewhere", "| c |"]]);
  assertEquals(placeTables(pages, tables, {}), [
    {
      path: "a.md",
      text: "<!-- bench:closed -->\n\n| a |\n\n<!-- /bench:closed -->",
      names: ["closed"],
    },
    {
      path: "b/README.md",
      text: "<!-- bench:size -->\n\n| b |\n\n<!-- /bench:size -->",
      names: ["size"],
    },
  ]);
  assertThrows(
    () => placeTables(pages, tables, { known: ["closed", "size"] }),
    Error,
    'c.md: Cannot write tables: there is no table "bench:memory"',
  );
});

for (
  const [what, page, message] of [
    ["without an end", "<!-- bench:size --> |", 'block "bench:size" has no end'],
    [
      "that meets another",
      "<!-- bench:size --> <!-- bench:closed --> <!-- /bench:closed -->",
      'block "bench:size" has no end',
    ],
    [
      "closed by another's end",
      "<!-- bench:size --> <!-- /bench:closed -->",
      'block "bench:size" has no end',
    ],
    ["that only ends", "<!-- /bench:size -->", 'block "bench:size" ends, and has not begun'],
    [
      "of no table",
      "<!-- bench:sise --> <!-- /bench:sise -->",
      'there is no table "bench:sise", only closed, size',
    ],
  ] as const
) {
  Deno.test(`writeBlocks() refuses a block ${what}`, () => {
    const known = ["closed", "size"];
    assertThrows(
      () => writeBlocks(page, new Map([["size", "| b |"]]), { known }),
      Error,
      `Cannot write tables: ${message}`,
    );
  });
}

Deno.test("renderForReadme() shows the selected columns, and the range in their cells", () => {
  const table = {
    name: "a",
    title: "",
    columns: ["call", "ns", "min–max", "budget (aim 0.8)"],
    rows: [["one", "10", "9–11", "met"], ["two", "7", "7–7"], ["three", "8"]],
  };
  assertEquals(
    renderForReadme(table),
    [
      "| call  |        ns |",
      "| ----- | --------: |",
      "| one   | 10 (9–11) |",
      "| two   |         7 |",
      "| three |         8 |",
    ].join("\n"),
  );
  assertEquals(
    renderForReadme({ ...table, readme: ["call", "budget (aim 0.8)"] }).split("\n")[2],
    "| one   |              met |",
  );
  assertThrows(
    () => renderForReadme({ ...table, readme: ["calls"] }),
    Error,
    'Table "a" has no column "calls"',
  );
});

Deno.test("sideBySide() merges rows that differ in one column, and drops columns of zeros", () => {
  const columns = ["call", "way", "a", "b"];
  const rows = [["x", "fast", "1", "0"], ["y", "fast", "2", "0"], ["y", "safe", "3", "4"]];
  assertEquals(sideBySide({ columns, rows }, "way", ["call"], ["a", "b"]), {
    columns: ["call", "fast, a", "safe, a", "safe, b"],
    rows: [["x", "1", "", ""], ["y", "2", "3", "4"]],
  });
});

Deno.test("the tables of the benchmark have different names", () => {
  assertEquals([...new Set(TABLES)], [...TABLES]);
});

Deno.test("the blocks of the pages name existing tables", () => {
  checkTables({ known: TABLES });
  checkTables(BLOCKS);
  const names = readPages().flatMap(({ text }) => blockNames(text));
  assert(names.length > 0);
});

Deno.test("every table of measurements in a page stands in a block", () => {
  const empty = new Map(TABLES.map((name) => [name, ""]));
  const simulated = new Map(BLOCKS.known.map((name) => [name, ""]));
  for (const { path, text } of readPages()) {
    const rest = writeBlocks(writeBlocks(text, empty), simulated, BLOCKS);
    // A heading of measured figures.
    assertEquals(rest.match(/^\|.*\b(n|m)s\/call|^\|.*calls\/s\b.*/gm), null, path);
    if (path === "tests/tools/bench/README.md") assertEquals(rest.match(/^\|.*/gm), null, path);
  }
});

Deno.test("all tables but two stand on the page of the benchmarks", () => {
  const elsewhere = readPages()
    .filter(({ path }) => path !== "tests/tools/bench/README.md")
    .flatMap(({ text }) => [...blockNames(text), ...blockNames(text, BLOCKS)]);
  assertEquals(elsewhere, ["seed", "upstash-calls"]);
});
