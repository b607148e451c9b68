# Users, directories, secrets, services of one platform. To be sourced after platform.sh.
# shellcheck shell=bash

make_users() {
    local user
    for user in paas paas-git paas-router paas-db; do
        getent passwd "$user" >/dev/null && continue
        useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user" ||
            die "the system user $user can't be made"
    done
    make_ssh_user
}

# Whoever comes over SSH is this user, and so is sshd itself, which needs no rights then. It has a shell because sshd runs even
# a forced command with one; there is no password and no key of its own.
make_ssh_user() {
    local record
    [ -n "$PAAS_SSH_ADDRESS" ] || return 0
    if ! record=$(getent passwd "$PAAS_SSH_USER"); then
        useradd --system --user-group --no-create-home --home-dir / --shell /bin/sh "$PAAS_SSH_USER" ||
            die "the system user $PAAS_SSH_USER can't be made"
    elif [ "$(cut -d: -f6,7 <<<"$record")" != /:/bin/sh ]; then
        die "the user $PAAS_SSH_USER is there and isn't the platform's" "choose another name with PAAS_SSH_USER, or set PAAS_SSH_ADDRESS=off"
    fi
}

# directory PATH OWNER:GROUP MODE
directory() {
    mkdir -p "$1" && chown "$2" "$1" && chmod "$3" "$1" || die "the directory $1 can't be made"
}

make_directories() {
    directory "$PAAS_DATA_DIR" root:root 0711
    directory "$PAAS_DATA_DIR/repos" paas-git:paas-git 0700
    directory "$PAAS_DATA_DIR/slugs" root:root 0700
    directory "$PAAS_DATA_DIR/stacks" root:root 0700
    directory "$PAAS_DATA_DIR/caches" root:root 0700
    directory "$PAAS_DATA_DIR/builds" root:root 0700
    directory "$PAAS_DATA_DIR/uploads" paas:paas 0700
    directory "$PAAS_DATA_DIR/logs" root:root 0700
    directory "$PAAS_DATA_DIR/build-logs" paas:paas 0700
    directory "$PAAS_DATA_DIR/platform-logs" paas:paas 0700
    directory "$PAAS_DATA_DIR/lock" paas:paas 0700
    directory "$PAAS_DATA_DIR/router" paas-router:paas-router 0700
    directory "$PAAS_DATA_DIR/service-logs" root:root 0700
    directory "$PAAS_RUN_DIR" root:root 0711
    # Bundles, mounts and environment files: on a tmpfs even where PAAS_RUN_DIR itself is not.
    directory "$PAAS_RUN_DIR/git" paas-git:paas 2750
    directory "$PAAS_RUN_DIR/push" paas:paas-git 2750
    directory "$PAAS_RUN_DIR/table" paas:paas-router 2750
    [ -z "$PAAS_SSH_ADDRESS" ] || directory "$PAAS_RUN_DIR/ssh" "paas:$PAAS_SSH_USER" 2750
    directory "$PAAS_RUN_DIR/postgres" paas-db:paas 2750
}

# What was running is gone with a reboot, and with the run directory too: addresses start anew then. So the boot that the
# programs speak of is the kernel's and this directory's.
make_boot_id() {
    local kernel
    kernel=$(cat /proc/sys/kernel/random/boot_id)
    [ "$PAAS_BOOT_ID_FILE" = "$PAAS_RUN_DIR/boot-id" ] || return 0
    case $(cat "$PAAS_BOOT_ID_FILE" 2>/dev/null) in "$kernel".*) return 0 ;; esac
    printf '%s.%s\n' "$kernel" "$(head -c 8 /dev/urandom | od -An -tx1 | tr -d ' \n')" >"$PAAS_BOOT_ID_FILE.new"
    chmod 0644 "$PAAS_BOOT_ID_FILE.new"
    mv "$PAAS_BOOT_ID_FILE.new" "$PAAS_BOOT_ID_FILE"
}

# Secrets are made once and never printed.
make_secrets() {
    local file
    umask 077
    file=$PAAS_DATA_DIR/secret.key
    if [ ! -s "$file" ]; then
        [ ! -s "$PAAS_DATA_DIR/postgres/PG_VERSION" ] ||
            die "$file is missing, but there is a database that was encrypted with it" "put the key back from your backup"
        head -c 32 /dev/urandom >"$file.new" && chown paas:paas "$file.new" && sync "$file.new" && mv "$file.new" "$file"
    fi
    file=$PAAS_DATA_DIR/admin-token
    if [ ! -s "$file" ]; then
        { printf 'paas_'; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; } >"$file.new" &&
            chown paas:paas "$file.new" && sync "$file.new" && mv "$file.new" "$file"
    fi
    umask 022
}

# The host keys of git over SSH, made once: clients remember them.
make_host_keys() {
    local type name
    [ -n "$PAAS_SSH_ADDRESS" ] || return 0
    directory "$PAAS_DATA_DIR/ssh" root:root 0711
    for type in ed25519 rsa; do
        name=$PAAS_DATA_DIR/ssh/ssh_host_${type}_key
        if [ ! -s "$name" ]; then
            rm -f "$name.new" "$name.new.pub"
            ssh-keygen -q -t "$type" -N '' -C '' -f "$name.new" </dev/null && sync "$name.new" &&
                mv "$name.new.pub" "$name.pub" && mv "$name.new" "$name" || die "the host key $name can't be made"
        fi
        chown "$PAAS_SSH_USER:" "$name" && chmod 0600 "$name" && chmod 0644 "$name.pub" || die "the host key $name can't be protected"
    done
}

# What a folder of programs holds; paas-lifecycle first, because the engine mounts it into every container.
PROGRAMS=(paas-lifecycle paasd paas-engine paas-git paas-router paasctl)

