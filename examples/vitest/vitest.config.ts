/** In a project of your own, packages are found by their names, and none of this is needed. */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: "@fuse/edge/testing", replacement: here("../../src/testing/mod.ts") },
      { find: "@fuse/edge", replacement: here("../../mod.ts") },
    ],
  },
});
