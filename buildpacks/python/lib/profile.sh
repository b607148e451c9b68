# Sourced before each process starts.
export PATH="$HOME/.venv/bin:$PATH" VIRTUAL_ENV="$HOME/.venv" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH="${PYTHONPATH:-$HOME}"
export FORWARDED_ALLOW_IPS="${FORWARDED_ALLOW_IPS:-*}" GUNICORN_CMD_ARGS="${GUNICORN_CMD_ARGS:---access-logfile -}"
# Workers of a server: two for each core and one more, as far as there are 128 MiB of memory for each.
if [ -z "${WEB_CONCURRENCY:-}" ]; then
    WEB_CONCURRENCY=2
    if [ -r /sys/fs/cgroup/memory.max ] && [ -r /sys/fs/cgroup/cpu.max ]; then
        read -r _paas_memory </sys/fs/cgroup/memory.max
        read -r _paas_quota _paas_period </sys/fs/cgroup/cpu.max
        [ "$_paas_quota" = max ] && _paas_cores=$(nproc) || _paas_cores=$(((_paas_quota + _paas_period - 1) / _paas_period))
        WEB_CONCURRENCY=$((2 * _paas_cores + 1))
        if [ "$_paas_memory" != max ] && [ $((_paas_memory >> 27)) -lt "$WEB_CONCURRENCY" ]; then
            WEB_CONCURRENCY=$((_paas_memory >> 27))
        fi
        [ "$WEB_CONCURRENCY" -ge 1 ] || WEB_CONCURRENCY=1
        unset _paas_memory _paas_quota _paas_period _paas_cores
    fi
    export WEB_CONCURRENCY
fi
