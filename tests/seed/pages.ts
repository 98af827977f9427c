// The seed's advice has its place on a page.
import { assert, assertEquals } from "@std/assert";
import { memory } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { upstash } from "@fuse/edge/upstash";
import { root } from "../tools/gate/project.ts";
import { codeOf, readGuide, sectionOf } from "../tools/pages/pages.ts";
import { GROUPS } from "./rows.ts";

const guide = readGuide();

for (const { rows, title, sections = [] } of GROUPS) {
  for (const heading of sections) {
    Deno.test(`${rows} a page has "${heading}" (${title})`, () => {
      const { text } = sectionOf(guide, heading);
      assert(text.trim().length > 200, `Section "${heading}" says next to nothing`);
    });
  }
}

/** The seed's code, as blocks of the pages that CI executes. */
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
  Deno.test(`${rows} a page shows it in a block that CI runs`, () => {
    const blocks = guide.flatMap(({ text }) => codeOf(text, "ts"));
    assert(blocks.some((code) => example.test(code)), String(example));
  });
}

/** Code of the seed in an example of its own, which tests/system/examples_test.ts runs. */
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

Deno.test("S2 the table of the stores agrees with their traits", () => {
  const { text } = sectionOf(guide, "Choosing a store");
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

Deno.test("S83–S86 each of these sections has a block that CI runs", () => {
  for (const heading of ["Strategies", "Options", "A store of your own", "Testing"]) {
    const { text } = sectionOf(guide, heading);
    assert(/^```ts$/m.test(text), heading);
  }
});
