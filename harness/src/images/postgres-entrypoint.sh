#!/bin/sh
# Starts Postgres as the official image does, as far as the harness and compose.yaml need it:
# initialises an empty data folder with POSTGRES_PASSWORD (or POSTGRES_HOST_AUTH_METHOD=trust),
# then becomes the server, with the arguments given to the container, as the user postgres.
set -eu
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
export PATH PGDATA="${PGDATA:-/var/lib/postgresql/data}"

as_postgres() {
    setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
}

# For its socket; nothing below /run survives the making of an image.
install -d -o postgres -g postgres -m 2775 /var/run/postgresql

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    chown postgres:postgres "$PGDATA"
    chmod 700 "$PGDATA"
    method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    if [ "$method" = trust ]; then
        as_postgres initdb --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync
    else
        : "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust}"
        password=$(as_postgres mktemp)
        printf '%s' "$POSTGRES_PASSWORD" >"$password"
        as_postgres initdb --username=postgres --auth-local=trust --auth-host="$method" \
            --pwfile="$password" --encoding=UTF8 --locale=C.UTF-8 --no-sync
        rm -f "$password"
    fi
    printf 'host all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
    printf "listen_addresses = '*'\n" >>"$PGDATA/postgresql.conf"
fi

[ "${1:-}" = postgres ] && shift
exec setpriv --reuid=postgres --regid=postgres --init-groups -- postgres "$@"
