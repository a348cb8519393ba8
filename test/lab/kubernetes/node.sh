# Process 1 of the cluster's machine, in mount, network, process, control group and host name namespaces of its own: nothing
# listens outside, and one kill ends all. Arguments: folder of this cluster, folder of the programs.
set -u
own=$1 built=$2
run=$own/run pki=$own/pki
mkdir -p $run/ctd $run/log $run/kubelet $run/etcd $run/podlogs $own/cni
export PATH=$built/bin:$built/root/usr/bin:$built/root/usr/sbin:$built/root/bin:$PATH
mount --make-rshared /
hostname node1
ip link set lo up
ip link add v0 type veth peer name v1
ip addr add 10.99.0.1/24 dev v0
ip link set v0 up
ip link set v1 up
ip route add default via 10.99.0.254 dev v0
echo 1 >/proc/sys/net/ipv4/ip_forward
# Its own view of control groups (v1): the machine's would be everybody's.
groups=$(awk -F: '$2!="" && $2 !~ /name=/ {print $2}' /proc/self/cgroup)
umount -R /sys 2>/dev/null || umount -lR /sys
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 cg /sys/fs/cgroup
for group in $groups; do
  mkdir /sys/fs/cgroup/$group
  mount -t cgroup -o $group cgroup /sys/fs/cgroup/$group || echo "control group $group cannot be mounted"
done
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
# What the kubelet would set for the whole machine it sets in files of its own.
n=0
for pair in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  n=$((n + 1))
  echo ${pair#*=} >$run/sysctl$n
  mount --bind $run/sysctl$n /proc/sys/${pair%%=*}
done
export KUBECONFIG=$pki/admin.kubeconfig
etcd --data-dir $run/etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync >$run/log/etcd 2>&1 &
kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=127.0.0.1 --advertise-address=10.99.0.1 --secure-port=6443 \
  --client-ca-file=$pki/ca.crt --tls-cert-file=$pki/apiserver.crt --tls-private-key-file=$pki/apiserver.key \
  --service-account-key-file=$pki/sa.pub --service-account-signing-key-file=$pki/sa.key \
  --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=10.96.0.0/16 \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
  --kubelet-client-certificate=$pki/admin.crt --kubelet-client-key=$pki/admin.key --endpoint-reconciler-type=none \
  --kubelet-preferred-address-types=InternalIP --cert-dir=$run/acert >$run/log/apiserver 2>&1 &
containerd -c $own/containerd.toml >$run/log/containerd 2>&1 &
until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.2; done
kube-controller-manager --kubeconfig=$pki/kcm.kubeconfig --bind-address=127.0.0.1 --use-service-account-credentials \
  --service-account-private-key-file=$pki/sa.key --root-ca-file=$pki/ca.crt --leader-elect=false --cert-dir=$run/kcmcert >$run/log/kcm 2>&1 &
kube-scheduler --kubeconfig=$pki/sched.kubeconfig --bind-address=127.0.0.1 --leader-elect=false --cert-dir=$run/scert >$run/log/sched 2>&1 &
for image in $own/images/*.tar; do ctr -a $run/ctd/c.sock -n k8s.io images import $image || echo "$image cannot be imported"; done
kubelet --config=$own/kubelet.yaml --kubeconfig=$pki/node1.kubeconfig --root-dir=$run/kubelet --cert-dir=$run/kubelet/pki \
  --hostname-override=node1 --node-ip=10.99.0.1 --v=2 >$run/log/kubelet 2>&1 &
until kubectl get node node1 -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null | grep -q True; do sleep 0.2; done
echo up >$run/up
wait
