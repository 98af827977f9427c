/**
 * The table of the seed's document, "based on 10 000 circuit breaker calls": our stores, the seed's
 * own access pattern on the same servers, and the peers, each in a process of its own.
 *
 * @module
 */
import { createClient } from "@libsql/client";
import { createClient as createWebClient } from "@libsql/client/web";
import { migrate } from "@fuse/edge/migrations";
import { type RedisServer, startRedis } from "../../support/redis_server.ts";
import { Sqld } from "../../support/sqld.ts";
import { type FaceApart, startFaceApart } from "./face_process.ts";
import { type Spread, spread } from "./harness.ts";
import type { Section } from "./section.ts";
import { type Ended, startSubject, type SubjectOptions } from "./seed_process.ts";
import { integer, times } from "./table.ts";

/** Section `seed`. */
export const section: Section = {
  async *run({ quick }) {
    await using grounds = await Grounds.open();
    const local = quick ? { rounds: 5, calls: 10_000 } : { rounds: 25, calls: 10_000 };
    const remote = { rounds: quick ? 4 : 10, calls: quick ? 250 : 1_000 };
    const results = [
      ...await compare(
        [
          { name: "the seed's, array", kind: "seed array" },
          { name: "memory()", kind: "memory" },
          { name: "cockatiel", kind: "cockatiel" },
          { name: "opossum, lean", kind: "opossum" },
        ],
        grounds,
        local,
      ),
      ...await compare(
        [
          { name: "the seed's, cache", kind: "seed cache", cache: true },
          { name: "upstash(), eventual", kind: "upstash", cache: true, consistency: "eventual" },
          { name: "upstash(), strong", kind: "upstash", cache: true, consistency: "strong" },
          { name: "redis(), eventual", kind: "redis", cache: true, consistency: "eventual" },
          { name: "redis(), strong", kind: "redis", cache: true, consistency: "strong" },
          {
            name: "tiered(), trail on sqld, eventual",
            ...{ kind: "tiered", cache: true, database: "sqld", consistency: "eventual" },
          },
        ],
        grounds,
        remote,
      ),
      ...await compare(onDatabase("file"), grounds, remote),
      ...await compare(onDatabase("sqld"), grounds, remote),
    ];
    yield {
      name: "seed",
      title: `The seed's table: ${
        integer(remote.rounds * remote.calls)
      } calls, one after the other`,
      columns: [
        ...["driver", "ms/call", "memory, MB", "stored, B", "calls/s", "× the seed's", "min–max"],
        ...["calls made", "counted"],
      ],
      rows: results.map(({ name, ms, toSeed, ended, stored }) => [
        name,
        ms.median < 10 ? ms.median.toPrecision(2) : ms.median.toFixed(0),
        (ended.bytes / 1e6).toFixed(1),
        stored === null ? "" : integer(stored),
        integer(1_000 / ms.median),
        ...times(toSeed),
        integer(ended.made),
        ended.counted === null ? "" : integer(ended.counted),
      ]),
      notes: [
        "The called function returns at once; what goes on in the background is within the time.",
        `Median of rounds; within one, each runs by turns. Those without a server: ${local.rounds} of ${
          integer(local.calls)
        } calls.`,
        "×: as many times the calls/s of the seed's pattern of the same role, round by round.",
        "Memory: heap and external, code and client included, of a process that has nothing else to do.",
        "Stored: MEMORY USAGE of the keys in Redis; payload of tables and indexes in the database.",
        "The seed's audits every call; here it is spared that. All of ours are checked: counted = made.",
      ],
      readme: ["driver", "ms/call", "memory, MB", "calls/s", "× the seed's"],
    };
  },
};

type Ground = "file" | "sqld";

interface Contender extends Pick<SubjectOptions, "kind" | "consistency"> {
  readonly name: string;
  /** Whether it needs Redis. */
  readonly cache?: boolean;
  readonly database?: Ground;
}

function onDatabase(database: Ground): readonly Contender[] {
  const on = database === "file" ? "on a file" : "on sqld";
  return [
    { name: `the seed's, database ${on}`, kind: "seed database", database },
    { name: `libsql() ${on}, eventual`, kind: "libsql", database, consistency: "eventual" },
    { name: `libsql() ${on}, strong`, kind: "libsql", database, consistency: "strong" },
  ];
}

