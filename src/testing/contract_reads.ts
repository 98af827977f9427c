/** Reads that name tallies whose answers the caller does not have. */

import { ID_MEMORY_MS, TOTALS_ONLY } from "../records.ts";
import { equal, type Scenario, SHAPE, unique } from "./contract_subject.ts";

export const READS: readonly Scenario[] = [
  {
    name: "read() names the tallies that it contains, of those that the request names",
    async run(subject) {
      const [held, sent, other] = [unique(), unique(), unique()];
      const unconfirmed = [sent, held];
      const named = async () => (await subject.read(SHAPE, { unconfirmed })).holds;
      equal(await named(), [], "the tallies of a circuit that is not there");
      await subject.record({ id: held, epoch: "", generation: 0, began: 0, failures: 1 });
      await subject.record({ id: other, successes: 1 });
      await subject.another().record({ id: sent, epoch: "", generation: 0, began: 0, failures: 1 });
      equal(await named(), [held], "the tallies of a circuit that has one of them");
      await subject.trip();
      await subject.record({ id: sent, generation: TOTALS_ONLY, failures: 1 });
      equal(await named(), unconfirmed, "the tallies after a late one");
      subject.clock.advance(ID_MEMORY_MS - 1);
      equal(await named(), unconfirmed, "the tallies before their ids are forgotten");
      equal("holds" in await subject.read(), false, "whether a read that names none is told");
      equal(await subject.remove(), true, "remove() of a circuit that is there");
      await subject.record({ epoch: "", generation: 0, began: 0, failures: 1 });
      equal(await named(), [], "the tallies of the next life");
    },
  },
  {
    name: "read() names all of 64 tallies",
    async run(subject) {
      const unconfirmed = Array.from({ length: 64 }, unique);
      for (const id of unconfirmed) await subject.record({ id, rejected: 1 });
      const { holds, totals } = await subject.read(SHAPE, { unconfirmed });
      equal(holds, unconfirmed, "the tallies");
      equal(totals.rejected, 64, "the lifetime rejections");
    },
  },
];
