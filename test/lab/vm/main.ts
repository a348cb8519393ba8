/** `npm run lab:vm`: virtual machines with a real kernel until Ctrl-C. */
import { countOf, offer, prepare } from "../foreground.ts";
import { startVm, stopVms } from "./vm.ts";

const count = countOf("npm run lab:vm -- [number of machines]", 1);
prepare();
try {
  const machines = await Promise.all(Array.from({ length: count }, () => startVm()));
  await offer(
    machines.map((vm, n) => {
      const name = `lab-${String(n + 1).padStart(2, "0")}`;
      return { name, ssh: vm.sshCommand(), node: vm.node(name) };
    }),
  );
} finally {
  await stopVms();
}
