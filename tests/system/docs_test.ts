import { assertEquals } from "@std/assert";
import {
  documentation,
  type EntryDoc,
  hasTag,
  type SymbolDoc,
  textOf,
} from "../tools/gate/docs.ts";
import { deno, root } from "../tools/gate/project.ts";
import { docProblems } from "../tools/gate/reports.ts";

const entries = await documentation();
const symbols = entries.flatMap((entry) => entry.symbols);
const members = symbols.flatMap((symbol) => symbol.members);

/** Types whose optional members users set, so that their docs must state a default. */
const OPTIONS = /(Options|Settings|Policy|Defaults|Filter|Query|Source|Faults|Actor)$/;

Deno.test("every entry point has a module doc with an example that asserts", () => {
  assertEquals(entries.filter((entry) => !hasAssertingExample(entry)).map(nameOf), []);
});

Deno.test("every exported symbol is documented", () => {
  assertEquals(symbols.filter(({ jsDoc }) => textOf(jsDoc) === "").map(placeOf), []);
});

Deno.test("every member of an exported type is documented", () => {
  const bare = members.filter(({ jsDoc }) => textOf(jsDoc) === "");
  assertEquals([...new Set(bare.map(({ name }) => name))], []);
});

Deno.test("every optional option states its default", () => {
  const silent = symbols.filter(({ name }) => OPTIONS.test(name))
    .flatMap((symbol) => symbol.members)
    .filter(({ optional, isMethod }) => optional && !isMethod)
    .filter(({ jsDoc }) =>
      !hasTag(jsDoc, "default") &&
      !/\b(left\s+out|without\s+it|by\s+default)\b/i.test(textOf(jsDoc))
    );
  assertEquals(silent.map(({ name }) => name), []);
});

Deno.test("every time and duration has a unit", () => {
  const silent = symbols.flatMap((symbol) =>
    symbol.members.filter(({ name, numeric, jsDoc }) =>
      numeric && /\.(\w*(Ms|At|Until)|at|until|now|start)$/.test(name) &&
      !/\bms\b/.test(textOf(symbol.jsDoc) + textOf(jsDoc))
    )
  );
  assertEquals(silent.map(({ name }) => name), []);
});

Deno.test("every operation that may ask a store says what it costs", () => {
  const asking = symbols.filter(({ name }) =>
    ["CircuitBreaker", "Fuse", "LibsqlStore", "Permit"].includes(name)
  ).flatMap((symbol) => symbol.members).filter(({ isAsync }) => isAsync);
  const asyncFunctions = symbols.filter(({ kind, isAsync }) => kind === "function" && isAsync);
  const silent = [...asking, ...asyncFunctions].filter(({ jsDoc }) =>
    !/\b(round\s+trips?|costs?)\b/i.test(textOf(jsDoc))
  );
  assertEquals(silent.map(({ name }) => name), []);
});

Deno.test("every exported function that throws says so", () => {
  const silent = symbols.filter((symbol) =>
    symbol.kind === "function" && !hasTag(symbol.jsDoc, "throws") &&
    /\b(throw |known\(|refuse\w*\(|check\w*\()/.test(bodyOf(symbol))
  );
  assertEquals(silent.map(placeOf), []);
});

Deno.test("JSR's score is full for all parts that depend on the code", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", root));
  // Another step of the gate checks types, and runs `deno doc --lint`.
  const publish = await deno(["publish", "--dry-run", "--allow-dirty", "--no-check"]);
  const documented = symbols.filter(({ jsDoc }) => textOf(jsDoc) !== "").length / symbols.length;
  const score = {
    readme: readme.length > 0 ? 2 : 0,
    exampleInReadme: /^```ts\n/m.test(readme) ? 1 : 0,
    moduleDocs: entries.every(({ moduleDoc }) => textOf(moduleDoc) !== "") ? 1 : 0,
    symbolsDocumented: documented >= 0.8 ? 5 : 0,
    noSlowTypes: publish.ok && /^Checking for slow types/m.test(publish.stderr) ? 5 : 0,
  };
  assertEquals(score, {
    readme: 2,
    exampleInReadme: 1,
    moduleDocs: 1,
    symbolsDocumented: 5,
    noSlowTypes: 5,
  });
  console.log(`JSR: 14 of 14 points, ${(100 * documented).toFixed(0)} % of symbols documented`);
});

Deno.test("docProblems() ignores Drizzle's types in modules that define tables, and nothing else", () => {
  const problem = (type: string, path: string, rule = "private-type-ref") =>
    `error[${rule}]: public type 'T' references private type '${type}'\n` +
    `  --> ${root.pathname}${path}:20:1\n   |\n`;
  const refused = [
    problem("Override", "drivers/libsql/columns.ts"),
    problem("NotNull", "drivers/libsql/schema.ts"),
    problem("NotNull", "drivers/libsql.ts"),
    problem("NotNull", "drivers/libsql/columns.ts", "missing-jsdoc"),
  ];
  const passed = [
    problem("NotNull", "drivers/libsql/columns.ts"),
    problem("Relations", "drivers/libsql/relations.ts"),
  ];
  assertEquals(docProblems([...passed, ...refused].join("")), refused);
  assertEquals(docProblems("no such file"), ["no such file"]);
});

function hasAssertingExample({ moduleDoc }: EntryDoc): boolean {
  return moduleDoc?.tags?.some(({ kind, doc = "" }) =>
    kind === "example" && /```ts\n[^]*\bassert\w*\([^]*```/.test(doc)
  ) ?? false;
}

function nameOf({ entry }: EntryDoc): string {
  return entry;
}

function placeOf({ name, at }: SymbolDoc): string {
  return `${name} (${at.path}:${at.line})`;
}

/** Returns a function's text: from its first line to the closing brace at the same indentation. */
function bodyOf({ at }: SymbolDoc): string {
  const lines = Deno.readTextFileSync(new URL(at.path, root)).split("\n").slice(at.line - 1);
  return lines.slice(0, lines.indexOf("}") + 1).join("\n");
}
