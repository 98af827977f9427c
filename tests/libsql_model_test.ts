/**
 * The sessions of `model_test.ts` on real databases: fewer of them, for each request is one to a
 * file or a server. `MODEL_SEED`, `MODEL_RUNS` and `MODEL_PATH` as there.
 */
import fc from "fast-check";
import type { Client } from "@libsql/client";
import { libsql } from "@fuse/edge/libsql";
import type { FakeClock } from "@fuse/edge/testing";
import { type Command, print, type Session, sessions } from "./model/commands.ts";
import { type Ground, play } from "./model/world.ts";
import { databasesForFile } from "./support/databases.ts";

const given = Deno.env.get("MODEL_SEED");
const SEED = given === "random" ? Math.floor(Math.random() * 2 ** 31) : Number(given ?? 20_251_124);
const RUNS = Number(Deno.env.get("MODEL_RUNS") ?? 0);
const PATH = Deno.env.get("MODEL_PATH");

for (const { name, connect } of await databasesForFile()) {
  const client = connect();
  addEventListener("unload", () => client.close());
  const runs = RUNS || (name === "file" ? 20 : 6);

  Deno.test(`CircuitBreaker() agrees with the model when strong over libsql on ${name}`, async () => {
    await check(client, runs, { clockGoesBack: true }, (clock) => ({
      store: libsql({ client, clock: clock.now }),
      options: { consistency: "strong" },
      agreement: "exact",
      storeTimeoutMs: 10_000,
    }));
  });

  Deno.test(`CircuitBreaker() accounts for every call when eventual over libsql on ${name}`, async () => {
    await check(client, runs, { clockGoesBack: false }, (clock) => ({
      store: libsql({ client, clock: clock.now }),
      options: { consistency: "eventual", flushSize: 4 },
      agreement: "settled",
      storeTimeoutMs: 10_000,
    }));
  });
}

/**
 * Requests take real time here, and the session's clock does not wait for them: what is under way
 * comes to its end before the clock goes on, lest it be given up for lost.
 */
function restful(session: Session): Session {
  const flushes = Array.from(
    { length: session.isolates },
    (_, isolate): Command => ({ do: "flush", isolate }),
  );
  const commands = session.commands.flatMap((command) =>
    command.do === "clock" ? [...flushes, command] : [command]
  );
  return { ...session, commands };
}

function check(
  client: Client,
  numRuns: number,
  shape: { clockGoesBack: boolean },
  ground: (clock: FakeClock, session: Session) => Ground,
): Promise<void> {
  const property = fc.asyncProperty(
    sessions({ maxCommands: 60, alone: false, ...shape }),
    async (session) => {
      await libsql({ client }).remove("model");
      try {
        await play(restful(session), ground);
      } catch (error) {
        const what = error instanceof Error ? error.message : String(error);
        throw new Error(`${what}\n${print(restful(session))}`, { cause: error });
      }
    },
  );
  return fc.assert(property, {
    seed: SEED,
    numRuns,
    includeErrorInReport: true,
    ...(PATH === undefined ? {} : { path: PATH }),
  });
}
