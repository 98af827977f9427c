import { assertEquals } from "@std/assert";
import { Terminal } from "../../src/cli/terminal.ts";

/** Returns the lines of a table. */
function tableOf(...rows: string[][]): string[] {
  let printed = "";
  const write = (text: string) => void (printed += text);
  const stdin = () => Promise.resolve("");
  const interrupted = () => AbortSignal.abort();
  new Terminal({ env: {}, stdout: write, stderr: write, stdin, interrupted }, false).table(rows);
  return printed.split("\n").slice(0, -1);
}

Deno.test("Terminal.table() pads columns to their widest text, the last one excepted", () => {
  assertEquals(tableOf(["A", "B", "C"], ["long", "b", ""]), ["A     B  C", "long  b"]);
});

Deno.test("Terminal.table() prints a very long text in full and leaves other lines alone", () => {
  const long = "x".repeat(255);
  assertEquals(tableOf(["plain", "cache"], [long, "cache"], ["café", "cache"]), [
    "plain  cache",
    `${long}  cache`,
    "café   cache",
  ]);
});

Deno.test("Terminal.table() aligns wide characters and accents as terminals show them", () => {
  assertEquals(tableOf(["日本", "b"], ["🔥a", "b"], ["e\u0301abc", "b"], ["1234", "b"]), [
    "日本  b",
    "🔥a   b",
    "e\u0301abc  b",
    "1234  b",
  ]);
});
