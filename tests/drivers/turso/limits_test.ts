// What Turso's new engine cannot do yet: once it can, these tests fail, and their cases move.
import { assertEquals, assertStringIncludes } from "@std/assert";
import { deno } from "../../tools/gate/project.ts";

Deno.test("Turso's engine takes its process with it when edits by hand are taken into the chain", async () => {
  const { ok, stdout, stderr } = await deno(
    ["run", "-A", "--quiet", "--no-check", "tests/support/turso_edits_process.ts"],
  );
  assertEquals([ok, stdout], [false, ""]);
  assertStringIncludes(stderr, "where clause to exist");
});
