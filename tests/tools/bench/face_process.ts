/**
 * The REST face of a Redis in a process of its own, so that its work does not take the clients'
 * time. The argument is the address of the Redis, the first line of output the address of the face;
 * each line of stdin asks for the number of requests so far.
 *
 * @module
 */
import { lines } from "../../support/lines.ts";
import { startFace } from "../../support/upstash_face.ts";

/** A face in another process. */
export interface FaceApart extends AsyncDisposable {
  readonly url: string;
  readonly token: string;
  /** HTTP requests so far. */
  requests(): Promise<number>;
}

/** Starts one. */
export async function startFaceApart(redis: { readonly url: string }): Promise<FaceApart> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", import.meta.filename!, redis.url],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const input = child.stdin.getWriter();
  const answers = lines(child.stdout);
  const answer = async (): Promise<string> => {
    const { value } = await answers.next();
    if (value === undefined) throw new Error("The face has ended");
    return value;
  };
  return {
    ...JSON.parse(await answer()),
    async requests() {
      await input.write(new TextEncoder().encode("\n"));
      return Number(await answer());
    },
    async [Symbol.asyncDispose]() {
      await input.close();
      await answers.return(undefined);
      await child.status;
    },
  };
}

if (import.meta.main) {
  const face = await startFace({ redis: { url: Deno.args[0]! } });
  const { url, token } = face;
  console.log(JSON.stringify({ url, token }));
  for await (const _ of lines(Deno.stdin.readable)) console.log(face.requests);
  await face.stop();
}
