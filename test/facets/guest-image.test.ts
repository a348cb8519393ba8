import { expect, test } from "@jest/globals";
import { guestImage } from "../../providers/facets/guest-image.ts";
import { failed, missing, ok } from "../../providers/kit/ask.ts";
import { argvs, CONTEXT, factsOf, runExamples } from "./run-examples.ts";

runExamples(guestImage);

const { want, answers } = guestImage.examples[0]!;

test("the image is verified before anything is made of it, and the disk's mark comes last", () => {
  const facts = factsOf(guestImage, { files: ok("", 1), diskId: missing, seedId: missing });
  const disk = guestImage.plan?.(want, facts, CONTEXT).at(-1);
  const lines = disk?.actions.flatMap((a) => (a.do === "job" ? a.lines.map((l) => l.argv.slice(0, 2).join(" ")) : []));
  expect(lines).toEqual([
    "curl --fail",
    "sha256sum --check",
    "mv -f",
    "mkdir -p",
    "qemu-img convert",
    "qemu-img resize",
    "rm -f",
    "mv -f",
    "mv -f",
  ]);
  expect(disk?.actions.at(1)).toMatchObject({ do: "write", path: "/var/lib/teeup/vm/cvm0/disk.id.part" });
});

test("an image that is there already is not downloaded again", () => {
  const facts = factsOf(guestImage, { ...answers, files: ok(`seed.iso\n${want.sha256}.img\n`), diskId: missing });
  const job = guestImage.plan?.(want, facts, CONTEXT)[0]?.actions.find((a) => a.do === "job");
  expect(job?.do === "job" ? job.lines[0]?.argv[0] : "").toBe("mkdir");
});

test("the seed is a cloud-config that makes the user, prints host keys and stops upgrades", () => {
  const facts = factsOf(guestImage, { files: ok("", 1), diskId: missing, seedId: missing });
  const write = guestImage.plan?.(want, facts, CONTEXT)[0]?.actions.find((a) => a.do === "write");
  const [head, ...rest] = (write?.do === "write" ? write.content : "").split("\n");
  expect(head).toBe("#cloud-config");
  const config = JSON.parse(rest.join("\n")) as Record<string, unknown>;
  expect(config).toMatchObject({
    ssh_pwauth: false,
    ssh: { emit_keys_to_console: true },
    users: [{ name: "teeup", ssh_authorized_keys: [want.publicKey] }],
    package_upgrade: false,
  });
});

test("a public key with a second line is refused", () => {
  expect(guestImage.want.safeParse({ ...want, publicKey: `${want.publicKey}\nssh-rsa AAAA x` }).success).toBe(false);
});

test("delete loses the guest's data, so it always needs the permit for a guest's end", () => {
  const undo = (guestRunning: boolean) =>
    guestImage.undo?.(want, factsOf(guestImage, answers), { ...CONTEXT, guestRunning }).map((s) => s.disruption);
  expect(undo(false)).toEqual(["guest-stop"]);
  expect(guestImage.undo?.(want, factsOf(guestImage, answers), CONTEXT)[0]?.title).toContain("data are lost");
  expect(undo(true)).toEqual(["guest-stop"]);
});

test("the VM is stopped by whoever started it", () => {
  const e = guestImage.examples.find((x) => x.name === "a larger disk");
  if (e === undefined) throw new Error("no such example");
  const stops = (domain: (typeof e.answers)[string]) =>
    argvs(guestImage.plan?.(e.want, factsOf(guestImage, { ...e.answers, domain }), CONTEXT))[0];
  expect(stops(missing)).toBe("systemctl stop teeup-vm-cvm0.service");
  expect(stops(ok("<domain/>\n"))).toBe("virsh --connect qemu:///system shutdown teeup-vm-cvm0");
  expect(stops(failed("connection lost"))).toBeUndefined();
});
