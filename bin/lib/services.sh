# The supervision tree: s6 over the database and the programs. To be sourced after platform.sh.
# shellcheck shell=bash

# settings_export PROGRAM: every PAAS_ setting that concerns it, quoted for a shell. The database's password is paasd's alone; the
# other secrets are files.
settings_export() {
    local key
    while IFS= read -r key; do
        case $key in
            PAAS_TOKEN | PAAS_SWIFT | PAAS_API) continue ;;
            PAAS_DATABASE_URL) [ "$1" = paasd ] || continue ;;
            # May hold credentials of proxies and mirrors; what builds use is theirs alone.
            PAAS_HTTP_PROXY | PAAS_HTTPS_PROXY | PAAS_PIP_INDEX_URL | PAAS_NPM_REGISTRY | PAAS_GOPROXY | PAAS_GEM_MIRROR | PAAS_APT_*)
                case $1 in paasd | paas-engine) ;; *) continue ;; esac ;;
        esac
        printf 'export %s=%q\n' "$key" "${!key}"
    done < <(compgen -v PAAS_ | sort | grep -v '^PAAS_API_URL$')
}

# write_service NAME USER-COMMAND…: the words after the name are the last line of the run script.
write_service() {
    local name=$1
    shift
    mkdir -p "$S6/$name/log"
    {
        echo '#!/bin/bash'
        echo 'exec 2>&1'
        echo ': >started'
        settings_export "$name"
        echo 'cd /'
        echo 'ulimit -c 0; ulimit -n "$(ulimit -Hn)"'
        printf '%s\n' "$@"
    } >"$S6/$name/run.new"
    chmod 0700 "$S6/$name/run.new"
    mv "$S6/$name/run.new" "$S6/$name/run"
    write_finish "$name"
    directory "$PAAS_DATA_DIR/service-logs/$name" root:root 0700
    printf '#!/bin/sh\nexec s6-log -b n10 s1000000 T %s\n' "$PAAS_DATA_DIR/service-logs/$name" >"$S6/$name/log/run"
    chmod 0700 "$S6/$name/log/run"
}

# s6 waits a second before it starts again what died. One of our programs that was killed after it had run for a while is
# started at once; one that keeps dying, or was told to end (SIGTERM), is not. The database needs its pause.
write_finish() {
    [ "$1" != postgres ] || return 0
    cat >"$S6/$1/finish.new" <<'FINISH'
#!/bin/sh
# $1: 256 for a death by signal, $2: the signal.
[ "$1" = 256 ] && [ "$2" != 15 ] && [ $(($(date +%s) - $(stat -c %Y started))) -ge 2 ] || exit 0
# Heard only once this script has ended.
{ while kill -0 $$ 2>/dev/null; do sleep 0.01; done; exec s6-svc -u .; } &
FINISH
    chmod 0700 "$S6/$1/finish.new"
    mv "$S6/$1/finish.new" "$S6/$1/finish"
}

write_services() {
    mkdir -p "$S6"
    chmod 0700 "$S6"
    if [ -z "${PAAS_DATABASE_URL:-}" ]; then
        write_service postgres "exec s6-setuidgid paas-db $(postgres_bin)/postgres -D '$PAAS_DATA_DIR/postgres' -k '$PAAS_RUN_DIR/postgres'"
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave.
        echo SIGINT >"$S6/postgres/down-signal"
    fi
    write_service paas-engine "exec '$PAAS_PREFIX/bin/paas-engine' serve"
    write_service paas-git \
        ". '$PAAS_PREFIX/git-limits.sh'" \
        "umask 007" \
        "exec s6-setuidgid paas-git '$PAAS_PREFIX/bin/paas-git' serve"
    local told
    told=$(ssh_settings)
    write_service paasd \
        "umask 007" \
        "exec s6-setuidgid paas '$PAAS_PREFIX/bin/paasd'"
    # It says where git over SSH is, and whether it is.
    paasd_changed=
    [ "$(ssh_settings)" = "$told" ] || ! service_up paasd || paasd_changed=1
    write_service paas-router \
        "exec setpriv --reuid=paas-router --regid=paas-router --init-groups --inh-caps=-all,+net_bind_service --ambient-caps=-all,+net_bind_service --bounding-set=-all,+net_bind_service --no-new-privs '$PAAS_PREFIX/bin/paas-router' serve"
    cp "$REPO/bin/lib/git-limits.sh" "$PAAS_PREFIX/git-limits.sh"
    write_sshd
}

# What paasd's run script says of SSH.
ssh_settings() { grep '^export PAAS_SSH_' "$S6/paasd/run" 2>/dev/null || true; }

