/** Creates the tables of the trail, or updates them: `npx tsx migrate.ts`. */
import { migrate } from "@fuse/edge/migrations";
import { createClient } from "@libsql/client";
import process from "node:process";

const { TURSO_DATABASE_URL: url = "", TURSO_AUTH_TOKEN: authToken = "" } = process.env;
const client = createClient({ url, authToken });
await migrate(client);
client.close();
