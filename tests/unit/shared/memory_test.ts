// The memory of a circuit per tenant (design, "Budgets": growth).
import { assert, assertEquals, assertLess } from "@std/assert";
import { type CircuitDefaults, createFuse } from "@fuse/edge";
import { circuitsOf } from "../../../src/known.ts";
import { tenantStore } from "../../support/tenant_store.ts";
import type { Weights } from "../../support/weigh_tenants.ts";

/** The most that each of very many circuits may take at rest. */
const AT_REST = 1_024;

Deno.test(`call() leaves a shared circuit at rest that takes less than ${AT_REST} bytes`, async () => {
  const program = import.meta.resolve("../../support/weigh_tenants.ts");
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--v8-flags=--expose-gc", program],
    stderr: "inherit",
  }).output();
  assert(success);
  const weights: Weights = JSON.parse(new TextDecoder().decode(stdout));
  const { atRest, withStandIns, afterwards } = weights;
  assertLess(atRest, AT_REST);
  assertLess(withStandIns, 2.5 * AT_REST);
  // Nothing of an outage stays.
  assertLess(afterwards, 1.05 * AT_REST);
});

Deno.test("call() shares the policy of records among circuits when an isolate has none of its own", async () => {
  const { store } = tenantStore(() => Promise.resolve());
  const make = (defaults: CircuitDefaults) => createFuse({ stores: { tenants: store }, defaults });
  const [writer, reader] = [make({ failureThreshold: 4 }), make({})];
  await writer.make("t0").call(() => Promise.resolve());
  await writer.flush();
  for (const name of ["t0", "t1", "t2"]) await reader.make(name).call(() => Promise.resolve());
  const policies = new Set([...circuitsOf(reader)].map(({ policy }) => policy));
  assertEquals([...policies].map(({ failureThreshold }) => failureThreshold), [4]);
  await reader.flush();
});

Deno.test("call() goes on counting in each of very many stand-ins", async () => {
  const circuits = 10_100;
  const tenants = tenantStore(() => Promise.resolve());
  const fuse = createFuse({
    stores: { tenants: tenants.store },
    clock: () => 0,
    maxCircuits: circuits,
    defaults: { failureThreshold: 2 },
  });
  fuse.on("store_error", () => {});
  tenants.down = true;
  const fail = (tenant: number) =>
    fuse.make(`t${tenant}`).tryCall(() => Promise.reject(new Error("down")));
  for (let tenant = 0; tenant < circuits; tenant++) await fail(tenant);
  await fail(0);
  assertEquals([...circuitsOf(fuse)].length, circuits);
  assertEquals(fuse.make("t0").peek().state, "OPEN");
});
