// The dashboard and the alert rules of examples/observability/, compared with the exported metrics:
// by names, and with promtool, which plays the rules on the samples of two isolates over a hundred
// minutes.
import { assert, assertEquals } from "@std/assert";
import { parse } from "@std/yaml";
import { createFuse } from "@fuse/edge";
import { prometheus } from "@fuse/edge/prometheus";
import { FakeClock } from "@fuse/edge/testing";
import { chaos, memory } from "../support/drivers.ts";
import { samplesOf } from "../support/prometheus_text.ts";
import { findPromtool, promtool, PROMTOOL_MISSING } from "../support/promtool.ts";
import { root } from "../tools/gate/project.ts";

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: Readonly<Record<string, string>>;
}

const ALERTS = new URL("examples/observability/alerts.yml", root).pathname;
const rules = parse(Deno.readTextFileSync(ALERTS)) as { groups: { rules: Alert[] }[] };
const alerts = rules.groups.flatMap((group) => group.rules);

const dashboard = JSON.parse(
  Deno.readTextFileSync(new URL("examples/observability/dashboard.json", root)),
);
const panels: string[] = dashboard.panels.flatMap(
  ({ targets }: { targets: { expr: string }[] }) => targets.map(({ expr }) => expr),
);
const variables: { name: string; query: string | { query: string } }[] = dashboard.templating.list;

/** The labels that Prometheus adds to scraped samples. */
const TARGET_LABELS = ["instance", "job"];

const path = await findPromtool();

Deno.test("the alerts and the dashboard use only exported metrics, labels and values", async () => {
  const exported = await exportedLabels();
  const queries = variables.flatMap(({ query }) => typeof query === "string" ? [] : [query.query]);
  for (const expr of [...alerts.map(({ expr }) => expr), ...panels, ...queries]) {
    const named = selectorsOf(expr);
    assert(named.length > 0, expr);
    for (const { metric, matchers } of named) {
      const labels = exported.get(metric);
      assert(labels, `${metric} is not exported: ${expr}`);
      for (const { label, values } of matchers) {
        const known = labels!.get(label);
        assert(known, `${metric} has no label ${label}: ${expr}`);
        // Users name circuits and stores.
        if (["circuit", "store"].includes(label)) continue;
        assertEquals(values.filter((value) => !known!.has(value)), [], `${label} in ${expr}`);
      }
    }
    const labels = named.flatMap(({ metric }) => [...exported.get(metric)!.keys()]);
    const unknown = groupingsOf(expr).filter((label) =>
      ![...labels, ...TARGET_LABELS].includes(label)
    );
    assertEquals(unknown, [], expr);
  }
});

Deno.test("the dashboard shows every exported metric", async () => {
  const shown = new Set(panels.flatMap(selectorsOf).map(({ metric }) => metric));
  assertEquals([...shown].sort(), [...(await exportedLabels()).keys()].sort());
});

Deno.test("the alerts use only labels that their expressions keep", () => {
  for (const { alert, expr, annotations } of alerts) {
    const told = Object.values(annotations).flatMap((text) =>
      [...text.matchAll(/\$labels\.(\w+)/g)].map(([, label = ""]) => label)
    );
    assertEquals(told.filter((label) => !groupingsOf(expr).includes(label)), [], alert);
  }
});

