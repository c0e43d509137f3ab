#!/bin/sh
# Makes the data folder at the first start and runs the server.
set -eu
if [ ! -f "$PGDATA/PG_VERSION" ]; then
  # An interrupted first start leaves half a folder, which initdb refuses.
  rm -rf "$PGDATA" "$PGDATA.new"
  initdb -D "$PGDATA.new" -U postgres --pwfile=/etc/postgres-admin/password --auth-local=trust --auth-host=scram-sha-256 \
    -E UTF8 --locale=C.UTF-8
  mv "$PGDATA.new" "$PGDATA"
fi
# The volume's group gets write access at each mount; the server refuses a folder like that.
chmod 700 "$PGDATA"
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c hba_file=/etc/postgres/pg_hba.conf \
  -c ssl=on -c ssl_cert_file=/etc/postgres-tls/tls.crt -c ssl_key_file=/etc/postgres-tls/tls.key \
  -c max_connections=200 -c shared_buffers=256MB -c log_line_prefix='%m [%p] %q%u@%d '
