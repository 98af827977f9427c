/**
 * The seed's promises, row by row: S1 to S86, in groups that are proved together.
 *
 * @module
 */

/** Rows with one promise. */
export interface Group {
  /** Such as `S8`, `S28–S31` or `S17, S19`. */
  readonly rows: string;
  readonly title: string;
  /** Sections of the pages that repeat the seed's text, or belong to it. */
  readonly sections?: readonly string[];
}

/** All groups, in the seed's order. */
export const GROUPS: readonly Group[] = [
  { rows: "S1", title: "three drivers keep the state of circuits" },
  { rows: "S2", title: "each has its own character", sections: ["Choosing a store"] },
  { rows: "S3–S7", title: "array: of one process, a clean slate", sections: ["The memory store"] },
  { rows: "S8", title: "array: configured by one line" },
  {
    rows: "S9–S10",
    title: "array: for development, not production",
    sections: ["Choosing a store"],
  },
  { rows: "S11", title: "array: store(), make(), call()" },
  { rows: "S12", title: "array: one state a name" },
  { rows: "S13", title: "array: the test that opens a circuit", sections: ["Testing"] },
  { rows: "S14–S15", title: "array: zero configuration, no dependencies" },
  { rows: "S16", title: "cache: rides on a client that is there" },
  {
    rows: "S17, S19",
    title: "cache: recommended, FUSE_STORE=cache",
    sections: ["Choosing a store", "From environment variables"],
  },
  {
    rows: "S18, S20, S21",
    title: "cache: FUSE_CACHE_STORE and FUSE_CACHE_PREFIX",
    sections: ["From environment variables"],
  },
  { rows: "S22–S24", title: "cache: shared by all servers" },
  { rows: "S25", title: "cache: settings of the connection", sections: ["The Redis store"] },
  { rows: "S26–S27", title: "cache: several stores" },
  { rows: "S28–S31", title: "cache: the four keys of a circuit" },
  { rows: "S32", title: "cache: the prefix prevents collisions" },
  { rows: "S33–S34", title: "cache: survives deployments, volatile, bounded" },
  { rows: "S35", title: "database: a trail of all transitions", sections: ["The audit trail"] },
  {
    rows: "S36, S46",
    title: "database: a connection of its own",
    sections: ["From environment variables", "The libSQL store"],
  },
  { rows: "S37", title: "database: migrations", sections: ["Migrations"] },
  { rows: "S38–S40", title: "database: two tables with the seed's columns" },
  { rows: "S41–S43", title: "database: history for audits and debugging" },
  { rows: "S44–S45", title: "database: historical state, events latest first" },
  { rows: "S47–S49", title: "database: models of one's own" },
  { rows: "S50–S52", title: "database: three queries of circuits" },
  { rows: "S53–S54", title: "database: two queries of events" },
  { rows: "S55–S56", title: "database: permanent, slower", sections: ["Choosing a store"] },
  {
    rows: "S57–S62",
    title: "which store, where",
    sections: ["Choosing a store", "From environment variables"],
  },
  { rows: "S63", title: "several drivers at once", sections: ["Several stores at once"] },
  { rows: "S64–S67", title: "10 000 calls", sections: ["Benchmarks"] },
  { rows: "S68–S72", title: "tuning the cache: pipelining", sections: ["The Redis store"] },
  { rows: "S73", title: "tuning the database: indexes" },
  { rows: "S74", title: "tuning the database: read replicas", sections: ["The libSQL store"] },
  { rows: "S75", title: "tuning the database: connections", sections: ["The libSQL store"] },
  { rows: "S76", title: "tuning the database: batches of events" },
  { rows: "S77", title: "tuning the database: pruning", sections: ["Pruning"] },
  { rows: "S78", title: "from array to cache" },
  { rows: "S79–S80", title: "from cache to database", sections: ["Moving state"] },
  { rows: "S81–S82", title: "from database to cache", sections: ["Moving state"] },
  {
    rows: "S83–S86",
    title: "strategies, configuration, drivers of one's own, testing",
    sections: ["Strategies", "Options", "A store of your own", "Testing"],
  },
];

/** The number of the seed's rows. */
export const LAST_ROW = 86;

/** Returns the numbers of some rows: `S17, S19–S21` is 17, 19, 20 and 21. */
export function numbersOf(rows: string): number[] {
  return rows.split(", ").flatMap((part) => {
    const [, from, to = from] = /^S(\d+)(?:–S(\d+))?$/.exec(part) ?? [];
    if (from === undefined) throw new TypeError(`"${rows}" are no rows`);
    return Array.from({ length: Number(to) - Number(from) + 1 }, (_, i) => Number(from) + i);
  });
}

/** Returns the group of some rows. */
export function groupOf(rows: string): Group {
  const wanted = numbersOf(rows);
  const group = GROUPS.find((group) => {
    const numbers = numbersOf(group.rows);
    return wanted.every((row) => numbers.includes(row));
  });
  if (group === undefined) throw new TypeError(`"${rows}" are not of one group`);
  return group;
}
