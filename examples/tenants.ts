/**
 * Tenants: one customer's broken credentials, or one region's outage, must not open the circuit of
 * the others. A circuit may have a context (for whom) and a boundary (where), and both are optional.
 *
 *     deno run -A examples/tenants.ts
 */

import { createFuse, type Fuse } from "@fuse/edge";

const fuse = createFuse({ defaults: { failureThreshold: 3 } });

// A listener on the whole Fuse hears all tenants; one on a view hears that view's circuits only.
fuse.on("opened", ({ name, context, boundary }) => {
  console.log(`opened: ${name} of ${context ?? "everybody"} in ${boundary ?? "every region"}`);
});

/** The views of a request: views are cheap, create one for each request. */
function forRequest(tenant: string, region: string): Fuse {
  return fuse.for({ type: "tenant", id: tenant }).boundary({ type: "region", id: region });
}

/** Charges on a tenant's own account at the payment provider. */
function charge(tenant: string, region: string): Promise<string> {
  return forRequest(tenant, region).make("payments", { fallback: () => "queued" }).call(() => {
    if (tenant === "acme") throw new Error("this API key was revoked");
    return "charged";
  });
}

for (let attempt = 1; attempt <= 3; attempt++) await charge("acme", "eu").catch(() => {});

console.log(`acme in eu: ${await charge("acme", "eu")}`);
console.log(`acme in us: ${await charge("acme", "us").catch(() => "failed, and was tried")}`);
console.log(`initech in eu: ${await charge("initech", "eu")}`);

// The provider is the same for all tenants: a circuit without scopes.
console.log(`everybody: ${await fuse.make("payments").getState()}`);

// Lists the circuits of one tenant, in all regions, and resets them once there is a new key.
const acme = fuse.for({ type: "tenant", id: "acme" });
for await (const circuit of fuse.list({ context: { type: "tenant", id: "acme" } })) {
  console.log(`${circuit.context} ${circuit.boundary}: ${circuit.state}`);
}
const count = await acme.resetAll({ reason: "new API key", actor: "support" });
console.log(`reset ${count} circuits of acme`);
console.log(`acme in eu is ${await forRequest("acme", "eu").make("payments").getState()}`);
