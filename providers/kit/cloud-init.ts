/** NoCloud seed of the guest: https://cloudinit.readthedocs.io, "NoCloud" and "Users and Groups". */
export interface Seed {
  readonly instanceId: string;
  readonly hostname: string;
  readonly user: string;
  /** One OpenSSH public key line. */
  readonly publicKey: string;
}

/**
 * The user-data. JSON is YAML, so no quoting can go wrong.
 *
 * - cloud-init prints the host keys on the console, between its BEGIN and END marks: that is where TeeUp pins them.
 * - The unattended-upgrades timers are off before the first of them can replace the pinned kernel (seed 000).
 */
export function userData(seed: Seed): string {
  const config = {
    hostname: seed.hostname,
    manage_etc_hosts: true,
    ssh_pwauth: false,
    disable_root: true,
    ssh: { emit_keys_to_console: true },
    users: [
      {
        name: seed.user,
        gecos: "TeeUp",
        shell: "/bin/bash",
        lock_passwd: true,
        sudo: "ALL=(ALL) NOPASSWD:ALL",
        ssh_authorized_keys: [seed.publicKey],
      },
    ],
    package_update: false,
    package_upgrade: false,
    bootcmd: [
      ["systemctl", "mask", "--now", "apt-daily.timer", "apt-daily-upgrade.timer", "unattended-upgrades.service"],
    ],
  };
  return `#cloud-config\n${JSON.stringify(config, null, 2)}\n`;
}

export function metaData(seed: Seed): string {
  return `${JSON.stringify({ "instance-id": seed.instanceId, "local-hostname": seed.hostname })}\n`;
}
