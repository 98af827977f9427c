// The script, and its generator.
import { assertEquals, assertThrows } from "@std/assert";
import { SCRIPT, SCRIPT_SHA1 } from "../../../drivers/upstash/script.ts";
import { generate, shorten, TARGET } from "../../tools/generate/lua.ts";

Deno.test("SCRIPT_SHA1 is the hash of SCRIPT, which `deno task lua` generates", async () => {
  const digest = await crypto.subtle.digest("SHA-1", new TextEncoder().encode(SCRIPT));
  assertEquals(
    Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join(""),
    SCRIPT_SHA1,
  );
  assertEquals(await Deno.readTextFile(TARGET), await generate());
});

Deno.test("shorten() drops comments, white space and names of locals, and refuses a script that is too long", () => {
  const lua = "-- why\nlocal sum = 1 - -2 -- one\n\n  return sum\n";
  assertEquals(shorten(lua), "local a=1- -2\nreturn a");
  assertThrows(() => shorten("return '`'"), Error, "template literal");
});

Deno.test("shorten() breaks lines between statements, and not in a text", () => {
  const lua = `f = g\nh = "';"\nk = l\nm = ';";'\nn = o\n`;
  assertEquals(shorten(lua), `f=g\nh="';"k=l\nm=';";'n=o`);
});