# install_programs FOLDER STAMP [LIFECYCLE]: each file appears whole and replaces the old one in one step; containers that run
# keep what they have mounted. LIFECYCLE: the file, where it is not in FOLDER.
install_programs() {
    local from=$1 stamp=$2 program file
    mkdir -p "$PAAS_PREFIX/bin" "$PAAS_PREFIX/hooks"
    for program in "${PROGRAMS[@]}"; do
        file=$from/$program
        [ "$program" != paas-lifecycle ] || file=${3:-$file}
        [ -x "$file" ] || die "there is no program $file" "build it first, or leave --prebuilt out"
        if ! cmp -s "$file" "$PAAS_PREFIX/bin/$program"; then
            install -m 0755 "$file" "$PAAS_PREFIX/bin/$program.new"
            mv "$PAAS_PREFIX/bin/$program.new" "$PAAS_PREFIX/bin/$program"
        fi
    done
    # A debug build's programs look for Swift's libraries beside themselves.
    for program in "$from"/*.so; do
        [ ! -e "$program" ] || install -m 0644 -t "$PAAS_PREFIX/bin" "$program"
    done
    ln -sfn ../bin/paas-git "$PAAS_PREFIX/hooks/proc-receive"
    printf '%s\n' "$stamp" >"$PAAS_PREFIX/stamp"
}

# install_tree NAME: buildpacks or stacks, which change without the programs. What was there before stays beside it until the next
# change: builds that run have it mounted.
install_tree() {
    local stamp
    stamp=$(stamp_of "$1")
    if [ "$(cat "$PAAS_PREFIX/$1.stamp" 2>/dev/null)" = "$stamp" ] && [ -d "$PAAS_PREFIX/$1" ]; then return 0; fi
    # Written last: an interrupted run starts again.
    rm -rf "$PAAS_PREFIX/$1.new" "$PAAS_PREFIX/$1.stamp" "$PAAS_PREFIX/trees.stamp"
    cp -r --no-preserve=ownership "$REPO/$1" "$PAAS_PREFIX/$1.new"
    find "$PAAS_PREFIX/$1.new" -type d -exec chmod 0755 {} + -o -type f -perm -u+x -exec chmod 0755 {} + -o -type f -exec chmod 0644 {} +
    rm -rf "$PAAS_PREFIX/$1.old"
    [ ! -e "$PAAS_PREFIX/$1" ] || mv "$PAAS_PREFIX/$1" "$PAAS_PREFIX/$1.old"
    mv "$PAAS_PREFIX/$1.new" "$PAAS_PREFIX/$1"
    printf '%s\n' "$stamp" >"$PAAS_PREFIX/$1.stamp"
}

# Prints the stacks that are there already and have a definition here, one a line.
present_stacks() {
    local current name
    for current in "$PAAS_DATA_DIR"/stacks/*/current; do
        [ -L "$current" ] || [ -e "$current" ] || continue
        name=${current%/current}
        name=${name##*/}
        [ ! -f "$PAAS_PREFIX/stacks/$name/stack.conf" ] || printf '%s\n' "$name"
    done
}

make_database() {
    [ -z "${PAAS_DATABASE_URL:-}" ] || return 0
    local bin
    bin=$(postgres_bin) || die "PostgreSQL 15 or later is not installed" "apt-get install postgresql"
    [ -s "$PAAS_DATA_DIR/postgres/PG_VERSION" ] && return 0
    body "initialising the database"
    rm -rf "$PAAS_DATA_DIR/postgres.new"
    directory "$PAAS_DATA_DIR/postgres.new" paas-db:paas-db 0700
    local log
    log=$(cd / && s6-setuidgid paas-db "$bin/initdb" -D "$PAAS_DATA_DIR/postgres.new" -U paas-db -E UTF8 --locale=C.UTF-8 \
        --auth-local=peer --auth-host=reject 2>&1 </dev/null) || die "initdb failed" "$log"
    cat >"$PAAS_DATA_DIR/postgres.new/pg_hba.conf" <<HBA
# Only over the unix socket, only the users below, named by the kernel.
local paas     paas    peer map=paas
local all      paas-db peer map=paas
HBA
    cat >"$PAAS_DATA_DIR/postgres.new/pg_ident.conf" <<IDENT
paas paas    paas
paas paas-db paas-db
paas root    paas-db
IDENT
    cat >>"$PAAS_DATA_DIR/postgres.new/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_permissions = 0770
max_connections = 60
shared_buffers = 64MB
fsync = on
synchronous_commit = on
log_min_error_statement = panic
log_statement = none
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
CONF
    sync
    mv "$PAAS_DATA_DIR/postgres.new" "$PAAS_DATA_DIR/postgres"
}

make_database_role() {
    [ -z "${PAAS_DATABASE_URL:-}" ] || return 0
    local bin
    bin=$(postgres_bin)
    local psql=("$bin/psql" -h "$PAAS_RUN_DIR/postgres" -U paas-db -d postgres -X -q -t -A -v ON_ERROR_STOP=1)
    wait_for 60 database "${psql[@]}" -c 'select 1' ||
        die "the database does not start" "its log: $PAAS_DATA_DIR/service-logs/postgres/current"
    [ "$("${psql[@]}" -c "select 1 from pg_roles where rolname='paas'")" = 1 ] || "${psql[@]}" -c 'create role paas login' ||
        die "the database role can't be made"
    [ "$("${psql[@]}" -c "select 1 from pg_database where datname='paas'")" = 1 ] ||
        "${psql[@]}" -c 'create database paas owner paas' || die "the database can't be made"
}
