/**
 * Sending batches to a Durable Object.
 *
 * @module
 */

import type { LibsqlClient, SqlStatement } from "../libsql/client.ts";
import { readCloudflareFailure, withIntegers } from "../libsql/cloudflare.ts";
import type { BatchAnswer } from "./object.ts";

/** A binding to the class of Durable Objects, as far as it is used. */
export interface NamespaceLike {
  /** Returns the id of the object with a name. */
  idFromName(name: string): unknown;
  /** Returns a stub of the object, which answers `fetch()`. */
  get(id: never): unknown;
}

/** What is used of a stub. */
interface Stub {
  fetch(request: Request): Promise<Response>;
}

/** No request leaves the platform: an object has no address. */
const URL_OF_OBJECT = "https://fuse.invalid/batch";

/**
 * Returns a client of the object with a name. Takes a stub for each batch: a stub is no use any more
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