Deno.test("the dashboard's variables are exactly those that its panels use", () => {
  const known = [...variables.map(({ name }) => name), "__rate_interval"];
  const used = JSON.stringify(dashboard.panels).matchAll(/\$\{?(\w+)/g);
  assertEquals([...used].map(([, name = ""]) => name).filter((name) => !known.includes(name)), []);
});

promtoolTest("promtool finds nothing to object to in the metrics", async (path) => {
  const { ok, said } = await promtool(path, ["check", "metrics"], (await history()).text);
  assert(ok && said === "", said);
});

promtoolTest("promtool accepts the alert rules", async (path) => {
  const { ok, said } = await promtool(path, ["check", "rules", ALERTS]);
  assert(ok, said);
});

promtoolTest("the alerts fire when they should, and every panel shows something", async (path) => {
  const { series } = await history();
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/test.json`; // JSON is YAML, too
    await Deno.writeTextFile(
      file,
      JSON.stringify({
        rule_files: [ALERTS],
        evaluation_interval: "1m",
        tests: [{
          interval: "1m",
          input_series: series,
          promql_expr_test: [
            ...FIRING.map(({ minute, firing }) => ({
              expr: 'group by (alertname, circuit, store) (ALERTS{alertstate="firing"})',
              eval_time: `${minute}m`,
              exp_samples: firing.map((labels) => ({ labels: `{${labels}}`, value: 1 })),
            })),
            ...panels.map((expr) => ({
              expr: `count(${filledIn(expr)}) > bool 0`,
              eval_time: "20m",
              exp_samples: [{ labels: "{}", value: 1 }],
            })),
          ],
        }],
      }),
    );
    const { ok, said } = await promtool(path, ["test", "rules", file]);
    assert(ok, said);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Registers a test that is ignored without promtool, and whose name says so. */
function promtoolTest(name: string, check: (path: string) => Promise<void>): void {
  if (path === undefined) Deno.test({ name: name + PROMTOOL_MISSING, ignore: true, fn() {} });
  else Deno.test(name, () => check(path));
}

/** Returns the alerts that fire at a minute of {@linkcode history}, by their labels. */
const FIRING: readonly { minute: number; firing: readonly string[] }[] = [
  { minute: 9, firing: [] },
  {
    minute: 20,
    firing: [
      'alertname="FuseCircuitNotClosed", circuit="payments", store="cache"',
      'alertname="FuseCallsRejected", circuit="payments", store="cache"',
    ],
  },
  { minute: 33, firing: [] },
  { minute: 38, firing: ['alertname="FuseCallsSlow", circuit="search", store="cache"'] },
  {
    minute: 54,
    firing: [
      'alertname="FuseCallsRejected", circuit="mail", store="cache"',
      'alertname="FuseCircuitFlapping", circuit="mail", store="cache"',
    ],
  },
  {
    minute: 68,
    firing: [
      'alertname="FuseCircuitFlapping", circuit="mail", store="cache"',
      'alertname="FuseOverrideLeftOn", circuit="legacy", store="cache"',
    ],
  },
  {
    minute: 78,
    firing: [
      'alertname="FuseCircuitFlapping", circuit="mail", store="cache"',
      'alertname="FuseDecidesAlone", store="cache"',
      'alertname="FuseStoreDown", store="cache"',
      'alertname="FuseStoreErrors", store="cache"',
    ],
  },
  { minute: 100, firing: ['alertname="FuseMetricsMissing"'] },
];

/**
 * Simulates two isolates with one store for a hundred minutes, and scrapes them once a minute.
 * Payments are down from minute 10 to 25, the search is slow from 30 to 42, mail fails every other
 * minute from 40 to 55, the store is unreachable from 70 on, and no scrape happens from 80 on.
 */
async function history() {
  const clock = new FakeClock();
  const start = clock.now();
  let minute = 0;
  const during = (from: number, to: number) => minute >= from && minute <= to;
  const store = chaos(memory({ clock: clock.now }), { down: () => minute >= 70 });
  const isolates = ["a", "b"].map((instance) => {
    const fuse = createFuse({
      clock: clock.now,
      stores: { cache: store },
      defaults: { cooldownMs: 30_000, successThreshold: 1, slowCallMs: 100 },
    });
    for (const type of ["store_error", "unconfirmed"] as const) fuse.on(type, () => {}); // not on the console
    return { fuse, instance, scrape: prometheus(fuse) };
  });
  const failing = () => Promise.reject(new Error("no answer"));
  const fine = () => "an answer";
  const slow = () => clock.advance(100);

  const texts: { instance: string; minute: number; text: string }[] = [];
  for (; minute < 80; minute++) {
    clock.set(start + minute * 60_000);
    for (const { fuse } of isolates) {
      const call = async (name: string, does: () => unknown) => {
        for (let i = 0; i < 10; i++) await fuse.make(name).tryCall(does);
      };
      await call("payments", during(10, 25) ? failing : fine);
      await call("search", during(30, 42) ? slow : fine);
      await call("mail", during(40, 55) && minute % 2 === 0 ? failing : fine);
      await call("legacy", fine);
      await fuse.flush().catch(() => {}); // the store is unreachable
    }
    if (minute === 5) {
      await isolates[0]!.fuse.make("legacy").forceClose({ reason: "to be replaced" });
    }
    for (const { instance, scrape } of isolates) {
      texts.push({ instance, minute, text: await scrape() });
    }
  }
  return { text: texts[40]!.text, series: seriesOf(texts) };
}

/** Returns the samples of all scrapes, as the input of `promtool test rules`. */
function seriesOf(scrapes: readonly { instance: string; minute: number; text: string }[]) {
  const series = new Map<string, string[]>();
  for (const { instance, minute, text } of scrapes) {
    for (const { metric, labels, value } of samplesOf(text)) {
      const all = Object.entries({ ...labels, instance, job: "fuse" });
      const name = `${metric}{${all.map(([k, v]) => `${k}=${JSON.stringify(v)}`).join()}}`;
      let values = series.get(name);
      if (!values) series.set(name, values = []);
      // Prometheus marks a series that way when a scrape lacks it.
      while (values.length < minute) values.push(values.length === 0 ? "_" : "stale");
      values.push(`${value}`);
    }
  }
  return [...series].map(([series, values]) => ({
    series,
    values: [...values, "stale"].join(" "),
  }));
}

/** Returns the labels of each exported metric, each with its values. */
async function exportedLabels(): Promise<Map<string, Map<string, Set<string>>>> {
  const exported = new Map<string, Map<string, Set<string>>>();
  const fuse = createFuse();
  const scrape = prometheus(fuse);
  await fuse.make("payments").call(() => "paid");
  // Exported while a circuit is open.
  await fuse.make("mail", { failureThreshold: 1 }).tryCall(() => Promise.reject(new Error()));
  for (const { metric, labels } of samplesOf(await scrape())) {
    const known = exported.get(metric) ?? new Map<string, Set<string>>();
    exported.set(metric, known);
    for (const [label, value] of Object.entries(labels)) {
      known.set(label, (known.get(label) ?? new Set()).add(value));
    }
  }
  return exported;
}

/** Returns the metrics that an expression selects, with the label values that it requires. */
function selectorsOf(expr: string) {
  return [...expr.matchAll(/\b(fuse_\w+)(?:\{([^}]*)\})?/g)].map(([, metric = "", inner = ""]) => ({
    metric,
    matchers: [...inner.matchAll(/(\w+)(?:=~|!~|!=|=)"([^"]*)"/g)].map(
      ([, label = "", values = ""]) => ({ label, values: values.split("|") }),
    ),
  }));
}

/** Returns the labels that an expression groups by. */
function groupingsOf(expr: string): string[] {
  return [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = ""]) => list.split(/, */));
}

/** Returns an expression of a panel with its variables filled in. */
function filledIn(expr: string): string {
  return expr.replaceAll("$__rate_interval", "5m").replaceAll(/\$(store|circuit)/g, ".*");
}
