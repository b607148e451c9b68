# Shared by bin/up, bin/down and bin/test: settings, paths, messages. To be sourced by bash.
# shellcheck shell=bash

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Settings: environment over /etc/paas/paas.env.
if [ -r /etc/paas/paas.env ]; then
    while IFS='=' read -r key value; do
        case $key in
            PAAS_*) [ -n "${!key+x}" ] || export "$key=$value" ;;
        esac
    done < <(grep -E '^[[:space:]]*PAAS_[A-Z0-9_]+=' /etc/paas/paas.env)
fi
export PAAS_DATA_DIR=${PAAS_DATA_DIR:-/var/lib/paas}
export PAAS_RUN_DIR=${PAAS_RUN_DIR:-/run/paas}
export PAAS_PREFIX=${PAAS_PREFIX:-$PAAS_DATA_DIR/prefix}
export PAAS_API_ADDRESS=${PAAS_API_ADDRESS:-127.0.0.1:7070}
export PAAS_BOOT_ID_FILE=${PAAS_BOOT_ID_FILE:-$PAAS_RUN_DIR/boot-id}
PAAS_API_URL=http://$PAAS_API_ADDRESS

SERVICES=(postgres paas-engine paas-git paasd paas-router)
S6=$PAAS_RUN_DIR/s6

title() { printf -- '-----> %s\n' "$*"; }
body() { printf -- '       %s\n' "$*"; }
warn() { printf -- ' !     %s\n' "$*" >&2; }
STEP=starting
step() { STEP=$*; title "$*"; }
die() {
    warn "failed while: $STEP"
    while [ $# -gt 0 ]; do warn "$1"; shift; done
    exit 1
}

need_root() { [ "$(id -u)" = 0 ] || die "this must run as root" "run: sudo $0"; }

# Every directory that this platform uses must be its own: a mistyped setting must not end in rm -r of something else.
check_directories() {
    local d
    for d in "$PAAS_DATA_DIR" "$PAAS_RUN_DIR" "$PAAS_PREFIX"; do
        case $d in
            / | /usr | /usr/* | /etc | /etc/* | /bin | /bin/* | /lib | /lib/* | /home | /root | /var | /run | /tmp | /opt)
                die "$d can't be a directory of the platform" "set PAAS_DATA_DIR and PAAS_RUN_DIR to directories of their own" ;;
            /*) ;;
            *) die "PAAS_DATA_DIR and PAAS_RUN_DIR must be absolute paths" ;;
        esac
    done
}

# The pid of the root of the supervision tree, if it runs.
svscan_pid() {
    local pid
    [ -r "$PAAS_RUN_DIR/s6-svscan.pid" ] || return 1
    read -r pid started <"$PAAS_RUN_DIR/s6-svscan.pid" || return 1
    [ -n "$pid" ] && [ "$(start_time "$pid")" = "$started" ] || return 1
    printf '%s' "$pid"
}

# Start time of a process in clock ticks: with the pid it names one process for good.
start_time() { [ -r "/proc/$1/stat" ] && sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# wait_for SECONDS MESSAGE COMMAND…: until COMMAND succeeds.
wait_for() {
    local seconds=$1 message=$2 deadline
    shift 2
    deadline=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.1
    done
}

postgres_bin() {
    local version
    if [ -s "$PAAS_DATA_DIR/postgres/PG_VERSION" ]; then
        version=$(cat "$PAAS_DATA_DIR/postgres/PG_VERSION")
    else
        version=$(ls /usr/lib/postgresql 2>/dev/null | sort -n | tail -1)
    fi
    [ -n "$version" ] && [ -x "/usr/lib/postgresql/$version/bin/postgres" ] || return 1
    printf '/usr/lib/postgresql/%s/bin' "$version"
}
