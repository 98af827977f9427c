/**
 * The commands, their options and their help.
 *
 * @module
 */

import { Argument, Command, Option } from "commander";
import { CIRCUIT_STATES } from "../records.ts";
import { BUILT_IN } from "../rules/strategies.ts";
import { act, show, status } from "./circuits.ts";
import type { GlobalOptions } from "./connect.ts";
import type { Action } from "../operator.ts";
import { check, exportState, importState, migrate } from "./stores.ts";
import { CliError, type CliProcess, Terminal } from "./terminal.ts";
import { history, prune, tail, verify } from "./trail.ts";
import {
  address,
  duration,
  header,
  instant,
  integer,
  milliseconds,
  number,
  scope,
  wordOf,
} from "./values.ts";
import { whatIf, type WhatIfOptions } from "./what_if.ts";

/** The program, and the exit code of the command that has run. */
export interface Program {
  readonly command: Command;
  readonly exitCode: () => number;
}

const ACTIONS: readonly (readonly [Action, string, "override" | "plain"])[] = [
  ["force-open", "reject every call", "override"],
  ["force-close", "admit every call, whatever fails", "override"],
  ["disable", "admit every call, and count only totals", "override"],
  ["metrics-only", "admit every call, and count it", "override"],
  ["release", "end an override", "plain"],
  ["reset", "close the circuit and clear its counters; an override stays", "plain"],
  ["remove", "delete the circuit; a trail keeps its rows", "plain"],
];

/** Makes the program. */
export function makeProgram(process: CliProcess): Program {
  let exitCode = 0;
  const program = new Command("fuse")
    .description("Look at circuit breakers, and act on them.")
    .option("--json", "print JSON")
    .option("--store <name>", "use only this store")
    .option("--config <module>", "use the Fuse that a module exports, as default or as fuse")
    .addOption(
      new Option("--api <url>", "use the dashboard at this address").argParser(address),
    )
    .addOption(
      new Option("--header <header>", 'send "name: value" to the dashboard').argParser(header),
    )
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeOut: process.stdout, writeErr: process.stderr })
    .exitOverride();

  /** Runs what a command does with a terminal, and keeps the exit code. */
  function does<O extends GlobalOptions>(
    command: Command,
    run: (terminal: Terminal, options: O, args: readonly string[]) => Promise<number | void>,
  ): Command {
    return command.action(async () => {
      const options = command.optsWithGlobals<O>();
      const terminal = new Terminal(process, options.json ?? false, options.header);
      try {
        exitCode = await run(terminal, options, command.args) ?? 0;
      } catch (error) {
        terminal.note(`error: ${terminal.reasonOf(error)}`);
        exitCode = 1;
      }
    });
  }

  does(
    program.command("status").description("list the circuits, those in trouble first")
      .addOption(stateOption())
      .option("--fail", "exit with 2 while a circuit is open"),
    status,
  );
  does(
    scoped(program.command("show").description("show one circuit").argument("<name>")),
    (terminal, options, [name]) => show(terminal, name!, options),
  );
  for (const [action, description, kind] of ACTIONS) {
    const command = scoped(
      program.command(action).description(description).argument("<name>"),
    )
      .option("--reason <text>", "why (required)")
      .option("--actor <name>", "who; the user's name by default");
    if (action === "force-open") command.alias("open");
    if (kind === "override") {
      command
        .addOption(new Option("--for <duration>", "end it after this time").argParser(duration))
        .addOption(new Option("--until <instant>", "end it at this instant").argParser(instant))
        .option("--no-end", "keep it until it is released")
        .option("--create", "also if there is no such circuit yet");
    }
    does(command, (terminal, options, [name]) => act(terminal, action, name!, options));
  }
  does(
    program.command("close", { hidden: true }).argument("[name]")
      .allowUnknownOption().allowExcessArguments(),
    () => {
      throw new CliError(
        "close could mean two things: reset closes the circuit, which still protects; " +
          "force-close keeps it closed whatever fails",
      );
    },
  );
  does(
    scoped(program.command("history").description("print the trail, latest first"))
      .argument("[name]")
      .addOption(
        new Option("--limit <n>", "the largest number of rows").argParser(integer).default(100),
      ),
    (terminal, options: GlobalOptions & { limit: number }, [name]) =>
      history(terminal, name, options),
  );
  does(
    program.command("tail").description("follow the trail")
      .addOption(
        new Option("--since <duration>", "begin with rows of this age").argParser(duration),
      )
      .addOption(
        new Option("--interval <duration>", "the time between two reads").argParser(duration)
          .default(1_000, "1s"),
      ),
    (terminal, options: GlobalOptions & { interval: number }) => tail(terminal, options),
  );
  does(
    program.command("verify").description("verify the hash chains of the trail")
      .option("--head <hash>", "a hash that must still be in the trail"),
    (terminal, options) => verify(terminal, options),
  );
  does(
    program.command("prune").description("delete old rows of the trail")
      .addOption(
        new Option("--older-than <duration>", "the age of the rows, such as 30d")
          .argParser(duration).makeOptionMandatory(),
      )
      .option("--keep-transitions", "delete only rows of calls"),
    (terminal, options: GlobalOptions & { olderThan: number }) => prune(terminal, options),
  );
  does(
    policyOptions(
      scoped(program.command("what-if").argument("<name>")),
    )
      .description("replay the recorded calls of a circuit under another policy")
      .addOption(
        new Option("--since <duration>", "the largest age of the calls").argParser(duration),
      ),
    (terminal, options: WhatIfOptions, [name]) => whatIf(terminal, name!, options),
  );
  does(program.command("export").description("print the state of all circuits"), exportState);
  does(
    program.command("import").description("import an export")
      .addArgument(new Argument("<file>", "a file, or - for the standard input"))
      .addOption(
        new Option("--existing <how>", "whether existing circuits are replaced or kept")
          .choices(["replace", "keep"]),
      ),
    (terminal, options, [file]) => importState(terminal, file!, options),
  );
  does(
    program.command("migrate").description("update the schema of the database"),
    migrate,
  );
  does(program.command("check").description("send each store a read and a write"), check);
  return { command: program, exitCode: () => exitCode };
}

