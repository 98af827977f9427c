// otel() in real workerd, with an SDK that the Worker brings.
import { assert, assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { copy } from "../support/cached_project.ts";
import { bundleWorkers, workerdHost, workerProject } from "../support/workerd.ts";

const WORKER = fileURLToPath(new URL("../support/otel_worker.ts", import.meta.url));
const PACKAGES = ["api", "sdk-metrics", "sdk-trace-base"].map((name) => `@opentelemetry/${name}`);

const host = workerdHost();
addEventListener("unload", () => host.abandon());
const { code } = await (async () => {
  await using project = await workerProject(undefined, PACKAGES);
  await copy(WORKER, `${project.folder}/otel_worker.ts`);
  return (await bundleWorkers(project, ["otel_worker.ts"]))["otel_worker.ts"]!;
})();

Deno.test("otel() reports a Worker to a provider that the Worker brings", async () => {
  await using workerd = await host.start([{ code, bindings: {} }]);
  const [isolate] = workerd.isolates;
  await (await isolate!.fetch("/fail")).body?.cancel();
  // Another request: nothing is bound to the previous one.
  const told = await (await isolate!.fetch("/")).json();
  const values = (name: string) =>
    told.metrics[name].map((
      { attributes, value }: { attributes: Record<string, unknown>; value: unknown },
    ) => [attributes["fuse.outcome"] ?? attributes["circuitbreaker.state"], value]);
  assertEquals(values("fuse.calls"), [["success", 0], ["failure", 1], ["ignored", 0]]);
  assertEquals(values("fuse.transitions"), [["open", 1]]);
  assertEquals(values("fuse.circuits"), [["closed", 0], ["open", 1], ["half_open", 0]]);
  assertEquals(values("fuse.rejections"), [[undefined, 1]]);
  assertEquals(told.metrics["fuse.call.duration"][0].value.count, 1);
  // Without `nodejs_als` no span is active: the change has a span of its own.
  const [span] = told.spans;
  assertEquals([told.spans.length, span.name], [1, "circuitbreaker.state_change"]);
  assertEquals(span.attributes["fuse.last_failure.kind"], "TypeError");
  assert(!JSON.stringify(told).includes("s3cr3t"));
});
