// Notices over real HTTP: two isolates of which one dies, a server that fails and one that hangs, two crons.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { createHmac } from "node:crypto";
import { fileURLToPath } from "node:url";
import { createFuse } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { notify, webhook } from "@fuse/edge/notify";
import { createClient } from "@libsql/client";
import { migrate } from "@fuse/edge/migrations";
import { notifyBy } from "../../src/notify/notifier.ts";
import { FakeParts, startReceiver } from "../support/notices.ts";

const PROCESS = fileURLToPath(new URL("../support/notify_process.ts", import.meta.url));

/** Runs an isolate to its end, or its death. */
async function isolate(database: string, url: string, fate: "lives" | "dies") {
  const { code, signal, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", PROCESS, database, url, fate],
  }).output();
  assertEquals([code === 0, signal], fate === "lives" ? [true, null] : [false, "SIGKILL"]);
  assertEquals(new TextDecoder().decode(stderr), "");
}

Deno.test("one of two isolates sends a notice, and drain() sends once what a dead isolate left", async () => {
  const folder = await Deno.makeTempDir();
  await using receiver = startReceiver();
  const database = `file:${folder}/fuse.db`;
  const client = createClient({ url: database });
  try {
    await client.execute("pragma journal_mode = wal");
    await migrate(client);
    await Promise.all([
      isolate(database, receiver.url, "lives"),
      isolate(database, receiver.url, "dies"),
    ]);
    const told = () =>
      receiver.notices().map(({ event, circuit, data }) => [event, circuit, data.instance]);
    assertEquals(told(), [["opened", "lives", "lives"]]);

    const cron = () => {
      const stores = { database: libsql({ client, busyTimeoutMs: 5_000 }) };
      const channels = [webhook({ url: receiver.url, secret: "key" })];
      return notify(createFuse({ stores, storeTimeoutMs: 10_000 }), { channels });
    };
    const counts = await Promise.all([cron(), cron(), cron()].map(({ drain }) => drain()));
    assertEquals(counts.toSorted(), [0, 0, 1]);
    assertEquals(await cron().drain(), 0);
    assertEquals(told(), [["opened", "lives", "lives"], ["opened", "dies", "dies"]]);

    for (const { headers, body } of receiver.requests) {
      const [, seconds, signature] = /^t=(\d+),v1=(\w+)$/.exec(headers.get("fuse-signature")!)!;
      const expected = createHmac("sha256", "key").update(`${seconds}.${body}`).digest("hex");
      assertEquals(signature, expected);
      assert(!body.includes("s3cr3t"));
    }
  } finally {
    client.close();
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("notify() retries a server that fails and then works, and gives up on one that hangs", async () => {
  await using receiver = startReceiver();
  const parts = new FakeParts();
  const fuse = createFuse({ clock: parts.clock });
  const errors: string[] = [];
  fuse.on("listener_error", ({ error }) => void errors.push(Deno.inspect(error)));
  const { stop } = notifyBy(fuse, { channels: [webhook({ url: receiver.url })] }, parts);
  const answers = [500, 503, 200];
  receiver.answer = () => new Response("s3cr3t", { status: answers.shift()! });
  await fuse.make("pay").forceOpen();
  await fuse.flush();
  assertEquals([receiver.requests.length, parts.pauses], [3, [1_000, 2_000]]);
  assertEquals([receiver.notices().length, errors], [1, []]);

  // The receiver names the time of the next attempt.
  const busy = [
    new Response(null, { status: 429, headers: { "retry-after": "7" } }),
    new Response(),
  ];
  receiver.answer = () => busy.shift()!;
  await fuse.make("pay").release();
  await fuse.flush();
  assertEquals([receiver.notices().length, parts.pauses.at(-1)], [2, 7_000]);

  stop();
  const channels = [webhook({ url: receiver.url, timeoutMs: 100 })];
  notifyBy(fuse, { channels }, parts);
  const hanging: ((response: Response) => void)[] = [];
  receiver.answer = () => new Promise((resolve) => hanging.push(resolve));
  await fuse.make("pay").forceOpen();
  await fuse.flush();
  assertEquals([receiver.notices().length, errors.length, hanging.length], [2, 1, 3]);
  assert(errors[0]!.includes("channel 1: the webhook did not answer within 100 ms"));
  assert(!errors[0]!.includes("s3cr3t") && !errors[0]!.includes("127.0.0.1"));
  for (const answer of hanging) answer(new Response(null, { status: 500 }));
});

Deno.test("drain() rejects without an address while the server fails, and sends all notices once it works", async () => {
  await using receiver = startReceiver();
  const client = createClient({ url: ":memory:" });
  try {
    await migrate(client);
    const parts = new FakeParts();
    const stores = { database: libsql({ client }) };
    for (const name of ["a", "b"]) await createFuse({ stores }).make(name).forceOpen();
    const channels = [webhook({ url: receiver.url })];
    const { drain } = notifyBy(createFuse({ stores }), { channels }, parts);
    receiver.answer = () => new Response(null, { status: 500 });
    const error = await assertRejects(drain, Error, "channel 1: the webhook answered 500");
    assert(!Deno.inspect(error).includes("127.0.0.1"));
    receiver.answer = () => new Response();
    parts.time.advance(60_000);
    assertEquals(await drain(), 2);
    assertEquals(receiver.notices().map(({ circuit }) => circuit), ["a", "b"]);
  } finally {
    client.close();
  }
});
