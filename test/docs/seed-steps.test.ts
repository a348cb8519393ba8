import { expect, test } from "@jest/globals";
import { runExample } from "../../cli/pages/facets.ts";
import { facetNamed } from "../../providers/facets/index.ts";
import type { Answer } from "../../providers/kit/ask.ts";
import { ok } from "../../providers/kit/ask.ts";
import { nvidiaDu11462 } from "../../stacks/profiles/nvidia-du-11462-001-v1.0.ts";
import { asks, exampleOf, found, onNodeOf, ownPlan, restartFor } from "./on-node.ts";

/*
 * Step by step: what TeeUp does or asks on a node of the guide's own profile, beside what the guide prescribes there.
 * Each row is one id of docs/coverage.md, which points here by it.
 */
const { goals, plan } = onNodeOf(nvidiaDu11462);

const untouched = (name: string) => plan(name, "untouched");
/** What a person is told to set in the BIOS menu of that vendor, on a node without a BMC. */
function byHand(vendor: string): string {
  const bios = facetNamed("bios");
  const example = exampleOf(bios, NO_BMC);
  const answers = { ...example.answers, vendor: ok(`${vendor}\n`), boardVendor: ok(`${vendor}\n`) };
  return runExample(bios, { ...example, answers })
    .steps.map((s) => s.title)
    .join("\n");
}

const mode = (text: string): Answer =>
  ok(
    `GPU 0000:81:00.0 H100-PCIE 0x2331 BAR0 0x11042000000\nGPU 0000:81:00.0 H100-PCIE 0x2331 BAR0 0x11042000000 CC mode is ${text}\n`,
  );
/** A node whose vfio-pci was not told to keep idle GPUs awake: option 1 of the guide's known issue. */
const idleD3 = (): string => plan("gpu-cc-mode", "off", { answers: { idleD3: ok("N\n") } });
const disk = (): string => plan("guest-image", "nothing there");
const vm = (): string => plan("confidential-vm", "no VM yet");

const guestKernel = (): string => plan("guest-kernel", "a fresh cloud image with another kernel");
const driver = (): string => plan("nvidia-driver", "a fresh guest of the 2023 guide");
const persistenced = (): string => plan("nvidia-persistenced", "no guest yet");
const sdk = (): string => plan("attestation-tool", "the SDK is missing");
const policy = (): string => plan("attestation", "no policy installed yet");
const ready = (): string => plan("gpu-ready-state", "attested, not ready: after every start of the guest");
const restart = (): string => restartFor({ facet: "sev-firmware", reason: "firmware 1.51 is in place, 1.49 runs" });

const NO_BMC = "no BMC, no RMP table: a person must go to the menu";
const SUPERMICRO = "untouched Supermicro: all settings go with one restart";

