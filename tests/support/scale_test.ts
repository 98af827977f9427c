import { assertEquals, assertThrows } from "@std/assert";
import { scaleOf } from "./scale.ts";

Deno.test("scaleOf() is quick by default", () => {
  assertEquals([undefined, "", "quick", "full"].map(scaleOf), ["quick", "quick", "quick", "full"]);
});

Deno.test("scaleOf() refuses an unknown scale", () => {
  for (const given of ["FULL", "1", "slow", " full", "true"]) {
    assertThrows(
      () => scaleOf(given),
      Error,
      `"TEST_SCALE" must be "quick" or "full", received ${JSON.stringify(given)}`,
    );
  }
});
