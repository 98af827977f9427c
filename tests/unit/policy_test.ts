// Options of a circuit: bounds, defaults, what must agree, and how two policies are told apart.
import {
  assert,
  assertEquals,
  assertNotEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { type CircuitOptions, createFuse, type FuseOptions } from "@fuse/edge";
import {
  type CircuitPolicy,
  createPolicy,
  differences,
  POLICY_OPTIONS,
  samePolicy,
} from "../../src/rules/policy.ts";
import { differingOptions } from "../../src/rules/fingerprint.ts";
import { fail } from "../support/setups.ts";
import { policyOf } from "../support/units.ts";

type NumberOption =
  | "failureThreshold"
  | "successThreshold"
  | "cooldownMs"
  | "maxCooldownMs"
  | "windowMs"
  | "windowSize"
  | "minimumThroughput"
  | "percentageThreshold"
  | "slowCallMs"
  | "callTimeoutMs"
  | "abandonedAfterMs"
  | "idleTimeoutMs"
  | "firstByteTimeoutMs"
  | "rampMs"
  | "rampFromPercentage"
  | "halfOpenFailureThreshold"
  | "halfOpenMaxConcurrent"
  | "halfOpenLeaseMs"
  | "revalidateMs"
  | "maxStalenessMs"
  | "flushSize"
  | "flushIntervalMs"
  | "maxRequestsPerSecond";

interface Bounds {
  readonly standard: number | undefined;
  readonly min: number;
  readonly max: number;
  /** What the error says is allowed. */
  readonly allowed: string;
  /** Needed beside the greatest value for it to make sense. */
  readonly beside?: CircuitPolicy;
}

const SAFE = Number.MAX_SAFE_INTEGER;
const POSITIVE = { min: 1, max: SAFE, allowed: "a positive integer" };
const TIMER = { min: 1, max: 2 ** 31 - 1, allowed: "an integer from 1 to 2147483647" };
const NOT_NEGATIVE = { min: 0, max: SAFE, allowed: "an integer of at least 0" };

/** Section 5 of the design, and the docstrings. */
const BOUNDS: Readonly<Record<NumberOption, Bounds>> = {
  failureThreshold: { standard: 5, ...POSITIVE },
  successThreshold: { standard: 2, ...POSITIVE },
  cooldownMs: {
    standard: 60_000,
    min: 0,
    max: 8.64e15,
    allowed: "an integer of at least 0",
    beside: { maxCooldownMs: 8.64e15 },
  },
  maxCooldownMs: {
    standard: 600_000,
    min: 1,
    max: 8.64e15,
    allowed: "an integer from 1 to 8640000000000000",
  },
  windowMs: { standard: 120_000, ...POSITIVE },
  windowSize: { standard: 100, min: 1, max: 10_000, allowed: "an integer from 1 to 10000" },
  minimumThroughput: { standard: 10, ...POSITIVE },
  percentageThreshold: { standard: 50, min: 1, max: 100, allowed: "a number from 1 to 100" },
  slowCallMs: { standard: undefined, ...POSITIVE },
  callTimeoutMs: {
    standard: undefined,
    ...TIMER,
    beside: { halfOpenLeaseMs: 2 ** 31 },
  },
  abandonedAfterMs: { standard: undefined, ...POSITIVE },
  idleTimeoutMs: { standard: undefined, ...TIMER },
  firstByteTimeoutMs: { standard: undefined, ...TIMER },
  rampMs: { standard: undefined, ...POSITIVE },
  rampFromPercentage: { standard: 10, min: 1, max: 100, allowed: "a number from 1 to 100" },
  halfOpenFailureThreshold: { standard: 1, ...POSITIVE },
  halfOpenMaxConcurrent: { standard: 1, ...POSITIVE },
  halfOpenLeaseMs: { standard: 30_000, ...POSITIVE },
  revalidateMs: { standard: 1_000, ...NOT_NEGATIVE },
  maxStalenessMs: { standard: 10_000, ...NOT_NEGATIVE },
  flushSize: { standard: 50, ...POSITIVE },
  flushIntervalMs: { standard: 1_000, ...NOT_NEGATIVE },
  maxRequestsPerSecond: { standard: 1_000, ...POSITIVE },
};

const NUMBER_OPTIONS = Object.keys(BOUNDS) as NumberOption[];

/** What could not be any number option, and how it is told. */
const NO_NUMBERS: readonly [unknown, ErrorConstructor, string][] = [
  [null, TypeError, "null"],
  [true, TypeError, "true"],
  [{ valueOf: () => 5 }, TypeError, "an object"],
  [[5], TypeError, "an array"],
  [5n, TypeError, "5"],
  [Symbol("s"), TypeError, "Symbol(s)"],
  ["5", RangeError, '"5"'],
  ["", RangeError, '""'],
  [NaN, RangeError, "NaN"],
  [Infinity, RangeError, "Infinity"],
  [-Infinity, RangeError, "-Infinity"],
  [-1, RangeError, "-1"],
];

function ignore(): void {}

/** The error says which option, what is allowed and what came, whichever way the option is given. */
function refused(
  options: Record<string, unknown>,
  kind: ErrorConstructor,
  option: string,
  allowed: string,
  received: string,
): void {
  const message = `Cannot create circuit breaker: "${option}" must be ${allowed}, received ` +
    received;
  const bad = options as CircuitOptions;
  const fuse = createFuse();
  const ways: Record<string, () => unknown> = {
    make: () => fuse.make("a", bad),
    "circuits by name": () => createFuse({ circuits: { a: bad } } as FuseOptions),
    defaults: () => createFuse({ defaults: bad } as FuseOptions),
    "circuits by prefix": () => createFuse({ circuits: { "a*": bad } } as FuseOptions),
  };
  for (const [way, create] of Object.entries(ways)) {
    assertEquals(assertThrows(create, kind).message, message, way);
  }
}

Deno.test("createPolicy() fills in the documented defaults when nothing is given", () => {
  const policy = policyOf() as unknown as Record<string, unknown>;
  for (const option of NUMBER_OPTIONS) {
    assertEquals([option, policy[option]], [option, BOUNDS[option].standard]);
  }
  const { consistency, onStoreError, rules, slowFails, shape, baseCooldownMs } = policyOf();
  assertEquals({ consistency, onStoreError, slowFails, shape, baseCooldownMs }, {
    consistency: "eventual",
    onStoreError: "local",
    slowFails: false,
    shape: { windowMs: 120_000, windowSize: 0 },
    baseCooldownMs: 60_000,
  });
  assertEquals(rules.map(({ name }) => name), ["consecutive_failures"]);
});

Deno.test("createPolicy() takes undefined for not given when every option is", () => {
  const options = Object.fromEntries(POLICY_OPTIONS.map((option) => [option, undefined]));
  assertEquals(samePolicy(policyOf(options), policyOf()), true);
  assertEquals(policyOf(options).hash, policyOf().hash);
});

for (const option of NUMBER_OPTIONS) {
  const { min, max, allowed, beside } = BOUNDS[option];

  Deno.test(`createPolicy() takes ${option} when it is at its bounds`, () => {
    for (const value of [min, max]) {
      const policy = policyOf({ ...beside, [option]: value });
      assertStrictEquals(policy[option], value);
    }
  });

  Deno.test(`make() and createFuse() refuse ${option} when it is out of bounds`, () => {
    const bad: [unknown, ErrorConstructor, string][] = [...NO_NUMBERS];
    bad.push([min - 1, RangeError, String(min - 1)]);
    // Past the greatest, where a number past it can be told from it and no other option is ahead.
    if (max <= 2 ** 31) bad.push([max + 1, RangeError, String(max + 1)]);
    else bad.push([2 ** 60, RangeError, String(2 ** 60)]);
    if (!option.includes("ercentage")) bad.push([min + 0.5, RangeError, String(min + 0.5)]);
    for (const [value, kind, received] of bad) {
      refused({ ...beside, [option]: value }, kind, option, allowed, received);
    }
  });
}

Deno.test("createPolicy() takes percentageThreshold when it is no whole number", () => {
  // Rule 2 bounds it and asks for no more.
  for (const value of [1, 12.5, 99.999]) {
    assertEquals(policyOf({ percentageThreshold: value }).percentageThreshold, value);
  }
  for (const value of [0.999, 100.001]) {
    refused(
      { percentageThreshold: value },
      RangeError,
      "percentageThreshold",
      "a number from 1 to 100",
      String(value),
    );
  }
});

Deno.test("make() and createFuse() refuse consistency and onStoreError when they are no known word", () => {
  const bad: [unknown, ErrorConstructor, string][] = [
    ["EVENTUAL", RangeError, '"EVENTUAL"'],
    ["", RangeError, '""'],
    [1, RangeError, "1"],
    [null, TypeError, "null"],
    [["strong"], TypeError, "an array"],
    [() => "strong", TypeError, "a function"],
  ];
  for (const [value, kind, received] of bad) {
    const words = 'one of "eventual", "strong"';
    refused({ consistency: value }, kind, "consistency", words, received);
    const ways = 'one of "local", "allow", "reject"';
    refused({ onStoreError: value }, kind, "onStoreError", ways, received);
  }
});

Deno.test("make() and createFuse() refuse strategy when it names none", () => {
  const allowed = "a function or one of consecutive_failures, percentage_failures, " +
    "rolling_window, slow_calls, count_window";
  const bad: [unknown, ErrorConstructor, string][] = [
    ["consecutive", RangeError, '"consecutive"'],
    ["", RangeError, '""'],
    // Names that every object has.
    ["constructor", RangeError, '"constructor"'],
    ["__proto__", RangeError, '"__proto__"'],
    [7, RangeError, "7"],
    [null, TypeError, "null"],
    [{}, TypeError, "an object"],
    [["rolling_window", "nope"], RangeError, '"nope"'],
    [["rolling_window", undefined], TypeError, "undefined"],
    [[["rolling_window"]], TypeError, "an array"],
  ];
  for (const [strategy, kind, received] of bad) {
    refused({ strategy }, kind, "strategy", allowed, received);
  }
  refused({ strategy: [] }, TypeError, "strategy", "a strategy or a list of them", "an array");
});

Deno.test("createPolicy() names the registered strategies too when one is unknown", () => {
  assertThrows(
    () => createPolicy({ strategy: "theirs" }, { mine: () => true }, ignore),
    RangeError,
    "count_window, mine, received",
  );
});

Deno.test("make() and createFuse() refuse a cooldown that is longer than the longest", () => {
  // Rule 6.
  refused(
    { cooldownMs: 600_001 },
    RangeError,
    "cooldownMs",
    'at most "maxCooldownMs", 600000',
    "600001",
  );
  const options = { cooldownMs: 6, maxCooldownMs: 5 };
  refused(options, RangeError, "cooldownMs", 'at most "maxCooldownMs", 5', "6");
  assertEquals(policyOf({ cooldownMs: 5, maxCooldownMs: 5 }).cooldownMs, 5);
});

Deno.test("createPolicy() shortens the default cooldown when maxCooldownMs is below it", () => {
  const policy = policyOf({ maxCooldownMs: 1_000 });
  assertEquals([policy.cooldownMs, policy.baseCooldownMs], [1_000, 1_000]);
  const own = policyOf({ maxCooldownMs: 1_000, cooldownMs: () => 5 });
  assertEquals(own.baseCooldownMs, 1_000);
});

Deno.test("make() and createFuse() refuse a call timeout that outlasts its lease", () => {
  // Rule 18.
  const longer = { callTimeoutMs: 30_001 };
  refused(longer, RangeError, "callTimeoutMs", 'at most "halfOpenLeaseMs", 30000', "30001");
  const shorter = { callTimeoutMs: 10, halfOpenLeaseMs: 9 };
  refused(shorter, RangeError, "callTimeoutMs", 'at most "halfOpenLeaseMs", 9', "10");
  assertEquals(policyOf({ callTimeoutMs: 9, halfOpenLeaseMs: 9 }).callTimeoutMs, 9);
});

Deno.test("make() and createFuse() refuse a throughput that a count window never reaches", () => {
  // Rule 18; in a list too, and for count_window only.
  for (const strategy of ["count_window", ["consecutive_failures", "count_window"]]) {
    refused(
      { strategy, windowSize: 9 },
      RangeError,
      "minimumThroughput",
      'at most "windowSize", 9, for count_window',
      "10",
    );
  }
  assertEquals(policyOf({ strategy: "rolling_window", windowSize: 9 }).minimumThroughput, 10);
  const equal = policyOf({ strategy: "count_window", windowSize: 10 });
  assertEquals(equal.shape, { windowMs: 120_000, windowSize: 10 });
});

Deno.test("make() and createFuse() refuse slow_calls when nothing says what is slow", () => {
  // Rule 18.
  for (const strategy of ["slow_calls", ["rolling_window", "slow_calls"]]) {
    refused(
      { strategy },
      TypeError,
      "slowCallMs",
      "a positive integer for slow_calls",
      "undefined",
    );
  }
  assertEquals(policyOf({ strategy: "slow_calls", slowCallMs: 1 }).slowFails, true);
  assertEquals(policyOf({ slowCallMs: 1 }).slowFails, false);
});

Deno.test("createFuse() refuses what only makes no sense with its defaults", () => {
  // Rule 18: a pattern's options are judged together with those beneath them.
  assertThrows(
    () =>
      createFuse({
        defaults: { maxCooldownMs: 10, cooldownMs: 10 },
        circuits: { "a*": { cooldownMs: 11 } },
      }),
    RangeError,
    '"cooldownMs" must be at most "maxCooldownMs", 10, received 11',
  );
  const fuse = createFuse({ defaults: { strategy: "count_window", windowSize: 20 } });
  assertThrows(
    () => fuse.make("a", { minimumThroughput: 21 }),
    RangeError,
    '"minimumThroughput" must be at most "windowSize", 20',
  );
});

Deno.test("make() changes nothing when it refuses a circuit's second handle", async () => {
  const fuse = createFuse({ defaults: { failureThreshold: 2 } });
  const told: string[] = [];
  fuse.on("*", ({ type }) => void told.push(type));
  const breaker = fuse.make("a");
  for (const option of NUMBER_OPTIONS) {
    const bad = { failureThreshold: 1, [option]: "no" };
    assertThrows(() => fuse.make("a", bad as CircuitOptions), RangeError);
  }
  await fail(breaker);
  assertEquals([await breaker.getState(), told], ["CLOSED", ["failure"]]);
  await fail(breaker);
  assertEquals(await breaker.getState(), "OPEN");
});

Deno.test("make() takes undefined for not given when a default stands", async () => {
  const fuse = createFuse({ defaults: { failureThreshold: 1 } });
  const options = Object.fromEntries(POLICY_OPTIONS.map((option) => [option, undefined]));
  const breaker = fuse.make("a", options);
  await fail(breaker);
  assertEquals(await breaker.isOpen(), true);
  // Nor does it fix the policy.
  const told: string[] = [];
  fuse.on("config_mismatch", ({ options }) => void told.push(...options));
  fuse.make("a", { failureThreshold: 2 });
  assertEquals(told, []);
});

/** Another value for each option, that is valid by itself. */
const OTHER: Readonly<Record<NumberOption | "strategy" | "consistency" | "onStoreError", unknown>> =
  {
    ...Object.fromEntries(NUMBER_OPTIONS.map((option) => [option, 7])) as Record<
      NumberOption,
      number
    >,
    cooldownMs: 59_999,
    maxCooldownMs: 600_001,
    halfOpenLeaseMs: 31_000,
    strategy: "rolling_window",
    consistency: "strong",
    onStoreError: "allow",
  };

/** What isolates may differ in without deciding differently. */
const LOCAL = ["consistency", "onStoreError", "revalidateMs", "maxStalenessMs", "flushSize"];
LOCAL.push("flushIntervalMs", "maxRequestsPerSecond");

/** Without any option there is no fingerprint. */
const GIVEN = { failureThreshold: 5 };

for (const [option, value] of Object.entries(OTHER)) {
  Deno.test(`differences() names ${option} when two policies differ in it`, () => {
    const [one, other] = [policyOf(), policyOf({ [option]: value })];
    assertEquals(differences(one, other), [option]);
    assertEquals(differences(other, one), [option]);
    assertEquals(samePolicy(one, other), false);
  });

  Deno.test(`differingOptions() ${LOCAL.includes(option) ? "leaves out" : "names"} ${option} when fingerprints differ in it`, () => {
    const [one, other] = [policyOf(GIVEN).hash, policyOf({ ...GIVEN, [option]: value }).hash];
    assertEquals(differingOptions(one, other), LOCAL.includes(option) ? [] : [option]);
    assertEquals(one === other, LOCAL.includes(option));
  });
}

Deno.test("differingOptions() names every option when several differ", () => {
  const other = policyOf({ failureThreshold: 6, windowMs: 5, percentageThreshold: 51 });
  const named = differingOptions(policyOf(GIVEN).hash, other.hash);
  assertEquals(named.toSorted(), ["failureThreshold", "percentageThreshold", "windowMs"]);
});

Deno.test("createPolicy() fingerprints alike when only functions differ", () => {
  // Rule 17.
  const one = policyOf({ cooldownMs: () => 1, strategy: ["rolling_window", () => true] });
  const other = policyOf({ cooldownMs: (n) => 2 * n, strategy: ["rolling_window", () => false] });
  assertEquals(one.hash, other.hash);
  assertEquals(differences(one, other), []);
  // They decide differently all the same, and are not to be shared.
  assertEquals(samePolicy(one, other), false);
});

Deno.test("createPolicy() fingerprints differently when a function stands for a number", () => {
  const [number, fn] = [policyOf(GIVEN), policyOf({ cooldownMs: () => 60_000 })];
  assertNotEquals(number.hash, fn.hash);
  assertEquals(differingOptions(number.hash, fn.hash), ["cooldownMs"]);
});

Deno.test("createPolicy() fingerprints differently when a list is in another order", () => {
  // The first of a list that says so names the trip.
  const one = policyOf({ strategy: ["rolling_window", "consecutive_failures"] });
  const other = policyOf({ strategy: ["consecutive_failures", "rolling_window"] });
  assertEquals(differingOptions(one.hash, other.hash), ["strategy"]);
});

Deno.test("createPolicy() fingerprints in safe characters when options are of any kind", () => {
  const policies = [policyOf(GIVEN), policyOf({ strategy: "count_window", slowCallMs: 3 })];
  policies.push(createPolicy({ strategy: "ä:*" }, { "ä:*": () => true }, ignore));
  for (const { hash } of policies) assert(/^[0-9a-z]+$/.test(hash), hash);
  assertEquals(new Set(policies.map(({ hash }) => hash.length)).size, 1);
});

Deno.test("samePolicy() is true when all options and the cooldown's function are the same", () => {
  const cooldownMs = () => 1;
  assertEquals(samePolicy(policyOf({ cooldownMs }), policyOf({ cooldownMs })), true);
  assertEquals(samePolicy(policyOf({ cooldownMs }), policyOf({ cooldownMs: () => 1 })), false);
});
