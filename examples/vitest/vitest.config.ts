/** This file is needed only inside this repository: your project finds packages by their names. */
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