# Our own instance of OpenSSH's sshd for git: its own configuration and keys, and no rights at all. What the system's sshd does is
# not touched.
write_sshd() {
    local config=$PAAS_PREFIX/ssh/sshd_config caps=-all
    if [ -z "$PAAS_SSH_ADDRESS" ]; then
        end_ssh_sessions
        rm -rf "$S6/paas-sshd"
        return
    fi
    mkdir -p "$PAAS_PREFIX/ssh"
    cat >"$PAAS_PREFIX/ssh/banner" <<BANNER
Slipway git. If permission is denied, your key is not known here: paasctl keys add FILE.pub
BANNER
    sshd_config >"$config.new"
    sshd_changed=
    cmp -s "$config.new" "$config" || ! service_up paas-sshd || sshd_changed=1
    mv "$config.new" "$config"
    [ "${PAAS_SSH_ADDRESS##*:}" -ge 1024 ] || caps=-all,+net_bind_service
    # The limit is of the user's tasks, about four a client: those who are let in can't take the machine's.
    write_service paas-sshd \
        "ulimit -u 512" \
        "exec setpriv --reuid='$PAAS_SSH_USER' --regid='$PAAS_SSH_USER' --init-groups --inh-caps=$caps --ambient-caps=$caps --bounding-set=$caps --no-new-privs /usr/sbin/sshd -D -e -f '$config'"
}

