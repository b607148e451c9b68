# Debian packages that the platform needs. To be sourced after platform.sh.
# shellcheck shell=bash

RUNTIME_PACKAGES=(postgresql runc conmon tini s6 nftables erofs-utils e2fsprogs mmdebstrap debian-archive-keyring
    containernetworking-plugins golang-github-containers-common libgit2-dev libuv1-dev libpq-dev git ca-certificates
    iproute2 dnsmasq-base util-linux uidmap libarchive-tools jq curl procps python3)
OPTIONAL_PACKAGES=(crun)
BUILD_PACKAGES=(gcc g++ libc6-dev pkg-config binutils make libssl-dev zlib1g-dev)
TEST_PACKAGES=(python3-pytest python3-requests mosquitto-clients swaks libmemcached-tools bind9-dnsutils dpkg-dev
    python3-venv python3-pip)
# Clients of what `bin/test upstream` deploys.
UPSTREAM_PACKAGES=(redis-tools)

install_packages() {
    local missing=() p
    for p in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    body "installing ${missing[*]}"
    # Debian's postgresql package would otherwise make and start a cluster of its own that nobody asked for.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common
        printf 'create_main_cluster = false\n' >/etc/postgresql-common/createcluster.conf
    fi
    local log
    log=$(mktemp)
    # Another apt, as of unattended upgrades, is waited for.
    local apt=(apt-get -q -o DPkg::Lock::Timeout=300)
    if ! { "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } \
        >"$log" 2>&1 </dev/null; then
        tail -20 "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}
