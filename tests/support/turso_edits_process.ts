/**
 * An edit by hand on Turso's engine, and the reset that follows, in a process of its own: the engine may
 * take its process with it. Prints the events of the circuit, latest first.
 *
 * @module
 */
import { createFuse } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { tursoInMemory } from "./turso.ts";

await using client = await tursoInMemory();
await migrate(client);
const fuse = createFuse({ stores: { database: libsql({ client }) }, storeTimeoutMs: 10_000 });
const circuit = fuse.make("a");
await circuit.forceOpen();
await client.execute({ sql: "update circuit_breakers set failure_count = 3", args: [] });
await circuit.reset();
const events = await Array.fromAsync(circuit.history());
console.log(events.map(({ event }) => event).join(" "));
