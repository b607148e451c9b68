# Puts the caller, and so git's programs, into a control group with limits. Sourced by the run script of paas-git.
# shellcheck shell=bash
name=paas-git_${PAAS_INSTANCE:-$(printf '%s' "$PAAS_DATA_DIR" | cksum | cut -d' ' -f1)}
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    group=/sys/fs/cgroup/$name
    mkdir -p "$group"
    echo 2G >"$group/memory.max"
    echo 0 >"$group/memory.swap.max" 2>/dev/null || true
    echo 256 >"$group/pids.max"
    echo 50 >"$group/cpu.weight"
    echo $$ >"$group/cgroup.procs"
else
    for controller in memory pids cpu; do
        group=/sys/fs/cgroup/$controller/$name
        [ -d "/sys/fs/cgroup/$controller" ] || continue
        mkdir -p "$group"
        case $controller in
            memory) echo 2147483648 >"$group/memory.limit_in_bytes" ;;
            pids) echo 256 >"$group/pids.max" ;;
            cpu) echo 512 >"$group/cpu.shares" ;;
        esac
        echo $$ >"$group/cgroup.procs"
    done
fi
