/**
 * The demo: an upstream that falls ill, a Hono app in front of it, and the same load twice, without a
 * circuit breaker and with it. `timetable.ts` tells the story, `deno task demo --help` the options.
 */

import { createFuse, type Fuse } from "@fuse/edge";
import { createApp } from "./app.ts";
import { createOperations } from "./operations.ts";
import { type DemoOptions, parseOptions, USAGE } from "./options.ts";
import { runPass } from "./pass.ts";
import { report } from "./report.ts";
import { Screen } from "./screen.ts";
import { type Phase, type Scenario, scenario } from "./timetable.ts";
import { UpstreamProcess } from "./upstream_process.ts";

Deno.exitCode = await main(Deno.args);

async function main(args: string[]): Promise<number> {
  let options: DemoOptions;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  if (options.help) {
    console.log(USAGE);
    return 0;
  }

  const interrupt = new AbortController();
  Deno.addSignalListener("SIGINT", () => interrupt.abort());
  try {
    await demo(options, interrupt.signal);
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
  }
  // Ctrl-C is the usual end of `--serve`, and an interruption of anything else.
  return interrupt.signal.aborted && !options.serve ? 130 : 0;
}

async function demo({ seconds, serve }: DemoOptions, signal: AbortSignal): Promise<void> {
  const plan = scenario(seconds);
  const { phases, policy, callers } = plan;
  const screen = new Screen();

  // Disposed in reverse order, however this function ends: no server stays running.
  await using upstream = await UpstreamProcess.start(plan.pool, phases[0]);
  await using fuse = createFuse({ circuits: { upstream: policy }, fetch: upstream.fetch });
  const app = createApp({ upstream, fuse, callers });
  const password = crypto.randomUUID().slice(0, 8);
  app.route("/", createOperations({ upstream, fuse, phases, password }));
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    app.fetch,
  );
  const url = `http://127.0.0.1:${server.addr.port}`;

  announce(fuse, screen);
  screen.print(`upstream  ${upstream.url} (process ${upstream.pid})`);
  screen.print(`app       ${url}`);
  screen.print(`\n${introduction(plan)}`);
  if (serve) screen.print(invitation(url, password, phases));

  const pass = async (title: string, path: string) => {
    screen.print(`\n${title}: GET ${url}${path}/:id`);
    return await runPass({ url: `${url}${path}`, plan, upstream, screen, signal });
  };
  const withoutFuse = await pass("Without Fuse", "/direct");
  await upstream.drained(signal); // the second pass begins as the first one did
  screen.log("the load has ended, and the upstream's queue is empty");
  const withFuse = await pass("With Fuse", "/guarded");
  screen.print(`\n${report(withoutFuse, withFuse)}`);

  if (serve) screen.print(invitation(url, password, phases));
  while (serve) await pass("The traffic goes on", "/guarded"); // until Ctrl-C
}

/** Shows each change of a circuit's state as it happens. */
function announce(fuse: Fuse, screen: Screen): void {
  fuse.on("opened", ({ reason, at, snapshot }) => {
    const retryAfterMs = Number(snapshot.openUntil) - Number(at);
    screen.log(`circuit OPEN: ${reason}; retry in ${(retryAfterMs / 1000).toFixed(1)} s`, "red");
  });
  fuse.on("half_opened", ({ reason }) => screen.log(`circuit HALF_OPEN: ${reason}`, "yellow"));
  fuse.on("closed", ({ reason }) => screen.log(`circuit CLOSED: ${reason}`, "green"));
}

function introduction({ pool, phases, callers, load }: Scenario): string {
  const [healthy, slow] = phases;
  return `\
${load.requestsPerSecond} requests a second come in. The upstream has ${pool.workers} workers, which take ${healthy.jobMs} ms for a
job, and a queue of ${pool.queueLimit}. The app waits ${callers.deadlineMs} ms for it, tries ${callers.attempts} times, and then
serves the last good answer. For ${
    (slow.lastsMs / 1000).toFixed(1)
  } s a job takes ${slow.jobMs} ms: does the upstream come back?`;
}

function invitation(url: string, password: string, phases: readonly Phase[]): string {
  return `
Stays up until Ctrl-C, and the traffic with it. Watch the circuit open and recover in a browser:
  ${url}/ops  (user operator, password ${password})
or try:
  curl -i ${url}/guarded/1  # through Fuse
  curl -i ${url}/direct/1   # past it
  curl ${url}/state         # the circuit's snapshot
  curl ${url}/explain       # why it is as it is
  curl -i ${url}/health     # 503 while it is open
  curl ${url}/metrics       # for Prometheus
  curl -X POST ${url}/trip      # open it by hand for a minute ...
  curl -X POST ${url}/release   # ... or until now
  curl -X POST ${url}/upstream/slow
                            # or ${
    phases.map(({ name }) => name).join(", ")
  }: until its timetable goes on
`;
}
