# Shared by bin/up, bin/down and bin/test: settings, paths, messages. To be sourced by bash.
# shellcheck shell=bash

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Settings: environment over the file that PAAS_ENV_FILE names.
export PAAS_ENV_FILE=${PAAS_ENV_FILE:-/etc/paas/paas.env}
if [ -r "$PAAS_ENV_FILE" ]; then
    while IFS='=' read -r key value; do
        case $key in
            PAAS_*) [ -n "${!key+x}" ] || export "$key=$value" ;;
        esac
    done < <(grep -oE '^[[:space:]]*PAAS_[A-Z0-9_]+=.*' "$PAAS_ENV_FILE" | sed 's/^[[:space:]]*//')
fi
# As the kernel names them: a link like /var/run, a slash too many or ".." would be another name for the same directory.
canonical() { case $1 in /*) readlink -m -- "$1" ;; *) printf '%s' "$1" ;; esac; }
PAAS_DATA_DIR=$(canonical "${PAAS_DATA_DIR:-/var/lib/paas}")
PAAS_RUN_DIR=$(canonical "${PAAS_RUN_DIR:-/run/paas}")
PAAS_PREFIX=$(canonical "${PAAS_PREFIX:-$PAAS_DATA_DIR/prefix}")
export PAAS_DATA_DIR PAAS_RUN_DIR PAAS_PREFIX
export PAAS_API_ADDRESS=${PAAS_API_ADDRESS:-127.0.0.1:7070}
# Empty or "off": no git over SSH.
export PAAS_SSH_ADDRESS=${PAAS_SSH_ADDRESS-127.0.0.1:7022}
[ "$PAAS_SSH_ADDRESS" != off ] || PAAS_SSH_ADDRESS=
export PAAS_SSH_USER=${PAAS_SSH_USER:-paas-ssh}
export PAAS_BOOT_ID_FILE=${PAAS_BOOT_ID_FILE:-$PAAS_RUN_DIR/boot-id}
PAAS_API_URL=http://$PAAS_API_ADDRESS
METRICS_ADDRESS=${PAAS_ROUTER_METRICS_ADDRESS:-127.0.0.1:7090}

# Names this platform on the host, where a name of its own is needed.
PLATFORM_NAME=${PAAS_INSTANCE:-$(printf '%s' "$PAAS_DATA_DIR" | cksum | cut -d' ' -f1)}
SERVICES=(postgres paas-engine paas-git paasd paas-router paas-sshd)
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
    local d other
    [ "$PAAS_ENV_FILE" = /etc/paas/paas.env ] || [ -r "$PAAS_ENV_FILE" ] ||
        die "PAAS_ENV_FILE names $PAAS_ENV_FILE, which can't be read" "correct it; /dev/null means no settings"
    for d in "$PAAS_DATA_DIR" "$PAAS_RUN_DIR" "$PAAS_PREFIX"; do
        case $d in
            /usr/* | /etc/* | /bin/* | /sbin/* | /lib*/* | /boot/* | /dev/* | /proc/* | /sys/*)
                die "$d lies in a directory of the system" "set PAAS_DATA_DIR, PAAS_RUN_DIR and PAAS_PREFIX to directories of their own" ;;
            /home/*/*) ;;
            /home/* | [!/]*) false ;;
            /*/*) ;;
            *) false ;;
        esac || die "'$d' can't be a directory of the platform" \
            "set PAAS_DATA_DIR, PAAS_RUN_DIR and PAAS_PREFIX to absolute paths of directories of their own, as in /srv/slipway"
    done
    for other in "$PAAS_DATA_DIR" "$PAAS_PREFIX"; do
        case $other/ in "$PAAS_RUN_DIR"/*) die "$other lies in $PAAS_RUN_DIR, which bin/down removes" "set PAAS_RUN_DIR to a directory of its own" ;; esac
    done
    case $PAAS_RUN_DIR/ in "$PAAS_DATA_DIR"/*) die "PAAS_RUN_DIR lies in PAAS_DATA_DIR" "set PAAS_RUN_DIR to a directory of its own, as in /run/slipway" ;; esac
    case $PAAS_DATA_DIR/ in "$PAAS_PREFIX"/*) die "PAAS_DATA_DIR lies in PAAS_PREFIX" "set PAAS_PREFIX to a directory of its own" ;; esac
}

# Whether a directory is this platform's: it holds our marker, or what a platform from before the marker held.
is_ours() {
    [ -e "$1/.slipway" ] && return 0
    case $1 in
        "$PAAS_RUN_DIR") [ -e "$1/up.lock" ] || [ -e "$1/engine.lock" ] ;;
        "$PAAS_DATA_DIR"/*) is_ours "$PAAS_DATA_DIR" ;;
        "$PAAS_PREFIX") [ -s "$1/stamp" ] && [ -L "$1/hooks/proc-receive" ] ;;
        *) [ -s "$1/secret.key" ] && [ -d "$1/slugs" ] && [ -d "$1/repos" ] ;;
    esac
}

# Whether a directory is missing or empty, as the mount point of a new disk is.
is_unused() {
    [ -e "$1" ] || return 0
    [ -d "$1" ] && [ -z "$(find "$1" -mindepth 1 -maxdepth 1 ! -name lost+found -print -quit)" ]
}

# Makes a directory the platform's if it is unused, and marks it.
adopt_directory() {
    if ! is_unused "$1" && ! is_ours "$1"; then
        die "$1 is there and isn't the platform's" "set PAAS_DATA_DIR, PAAS_RUN_DIR and PAAS_PREFIX to directories that are empty or missing"
    fi
    mkdir -p "$1" && : >>"$1/.slipway" || die "the directory $1 can't be made" "see the message above"
}

# What is mounted below a directory.
mounts_below() {
    local path
    while read -r _ _ _ _ path _; do
        # Spaces and the like are written in octal.
        printf -v path '%b' "$path"
        case $path in "$1"/*) printf '%s ' "$path" ;; esac
    done </proc/self/mountinfo
}

# Removes a directory of the platform; of one that is a mount point, what is in it. Nothing that is mounted in it is entered,
# also if it is a part of the same file system, which rm does not notice.
remove_directory() {
    local mounts
    ! is_unused "$1" || return 0
    is_ours "$1" || die "$1 isn't the platform's (it has no file .slipway), so it is not removed" "look at it and remove it yourself"
    mounts=$(mounts_below "$1")
    [ -z "$mounts" ] || die "$1 is not removed, because something else is mounted in it: $mounts" "unmount that (umount), then run it again"
    # The marker goes last, so that an interrupted removal can be taken up again.
    find "$1" -mindepth 1 -maxdepth 1 ! -name lost+found ! -name .slipway -exec rm -rf --one-file-system --preserve-root=all -- {} + &&
        rm -f "$1/.slipway" && { mountpoint -q "$1" || rmdir "$1"; } || die "$1 can't be removed" "the message above says why"
}

# One bin/up or bin/down of a platform at a time. The lock lies outside the directories that bin/down removes.
lock_platform() {
    exec 9>"/run/slipway-$PLATFORM_NAME.lock"
    flock -n 9 || die "another bin/up or bin/down of this platform is running" "wait for it to end"
}

# The pid of the root of the supervision tree, if it runs.
svscan_pid() {
    local pid='' started=''
    [ -r "$PAAS_RUN_DIR/s6-svscan.pid" ] || return 1
    read -r pid started <"$PAAS_RUN_DIR/s6-svscan.pid" || return 1
    [ -n "$pid" ] && [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ] || return 1
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
