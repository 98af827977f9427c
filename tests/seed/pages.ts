// What the seed gives as advice has its place in the README.
import { assert, assertEquals } from "@std/assert";
import { memory } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { upstash } from "@fuse/edge/upstash";
import { root } from "../tools/gate/project.ts";
import { GROUPS } from "./rows.ts";

const readme = await Deno.readTextFile(new URL("README.md", root));

/** A section: from its heading to the next of its level or above. */
export interface Section {
  readonly title: string;
  readonly text: string;
}

/** The sections of a page; what looks like a heading in a block of code is none. */
export function sectionsOf(page: string): Section[] {
  const lines = page.split("\n");
  let fenced = false;
  const headings = lines.flatMap((line, at) => {
    if (/^\s*```/.test(line)) fenced = !fenced;
    const [, marks, title] = fenced ? [] : /^(#+) (.+?)\s*$/.exec(line) ?? [];
    return marks === undefined ? [] : [{ at, level: marks.length, title: title! }];
  });
  return headings.map(({ at, level, title }, i) => {
    const end = headings.slice(i + 1).find((next) => next.level <= level)?.at;
    return { title, text: lines.slice(at + 1, end).join("\n") };
  });
}

Deno.test("sectionsOf() gives headings with what is below them, and no comments in code", () => {
  const page = "# A\na\n## B\nb\n```sh\n# no heading\n```\n### C\nc\n## D\n";
  assertEquals(sectionsOf(page).map(({ title }) => title), ["A", "B", "C", "D"]);
  assertEquals(sectionsOf(page)[1]?.text, "b\n```sh\n# no heading\n```\n### C\nc");
  assertEquals(sectionsOf(page)[3]?.text, "");
});

for (const { rows, title, readme: wanted = [] } of GROUPS) {
  for (const heading of wanted) {
    Deno.test(`${rows} the README has "${heading}" (${title})`, () => {
      const section = sectionsOf(readme).find(({ title }) => title === heading);
      assert(section !== undefined, `README.md has no section "${heading}"`);
      assert(section!.text.trim().length > 200, `Section "${heading}" says next to nothing`);
    });
  }
}

/** What the seed shows as code, as the README's blocks have it: CI executes them. */
const EXAMPLES: Record<string, RegExp> = {
  "S13": /\.store\("array"\)\.make\("test-service"\)[^`]+assert\(await breaker\.isOpen\(\)\)/,
  "S50": /eq\(circuitBreakers\.state, "OPEN"\)/,
  "S51": /gt\(circuitBreakers\.failureCount, 10\)/,
  "S52": /gte\(circuitBreakers\.openedAt, /,
  "S53": /desc\(circuitBreakerEvents\.createdAt\)[^`]+\.limit\(50\)/,
  "S54": /eq\(circuitBreakerEvents\.event, "opened"\)/,
  "S63": /"payment-\*": \{ store: "database"/,
  "S77": /Deno\.cron\([^`]+scheduled/,
  "S80": /\.importState\(/,
  "S81": /\.resetAll\(/,
};
for (const [rows, example] of Object.entries(EXAMPLES)) {
  Deno.test(`${rows} the README shows it in a block that CI executes`, () => {
    const blocks = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code!);
    assert(blocks.some((code) => example.test(code)), String(example));
  });
}

/** What stands in an example that has a file, or a folder, of its own; tests/system/examples_test.ts runs it. */
const FILES: readonly [rows: string, path: string, what: RegExp][] = [
  ["S63", "examples/hybrid.ts", /store: "database"/],
  ["S77", "examples/deno-deploy.ts", /\.prune\(\{ olderThanMs[^]+Deno\.cron\(/],
  ["S85", "examples/custom-driver/contract.ts", /storeContract\(/],
];
for (const [rows, path, what] of FILES) {
  Deno.test(`${rows} ${path} shows it`, async () => {
    assert(what.test(await Deno.readTextFile(new URL(path, root))), String(what));
  });
}

Deno.test("S2 the README's table of the stores says what their traits say", () => {
  const { text } = sectionsOf(readme).find(({ title }) => title === "Choosing a store")!;
  const rows = text.split("\n").map((line) => line.split("|").map((cell) => cell.trim()));
  const column = (name: string) => rows[rows.findIndex((row) => row[1] === "Store")]!.indexOf(name);
  const stores = {
    "`memory()`": memory(),
    "`upstash()`": upstash({ url: "https://example.com", token: "token" }),
    "`libsql()`": libsql({ url: "https://example.com" }),
  };
  for (const [name, { traits }] of Object.entries(stores)) {
    const row = rows.find((row) => row[1] === name)!;
    const said = ["Persistent", "Shared", "Trail"].map((title) => row[column(title)] !== "no");
    assertEquals(said, [traits.persistent, traits.shared, traits.audited], name);
  }
});

Deno.test("S83–S86 each of these sections of the README has a block that CI executes", () => {
  for (const heading of ["Strategies", "Options", "A store of your own", "Testing"]) {
    const { text } = sectionsOf(readme).find(({ title }) => title === heading)!;
    assert(/^```ts$/m.test(text), heading);
  }
});
