/**
 * Lines of text out of a stream of bytes, as a process writes them.
 *
 * @module
 */

/** Each line as soon as it has ended; one that never ends is left out. */
export async function* lines(
  bytes: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string> {
  let rest = "";
  for await (const text of bytes.pipeThrough(new TextDecoderStream())) {
    const [...whole] = (rest + text).split("\n");
    rest = whole.pop()!;
    yield* whole;
  }
}
