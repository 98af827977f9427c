import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Fuse } from "@fuse/edge";
import { type Logger, logTo } from "@fuse/edge/log";
import { replacing, World } from "../support/setups.ts";

/** A logger that keeps its records. */
function logger() {
  const lines: [string, unknown][] = [];
  const at = (level: string) => (line: unknown) => void lines.push([level, line]);
  return { lines, info: at("info"), warn: at("warn"), error: at("error") };
}

/** Plays an outage, an operator's action and a failure of the store. */
async function played(json: boolean, run?: (fuse: Fuse) => void) {
  const world = new World("eventual");
  let down = false;
  const { fuse } = world.isolate({ faults: { down: () => down }, instance: "fra1" });
  const log = logger();
  const stop = logTo(fuse, log, { json });
  run?.(fuse);
  const view = fuse.for({ type: "tenant", id: 7 });
  const breaker = view.make("pay", { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 });
  await breaker.call(() => 1);
  await breaker.tryCall(() => Promise.reject(new Error("token=s3cr3t")));
  await world.sync();
  await breaker.tryCall(() => 1);
  world.clock.advance(1_000);
  await breaker.call(() => 1);
  await breaker.forceOpen({ reason: "a\ndrill", actor: "ada", forMs: 60_000 });
  down = true;
  await breaker.getState();
  stop();
  await breaker.release().catch(() => {});
  return log.lines;
}

Deno.test("logTo() logs transitions, actions and failures in sentences, and no calls", async () => {
  const lines = await played(false);
  // Its value is random.
  const told = lines.map(([level, line]) => [level, String(line).replace(/Ms \d+/, "Ms 0")]);
  assertEquals(told, [
    [
      "warn",
      'Fuse: circuit "pay" ("tenant:7") opened: "consecutive_failures", from "CLOSED", to "OPEN", generation 2, openUntil "2025-01-01T00:00:01.000Z", last failure {"at":"2025-01-01T00:00:00.000Z","kind":"Error","status":null,"instance":"fra1"}',
    ],
    [
      "info",
      'Fuse: circuit "pay" ("tenant:7") half_opened: "cooldown_passed", from "OPEN", to "HALF_OPEN", generation 3',
    ],
    [
      "info",
      'Fuse: circuit "pay" ("tenant:7") closed: "trials_succeeded", from "HALF_OPEN", to "CLOSED", generation 4',
    ],
    [
      "warn",
      'Fuse: circuit "pay" ("tenant:7") forced_open by "ada": "a\\ndrill", until "2025-01-01T00:01:01.000Z"',
    ],
    [
      "error",
      'Fuse: circuit "pay" ("tenant:7") store_error, operation "read", retryAfterMs 0, error "Error"',
    ],
  ]);
});

Deno.test("logTo() logs JSON, one text for each line, and no secret", async () => {
  const lines = await played(true);
  assertEquals(lines.map(([level, line]) => [level, JSON.parse(line as string).event]), [
    ["warn", "opened"],
    ["info", "half_opened"],
    ["info", "closed"],
    ["warn", "forced_open"],
    ["error", "store_error"],
  ]);
  const opened = JSON.parse(lines[0]![1] as string);
  assertEquals(opened, {
    level: "warn",
    event: "opened",
    at: "2025-01-01T00:00:00.000Z",
    store: "shared",
    circuit: "pay",
    context: "tenant:7",
    from: "CLOSED",
    to: "OPEN",
    generation: 2,
    reason: "consecutive_failures",
    openUntil: "2025-01-01T00:00:01.000Z",
    lastFailure: { at: "2025-01-01T00:00:00.000Z", kind: "Error", status: null, instance: "fra1" },
  });
  assert(!lines.some(([, line]) => /s3cr3t|[\r\n]/.test(String(line))));
});

Deno.test("logTo() logs to the console by default, and a logged Fuse prints no warning of its own", async () => {
  const log = logger();
  const warnings: unknown[] = [];
  const console_ = { ...console, ...log, warn: (line: unknown) => warnings.push(line) };
  await replacing("console", console_, async () => {
    const world = new World("memory");
    const { fuse } = world.isolate();
    const stop = logTo(fuse);
    fuse.make("a", { failureThreshold: 1 });
    fuse.make("a", { failureThreshold: 2 });
    await fuse.make("b").call(() => fuse.make("b").call(() => 1));
    stop();
  });
  assertEquals(warnings, [
    'Fuse: circuit "a" config_mismatch, options ["failureThreshold"]',
    'Fuse: circuit "b" nested',
  ]);
});

Deno.test("logTo() reports a logger that throws, and reads no error that throws", async () => {
  const throwing: Logger = {
    info() {},
    warn() {
      throw new Error("the disk is full");
    },
    error() {},
  };
  const world = new World("memory");
  const { fuse, events } = world.isolate();
  logTo(fuse, throwing);
  await fuse.make("a").forceOpen();
  assertEquals(events.map(({ type }) => type).includes("listener_error"), true);
});

Deno.test("logTo() refuses an invalid logger and invalid options", () => {
  const { fuse } = new World("memory").isolate();
  const log = logger();
  for (
    const [logger, options, message] of [
      [null, {}, '"options" must be an object'],
      [{ ...log, warn: 5 }, {}, '"warn" must be a function'],
      [log, { json: "yes" }, '"json" must be true or false'],
      [log, { jsn: true }, 'no option "jsn"'],
    ] as [never, never, string][]
  ) assertThrows(() => logTo(fuse, logger, options), Error, message);
});

const CALLS: string[] = ["success", "failure", "slow", "ignored", "rejected"];

Deno.test("logTo() receives every event except those of calls, which then need not be measured", () => {
  const heard: string[] = [];
  const fuse = { on: (type: string) => void heard.push(type) } as unknown as Fuse;
  logTo(fuse, logger());
  const text = Deno.readTextFileSync(new URL("../../src/events.ts", import.meta.url));
  const names = /EVENT_NAMES[^{]*\{([^}]*)\}/.exec(text)![1]!.match(/\w+(?=:)/g)!;
  assertEquals(heard.toSorted(), names.filter((name) => !CALLS.includes(name)).toSorted());
});
