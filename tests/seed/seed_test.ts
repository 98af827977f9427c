// The seed's promises, S1 to S86. Each part of the seed has a file here, and each test names the
// rows that it proves.
import { assert, assertEquals } from "@std/assert";
import "./array.ts";
import "./cache.ts";
import "./database.ts";
import "./env.ts";
import "./moving.ts";
import "./queries.ts";
import "./pages.ts";
import "./tuning.ts";
import { GROUPS, LAST_ROW, numbersOf } from "./rows.ts";
import { tested } from "./support.ts";
import { filesBelow } from "../tools/gate/project.ts";

const ALL = Array.from({ length: LAST_ROW }, (_, i) => i + 1);

Deno.test("the groups are the rows S1 to S86, each once and in order", () => {
  assertEquals(GROUPS.flatMap(({ rows }) => numbersOf(rows)).sort((a, b) => a - b), ALL);
  const firsts = GROUPS.map(({ rows }) => numbersOf(rows)[0]!);
  assertEquals(firsts, firsts.toSorted((a, b) => a - b));
});

Deno.test("a test names every row of the seed", () => {
  const named = new Set(tested.flatMap(numbersOf));
  assertEquals(ALL.filter((row) => !named.has(row)), []);
});

Deno.test("seed_test.ts imports every file of tests/seed/ that has tests", async () => {
  const own = await Deno.readTextFile(new URL(import.meta.url));
  for (const path of filesBelow("tests/seed", ".ts")) {
    if (path === "tests/seed/seed_test.ts") continue;
    const text = await Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
    if (path.endsWith("/seed_test.ts") || !/^(seed|Deno\.test)\(/m.test(text)) continue;
    assert(own.includes(`import "./${path.slice("tests/seed/".length)}";`), path);
  }
});
