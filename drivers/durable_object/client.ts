/**
 * Sending batches to a Durable Object.
 *
 * @module
 */

import type { LibsqlClient, SqlStatement } from "../libsql/client.ts";
import { readCloudflareFailure, withIntegers } from "../libsql/cloudflare.ts";
import type { BatchAnswer } from "./object.ts";

/** The used part of a binding to a class of Durable Objects. */
export interface NamespaceLike {
  /** Returns the id of the object with a name. */
  idFromName(name: string): unknown;
  /** Returns a stub of the object, which answers `fetch()`. */
  get(id: never): unknown;
}

/** The part of a stub that is used. */
interface Stub {
  fetch(request: Request): Promise<Response>;
}

/** A placeholder: an object has no address, and no request leaves the platform. */
const URL_OF_OBJECT = "https://fuse.invalid/batch";

/**
 * Returns a client of the object with a name. Uses a new stub for each batch, because a stub is useless
 * once its object has failed.
 */
export function clientOf(namespace: NamespaceLike, name: string): LibsqlClient {
  const batch = async (statements: SqlStatement[]) => {
    const stub = namespace.get(namespace.idFromName(name) as never) as Stub;
    const body = JSON.stringify(statements.map(withIntegers));
    const response = await stub.fetch(new Request(URL_OF_OBJECT, { method: "POST", body }));
    const answer = await response.json() as BatchAnswer;
    if ("error" in answer) {
      const { error } = answer;
      throw Object.assign(new Error(error), readCloudflareFailure(error));
    }
    return answer.results.map((rows) => ({ rows }));
  };
  return { batch, execute: async (statement) => (await batch([statement]))[0]! };
}
