import { assertEquals } from "@std/assert";
import { deno } from "../tools/gate/project.ts";

Deno.test("import and construction need no timer, randomness, clock, I/O or permission", async () => {
  const { ok, stdout, stderr } = await deno([
    "run",
    "--no-prompt",
    "--allow-read", // Deno's own loader asks for it, to import a path known only at run time.
    "tests/support/module_scope.ts",
  ]);
  assertEquals({ ok, stdout: stdout.trim(), stderr }, {
    ok: true,
    stdout: "constructed",
    stderr: "",
  });
});
