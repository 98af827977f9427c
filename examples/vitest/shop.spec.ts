/** Tests of an application under vitest: time passes by a FakeClock, and nothing sleeps. */
import { FakeClock } from "@fuse/edge/testing";
import { expect, test } from "vitest";
import { createShop } from "./shop.ts";

test("the shop is left alone for 30 s after three failures, and then tried again", async () => {
  const clock = new FakeClock();
  let healthy = false;
  let asked = 0;
  const shop = createShop((id) => {
    asked++;
    return healthy ? Promise.resolve(`product ${id}`) : Promise.reject(new Error("no answer"));
  }, clock.now);

  for (let i = 0; i < 5; i++) expect(await shop.product("7")).toBe("try again later");
  expect([asked, await shop.state()]).toEqual([3, "OPEN"]);

  healthy = true;
  clock.advance(30_000);
  expect(await shop.product("7")).toBe("product 7");
  expect(await shop.state()).toBe("CLOSED");
});
