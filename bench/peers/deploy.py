"""What playbook.yml looks at, in pyinfra, for a dry run: nine facts and three files."""

from io import StringIO

from pyinfra import host
from pyinfra.facts.deb import DebPackages
from pyinfra.facts.server import Command
from pyinfra.operations import files

for looks in (
    "lscpu || true",
    "dpkg-query -W -f '${Package} ${db:Status-Want}\n'",
    "uname -r; cat /proc/cmdline; ls /boot",
    "grub-editenv list; cat /boot/grub/grub.cfg || true",
    "cat /sys/module/kvm_amd/parameters/*; cat /proc/modules; journalctl -k -b --no-pager || true",
    "/opt/teeup/qemu/bin/qemu-system-x86_64 --version; cat /opt/teeup/qemu/recipe.json || true",
    "lspci -Dnnk -d 10de:; find /sys/kernel/iommu_groups -type l || true",
    "driverctl list-overrides; head /etc/driverctl.d/*; systemctl show teeup-vm-cvm0; "
    "sha256sum /etc/systemd/system/teeup-vm-cvm0.service /var/lib/teeup/vm/cvm0/* || true",
):
    host.get_fact(Command, command=looks)
host.get_fact(DebPackages)

files.put(
    name="command line of the next boot",
    src=StringIO('GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX vfio-pci.disable_idle_d3=1"\n'),
    dest="/etc/default/grub.d/50-teeup.cfg",
)
files.put(
    name="module options",
    src=StringIO("options kvm_amd sev=1\noptions kvm_amd sev_es=1\noptions kvm_amd sev_snp=1\n"),
    dest="/etc/modprobe.d/teeup.conf",
)
files.put(name="modules at boot", src=StringIO("vfio-pci\n"), dest="/etc/modules-load.d/teeup.conf")
