import { parseArgs } from "node:util";
import { PASS_SECONDS } from "./timetable.ts";

/** The shortest pass. Its fault lasts just long enough to fill the queue. */
const MIN_SECONDS = 8;

/** The options of the command line. */
export interface DemoOptions {
  /** How long each of the two passes takes. */
  readonly seconds: number;
  /** Stay up after the passes, with the traffic going on. */
  readonly serve: boolean;
  /** Only say how it is used. */
  readonly help: boolean;
}

/** The answer to `--help`. */
export const USAGE = `Usage: deno task demo [options]

Puts the same load on an upstream that falls ill twice, without a circuit breaker and with it.

  --seconds N  Length of each pass, ${MIN_SECONDS} to 600 (default: ${PASS_SECONDS})
  --serve      Stay up afterwards with the traffic going on, to be tried with curl; Ctrl-C ends it
  -h, --help   Show this`;

/** Reads the command line. Throws a TypeError that says what is wrong with it. */
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
