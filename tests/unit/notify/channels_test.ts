// The channels over real HTTP.
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { createHmac } from "node:crypto";
import { type Notice, slack, webhook } from "@fuse/edge/notify";
import { startReceiver } from "../../support/notices.ts";

const NOTICE: Notice = {
  ...{ event: "opened", circuit: "pay & <go>", store: "array", at: new Date(0) },
  ...{ text: 'Circuit "pay & <!channel>" opened', data: { id: "1" } },
};

Deno.test("webhook() POSTs the notices, signed as a receiver can verify", async () => {
  await using receiver = startReceiver();
  const headers = { authorization: "Bearer s3cr3t" };
  await webhook({ url: receiver.url, secret: "key ü", headers })([NOTICE, NOTICE]);
  const [{ headers: sent, body }] = receiver.requests as [typeof receiver.requests[0]];
  assertEquals(JSON.parse(body), { notices: [1, 2].map(() => JSON.parse(JSON.stringify(NOTICE))) });
  assertEquals(sent.get("content-type"), "application/json");
  assertEquals(sent.get("authorization"), "Bearer s3cr3t");
  const [, seconds, signature] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(sent.get("fuse-signature")!)!;
  assert(Math.abs(Number(seconds) - Date.now() / 1_000) < 60);
  // Node's own HMAC, as a receiver computes it.
  assertEquals(
    signature,
    createHmac("sha256", "key ü").update(`${seconds}.${body}`).digest("hex"),
  );
});

Deno.test("webhook() signs nothing without a secret", async () => {
  await using receiver = startReceiver();
  await webhook({ url: receiver.url })([NOTICE]);
  assertEquals(receiver.requests[0]!.headers.get("fuse-signature"), null);
});

Deno.test("slack() writes texts that mention nobody, in as few messages as possible", async () => {
  await using receiver = startReceiver();
  await slack({ url: receiver.url })([NOTICE, NOTICE]);
  const [{ body }] = receiver.requests as [typeof receiver.requests[0]];
  const line = 'Circuit "pay &amp; &lt;!channel&gt;" opened';
  assertEquals(JSON.parse(body), { text: `${line}\n${line}` });

  receiver.requests.length = 0;
  const long = { ...NOTICE, text: "x".repeat(3_000) };
  await slack({ url: receiver.url })([long, long, NOTICE, { ...long, text: "y".repeat(9_000) }]);
  assertEquals(receiver.requests.map(({ body }) => JSON.parse(body).text.length), [
    3_000,
    3_000 + 1 + line.length,
    3_901,
  ]);
});

for (
  const [what, answer, passing, message] of [
    ["500", () => new Response("s3cr3t", { status: 500 }), true, "answered 500"],
    ["429", () => new Response(null, { status: 429 }), true, "answered 429"],
    ["404", () => new Response("s3cr3t", { status: 404 }), false, "answered 404"],
    [
      "a redirect",
      () => new Response(null, { status: 302, headers: { location: "http://s3cr3t" } }),
      false,
      "answered 302",
    ],
  ] as const
) {
  Deno.test(`webhook() rejects, without the address, on ${what}`, async () => {
    await using receiver = startReceiver();
    receiver.answer = answer;
    const error = await assertRejects(
      () => webhook({ url: receiver.url })([NOTICE]),
      Error,
      message,
    );
    assertEquals((error as unknown as { passing: boolean }).passing, passing);
    assert(!Deno.inspect(error).includes("s3cr3t"));
    assertEquals(error.cause, undefined);
  });
}

Deno.test("webhook() gives up on a server that hangs, and on an unreachable one", async () => {
  const gone = startReceiver();
  await gone[Symbol.asyncDispose]();
  const error = await assertRejects(() => webhook({ url: gone.url })([NOTICE]), Error);
  assertMatch(error.message, /^the webhook was not reached$/);

  await using receiver = startReceiver();
  let answer = (_: Response) => {};
  receiver.answer = () => new Promise<Response>((resolve) => answer = resolve);
  const late = await assertRejects(
    () => webhook({ url: receiver.url, timeoutMs: 50 })([NOTICE]),
    Error,
    "the webhook did not answer within 50 ms",
  );
  assert(!Deno.inspect(late).includes("s3cr3t"));
  answer(new Response());
});

Deno.test("webhook() and slack() refuse an address with credentials, which Node's fetch() never sends to", () => {
  for (const channel of [webhook, slack]) {
    for (const url of ["https://ada:s3cr3t@example.com/", "https://ada@example.com/"]) {
      const { message } = assertThrows(() => channel({ url }), TypeError, "without credentials");
      assert(!message.includes("ada"), message);
    }
  }
});
