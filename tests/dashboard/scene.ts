/**
 * Builds a fleet on a bad day, for the dashboard's picture and its tests: two stores, one of which
 * keeps a trail, and six hours of history.
 *
 * @module
 */
import { createFuse, type Fuse, memory } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { FakeClock } from "@fuse/edge/testing";
import { createClient } from "@libsql/client";

/** The fleet. */
export interface Scene extends Disposable {
  readonly fuse: Fuse;
  readonly clock: FakeClock;
}

const MINUTE = 60_000;

/** Plays the story. It ends at `now`, in ms since the epoch. */
export async function playScene(now: number): Promise<Scene> {
  const clock = new FakeClock(now - 6 * 60 * MINUTE);
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  const stores = {
    database: libsql({ client, clock: clock.now }),
    cache: memory({ clock: clock.now }),
  };
  const [frankfurt, ashburn] = ["fra-1", "iad-2"].map((instance) =>
    createFuse({
      stores,
      default: "cache",
      clock: clock.now,
      instance,
      circuits: { payments: { store: "database", failureThreshold: 5, cooldownMs: MINUTE } },
    })
  ) as [Fuse, Fuse];
  // Sends outcomes at the times at which they occur.
  const minutes = async (count: number) => {
    await Promise.all([frankfurt.flush(), ashburn.flush()]);
    clock.advance(count * MINUTE);
  };

  const acme = frankfurt.for({ type: "tenant", id: "acme" });
  const payments = acme.make("payments");
  for (const calm of [20, 95, 60, 70, 40]) {
    await answered(payments, 40);
    await minutes(calm);
    await refused(payments, 503, 5);
    await minutes(2);
    await answered(payments, 2);
    await minutes(5);
  }
  const search = ashburn.make("search", { strategy: "rolling_window", cooldownMs: 30_000 });
  await answered(search, 9);
  for (let i = 0; i < 12; i++) await search.tryCall(() => Promise.reject(new TimeoutError()));
  const crm = frankfurt.store("database").make("crm-export");
  await answered(crm, 12);
  await crm.disable({ reason: "moving to the new interface, see OPS-118", actor: "sam" });
  const mail = ashburn.make("email-delivery");
  await answered(mail, 30);
  await mail.forceOpen({
    reason: "the provider asks us to stop",
    actor: "dana",
    forMs: 50 * MINUTE,
  });
  for (const [i, name] of CALM.entries()) {
    const view = i % 3 === 0 ? frankfurt.for({ type: "tenant", id: "initech" }) : ashburn;
    const circuit = view.store(i % 2 === 0 ? "database" : "cache").make(name);
    await answered(circuit, 20 + 7 * i);
    if (i % 4 === 1) await refused(circuit, 502, 2);
  }
  await minutes(0);
  clock.set(now - 45_000);
  await answered(payments, 21);
  await refused(payments, 503, 5);
  await minutes(0);
  clock.set(now);
  // A trial is running.
  await search.admit();
  return { fuse: frankfurt, clock, [Symbol.dispose]: () => client.close() };
}

const CALM = [
  ...["accounts", "billing", "geocoding", "inventory", "invoices", "maps"],
  ...["notifications", "orders", "recommendations", "shipping", "sms", "users"],
];

class TimeoutError extends Error {
  override name = "TimeoutError";
}

type Circuit = ReturnType<Fuse["make"]>;

async function answered(circuit: Circuit, times: number): Promise<void> {
  for (let i = 0; i < times; i++) await circuit.tryCall(() => new Response());
}

async function refused(circuit: Circuit, status: number, times: number): Promise<void> {
  for (let i = 0; i < times; i++) await circuit.tryCall(() => new Response(null, { status }));
}
