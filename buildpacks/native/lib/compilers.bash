# Sourced by compile: the compilers as the build finds them, with a cache behind them and without paths of this build in what they make.

wrap_compilers() {
    local tool name real launcher=
    for tool in cc make; do command -v "$tool" >/dev/null || fail "The build stack $STACK has no $tool."; done
    local home=$CACHE_DIR/native key
    key="$STACK $(cc -dumpmachine) $(cc -dumpfullversion -dumpversion)"
    mkdir -p "$home"
    if [[ -f $home/key && $(<"$home/key") != "$key" ]]; then
        body "The compiler's cache is dropped: it was made for $(<"$home/key"), this is $key"
        rm -rf "${home:?}/ccache"
    fi
    printf '%s' "$key" >"$home/key"
    if command -v ccache >/dev/null; then
        launcher=$(command -v ccache)
        export CCACHE_DIR=$home/ccache CCACHE_MAXSIZE=500M CCACHE_BASEDIR=$BUILD_DIR
        # Sources are as old as the build and do not change during it, and the time that a program may hold is fixed.
        export CCACHE_SLOPPINESS=include_file_mtime,include_file_ctime,time_macros
        mkdir -p "$CCACHE_DIR"
    fi
    # One path in every build: some tools write that of the compiler into what they make.
    wrappers=$home/bin
    rm -rf "$wrappers"
    mkdir "$wrappers"
    for real in /usr/bin/{cc,c++,c89,c99,gcc,g++,clang,clang++} /usr/bin/{gcc,g++,clang,clang++}-[0-9]* /usr/bin/*-linux-gnu-{gcc,g++}; do
        name=${real##*/}
        [[ -x $real && $name != *-*-*-gnu-*-* ]] || continue
        printf '#!/bin/sh\nexec %s %s "-ffile-prefix-map=%s=." "-ffile-prefix-map=%s/=" "$@"\n' "$launcher" "$real" "$BUILD_DIR" "$BUILD_DIR" >"$wrappers/$name"
        chmod +x "$wrappers/$name"
    done
    export PATH=$wrappers:$PATH
    prefix=$(run_folder)/.native
    # Libraries that are installed with the program are found beside it.
    [[ $install == 1 ]] && export LDFLAGS="${LDFLAGS:-} -Wl,-rpath,$prefix/lib"
    export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-315532800}
    return 0
}

# What configure tries out is not counted: only how much of the program had to be compiled is of interest.
count_from_here() { [[ -z ${CCACHE_DIR:-} ]] || ccache --zero-stats >/dev/null 2>&1; }

statistics() {
    [[ -n ${CCACHE_DIR:-} ]] || return 0
    ccache --print-stats 2>/dev/null | awk -F '\t' '
        $1 == "direct_cache_hit" || $1 == "preprocessed_cache_hit" { hits += $2 }
        $1 == "cache_miss" { misses = $2 }
        END { if (hits + misses > 0) printf "       %d of %d compilations came from the cache\n", hits, hits + misses }'
}
