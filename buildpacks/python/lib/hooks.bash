# Sourced by compile: what the source's own programs do in a build.

# with_config COMMAND…: with the config vars in its environment. Settings of Django and hooks read them; nothing else gets them.
with_config() {
    (
        local var name
        for var in "$ENV_DIR"/*; do
            [[ -f $var ]] || continue
            name=${var##*/}
            case $name in
            PATH | HOME | GIT_DIR | CPATH | CPPATH | LD_PRELOAD | LIBRARY_PATH | LD_LIBRARY_PATH | BASH_ENV | ENV | PYTHONHOME | PYTHONPATH | IFS) continue ;;
            esac
            [[ $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || continue
            # The point keeps line feeds at the end.
            local value
            value=$(cat "$var" && printf .) && export "$name=${value%.}"
        done
        exec "$@"
    )
}

run_hook() {
    [[ -f $1 ]] || return 0
    title "Running $1"
    # There is no pip in the environment; hooks find that of the stack, as a command and as a module.
    if [[ -x $VENV/bin/python && ! -d $scratch/pip ]]; then
        mkdir -p "$scratch/pip/bin" "$scratch/pip/lib"
        ln -s "$("$python" -c 'import os, pip; print(os.path.dirname(pip.__file__))')" "$scratch/pip/lib/pip"
        printf '#!/bin/sh\nexec %s/bin/python -m pip "$@"\n' "$VENV" | tee "$scratch/pip/bin/pip" >"$scratch/pip/bin/pip3"
        chmod +x "$scratch"/pip/bin/*
    fi
    local path=$PATH
    [[ -x $VENV/bin/python ]] && path=$scratch/pip/bin:$VENV/bin:$PATH
    with_config env PATH="$path" PYTHONPATH="$scratch/pip/lib" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CACHE_DIR="$CACHE_DIR/python/pip" bash "$1" 2>&1 | indent
    ((PIPESTATUS[0] == 0)) || fail "$1 failed."
}

# Django: without its static files many a site answers 500.
collect_static() {
    local manage log=$scratch/collectstatic
    manage=$(find . -maxdepth 3 -name manage.py -type f -not -path './.*' -printf '%d %P\n' | LC_ALL=C sort -n | head -n 1 | cut -d ' ' -f 2-)
    [[ -n $manage ]] || return 0
    "$VENV/bin/python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("django") is None)' 2>/dev/null || return 0
    if [[ -n $(config DISABLE_COLLECTSTATIC) && $(config DISABLE_COLLECTSTATIC) != 0 ]]; then
        body "Static files are not collected (DISABLE_COLLECTSTATIC)"
        return 0
    fi
    title "Collecting static files ($manage collectstatic)"
    with_config env PATH="$VENV/bin:$PATH" "$VENV/bin/python" "$manage" collectstatic --noinput 2>&1 | tee "$log" | indent
    ((PIPESTATUS[0] == 0)) && return 0
    if grep -q "Unknown command: 'collectstatic'" "$log"; then
        body "Django's staticfiles app is not installed in the settings; there is nothing to collect"
        return 0
    fi
    local why="the settings may need a config var that is not set (paasctl config set NAME=…)"
    grep -q 'STATIC_ROOT' "$log" && why='the settings name no STATIC_ROOT'
    fail "collectstatic failed: $why." "Repair it, or leave it out: paasctl config set DISABLE_COLLECTSTATIC=1"
}