/** Adds the options that name a circuit of a scope. */
function scoped(command: Command): Command {
  return command
    .addOption(
      new Option("--context <type:id>", "the circuit of this context").argParser(scope),
    )
    .addOption(
      new Option("--boundary <type:id>", "the circuit of this boundary").argParser(scope),
    );
}

/** Adds the options of a policy that say when a circuit opens and closes. */
function policyOptions(command: Command): Command {
  const option = (flag: string, description: string, read: (text: string) => number) =>
    command.addOption(new Option(`--${flag} <n>`, description).argParser(read));
  command.addOption(
    new Option("--strategy <names...>", "the strategies, any of which opens it").choices(
      Object.keys(BUILT_IN),
    ),
  );
  option("failure-threshold", "failures in a row that open it", integer);
  option("success-threshold", "successful trials that close it", integer);
  option("half-open-failure-threshold", "failed trials that reopen it", integer);
  option("half-open-max-concurrent", "concurrent trials", integer);
  option("minimum-throughput", "calls below which no share opens it", integer);
  option("percentage-threshold", "share that opens it, in percent", number);
  option("window-size", "length of the count window, in calls", integer);
  option("window-ms", "length of the time window, in ms or as 2m", milliseconds);
  option("cooldown-ms", "length of an opening, in ms or as 30s", milliseconds);
  option("max-cooldown-ms", "longest opening, in ms or as 10m", milliseconds);
  return command;
}

function stateOption(): Option {
  return new Option("--state <state>", `one of ${CIRCUIT_STATES.join(", ")}`)
    .argParser(wordOf(CIRCUIT_STATES));
}
