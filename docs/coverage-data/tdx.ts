import type { Row, Rows } from "./rows.ts";
import { context, proven, stepsIn } from "./rows.ts";

const FILE = "test/docs/seed-steps-tdx.test.ts";
const STEPS = `
  004-04 004-05 004-07 004-08 004-09 004-10 004-12 004-13 004-14
  004-15 004-16 004-19 004-20 004-21 004-22 004-23 004-24 004-25
  004-26 004-27 004-28 004-29 004-30 004-31 004-32 004-33 004-34
  004-35 004-36 004-37 004-38 004-39 004-40 004-41 004-42 004-43
  004-44 004-45 004-46 004-47 004-48 004-49 004-50 004-51 004-52
  004-53 004-54 004-55 004-56 004-06 004-58 004-60 004-61 004-62
  004-63 004-64 004-65
`;
/** A value of seed 004's profile, proven by the row of that id in the table of values. */
const value = (id: string, path: string, profile = "intel-tdx-kvm-coco-20240512"): Row => ({
  by: "profile",
  profile,
  value: path,
  proof: { file: "test/docs/seed-values.test.ts", test: id },
});

/** 004: Intel's device passthrough preview. */
export const TDX_ROWS: Rows = {
  ...stepsIn(FILE, STEPS),
  "004-01": value("004-01", "title"),
  "004-02": value("004-02", "host.kernel", "tdx-upstream"),
  "004-03": context("where to write to the authors of the patches"),
  "004-11": proven("test/facets/kernel-build.test.ts", "a mailbox fits the baseline in its name, and no other commit"),
  "004-17": value("004-17", "host.vmStack.qemu.url and commit"),
  "004-18": value("004-18", "host.vmStack.ovmf.branch"),
  "004-57": value("004-57", "guest.image"),
  "004-59": context("further reading: the wiki of intel/tdx-linux"),
};
