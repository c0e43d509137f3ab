# The local certificate authority, certificates and passwords: made once for a state directory, readable by its owner only. Sourced.
# shellcheck shell=bash

secrets_ensure() {
  local name
  mkdir -p "$SECRETS"
  chmod 700 "$SECRETS"
  (
    umask 077
    for name in kafka-admin kafka-tidegate-operator postgres-admin postgres-wallet; do
      # Alphanumeric: they pass through configuration files with quoting rules of their own.
      [ -s "$SECRETS/$name" ] || openssl rand -hex 24 | tr -d '\n' >"$SECRETS/$name"
    done
    if [ ! -s "$SECRETS/ca.crt" ]; then
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=Tidegate local CA" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout "$SECRETS/ca.key" -out "$SECRETS/ca.crt.part"
      mv "$SECRETS/ca.crt.part" "$SECRETS/ca.crt"
    fi
    certificate kafka "DNS:*.kafka.kafka.svc.cluster.local,DNS:kafka-bootstrap.kafka.svc.cluster.local,DNS:kafka-bootstrap.kafka.svc"
    certificate postgres "DNS:postgres.postgres.svc.cluster.local,DNS:postgres.postgres.svc"
  )
}

# certificate NAME ALTERNATIVE_NAMES: a key (PKCS#8, the only PEM form that Kafka takes) and a certificate, for inside and localhost.
certificate() {
  local name=$1 names=$2
  if [ -s "$SECRETS/$name.crt" ]; then
    return
  fi
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
    -keyout "$SECRETS/$name.key" -out "$SECRETS/$name.csr"
  printf 'subjectAltName=%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' "$names" >"$SECRETS/$name.ext"
  openssl x509 -req -in "$SECRETS/$name.csr" -CA "$SECRETS/ca.crt" -CAkey "$SECRETS/ca.key" -CAcreateserial -days 3650 \
    -extfile "$SECRETS/$name.ext" -out "$SECRETS/$name.crt.part"
  cat "$SECRETS/$name.key" "$SECRETS/$name.crt.part" "$SECRETS/ca.crt" >"$SECRETS/$name.pem"
  mv "$SECRETS/$name.crt.part" "$SECRETS/$name.crt"
  rm -f "$SECRETS/$name.csr" "$SECRETS/$name.ext"
}

# secret NAMESPACE NAME ARGUMENT...: applied as a Secret. What is secret in it travels as a file, never on a command line.
secret() {
  local namespace=$1 name=$2
  shift 2
  k create secret generic "$name" -n "$namespace" --dry-run=client -o yaml "$@" | apply
}
