/**
 * The types that every store on the tables of libSQL hands to its users: `libsql()`, `d1()` and
 * `durableObject()`.
 *
 * @module
 */

export type { LibsqlClient, SqlResult, SqlStatement, SqlValue } from "./client.ts";
export type { LibsqlOptions, LibsqlSource, LibsqlStore } from "./options.ts";
export type { PruneOptions, PruneResult } from "./prune.ts";
export type { TrailBreak, TrailProof, VerifyOptions } from "./verify.ts";
