/** A shop that pays through a provider, with pages for its operators. */

import type { Fuse } from "@fuse/edge";
import { dashboard } from "@fuse/edge/dashboard";
import { circuitBreaker, type FromContext, type FuseVariables } from "@fuse/edge/hono";
import { type Context, Hono } from "hono";
import { basicAuth } from "hono/basic-auth";

/** The provider's address, and the operators' credentials. */
export interface Settings {
  readonly PROVIDER: string;
  readonly OPS_USER: string;
  readonly OPS_PASSWORD: string;
}

/** The variables that handlers find in `c.var`. */
export type Variables = FuseVariables & { operator: string };

/** Creates the app. On Workers, the Fuse and the settings come from the request's bindings. */
export function createApp(
  fuse: FromContext<Fuse>,
  settingsOf: (c: Context) => Settings,
): Hono<{ Variables: Variables }> {
  const app = new Hono<{ Variables: Variables }>();

  app.use("/pay", circuitBreaker({ fuse }));
  app.get("/pay", (c) => c.var.fuse.make("payments").fetch(settingsOf(c).PROVIDER));

  // The dashboard for people at a browser. Put your own sign-in here: any middleware that answers
  // strangers itself.
  const operators = dashboard({
    fuse,
    auth: (c, next) => {
      const { OPS_USER: username, OPS_PASSWORD: password } = settingsOf(c);
      const onAuthSuccess = (c: Context, user: string) => c.set("operator", user);
      return basicAuth({ username, password, onAuthSuccess })(c, next);
    },
    actor: (c) => c.get("operator"),
    title: "Circuits of the shop",
    pollMs: 1000,
  });
  app.route("/ops", operators);

  // The dashboard for a screen in the office, whose network is admitted by the proxy in front of
  // the app.
  const wall = dashboard({
    fuse,
    auth: (c, next) => c.req.header("x-office") ? next() : Promise.resolve(c.text("", 401)),
    readOnly: true,
    title: "Circuits of the shop",
  });
  app.route("/wall", wall);

  app.onError((error, c) =>
    "getResponse" in error ? error.getResponse() : c.text("Bad Gateway", 502)
  );
  return app;
}