test.each<[string, () => string, RegExp]>([
  // 000
  ["000-04", () => plan("bios", SUPERMICRO), /SEV-SNPSupport#01A7 = Enabled/],
  ["000-05", () => plan("bios", SUPERMICRO), /IOMMU#0196 = Enabled/],
  ["000-06", () => untouched("kernel-build"), /build kernel 5\.19\.0-rc6-snp-host-/],
  [
    "000-07",
    () => found("vfio-binding", "untouched: nouveau has it, vfio-pci is not loaded"),
    /fail vfio-binding\.module:/,
  ],
  ["000-08", () => untouched("module-options"), /^modprobe vfio-pci$/m],
  ["000-09", () => plan("kernel-cmdline", "the web's recipe in /etc/default/grub"), /kernel-cmdline\.strip/],
  ["000-10", () => found("snp-ready", "IOMMU in passthrough mode"), /fail snp-ready\.iommu-passthrough:/],
  ["000-11", () => asks("snp-ready"), /^journalctl -k -b .*--grep/m],
  [
    "000-12",
    () => found("gpu-inventory", "one H100 of an id the guide does not name"),
    /pass gpu-inventory\.gpu: .*2331/,
  ],
  [
    "000-13",
    () => plan("vfio-binding", "untouched: nouveau has it, vfio-pci is not loaded"),
    /driverctl set-override 0000:81:00\.0 vfio-pci/,
  ],

  // 001, hardware
  ["001-HW-06", () => found("cpu", "Rome has SEV-ES but no SNP"), /fail cpu\.generation:/],
  ["001-HW-09", () => goals.map((goal) => goal.facet).join(" "), /^cpu bios packages /],
  ["001-HW-18", () => plan("bios", SUPERMICRO), /SMEE#003E = Enabled/],
  ["001-HW-21", () => plan("bios", SUPERMICRO), /SEV-ESASIDSpaceLimit#700C = 100/],
  ["001-HW-22", () => plan("bios", SUPERMICRO), /SNPMemory\(RMPTable\)Coverage#003C = Enabled/],
  ["001-HW-23", () => plan("bios", SUPERMICRO), /IOMMU#0196 = Enabled/],
  ["001-HW-24", () => plan("bios", SUPERMICRO), /SEV-SNPSupport#01A7 = Enabled/],
  ["001-HW-11", () => byHand("ASRockRack"), /Advanced > AMD CBS > CPU Common > SEV ASID Count = 509 ASIDs/],
  ["001-HW-12", () => byHand("ASRockRack"), /CPU Common > SEV-ES ASID space Limit Control = Manual/],
  ["001-HW-13", () => byHand("ASRockRack"), /CPU Common > SEV-ES ASID space limit = 100/],
  ["001-HW-14", () => byHand("ASRockRack"), /CPU Common > SNP Memory Coverage = Enabled/],
  ["001-HW-15", () => byHand("ASRockRack"), /CPU Common > SMEE = Enabled/],
  ["001-HW-16", () => byHand("ASRockRack"), /Advanced > AMD CBS > NBIO common > SEV-SNP Support = Enabled/],
  ["001-HW-17", () => byHand("ASRockRack"), /IOMMU/],
  ["001-HW-19", () => byHand("Supermicro"), /Advanced > CPU Configuration > SEV ASID Count = 509 ASIDs/],
  ["001-HW-20", () => byHand("Supermicro"), /CPU Configuration > SEV-ES ASID Space Limit Control = Manual/],

  // 001, host
  [
    "001-HOST-03",
    () => plan("packages", "one of each missing"),
    /apt-get .*update\n.*apt-get .*install ninja-build iasl/,
  ],
  ["001-HOST-14", () => untouched("kernel-build"), /fetch .*https:\/\/github\.com\/AMDESE\/linux\.git [0-9a-f]{40}/],
  ["001-HOST-15", () => untouched("kernel-build"), /fetch .*https:\/\/github\.com\/NVIDIA\/nvtrust\.git [0-9a-f]{40}/],
  ["001-HOST-16", () => untouched("kernel-build"), /checkout .*[0-9a-f]{40}/],
  ["001-HOST-18", () => untouched("kernel-build"), /\.\/scripts\/config .*--enable CRYPTO_ECC/],
  ["001-HOST-21", () => untouched("kernel-build"), /make .*bindeb-pkg/],
  // One build: the patches go in between fetching and building.
  ["001-HOST-22", () => untouched("kernel-build"), /checkout[\s\S]*patch -p1[\s\S]*bindeb-pkg/],
  ["001-HOST-23", () => untouched("kernel-build"), /patches-0\/infrastructure\/linux\/patches\/iommu_pagefault\.patch/],
  ["001-HOST-24", () => untouched("kernel-build"), /patch -p1 -l -i \S*iommu_pagefault\.patch/],
  ["001-HOST-25", () => untouched("kernel-build"), /patch -p1 -l -i \S*iommu_pagesize\.patch/],
  ["001-HOST-26", () => untouched("kernel-build"), /iommu_pagesize\.patch[\s\S]*make .*bindeb-pkg/],
  [
    "001-HOST-27",
    () => untouched("module-options"),
    /write \/etc\/modprobe\.d\/teeup\.conf\n[\s\S]*options kvm_amd sev_snp=1/,
  ],
  [
    "001-HOST-28",
    () => untouched("kernel"),
    /install \/var\/lib\/teeup\/artifacts\/linux-image-5\.19\.0-rc6-snp-host-/,
  ],
  // No build date anywhere: the name is the release's, which the recipe fixes.
  ["001-HOST-29", () => untouched("kernel-build"), /--set-str LOCALVERSION -snp-host-d9bd54fea4d2/],
  ["001-HOST-30", () => plan("host-boot", "good trial, not kept yet"), /grub-set-default/],
  [
    "001-HOST-32",
    () => `${asks("kernel")}\n${found("kernel", "staged, waits for a restart")}`,
    /^uname -r$[\s\S]*(fail|warn) kernel\.running: want uname -r shows/m,
  ],
  ["001-HOST-33", () => found("kernel", "built without SEV"), /fail kernel\.config:/],
  ["001-HOST-34", () => asks("snp-ready"), /^journalctl -k -b .*--grep/m],
  ["001-HOST-35", () => found("snp-ready", "the guide's 5.19 kernel"), /pass snp-ready\.rmp:/],
  ["001-HOST-36", () => found("snp-ready", "the guide's 5.19 kernel"), /pass snp-ready\.firmware:/],
  ["001-HOST-37", () => found("snp-ready", "the guide's 5.19 kernel"), /pass snp-ready\.firmware: .*1\.51/],
  ["001-HOST-38", () => found("snp-ready", "the guide's 5.19 kernel"), /pass snp-ready\.kvm: .*99/],
  ["001-HOST-39", () => found("snp-ready", "SNP off in the BIOS"), /fail snp-ready\.rmp: .*BIOS/],
  ["001-HOST-40", () => found("snp-ready", "firmware too old"), /fail snp-ready\.firmware-too-old:/],
  // What fails to start says so in the same log; the finding is its cause.
  ["001-HOST-41", () => found("snp-ready", "firmware too old"), /fail snp-ready\.firmware-too-old: .*1\.51/],
  ["001-HOST-43", () => found("sev-firmware", "too old"), /sev-firmware\.version: want SEV-SNP API 1\.51 or later/],
  ["001-HOST-47", () => plan("sev-firmware", "too old"), /install -D .* \/lib\/firmware\/amd\//],
  [
    "001-HOST-48",
    () => plan("sev-firmware", "too old"),
    /_1\.33\.03\.sbin \/lib\/firmware\/amd\/amd_sev_fam19h_model0xh\.sbin$/m,
  ],
  ["001-HOST-51", () => found("snp-ready", "the guide's 5.19 kernel"), /pass snp-ready\.parameters: .*sev=[Y1]/],
  ["001-HOST-52", () => found("snp-ready", "the guide's 5.19 kernel"), /pass snp-ready\.parameters: .*sev_es=[Y1]/],
  ["001-HOST-53", () => found("snp-ready", "the guide's 5.19 kernel"), /pass snp-ready\.parameters: .*sev_snp=[Y1]/],
  // The good lines about ASIDs stand in that log too, and prove nothing.
  ["001-HOST-42", () => found("snp-ready", "firmware too old"), /fail snp-ready\./],
  ["001-HOST-50", () => asks("sev-firmware"), /journalctl -k -b/],
  [
    "001-HOST-09",
    () => `${untouched("kernel-build")}\n${plan("vm-stack", "nothing built")}`,
    /build kernel[\s\S]*build QEMU[\s\S]*build OVMF/,
  ],

  // 001, GPU
  ["001-GPU-02", () => plan("gpu-cc-mode", "off"), /^\[gpu-reset\] gpu-cc-mode\.set/m],
  [
    "001-GPU-03",
    () => plan("gpu-tools", "not there yet"),
    /fetch .*https:\/\/github\.com\/NVIDIA\/gpu-admin-tools\.git [0-9a-f]{40}/,
  ],
  ["001-GPU-04", () => asks("gpu-cc-mode"), /--query-cc-mode/],
  ["001-GPU-05", () => plan("gpu-cc-mode", "off"), /--set-cc-mode=on --reset-after-cc-mode-switch/],
  ["001-GPU-06", () => asks("gpu-cc-mode"), /^python3 -EsB \S*nvidia_gpu_tools\.py --devices gpus --query-cc-mode$/m],
  [
    "001-GPU-08",
    () => plan("gpu-cc-mode", "off"),
    /nvidia_gpu_tools\.py --devices 0000:81:00\.0 --set-cc-mode=on --reset-after-cc-mode-switch/,
  ],
  ["001-GPU-09", () => plan("gpu-cc-mode", "off"), /off → on/],
  ["001-GPU-12", () => asks("gpu-inventory"), /^lspci /m],
  ["001-GPU-13", () => found("gpu-inventory", "one H100 of an id the guide does not name"), /0000:81:00\.0.*2331/],
  [
    "001-GPU-15",
    () => plan("vfio-binding", "untouched: nouveau has it, vfio-pci is not loaded"),
    /driverctl set-override/,
  ],
  ["001-GPU-16", () => found("vfio-binding", "bound by hand: lost at the next boot"), /fail vfio-binding\.not-saved:/],
  ["001-GPU-26", () => untouched("kernel-cmdline"), /vfio-pci\.disable_idle_d3=1/],
  ["001-GPU-27", () => untouched("kernel-cmdline"), /^update-grub$/m],
  // 001, known issue: the mode after a guest's shutdown
  [
    "001-GPU-10",
    () => found("gpu-cc-mode", "off", { answers: { modes: mode("devtools") } }),
    /fail gpu-cc-mode\.mode: .*saw devtools/,
  ],
  // A tool that prints the topology and no mode line has said nothing.
  [
    "001-GPU-11",
    () => found("gpu-cc-mode", "off", { answers: { modes: ok("NVIDIA GPU Tools version 1\nTopo:\n") } }),
    /unknown gpu-cc-mode\.unknown:/,
  ],
  ["001-GPU-07", () => found("gpu-cc-mode", "off"), /0000:81:00\.0/],
  ["001-GPU-18", () => found("gpu-inventory", "one H100 of an id the guide does not name"), /pass gpu-inventory\.gpu:/],
  ["001-GPU-14", () => asks("vfio-binding"), /lspci/],
  ["001-GPU-17", () => plan("vfio-binding", "bound for good; the bridge of the group stays with the kernel"), /^$/],
  ["001-GPU-19", () => found("gpu-cc-mode", "the tool hangs"), /unknown gpu-cc-mode\.unknown:/],
  ["001-GPU-20", () => plan("vfio-binding", "bound by hand: lost at the next boot"), /vfio-binding\.save/],
  [
    "001-GPU-21",
    () => plan("gpu-cc-mode", "held by a guest made for another mode"),
    /^\[guest-stop\][\s\S]*systemctl stop teeup-vm-cvm0/,
  ],
  ["001-GPU-22", idleD3, /driverctl --nosave set-override 0000:81:00\.0 none\n[\s\S]*--set-cc-mode=on/],
  ["001-GPU-23", idleD3, /--set-cc-mode=on --reset-after-cc-mode-switch/],
  ["001-GPU-24", idleD3, /--set-cc-mode=on [\s\S]*driverctl --nosave set-override 0000:81:00\.0 vfio-pci/],
  ["001-GPU-25", idleD3, /set-override 0000:81:00\.0 /],
  // Option 2 makes unbinding unnecessary.
  ["001-GPU-28", () => plan("gpu-cc-mode", "off"), /^(?![\s\S]*driverctl)[\s\S]*--set-cc-mode=on/],

  // 001, guest image: a pinned cloud image in place of the manual installation
  ["001-HOST-54", disk, /^curl .*ubuntu-22\.04-server-cloudimg-amd64\.img\nsha256sum --check --strict/m],
  ["001-HOST-56", disk, /^qemu-img resize \S+ 500G$/m],
  ["001-HOST-57", disk, /\/var\/lib\/teeup\/vm\/cvm0\/disk\.qcow2$/m],
  ["001-HOST-58", disk, /^qemu-img convert /m],
  ["001-HOST-59", disk, /\/var\/lib\/teeup\/vm\/cvm0\/disk\.qcow2/],
  ["001-HOST-60", disk, /https:\/\/cloud-images\.ubuntu\.com\/\S*22\.04/],
  ["001-HOST-61", () => plan("guest-image", "nothing there"), /cloud-localds /],
  // No installer menu: the image boots by itself, and its console is the serial one that QEMU logs.
  ["001-HOST-62", vm, /-drive file=\/var\/lib\/teeup\/vm\/cvm0\/disk\.qcow2/],
  ["001-HOST-63", vm, /-serial chardev:con0/],
  ["001-HOST-64", vm, /systemctl (re)?start teeup-vm-cvm0\.service/],
  ["001-HOST-65", () => plan("guest-image", "nothing there"), /#cloud-config/],
  ["001-HOST-66", vm, /-no-reboot [\s\S]*Restart=always/],

  // 001, launching the guest
  ["001-HOST-67", vm, /^Restart=always$/m],
  ["001-HOST-68", vm, /ExecStart=\/opt\/teeup\/qemu\/bin\/qemu-system-x86_64 /],
  // One place for QEMU, written by the facet that builds it and read by the one that starts it.
  [
    "001-HOST-69",
    () => `${plan("vm-stack", "nothing built")}\n${vm()}`,
    /--prefix=\/opt\/teeup\/qemu[\s\S]*ExecStart=\/opt\/teeup\/qemu\//,
  ],
  ["001-HOST-70", vm, /file=\/var\/lib\/teeup\/vm\/cvm0\/disk\.qcow2/],
  ["001-HOST-71", vm, /-device vfio-pci,host=0000:81:00\.0/],
  ["001-HOST-72", vm, /-m 256G/],
  ["001-HOST-73", vm, /hostfwd=tcp:127\.0\.0\.1:9899-:22/],
  ["001-HOST-74", vm, /-object sev-snp-guest/],
  [
    "001-GPU-01",
    () => goals.map((goal) => goal.facet).join(" "),
    /gpu-cc-mode vfio-binding guest-image confidential-vm/,
  ],
  ["000-16", () => found("guest-kernel", "upgraded away: a newer kernel runs"), /fail guest-kernel\.upgraded:/],
  ["000-17", () => guestKernel(), /apt-mark hold linux-image-5\.19\.0-43-generic .*linux-virtual/],
  ["000-18", () => `${asks("guest-kernel")}\n${guestKernel()}`, /^uname -r$[\s\S]*→ 5\.19\.0-43-generic/m],
  ["000-20", () => guestKernel(), /install linux-image-5\.19\.0-43-generic/],
  ["000-21", () => found("guest-evidence", "an early board's VBIOS"), /fail guest-evidence\.vbios:/],
  ["000-22", () => found("guest-evidence", "an early board's VBIOS"), /fail guest-evidence\.vbios: .*NVIDIA/],

  // 001, the restart for all that is staged
  ["001-HOST-31", restart, /^\[reboot\] host-boot\.restart: restart the host: /m],
  ["001-HOST-49", restart, /\{"do":"reboot"/],
  [
    "001-HOST-13",
    () => `${untouched("kernel-build")}\n${plan("vm-stack", "nothing built")}`,
    /\/var\/lib\/teeup\/build\/kernel[\s\S]*\/opt\/teeup\/qemu/,
  ],

  // 001, VM administrator
  ["001-VM-03", vm, /hostfwd=tcp:127\.0\.0\.1:9899-:22/],
  ["001-VM-04", guestKernel, /→ 5\.19\.0-43-generic/],
  ["001-VM-05", () => found("guest-evidence", "LKCA missing"), /fail guest-evidence\.lkca-stubs:/],
  [
    "001-VM-06",
    () => plan("lkca", "no guest yet"),
    /write \/etc\/modprobe\.d\/nvidia-lkca\.conf\ninstall nvidia \/sbin\/modprobe ecdsa_generic/,
  ],
  // Two calls: the guide's one would take ecdh for a parameter.
  ["001-VM-07", () => plan("lkca", "no guest yet"), /modprobe ecdsa_generic; \/sbin\/modprobe ecdh;/],
  ["001-VM-08", () => plan("lkca", "killed before the initramfs was made"), /^update-initramfs -u$/m],
  ["001-VM-09", () => found("lkca", "the guide's misprint on the machine"), /fail lkca\.config:/],
  ["001-VM-10", () => plan("lkca", "the driver took the stubs"), /\{"do":"restart-guest"/],
  ["001-VM-16", driver, /^sh \S+cuda_12\.2\.0_535\.86\.06_linux\.run --silent -m=kernel-open$/m],
  ["001-VM-17", () => asks("guest-evidence"), /nvidia-smi conf-compute/],
  [
    "001-VM-18",
    () => found("nvidia-persistenced", "stopped after its start: the session went with it"),
    /fail nvidia-persistenced\.active:/,
  ],
  [
    "001-VM-19",
    () => ownPlan("nvidia-persistenced", "stopped after its start: the session went with it"),
    /\{"do":"restart-guest"/,
  ],
  ["001-VM-20", persistenced, /ExecStart=\/usr\/bin\/nvidia-persistenced/],
  ["001-VM-21", () => asks("nvidia-persistenced"), /^systemctl show nvidia-persistenced\.service -p ActiveState/m],
  // Asked of systemd by its unit: no pipeline that could match itself.
  [
    "001-VM-22",
    () => asks("nvidia-persistenced"),
    /^(?![\s\S]*(\bps -|pgrep|grep .*persistenced))[\s\S]*systemctl show/,
  ],
  ["001-VM-23", persistenced, /^systemctl start nvidia-persistenced\.service$/m],
  [
    "001-VM-24",
    () => found("guest-evidence", "a confidential guest with a confidential GPU"),
    /pass guest-evidence\.cc: .*saw on/,
  ],
  ["001-VM-26", () => found("guest-evidence", "an early board's VBIOS"), /fail guest-evidence\.vbios: .*NVIDIA/],
  ["001-VM-27", () => found("gpu-ready-state", "not attested: never set"), /fail gpu-ready-state\.not-attested:/],

  // 001, VM user
  ["001-USER-02", sdk, /\/opt\/teeup\/nvtrust/],
  ["001-USER-03", () => asks("attestation"), /^\S+python3 \S+attest\.py @nonce@ /m],
  [
    "001-USER-04",
    () => found("gpu-ready-state", "attested, not ready: after every start of the guest"),
    /fail gpu-ready-state\.not-ready:/,
  ],
  ["001-USER-05", ready, /^nvidia-smi conf-compute -srs 1$/m],
  ["001-USER-06", ready, /conf-compute -srs 1/],
  ["001-USER-08", sdk, /from nv_attestation_sdk import attestation/],
  ["001-USER-09", () => asks("nvidia-persistenced"), /nvidia-persistenced\.service -p ActiveState/],
  ["001-USER-10", persistenced, /^systemctl start nvidia-persistenced\.service$/m],
  ["001-USER-11", () => asks("guest-evidence"), /^nvidia-smi conf-compute -f$/m],
  ["001-USER-15", sdk, /^python3 -m venv /m],
  ["001-USER-16", sdk, /^\S+\/bin\/pip install /m],
  ["001-USER-17", () => asks("attestation"), /^\/opt\/teeup\/\S+\/bin\/python3 /m],
  ["001-USER-18", sdk, /pip install \S* ?\S*local_gpu_verifier\n\S+pip install \S* ?\S*attestation_sdk/],
  ["001-USER-19", sdk, /guest_tools\/gpu_verifiers\/local_gpu_verifier$/m],
  ["001-USER-20", sdk, /pip install .*local_gpu_verifier$/m],
  ["001-USER-21", sdk, /^(\S+)\/bin\/pip install .*local_gpu_verifier\n\1\/bin\/pip install .*attestation_sdk$/m],
  ["001-USER-22", sdk, /pip install .*guest_tools\/attestation_sdk$/m],
  ["001-USER-23", sdk, /write \/opt\/teeup\/attest\.py/],
  ["001-USER-24", sdk, /client = attestation\.Attestation\(/],
  ["001-USER-25", sdk, /client\.add_verifier\(attestation\.Devices\.GPU, attestation\.Environment\.LOCAL, "", ""\)/],
  [
    "001-USER-26",
    policy,
    /"version": "1\.0",\s+"authorization-rules": \{\s+"x-nv-gpu-available": true,\s+"x-nv-gpu-attestation-report-available": true/,
  ],
  [
    "001-USER-27",
    () => `${sdk()}\n${found("attestation", "the SDK: attest() False")}`,
    /client\.attest\(\) is True[\s\S]*fail attestation\.overall-false:/,
  ],
  [
    "001-USER-28",
    () => `${sdk()}\n${found("attestation", "the SDK: policy False")}`,
    /client\.validate_token\(policy\) is True[\s\S]*fail attestation\.policy:/,
  ],
])("%s", (_id, text, pattern) => {
  expect(text()).toMatch(pattern);
});
