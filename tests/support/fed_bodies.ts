/**
 * Bodies whose chunks a test provides.
 *
 * @module
 */
import type { World } from "./setups.ts";

/** A Response whose body the test writes. */
export function fed(type?: "bytes") {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const canceled: unknown[] = [];
  let pulls = 0;
  const body = new ReadableStream<Uint8Array>({
    type: type as undefined,
    start: (given) => void (controller = given),
    pull: () => void pulls++,
    cancel: (reason) => void canceled.push(reason),
  }, { highWaterMark: 0 });
  const response = new Response(body);
  return {
    response,
    canceled,
    pulls: () => pulls,
    give: (text: string) => controller.enqueue(new TextEncoder().encode(text)),
    end: () => controller.close(),
    breakOff: (error: unknown) => controller.error(error),
  };
}

/** Returns the store's counts. */
export async function told(world: World): Promise<[number, number]> {
  await world.sync();
  const { successes, failures } = world.stored().totals;
  return [successes, failures];
}
