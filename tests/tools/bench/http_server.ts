/**
 * An upstream in a process of its own: answers every request with a short JSON, after as many
 * milliseconds as its path says. Its first line is its address. It ends with its standard input.
 *
 * @module
 */
import { lines } from "../../support/lines.ts";

/** An upstream that listens. */
export interface Upstream extends AsyncDisposable {
  /** `http://127.0.0.1:PORT/`; `…/20` answers after 20 ms. */
  readonly url: string;
}

/** Starts an upstream. */
export async function startUpstream(): Promise<Upstream> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", import.meta.filename!],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const output = lines(child.stdout);
  const { value: url } = await output.next();
  if (url === undefined) throw new Error("The upstream has ended");
  return {
    url,
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await output.return(undefined);
      await child.status;
    },
  };
}

if (import.meta.main) {
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    onListen: ({ port }) => console.log(`http://127.0.0.1:${port}/`),
  }, async ({ url }) => {
    const delayMs = Number(new URL(url).pathname.slice(1));
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
    return Response.json({ id: 42, name: "an order" });
  });
  for await (const _ of Deno.stdin.readable) { /* until it ends */ }
  await server.shutdown();
}
