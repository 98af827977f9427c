/**
 * The demo: an upstream that falls ill and recovers, a Hono app in front of it, and the same load
 * twice, without a circuit breaker and with it. `deno task demo --help` tells the options.
 */

import { once } from "node:events";
import { createFuse, type Fuse } from "@fuse/edge";
import { createApp } from "./app.ts";
import { type DemoOptions, parseOptions, USAGE } from "./options.ts";
import { runPass } from "./pass.ts";
import { report } from "./report.ts";
import { Screen } from "./screen.ts";
import { type Phase, scenario } from "./timetable.ts";
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
  // Ctrl-C is how `--serve` is meant to end; anything else it cuts short.
  return interrupt.signal.aborted && !options.serve ? 130 : 0;
}

async function demo({ seconds, serve }: DemoOptions, signal: AbortSignal): Promise<void> {
  const plan = scenario(seconds);
  const { phases, policy } = plan;
  const screen = new Screen();

  // Disposed in reverse, however this function ends: nothing is left running.
  await using upstream = await UpstreamProcess.start(phases[0]);
  await using fuse = createFuse({ circuits: { upstream: policy } });
  const app = createApp({ upstream, fuse, phases });
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    app.fetch,
  );
  const url = `http://127.0.0.1:${server.addr.port}`;

  announce(fuse, screen);
  screen.print(`upstream  ${upstream.url} (process ${upstream.pid})`);
  screen.print(`app       ${url}`);
  if (serve) screen.print(invitation(url, phases));

  const pass = (title: string, path: string) => {
    screen.print(`\n${title}: GET ${url}${path}`);
    return runPass({ url: `${url}${path}`, plan, upstream, screen, signal });
  };
  const withoutFuse = await pass("Without Fuse", "/direct");
  const withFuse = await pass("With Fuse", "/guarded");
  screen.print(`\n${report(withoutFuse, withFuse, phases)}`);

  if (serve && !signal.aborted) {
    screen.print(invitation(url, phases));
    await once(signal, "abort");
  }
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

function invitation(url: string, phases: readonly Phase[]): string {
  return `
Stays up until Ctrl-C. Try:
  curl -i ${url}/guarded    # through Fuse
  curl -i ${url}/direct     # past it
  curl ${url}/state         # the circuit's snapshot
  curl ${url}/explain       # why it is as it is
  curl -i ${url}/health     # 503 while it is open
  curl ${url}/metrics       # for Prometheus
  curl -X POST ${url}/trip      # open it by hand for a minute ...
  curl -X POST ${url}/release   # ... or until now
  curl -X POST ${url}/upstream/refusing
                            # or ${phases.map(({ name }) => name).join(", ")}
  for i in 1 2 3 4 5 6; do curl ${url}/guarded; echo; done
                            # five failures in a row open it
`;
}
