# Sourced by the tests of single buildpacks: small trees in a temporary folder, as any user, without a platform.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d /tmp/buildpack-tests.XXXXXX)
failed=0 servers=()
trap '((${#servers[@]} == 0)) || kill "${servers[@]}" 2>/dev/null; rm -rf "$work"' EXIT

# fresh: an empty source, cache and config; the source is the current folder.
fresh() {
    rm -rf "$work/root"
    mkdir -p "$work"/root/{app,cache,env,tmp}
    : >"$work/root/artifacts"
    cd "$work/root/app" || exit 1
}
# set_config NAME VALUE
set_config() { printf '%s' "$2" >"$work/root/env/$1"; }
# compile PACK [NAME=VALUE…]: runs the buildpack's compile from a private copy; output in $work/out, exit code in $code.
compile() {
    local pack=$1
    shift
    rm -rf "$work/packs"
    mkdir "$work/packs"
    cp -R "$here/lib" "$here/$pack" "$work/packs/"
    env -i PATH="${BUILD_PATH:-/usr/local/bin:/usr/bin:/bin}" HOME="$work/root/tmp" LANG=C.UTF-8 STACK=test SOURCE_DATE_EPOCH=315532800 \
        SOURCE_VERSION=0123456789abcdef0123456789abcdef01234567 PAAS_ARTIFACTS="$work/root/artifacts" TMPDIR="$work/root/tmp" "$@" \
        bash "$work/packs/$pack/bin/compile" "$work/root/app" "$work/root/cache" "$work/root/env" >"$work/out" 2>&1
    code=$?
}
# detects PACK STRENGTH
detects() { PAAS_DETECT=$2 bash "$here/$1/bin/detect" "$work/root/app" >/dev/null 2>&1; }
check() { # NAME CONDITION…
    local name=$1
    shift
    if "$@"; then echo "ok   $name"; else
        echo "FAIL $name ($*)"
        sed 's/^/     /' "$work/out" | tail -n 40
        failed=1
    fi
}
says() { grep -qF -- "$1" "$work/out"; }
silent() { ! grep -qF -- "$1" "$work/out"; }
is() { [[ $1 == "$2" ]]; }
not() { ! "$@"; }
# digest FOLDER: of all names, modes, links and contents in it.
digest() { (cd "$1" && tar -c --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner . | sha256sum | cut -d ' ' -f 1); }
# serve FOLDER: on loopback; the address in $served.
serve() {
    local port= output=$work/server.${#servers[@]}
    : >"$output"
    (cd "$1" && exec python3 -u -m http.server --bind 127.0.0.1 0 >"$output" 2>&1) &
    servers+=($!)
    while [[ -z $port ]]; do
        kill -0 "${servers[-1]}" 2>/dev/null || { cat "$output"; exit 1; }
        port=$(grep -oE 'port [0-9]+' "$output" | cut -d ' ' -f 2)
    done
    served=127.0.0.1:$port
}
# silent_listener: accepts connections and never says anything; its port in $port.
silent_listener() {
    : >"$work/port"
    python3 -u -c 'import socket, time; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1]); time.sleep(300)' >"$work/port" &
    servers+=($!)
    until [[ -s $work/port ]]; do kill -0 "${servers[-1]}" || exit 1; done
    port=$(<"$work/port")
}
