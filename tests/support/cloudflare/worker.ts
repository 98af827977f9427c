/**
 * A Worker that runs the contract on the databases of its bindings, and gives tests access to them.
 *
 * @module
 */
import { d1, d1Client, type D1Like, type LibsqlStore, type SqlStatement } from "@fuse/edge/d1";
import { durableObject, FuseObject, type NamespaceLike } from "@fuse/edge/durable-object";
import { migrate } from "@fuse/edge/migrations";
import { storeContract } from "@fuse/edge/testing";

interface Env {
  readonly DB: D1Like;
  readonly FUSE: NamespaceLike;
}

/**
 * An object that can be made to die, as if it were evicted, and that returns its bill in headers.
 */
export class MortalObject extends FuseObject {
  readonly #ctx: Context;
  readonly #rows: Rows;

  constructor(ctx: object, env: object) {
    const rows: Rows = { read: 0, written: 0 };
    super({ storage: metered((ctx as Context).storage, rows) }, env);
    this.#ctx = ctx as Context;
    this.#rows = rows;
  }

  override async fetch(request: Request): Promise<Response> {
    if (new URL(request.url).pathname === "/abort") {
      this.#ctx.abort();
      return new Response();
    }
    const { body } = await super.fetch(request);
    // Requests may overlap: each row is billed to the one that ends first.
    const { read, written } = this.#rows;
    Object.assign(this.#rows, { read: 0, written: 0 });
    return new Response(body, {
      headers: { "x-rows-read": `${read}`, "x-rows-written": `${written}` },
    });
  }
}

/** The state of an object, as far as this file uses it. */
interface Context {
  readonly storage: Storage;
  abort(): void;
}

interface Storage {
  readonly sql: { exec(sql: string, ...args: unknown[]): Cursor };
  transactionSync<T>(work: () => T): T;
}

interface Cursor {
  readonly rowsRead: number;
  readonly rowsWritten: number;
  toArray(): unknown[];
}

interface Rows {
  read: number;
  written: number;
}

/** Returns the storage, which counts the rows that statements return. */
function metered(storage: Storage, rows: Rows): object {
  return {
    transactionSync: <T>(work: () => T) => storage.transactionSync(work),
    sql: {
      exec(sql: string, ...args: unknown[]) {
        const cursor = storage.sql.exec(sql, ...args);
        return {
          toArray() {
            const taken = cursor.toArray();
            rows.read += cursor.rowsRead;
            rows.written += cursor.rowsWritten;
            return taken;
          },
        };
      },
    },
  };
}

/** The operation that the path of a request selects; its body is JSON. */
type Route = (env: Env, body: never) => unknown;

/** The case of the contract to run. */
interface CaseRequest {
  readonly store: string;
  readonly audit: "transitions" | "calls";
  readonly index: number;
}

const ROUTES: Readonly<Record<string, Route>> = {
  "/migrate": (env) => migrate(d1Client(env.DB)),
  "/batch": (env, statements: SqlStatement[]) => d1Client(env.DB).batch(statements),
  /** Statements as a binding gets them, for the real one. */
  async "/bound"(env, statements: { sql: string; args: unknown[] }[]) {
    const bound = statements.map(({ sql, args }) => env.DB.prepare(sql).bind(...args));
    const results = await env.DB.batch(bound as never[]) as { results: unknown; meta: unknown }[];
    return results.map(({ results, meta }) => ({ rows: results, meta }));
  },
  async "/case"(env, { store, audit, index }: CaseRequest) {
    const cases = storeContract(({ clock }) => make(env, store, { audit, clock }));
    await cases[index]!.run();
    return cases[index]!.name;
  },
};

function make(
  env: Env,
  store: string,
  options: { audit: "transitions" | "calls"; clock: () => number },
): LibsqlStore {
  if (store === "d1") return d1(env.DB, options);
  return durableObject(env.FUSE, { ...options, shards: store === "durable-object" ? 1 : 3 });
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const object = searchParams.get("object");
    if (object !== null) {
      const stub = env.FUSE.get(env.FUSE.idFromName(object) as never) as { fetch: typeof fetch };
      return await stub.fetch(request);
    }
    const route = ROUTES[pathname];
    if (route === undefined) return new Response(null, { status: 404 });
    try {
      const ok = await route(env, await request.json() as never);
      return Response.json({ ok });
    } catch (error) {
      const { message, code, status, scope } = error as Error & Record<string, unknown>;
      return Response.json({ error: { message, code, status, scope } });
    }
  },
};
