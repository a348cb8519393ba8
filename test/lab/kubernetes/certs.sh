# A certificate authority, the certificates of every part of the cluster and their kubeconfigs, in $1/pki.
set -eu
mkdir -p "$1/pki"
cd "$1/pki"
ec() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }
ec ca.key
openssl req -x509 -new -key ca.key -subj /CN=k8s-ca -days 2 -out ca.crt -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
sign() {
  ec "$1.key"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  printf "%b" "$3" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out "$1.crt" -extfile "$1.ext" 2>/dev/null
}
client="extendedKeyUsage=clientAuth"
sign apiserver /CN=kube-apiserver "extendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1,IP:10.99.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
sign admin /O=system:masters/CN=admin "$client"
sign kcm /CN=system:kube-controller-manager "$client"
sign sched /CN=system:kube-scheduler "$client"
sign node1 /O=system:nodes/CN=system:node:node1 "$client"
openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
for user in admin kcm sched node1; do
  cat >$user.kubeconfig <<YAML
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443", certificate-authority: $1/pki/ca.crt}}]
users: [{name: u, user: {client-certificate: $1/pki/$user.crt, client-key: $1/pki/$user.key}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
YAML
done
