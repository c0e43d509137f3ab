# PostgreSQL on the cluster: image, Secrets, server, and a database with its owner for each service. Sourced, not run.
# shellcheck shell=bash

postgres_ensure() {
  image_ensure postgres images/postgres "echo images/postgres"
  namespace postgres
  secret postgres postgres-admin --from-file=password="$SECRETS/postgres-admin"
  secret postgres postgres-tls --from-file=tls.crt="$SECRETS/postgres.crt" --from-file=tls.key="$SECRETS/postgres.key" \
    --from-file=ca.crt="$SECRETS/ca.crt"
  k kustomize deploy/postgres | with_image postgres | apply
}

postgres_ready() {
  workload postgres statefulset/postgres 180
  postgres_database wallet
}

# postgres_database NAME: a database and a role of this name that owns it. The statements travel by standard input.
postgres_database() {
  local name=$1
  k -n postgres exec -i postgres-0 -- psql -q -v ON_ERROR_STOP=1 <<SQL
SELECT 'CREATE ROLE $name LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$name') \gexec
ALTER ROLE $name PASSWORD '$(cat "$SECRETS/postgres-$name")';
SELECT 'CREATE DATABASE $name OWNER $name' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$name') \gexec
REVOKE CONNECT, TEMPORARY ON DATABASE $name FROM PUBLIC;
SQL
}

# database_binding NAMESPACE SECRET NAME: how a pod reaches the database NAME as its owner.
database_binding() {
  secret "$1" "$2" --from-file=ca.crt="$SECRETS/ca.crt" --from-file=uri=<(
    printf 'postgres://%s:%s@postgres.postgres.svc.cluster.local:5432/%s?sslmode=verify-full' "$3" "$(cat "$SECRETS/postgres-$3")" "$3"
  )
}
