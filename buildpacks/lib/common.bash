# Shared by the platform's own buildpacks; sourced, never run.
title() { printf -- '-----> %s\n' "$*"; }
body() { printf '       %s\n' "$*"; }
warn() { printf ' !     %s\n' "$*"; }
# Indents what a tool prints, line by line, and keeps it streaming.
indent() { sed -u '/./s/^/       /'; }
fail() {
    local line
    for line in "$@"; do warn "$line"; done
    exit 1
}
# config NAME: the value of a config var, empty if it is not set. Config is in files and never in the environment.
config() { [[ -n ${ENV_DIR:-} && -f $ENV_DIR/$1 ]] && cat "$ENV_DIR/$1"; return 0; }
has_config() { [[ -n ${ENV_DIR:-} && -f $ENV_DIR/$1 ]]; }
# file NAME: a regular file (or a link to one) at the root of the source.
file() { [[ -f $BUILD_DIR/$1 ]]; }
# run_folder: where BUILD_DIR will lie when it runs. An app can have itself built elsewhere (BUILD_IN_APP_DIR=0).
run_folder() { if [[ $BUILD_DIR == /tmp/build_* && -d /app && -w /app ]]; then echo /app; else echo "$BUILD_DIR"; fi; }
