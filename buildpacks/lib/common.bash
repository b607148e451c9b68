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
