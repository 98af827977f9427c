// A failure that a paced isolate holds back on a Worker, where its request looks after it.
import { assert, assertEquals } from "@std/assert";
import { createFuse } from "@fuse/edge";
import type { Tally } from "@fuse/edge/store";
import { inVirtualTime } from "../../fleet/simulation/virtual_globals.ts";
import { chaos, memory } from "../../support/drivers.ts";
import { onWorker, WorkerRequest } from "../../support/on_worker.ts";
import { fail, succeed } from "../../support/setups.ts";
import { settled as turn, VirtualTime } from "../../support/virtual_time.ts";

Deno.test("call() sends a failure from its own request when a paced isolate on a Worker held it back and gets no other call", () =>
  paced(async ({ time, make, failures }) => {
    const request = new WorkerRequest();
    await fail(make(request));
    await turn();
    assertEquals([failures(), request.held.length], [0, 1], "held back");
    const began = time.now();
    await time.run(() => failures() > 0);
    await done(time, request);
    assertEquals(failures(), 1);
    assert(time.now() - began < 10_000, `${time.now() - began} ms`);
  }));

Deno.test("call() lets its request end when flush() has sent the failure that was held back", () =>
  paced(async ({ time, make, flush, failures }) => {
    const request = new WorkerRequest();
    await fail(make(request));
    await flush();
    assertEquals(failures(), 1);
    const began = time.now();
    await done(time, request);
    assertEquals(failures(), 1);
    assert(time.now() - began < 10_000, `${time.now() - began} ms`);
  }));

interface World {
  readonly time: VirtualTime;
  readonly make: (request: WorkerRequest) => ReturnType<ReturnType<typeof createFuse>["make"]>;
  readonly flush: () => Promise<void>;
  /** The failures that were sent. */
  readonly failures: () => number;
}

/** A Worker that has heard of more requests a second than are allowed, with nothing left to send. */
function paced(body: (world: World) => Promise<void>): Promise<void> {
  const time = new VirtualTime();
  return onWorker(() =>
    inVirtualTime(time, () => 0.5, async () => {
      let sent = 0;
      const remote = new Proxy(chaos(memory({ clock: time.now }), {}), {
        get(target, property) {
          const value = Reflect.get(target, property, target);
          if (property !== "record") {
            return typeof value === "function" ? value.bind(target) : value;
          }
          return (key: string, tally: Tally) => {
            sent += tally.failures;
            return Reflect.apply(value, target, [key, tally]);
          };
        },
      });
      const fuse = createFuse({ stores: { remote }, clock: time.now, random: () => 0.5 });
      const make = (request: WorkerRequest) =>
        fuse.with(request).make("a", { failureThreshold: 99, maxRequestsPerSecond: 1 });
      const busy = new WorkerRequest();
      await succeed(make(busy));
      await fuse.flush();
      time.plan(10_000, () => {});
      await time.run();
      // Five requests within a second, where one would be enough.
      for (let i = 0; i < 5; i++) {
        await fail(make(busy));
        await done(time, busy);
      }
      time.plan(1_000, () => {});
      await time.run();
      await succeed(make(busy));
      await fuse.flush();
      await done(time, busy);
      sent = 0;
      await body({ time, make, flush: () => fuse.flush(), failures: () => sent });
    })
  );
}

/** Lets all work of a request end. */
async function done(time: VirtualTime, { held }: WorkerRequest): Promise<void> {
  let over = false;
  const ended = Promise.all(held).then(() => over = true);
  await time.run(() => over);
  await ended;
}
