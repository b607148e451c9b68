# Debian packages that the platform needs. To be sourced after platform.sh.
# shellcheck shell=bash

RUNTIME_PACKAGES=(postgresql runc conmon tini s6 nftables erofs-utils e2fsprogs mmdebstrap debian-archive-keyring
    containernetworking-plugins golang-github-containers-common libgit2-dev libuv1-dev libpq-dev git openssh-server ca-certificates
    iproute2 dnsmasq-base util-linux uidmap libarchive-tools jq curl procps python3)
OPTIONAL_PACKAGES=(crun)
BUILD_PACKAGES=(gcc g++ libc6-dev pkg-config binutils make libssl-dev zlib1g-dev)
TEST_PACKAGES=(python3-pytest python3-requests mosquitto-clients git-lfs swaks libmemcached-tools bind9-dnsutils dpkg-dev
    python3-venv python3-pip)
# Clients of what `bin/test upstream` deploys.
UPSTREAM_PACKAGES=(redis-tools)

# Debian starts and enables what it installs. Of openssh-server the platform wants the program only: no server of the system
# that nobody asked for may begin to listen.
POLICY=/usr/sbin/policy-rc.d
POLICY_MARK='# Made by bin/up while it installs packages.'
forbid_starts() {
    [ ! -e "$POLICY" ] || return 0
    printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY.new"
    chmod 0755 "$POLICY.new"
    mv "$POLICY.new" "$POLICY"
}
# Also what a run left that was killed.
allow_starts() { ! grep -qxF "$POLICY_MARK" "$POLICY" 2>/dev/null || rm -f "$POLICY"; }
disable_system_sshd() {
    local now=()
    # Not unpacked: there is nothing to disable.
    [ -x /usr/sbin/sshd ] || return 0
    if command -v systemctl >/dev/null; then
        # Only a systemd that runs can stop anything.
        [ ! -d /run/systemd/system ] || now=(--now)
        systemctl --quiet disable "${now[@]}" ssh.service ssh.socket
    else
        deb-systemd-helper disable ssh.service && update-rc.d ssh disable
    fi >/dev/null 2>&1 || warn "Debian's own ssh service could not be disabled; do it if you don't want it: systemctl disable --now ssh"
}

# without_starts COMMAND…: nothing that it installs is started, and sshd is not enabled, however it ends.
without_starts() (
    trap 'allow_starts; disable_system_sshd' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    forbid_starts
    "$@"
)

apt_install() {
    # Another apt, as of unattended upgrades, is waited for.
    local apt=(apt-get -q -o DPkg::Lock::Timeout=300)
    "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$@"
}

install_packages() {
    local missing=() p log guard=()
    allow_starts
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
    [[ " ${missing[*]} " != *" openssh-server "* ]] || guard=(without_starts)
    log=$(mktemp)
    if ! "${guard[@]}" apt_install "${missing[@]}" >"$log" 2>&1 </dev/null; then
        tail -20 "$log" >&2
        rm -f "$log"
        return 1
    fi
    grep '^ !  ' "$log" >&2 || true
    rm -f "$log"
}
