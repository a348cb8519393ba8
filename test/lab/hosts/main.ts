/** `npm run lab:hosts -- N`: N namespace hosts until Ctrl-C. */
import { countOf, offer, prepare } from "../foreground.ts";
import { startHosts } from "./hosts.ts";

const count = countOf("npm run lab:hosts -- [number of hosts, 1 to 250]", 3);
prepare();
const hosts = await startHosts(count);
try {
  await offer(hosts.list.map((host) => ({ name: host.name, ssh: host.sshCommand(), node: host.node() })));
} finally {
  await hosts.stop();
}
