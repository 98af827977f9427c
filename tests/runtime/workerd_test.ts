/**
 * The example in real workerd, against a real Redis and a real sqld.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { stageForFile } from "../support/worker_scene.ts";

const stage = await stageForFile(["src/index.ts"]);

Deno.test("two Workers share a circuit: one trips it, the other rejects", async () => {
  await using scene = await stage.scene(["src/index.ts", "src/index.ts"]);
  const [one, other] = scene.isolates as [typeof scene.isolates[0], typeof scene.isolates[0]];
  for (let i = 0; i < 5; i++) {
    const response = await one.fetch("/origin/status/500");
    assertEquals([response.status, await response.text()], [500, "/status/500"]);
  }
  console.log(scene.cache.log.map(p=>p.body.slice(0,300)), scene.trail.log.length);
  const rejected = await other.fetch("/origin/anything");
  console.log(rejected.status, rejected.headers, await rejected.text());
  console.log(scene.cache.log.map(p=>p.body.slice(0,300)), scene.trail.log.length);
});
