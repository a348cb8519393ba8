/**
 * Fixed places and commands that facets, the machine room and the twin must agree on to the letter.
 */

/** Tools that TeeUp installs on a machine live here. */
export const TOOLS_DIR = "/opt/teeup";
/** NVIDIA/gpu-admin-tools checkout. */
export const GPU_TOOL = `${TOOLS_DIR}/gpu-admin-tools/nvidia_gpu_tools.py`;
/**
 * Host: the tool as root runs it: no PYTHON* variables, no user's modules, no bytecode left behind. Not `-I`, which
 * hides the tool's own modules from it.
 */
export const RUN_GPU_TOOL = ["python3", "-EsB", GPU_TOOL] as const;
/** Host: exits 0 when the checkout's files are those of its commit: only then is the tool run. */
export const GPU_TOOL_CLEAN = [
  ...(["git", "--no-optional-locks", "-C", `${TOOLS_DIR}/gpu-admin-tools`] as const),
  ...(["diff", "--quiet", "HEAD"] as const),
] as const;
/** Confidential VMs: `<name>/` holds disk, seed, console log and the unit's argv. */
export const VM_DIR = "/var/lib/teeup/vm";
/** QEMU as a systemd unit. */
export const VM_UNIT_PREFIX = "teeup-vm-";
/** The one confidential VM of a node in this version. */
export const VM_NAME = "cvm0";

/** Host: lines of the guest's console between cloud-init's BEGIN/END SSH HOST KEY KEYS marks (public keys). */
export const GUEST_HOST_KEYS = [
  "sed",
  "-n",
  "/-----BEGIN SSH HOST KEY KEYS-----/,/-----END SSH HOST KEY KEYS-----/p",
  `${VM_DIR}/${VM_NAME}/console.log`,
] as const;

/**
 * Host: exits 1 when no QEMU, whoever's, was given a VFIO device; prints the numbers of those that were. libvirt runs
 * its QEMU as a user of its own, so any user's counts here: what it may pass for is the asker's to decide.
 */
export const GUEST_HOLDS_GPU = ["pgrep", "-f", "^[^ ]*(qemu|kvm)[^ ]* .*vfio-pci.*host"] as const;

/** Host: exits 1 when the nvidia module is not loaded. */
export const NVIDIA_LOADED = ["grep", "-q", "^nvidia ", "/proc/modules"] as const;

/** Exits 0 when PCI shows an NVSwitch. */
export const HAS_NVSWITCH = ["awk", 'BEGIN { while (("lspci -n -d 10de::0680" | getline) > 0) a++; exit !a }'] as const;

/** Guest: exits 0 once the driver has initialised every NVIDIA GPU that PCI shows (docs/sources.md: gate before nvidia-smi). */
export const GUEST_GPUS_READY = [
  "awk",
  'BEGIN { while (("ls /proc/driver/nvidia/gpus" | getline) > 0) a++; while (("lspci -n -d 10de::0302" | getline) > 0) b++; exit !(a > 0 && a == b) }',
] as const;
