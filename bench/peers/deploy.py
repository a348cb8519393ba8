"""The same in pyinfra, for a dry run: nine facts and three files."""

from io import StringIO

from pyinfra import host
from pyinfra.facts.deb import DebPackages
from pyinfra.facts.files import Directory, File
from pyinfra.facts.hardware import Cpus
from pyinfra.facts.server import Command, Kernel, KernelModules, KernelVersion
from pyinfra.operations import files

host.get_fact(Cpus)
host.get_fact(DebPackages)
host.get_fact(Kernel)
host.get_fact(KernelVersion)
host.get_fact(KernelModules)
host.get_fact(Directory, path="/opt/teeup/qemu")
host.get_fact(File, path="/opt/teeup/qemu/recipe.json")
host.get_fact(Command, command="lspci -Dnnk -d 10de: || true")
host.get_fact(Command, command="systemctl show teeup-vm-cvm0 || true")

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
