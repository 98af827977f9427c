import { parseArgs } from "node:util";
import { PASS_SECONDS } from "./timetable.ts";

/** The shortest pass: its fault lasts just long enough to fill the queue. */
const MIN_SECONDS = 8;

/** The options of the command line. */
export interface DemoOptions {
  /** How long each of the two passes takes. */
  readonly seconds: number;
  /** Keeps the servers running after the passes, under traffic. */
  readonly serve: boolean;
  /** Only prints the usage. */
  readonly help: boolean;
}

/** The text of `--help`. */
export const USAGE = `Usage: deno task demo [options]

Puts the same load on an upstream that falls ill twice, without a circuit breaker and with it.

  --seconds N  Length of each pass, ${MIN_SECONDS} to 600 (default: ${PASS_SECONDS})
  --serve      Stay up afterwards with the traffic going on, to be watched in a browser; Ctrl-C ends it
  -h, --help   Show this`;

/** Parses the command line. Throws a TypeError that explains a mistake. */
export function parseOptions(args: string[]): DemoOptions {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: "string", default: String(PASS_SECONDS) },
      serve: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const seconds = Number(values.seconds);
  if (!(seconds >= MIN_SECONDS && seconds <= 600)) {
    throw new TypeError(
      `"--seconds" must be a number from ${MIN_SECONDS} to 600, received ${values.seconds}`,
    );
  }
  return { seconds, serve: values.serve, help: values.help };
}
