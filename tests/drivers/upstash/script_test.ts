// The script, and how it is made.
import { assertEquals, assertThrows } from "@std/assert";
import { SCRIPT, SCRIPT_SHA1 } from "../../../drivers/upstash/script.ts";
import { generate, shorten, TARGET } from "../../tools/generate/lua.ts";

Deno.test("SCRIPT_SHA1 is the hash of SCRIPT, which is what `deno task lua` makes", async () => {
  const digest = await crypto.subtle.digest("SHA-1", new TextEncoder().encode(SCRIPT));
  assertEquals(
    Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join(""),
    SCRIPT_SHA1,
  );
  assertEquals(await Deno.readTextFile(TARGET), await generate());
});

Deno.test("shorten() drops comments, indentation and empty lines, and what does not fit", () => {
  assertEquals(shorten("-- why\nlocal a = 1 -- one\n\n  return a\n"), "local a = 1\nreturn a");
  assertThrows(() => shorten("return '`'"), Error, "template literal");
});
