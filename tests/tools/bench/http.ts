/**
 * A guarded fetch beside a bare one, over real HTTP to an upstream in another process.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { spread } from "./harness.ts";
import { HTTP, type HttpMeasured, type HttpRequest } from "./http_client.ts";
import { startUpstream } from "./http_server.ts";
import { Programs, type Runtime } from "./programs.ts";
import type { Section } from "./section.ts";
import { budget, type Table, times } from "./table.ts";

/** Section `http`. */
export const section: Section = {
  async *run(options) {
    await using upstream = await startUpstream();
    await using programs = await Programs.open(options);
    const contents = `import { fetchByTurns } from "./http_client.ts"; await fetchByTurns();`;
    const resolveDir = fileURLToPath(new URL(".", import.meta.url));
    const program = await programs.bundle("http", { stdin: { contents, resolveDir } });
    const effort = options.quick ? { rounds: 7, requests: 60 } : { rounds: 31, requests: 200 };
    const request: HttpRequest = { url: upstream.url, ...effort };
    for (const runtime of ["Deno", "Node"] as const) {
      const line = await programs.run(runtime, program, JSON.stringify(request));
      yield table(runtime, JSON.parse(line), request);
    }
  },
};

function table(
  runtime: Runtime,
  measured: readonly HttpMeasured[],
  { rounds, requests }: HttpRequest,
): Table {
  const columns = [
    ...["request", "p50, µs", "× bare", SPREAD, "p99, µs", "× bare p99"],
    ...["CPU, µs", "× bare CPU", SPREAD, "budget"],
  ];
  return {
    name: runtime === "Deno" ? "http" : "http-node",
    title: `Guarded fetch over HTTP on ${runtime}, one request after the other`,
    columns,
    rows: measured.map((one) => {
      const base = HTTP[one.name as keyof typeof HTTP];
      const bare = measured.find(({ name }) => name === base);
      const [p50, cpu] = [spread(one.p50Us).median, spread(one.cpuUs).median];
      if (bare === undefined) {
        return [one.name, p50.toFixed(0), "", "", one.p99Us.toFixed(0), "", cpu.toFixed(0)];
      }
      const toP50 = spread(one.p50Us.map((us, i) => us / bare.p50Us[i]!));
      const toCpu = spread(one.cpuUs.map((us, i) => us / bare.cpuUs[i]!));
      const limits = base === "fetch" ? [1.03, 1.05] as const : [1, 1] as const;
      return [
        one.name,
        p50.toFixed(0),
        ...times(toP50),
        one.p99Us.toFixed(0),
        (one.p99Us / bare.p99Us).toFixed(2),
        cpu.toFixed(0),
        ...times(toCpu),
        one.name.startsWith("fuse")
          ? `p50 ${budget(toP50.median, limits[0])}, CPU ${budget(toCpu.median, limits[1])}`
          : "",
      ];
    }),
    notes: [
      "The whole body is read. × bare: to fetch, or with a timeout to fetch with AbortSignal.timeout,",
      `median of ${rounds} rounds of ${requests} requests each; p99 over all of them.`,
      "CPU: user and system, of the whole process that fetches, with what an AbortSignal.timeout takes",
      "when it fires, after the request.",
    ],
    readme: columns.filter((column) => column !== SPREAD),
  };
}

const SPREAD = "min–max";
