// The texts of notices, and the command in them.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { createFuse, type Fuse } from "@fuse/edge";
import { notify, type NotifyOptions, slack, webhook } from "@fuse/edge/notify";
import { commandOf } from "../../../src/notify/command.ts";
import { HOSTILE_TEXTS } from "../../support/hostile.ts";
import { channel } from "../../support/notices.ts";
import { World } from "../../support/setups.ts";

const down = () => Promise.reject(Object.assign(new Error("token=s3cr3t"), { code: "ECONNRESET" }));

Deno.test("notify() says what opened, why, where, until when, and how to undo it", async () => {
  const world = new World("memory");
  const { fuse } = world.isolate({ instance: "fra1" });
  const { tell, notices } = channel();
  notify(fuse, { channels: [tell] });
  const pay = fuse.for({ type: "tenant", id: "a b" })
    .make("pay", { failureThreshold: 1, successThreshold: 1, cooldownMs: 60_000 });
  await pay.tryCall(down);
  await fuse.flush();
  const [opened] = notices;
  assertEquals(opened, {
    event: "opened",
    circuit: "pay",
    store: "shared",
    at: new Date("2025-01-01T00:00:00.000Z"),
    text: 'Circuit "pay" ("tenant:a b") of store "shared" opened at 2025-01-01T00:00:00.000Z in ' +
      '"fra1" until 2025-01-01T00:01:00.000Z: consecutive_failures, last failure ECONNRESET at ' +
      '2025-01-01T00:00:00.000Z in "fra1". To undo it: deno run -A jsr:@fuse/edge/cli reset ' +
      "--store shared --context 'tenant:a b' --reason WHY pay",
    data: {
      id: `shared/pay:for:tenant:a%20b/opened/${
        world.stored("pay:for:tenant:a%20b").epoch
      }/2/1735689600000`,
      key: "pay:for:tenant:a%20b",
      context: "tenant:a%20b",
      from: "CLOSED",
      to: "OPEN",
      generation: 2,
      reason: "consecutive_failures",
      until: "2025-01-01T00:01:00.000Z",
      lastFailure: { kind: "ECONNRESET", at: "2025-01-01T00:00:00.000Z", instance: "fra1" },
      instance: "fra1",
      undo:
        "deno run -A jsr:@fuse/edge/cli reset --store shared --context 'tenant:a b' --reason WHY pay",
    },
  });

  world.clock.advance(60_000);
  await pay.call(() => 1);
  await pay.forceOpen({ reason: "a\ndrill", actor: "ada", forMs: 1_000 });
  await pay.release({ reason: "over" });
  await pay.reset();
  await pay.remove({ reason: "gone" });
  await fuse.flush();
  assertEquals(
    notices.map(({ event, data }) => [event, data.reason, data.undo !== undefined]),
    [
      ["opened", "consecutive_failures", true],
      ["closed", "trials_succeeded", false],
      ["forced_open", "a\ndrill", true],
      ["released", "over", false],
      ["reset", undefined, false],
      ["removed", "gone", false],
    ],
  );
  const [, , forced] = notices;
  assert(forced!.text.includes('was forced open by "ada"'));
  assert(
    forced!.text.endsWith("cli release --store shared --context 'tenant:a b' --reason WHY pay"),
  );
  for (const { text } of notices) assert(!/[\n\r]|s3cr3t/.test(text));
});

Deno.test("commandOf() returns words that a shell reads back, whatever the names contain", async () => {
  const names = [
    ...HOSTILE_TEXTS.filter((text) => text !== ""),
    "-rf",
    "--help",
    "a'b",
    "$(id)",
    "`id`",
    "a\nb",
    "a\x1b[2Jb",
    "ü'\x03",
  ];
  const scripts: string[] = [];
  const expected: string[] = [];
  for (const name of names) {
    const command = commandOf("opened", {
      ...{ key: "", store: name, name, boundary: null, context: "tenant:it's%20%24x" },
    });
    if (!name.isWellFormed() || name.includes("\0")) {
      assertEquals(command, undefined);
      continue;
    }
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x1f\x7f]/.test(command!), "nothing acts on a terminal");
    scripts.push(command!.replace("deno run -A jsr:@fuse/edge/cli", "printf '%s\\0'"));
    expected.push(
      ...["reset", "--store", name, "--context", "tenant:it's $x", "--reason", "WHY"],
      ...name.startsWith("-") ? ["--", name] : [name],
    );
  }
  const { stdout, success } = await new Deno.Command("bash", {
    args: ["-c", scripts.join("\n")],
  }).output();
  assert(success);
  assertEquals(new TextDecoder().decode(stdout).split("\0").slice(0, -1), expected);
});

Deno.test("notify() refuses invalid options, and shows no address", () => {
  const fuse: Fuse = createFuse();
  const { tell } = channel();
  const make = (options: unknown) => () => notify(fuse, options as NotifyOptions);
  const channels = [tell];
  assertThrows(
    make({ channels: [] }),
    TypeError,
    '"channels" must be a non-empty list of channels',
  );
  assertThrows(
    make({ channels: ["https://s3cr3t"] }),
    TypeError,
    '"channels" must be a non-empty list',
  );
  assertThrows(make({ channels, quietMs: -1 }), RangeError, '"quietMs" must be');
  assertThrows(
    make({ channels, events: ["open"] }),
    RangeError,
    '"events" must be names of opened',
  );
  assertThrows(
    make({ channels, name: "" }),
    RangeError,
    '"name" must be a text of 1-255 characters',
  );
  assertThrows(make({ channels, quiet: 1 }), TypeError, 'there is no option "quiet"');
  for (const one of [webhook, slack]) {
    for (const url of ["s3cr3t", "ftp://s3cr3t", "", undefined]) {
      const error = assertThrows(() => one({ url: url as string }), TypeError, '"url" must be');
      assert(!error.message.includes("s3cr3t"));
    }
    assertThrows(() => one({ url: "http://a", timeoutMs: 0 }), RangeError, '"timeoutMs" must be');
  }
  const url = "http://a";
  assertThrows(() => webhook({ url, secret: "" }), TypeError, '"secret" must be');
  const error = assertThrows(
    () => webhook({ url, headers: { authorization: "s3cr3t\n." } }),
    TypeError,
    '"headers" must be',
  );
  assert(!error.message.includes("s3cr3t"));
});
