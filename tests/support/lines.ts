/**
 * Lines of text from a stream of bytes, as a process writes them.
 *
 * @module
 */

/** Yields each complete line; an unfinished one is left out. */
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
