/**
 * Serves a real dashboard over a Fuse on a port, for the command line's `--api`.
 *
 * @module
 */
import type { Fuse } from "@fuse/edge";
import { dashboard } from "@fuse/edge/dashboard";
import { Hono } from "hono";
import { bearerAuth } from "hono/bearer-auth";

/** A dashboard that listens. */
export interface Dashboard extends AsyncDisposable {
  /** Its address. */
  readonly url: string;
  /** The address of a read-only dashboard. */
  readonly readOnlyUrl: string;
  /** The requests, each as `METHOD path`. */
  readonly log: string[];
}

/** The number of circuits in a page, so small that a list takes several pages. */
const PAGE = "2";

/** Serves a dashboard at `/ops` to holders of the token. */
export function serveDashboard(fuse: Fuse, token: string): Dashboard {
  const auth = bearerAuth({ token });
  const app = new Hono()
    .route("/ops", dashboard({ fuse, auth, actor: () => "from the session" }))
    .route("/wall", dashboard({ fuse, auth, readOnly: true }));
  const log: string[] = [];
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    (request) => {
      const url = new URL(request.url);
      log.push(`${request.method} ${url.pathname}`);
      if (url.searchParams.has("limit")) url.searchParams.set("limit", PAGE);
      return app.fetch(new Request(url, request));
    },
  );
  const at = `http://127.0.0.1:${server.addr.port}`;
  return {
    url: `${at}/ops`,
    readOnlyUrl: `${at}/wall`,
    log,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