# sshd wants the program that it asks for keys, and all folders above, to be root's and writable for nobody else. It looks at
# /usr/bin/env; ours is root's too, but may lie below a folder like /var/tmp.
sshd_config() {
    local program=${PAAS_PREFIX//%/%%}/bin/paas-git socket=${PAAS_RUN_DIR//%/%%}/ssh/ssh.sock
    cat <<CONFIG
# Written by bin/up; changes are lost.
ListenAddress $PAAS_SSH_ADDRESS
HostKey "$PAAS_DATA_DIR/ssh/ssh_host_ed25519_key"
HostKey "$PAAS_DATA_DIR/ssh/ssh_host_rsa_key"
PidFile none
Banner "$PAAS_PREFIX/ssh/banner"
VersionAddendum none
UsePAM no
AllowUsers $PAAS_SSH_USER
AuthenticationMethods publickey
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
HostbasedAuthentication no
AuthorizedKeysFile none
AuthorizedKeysCommand /usr/bin/env -i "$program" ssh-key "$socket" %t %k
AuthorizedKeysCommandUser $PAAS_SSH_USER
DisableForwarding yes
AllowTcpForwarding no
AllowStreamLocalForwarding no
AllowAgentForwarding no
X11Forwarding no
PermitTunnel no
GatewayPorts no
PermitTTY no
PermitUserRC no
PermitUserEnvironment no
PrintMotd no
PrintLastLog no
LoginGraceTime 20
MaxAuthTries 10
MaxSessions 4
MaxStartups 20:30:60
# Whoever is let in and asks for nothing goes; git's client asks at once.
UnusedConnectionTimeout 30
TCPKeepAlive yes
ClientAliveInterval 30
ClientAliveCountMax 4
CONFIG
    # Many users may come from one address, and a key that is not known here is no attack: one user's would lock all of them out.
    [ "$(ssh_version)" -lt 908 ] || echo 'PerSourcePenalties no'
}

# The version of OpenSSH as a number: 902 is 9.2.
ssh_version() {
    local text
    text=$(ssh -V 2>&1)
    [[ $text =~ ^OpenSSH_([0-9]+)\.([0-9]+) ]] || die "the version of OpenSSH can't be read from '$text'" "apt-get install openssh-client"
    printf '%d' $((BASH_REMATCH[1] * 100 + BASH_REMATCH[2]))
}

# Who is connected: children of our sshd, and of one before it that ended; those still hold the pipe to its log.
ssh_sessions() {
    local server=$1 log pid
    log=$(s6-svstat -o pid "$S6/paas-sshd/log" 2>/dev/null) && log=$(readlink "/proc/$log/fd/0") || log=
    for pid in $(pgrep -U "$PAAS_SSH_USER" 2>/dev/null); do
        [ "$pid" != "$server" ] || continue
        if [ "$(ps -o ppid= -p "$pid" | tr -d ' ')" = "$server" ] ||
            { [ -n "$log" ] && readlink "/proc/$pid/fd/"* 2>/dev/null | grep -qxF "$log"; }; then
            echo "$pid"
        fi
    done
}

# Ends sshd and all who are connected: they would go on without it, and its log would wait for them.
end_ssh_sessions() {
    local server sessions=()
    [ -d "$S6/paas-sshd" ] && server=$(s6-svstat -o pid "$S6/paas-sshd" 2>/dev/null) || return 0
    # Stopped, it lets nobody in while they are looked for. s6 lets it go on when it ends it.
    if [ "$server" -gt 0 ]; then kill -STOP "$server" 2>/dev/null || true; fi
    mapfile -t sessions < <(ssh_sessions "$server")
    stop_all sessions
    [ ${#sessions[@]} = 0 ] || kill -KILL "${sessions[@]}" 2>/dev/null || true
    s6-svc -wD -T 10000 -d "$S6/paas-sshd" || warn "sshd does not end by itself"
}

start_tree() {
    if svscan_pid >/dev/null; then return 0; fi
    check_addresses
    rm -f "$PAAS_RUN_DIR/s6-svscan.pid"
    (
        cd /
        # Written by the process itself before it becomes s6-svscan (pid and start time stay): whenever bin/up is killed,
        # bin/down finds the tree.
        self=$BASHPID
        printf '%s %s\n' "$self" "$(start_time "$self")" >"$PAAS_RUN_DIR/s6-svscan.pid.new"
        mv "$PAAS_RUN_DIR/s6-svscan.pid.new" "$PAAS_RUN_DIR/s6-svscan.pid"
        exec setsid s6-svscan -t 0 "$S6" </dev/null >>"$PAAS_DATA_DIR/service-logs/svscan.log" 2>&1 9>&-
    ) &
    disown
    wait_for 10 s6 test -p "$S6/.s6-svscan/control" || die "s6-svscan does not start" "see $PAAS_DATA_DIR/service-logs/svscan.log"
}

# What another program holds is told before anything starts: paasd and the router would only end again and again.
check_addresses() {
    check_address PAAS_API_ADDRESS "$PAAS_API_ADDRESS"
    [ -z "$PAAS_SSH_ADDRESS" ] || check_address PAAS_SSH_ADDRESS "$PAAS_SSH_ADDRESS"
    check_address PAAS_ROUTER_METRICS_ADDRESS "$METRICS_ADDRESS"
}

# check_address SETTING HOST:PORT
check_address() {
    local host=${2%:*} port=${2##*:} listening process any=' 0.0.0.0 [::] * '
    while read -r _ _ _ listening _ process; do
        listening=${listening%:*}
        if [ "$listening" = "$host" ] || [[ $any == *" $listening "* ]] || [[ $any == *" $host "* ]]; then
            die "$2 is taken by another program: $process" "end it, or choose another address with $1"
        fi
    done < <(ss -Hltnp "sport = :$port")
}

# Whether it is our sshd that listens, not another program on the same port.
ssh_listens() {
    local pid
    pid=$(s6-svstat -o pid "$S6/paas-sshd") && [ "$pid" -gt 0 ] &&
        ss -Hltnp "sport = :${PAAS_SSH_ADDRESS##*:}" | grep -qF "pid=$pid,"
}

service_up() { s6-svstat -o up "$S6/$1" 2>/dev/null | grep -qx true; }

start_services() {
    local name
    s6-svscanctl -a "$S6"
    for name in "${SERVICES[@]}"; do
        [ -d "$S6/$name" ] || continue
        wait_for 10 "$name" test -p "$S6/$name/supervise/control" || die "the supervisor of $name does not start"
        s6-svc -u "$S6/$name"
    done
}

stop_tree() {
    local pid
    if pid=$(svscan_pid); then
        s6-svscanctl -t "$S6" 2>/dev/null || kill -TERM "$pid" 2>/dev/null
        if ! wait_for 20 s6 tree_gone "$pid"; then
            warn "the supervision tree does not end by itself; ending it"
            kill_tree "$pid"
        fi
    fi
    rm -f "$PAAS_RUN_DIR/s6-svscan.pid"
}

# Ends what is in a control group, and removes it.
remove_cgroup() {
    local pid
    while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done <"$1/cgroup.procs"
    rmdir "$1"
}

tree_gone() { [ ! -d "/proc/$1" ]; }

# Ends a process and everything below it, children first.
kill_tree() {
    local child
    for child in $(pgrep -P "$1"); do kill_tree "$child"; done
    kill -KILL "$1" 2>/dev/null || true
}

# Ends a whole tree at once: stopped first, so that no supervisor starts anything again, then killed. Daemons of the database
# are in it, because they are children of their supervisor.
kill_tree_now() {
    local pids=("$1") child
    stop_all pids
    kill -KILL "${pids[@]}" 2>/dev/null || true
    for child in "${pids[@]}"; do wait_for 10 "process $child" tree_gone "$child" || warn "process $child does not end"; done
}

# stop_all ARRAY: stops these processes and adds all below them, stopped too: none starts another one meanwhile.
stop_all() {
    local -n found=$1
    local i=0 below
    [ ${#found[@]} = 0 ] || kill -STOP "${found[@]}" 2>/dev/null || true
    while [ $i -lt ${#found[@]} ]; do
        for below in $(pgrep -P "${found[$i]}"); do
            kill -STOP "$below" 2>/dev/null || continue
            found+=("$below")
        done
        i=$((i + 1))
    done
}
