import { libsql } from "@fuse/edge/libsql";
import { fileForFile } from "../../support/databases.ts";
import { processTraps } from "../../support/process_traps.ts";

const { url, connect } = await fileForFile();
const client = connect();
addEventListener("unload", () => client.close());

processTraps("libSQL on a file", {
  store: "libsql",
  where: url,
  open: () => libsql({ client }),
});
