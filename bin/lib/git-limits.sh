# Puts the caller, and so git's programs, into a control group with limits. Sourced by the run script of paas-git, which ends
# here if that can't be done: without the limits one push could take the machine from everybody.
# shellcheck shell=bash

git_limits() {
    local root=${1:-/sys/fs/cgroup} name controller
    name=paas-git_${PAAS_INSTANCE:-$(printf '%s' "$PAAS_DATA_DIR" | cksum | cut -d' ' -f1)}
    if [ -e "$root/cgroup.controllers" ]; then
        for controller in memory pids; do enable_controller "$root" "$controller" || return 1; done
        mkdir -p "$root/$name" || return 1
        limit "$root/$name/memory.max" 2147483648 || return 1
        # Absent where the kernel does not account for swap.
        [ ! -e "$root/$name/memory.swap.max" ] || limit "$root/$name/memory.swap.max" 0 || return 1
        limit "$root/$name/pids.max" 2048 || return 1
        # Its share of the processors is a matter of comfort, not of safety.
        if enable_controller "$root" cpu; then limit "$root/$name/cpu.weight" 50 || true; fi
        limit "$root/$name/cgroup.procs" $$ || return 1
    else
        limit_in "$root/memory" "$name" memory.limit_in_bytes 2147483648 || return 1
        limit_in "$root/pids" "$name" pids.max 2048 || return 1
        limit_in "$root/cpu" "$name" cpu.shares 512 || true
    fi
}

# limit FILE VALUE
limit() {
    # A file that is not there must not come into being where no control group is.
    if [ -e "$1" ] && { echo "$2" >"$1"; } 2>/dev/null; then return 0; fi
    echo "paas-git: $1 does not take $2; make this controller available to the host's control groups, then it is tried again"
    return 1
}

# limit_in HIERARCHY NAME FILE VALUE: cgroup v1.
limit_in() {
    if [ ! -e "$1/cgroup.procs" ] || ! mkdir -p "$1/$2"; then
        echo "paas-git: the control group $1/$2 can't be made; mount that hierarchy, then it is tried again"
        return 1
    fi
    limit "$1/$2/$3" "$4" && limit "$1/$2/cgroup.procs" $$
}

# enable_controller ROOT CONTROLLER: cgroup v2, for the groups below ROOT.
enable_controller() {
    local root=$1 pid
    ! grep -qw "$2" "$root/cgroup.subtree_control" || return 0
    { echo "+$2" >"$root/cgroup.subtree_control"; } 2>/dev/null && return 0
    # In a container this root is a group below the host's (which has no type): as long as it holds processes it can't lead
    # controllers on, so they move down.
    if [ -e "$root/cgroup.type" ] && grep -qw "$2" "$root/cgroup.controllers"; then
        mkdir -p "$root/init" || return 1
        while read -r pid; do
            # A process may have ended since it was listed.
            { echo "$pid" >"$root/init/cgroup.procs"; } 2>/dev/null || [ ! -d "/proc/$pid" ] || break
        done < <(cat "$root/cgroup.procs")
    fi
    limit "$root/cgroup.subtree_control" "+$2"
}

# The supervisor starts it again; not in a hurry.
git_limits || {
    sleep 5
    exit 1
}