interface Result {
  readonly name: string;
  readonly ms: Spread;
  readonly toSeed: Spread;
  readonly ended: Ended;
  /** A size in bytes; `null` if nothing is stored outside of the process. */
  readonly stored: number | null;
}

/**
 * Runs contenders in turn. The first is the seed's, and the others are given as multiples of it.
 */
async function compare(
  contenders: readonly Contender[],
  grounds: Grounds,
  { rounds, calls }: { rounds: number; calls: number },
): Promise<Result[]> {
  await using running = new AsyncDisposableStack();
  const subjects = [];
  for (const { name, kind, consistency, cache, database } of contenders) {
    const place = {
      ...(cache === true ? { cache: grounds.cache() } : {}),
      ...(database === undefined ? {} : { database: await grounds.database(database) }),
    };
    const empty = await grounds.stored(place);
    const options = { kind, ...place, ...(consistency === undefined ? {} : { consistency }) };
    const process = running.use(await startSubject(options));
    subjects.push({ name, place, empty, process, ms: [] as number[] });
  }
  for (const { process } of subjects) await process.run(Math.ceil(calls / 5));
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < subjects.length; i++) {
      const { process, ms } = subjects[(round + i) % subjects.length]!;
      ms.push((await process.run(calls)).ms / calls);
    }
  }
  const seed = subjects[0]!;
  const results: Result[] = [];
  for (const { name, place, empty, process, ms } of subjects) {
    const ended = await process.end();
    if (ended.counted !== null && ended.counted !== ended.made && name !== seed.name) {
      throw new Error(`${name}: ${ended.counted} calls counted of ${ended.made}`);
    }
    const stored = await grounds.stored(place);
    results.push({
      name,
      ms: spread(ms),
      toSeed: spread(ms.map((one, round) => seed.ms[round]! / one)),
      ended,
      stored: stored === null ? null : stored - empty!,
    });
  }
  return results;
}

type Place = Pick<SubjectOptions, "cache" | "database">;

/** Servers and files; each contender has its own keys or database. */
class Grounds implements AsyncDisposable {
  readonly #redis: RedisServer;
  readonly #face: FaceApart;
  readonly #folder: string;
  readonly #servers: Sqld[] = [];
  #count = 0;

  private constructor(redis: RedisServer, face: FaceApart, folder: string) {
    this.#redis = redis;
    this.#face = face;
    this.#folder = folder;
  }

  static async open(): Promise<Grounds> {
    const redis = await startRedis();
    return new Grounds(redis, await startFaceApart(redis), await Deno.makeTempDir());
  }

  cache(): NonNullable<Place["cache"]> {
    const { url, token } = this.#face;
    return { url, token, tcp: this.#redis.url, prefix: `place-${this.#count++}` };
  }

  /** Creates a database with the schema. */
  async database(ground: Ground): Promise<string> {
    let url = `file:${this.#folder}/${this.#count++}.db`;
    if (ground === "sqld") {
      const server = await Sqld.start();
      this.#servers.push(server);
      url = server.url;
    }
    const client = connect(url);
    if (ground === "file") await client.execute("pragma journal_mode = wal");
    await migrate(client);
    client.close();
    return url;
  }

  /** Returns the bytes in a place, `null` for none. */
  async stored({ cache, database }: Place): Promise<number | null> {
    if (cache === undefined && database === undefined) return null;
    let bytes = 0;
    if (cache !== undefined) {
      for (const key of await this.#redis.command("KEYS", `${cache.prefix}:*`) as string[]) {
        bytes += Number(await this.#redis.command("MEMORY", "USAGE", key, "SAMPLES", "0"));
      }
    }
    if (database !== undefined) {
      const client = connect(database);
      const { rows } = await client.execute("select sum(payload) as bytes from dbstat");
      bytes += Number(rows[0]!.bytes);
      client.close();
    }
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#face[Symbol.asyncDispose]();
    await this.#redis.stop();
    for (const server of this.#servers) await server.stop();
    await Deno.remove(this.#folder, { recursive: true });
  }
}

function connect(url: string) {
  return url.startsWith("file:") ? createClient({ url }) : createWebClient({ url });
}
