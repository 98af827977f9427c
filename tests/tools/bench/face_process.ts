/**
 * The REST face of a Redis in a process of its own, so that its work is not done in the time of those
 * who ask it. The argument is the address of the Redis, the first line printed that of the face; each
 * line of stdin asks how many requests it has had so far.
 *
 * @module
 */
import { lines } from "../../support/lines.ts";
import { startFace } from "../../support/upstash_face.ts";

/** A face that listens elsewhere. */
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
