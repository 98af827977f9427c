/**
 * A service on `node:http`, as Express is: a guarded call in a handler, a 503 that tells when to come
 * back, metrics for Prometheus, and logs.
 *
 *     deno run -A examples/node-http.ts
 */

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createFuse, rejectionOf } from "@fuse/edge";
import { logTo } from "@fuse/edge/log";
import { PROMETHEUS_CONTENT_TYPE, prometheusText } from "@fuse/edge/prometheus";

const fuse = createFuse({ defaults: { failureThreshold: 2, callTimeoutMs: 5_000 } });
const write = (line: unknown) => console.log(String(line).split(",")[0]); // leaves out the times
logTo(fuse, { info: write, warn: write, error: write });
await prometheusText(fuse); // counts transitions from here on
const users = fuse.make("users");

const server = createServer(async (request, response) => {
  if (request.url === "/metrics") {
    response.setHeader("content-type", PROMETHEUS_CONTENT_TYPE);
    response.end(await prometheusText(fuse));
    return;
  }
  try {
    const name = await users.call(() => loadUser(request.url!.slice(1)));
    response.end(name);
  } catch (error) {
    const rejection = rejectionOf(error);
    if (rejection !== undefined) {
      response.setHeader("retry-after", Math.ceil(rejection.retryAfterMs / 1000));
    }
    response.statusCode = rejection === undefined ? 502 : 503;
    response.end();
  }
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

let healthy = true;
function loadUser(id: string): Promise<string> {
  return healthy ? Promise.resolve(`user ${id}`) : Promise.reject(new Error("no database"));
}

for (const ill of [false, true, true, true]) {
  healthy = !ill;
  const response = await fetch(`${url}/7`);
  const retryAfter = response.headers.get("retry-after") ?? "none";
  console.log(`${response.status} ${await response.text()} (retry after: ${retryAfter})`);
}
const metrics = await (await fetch(`${url}/metrics`)).text();
console.log(
  metrics.split("\n").filter((line) => /circuits\{.*"OPEN"|to="OPEN"/.test(line)).join("\n"),
);

server.close();
await once(server, "close");
await fuse.flush();
