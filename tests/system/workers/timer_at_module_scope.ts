/** A Worker with an operation at module scope that Workers forbid there. */
import { createFuse } from "@fuse/edge";

const fuse = createFuse();
setTimeout(() => fuse.flush(), 1000);

export default { fetch: () => new Response("never") };
