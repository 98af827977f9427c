/** Splits a byte stream into lines: the demo and its upstream exchange one JSON value a line. */
export async function* lines(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
  let unfinished = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const parts = (unfinished + text).split("\n");
    unfinished = parts.pop() ?? "";
    yield* parts;
  }
}
