# Sourced by compile: the build systems.

makefile() { file Makefile || file makefile || file GNUmakefile; }

choose_system() {
    local found=() name
    file CMakeLists.txt && found+=(cmake)
    file meson.build && found+=(meson)
    file configure && found+=(configure)
    { file configure.ac || file autogen.sh; } && found+=(autotools)
    makefile && found+=(make)
    system=${option[NATIVE_SYSTEM]:-${found[0]:-}}
    [[ -n $system ]] || fail "There is no CMakeLists.txt, meson.build, configure, configure.ac, autogen.sh or Makefile at the root of the source."
    [[ " ${found[*]} " == *" $system "* ]] || fail "NATIVE_SYSTEM=$system, but this source has: ${found[*]:-none}."
    title "Building with $system"
    local others=()
    for name in "${found[@]}"; do [[ $name == "$system" ]] || others+=("$name"); done
    ((${#others[@]} == 0)) || body "Also there: ${others[*]} (choose with NATIVE_SYSTEM in native.env or the app's config)"
    local -A used=([cmake]="CMAKE_ARGS MAKE_TARGETS" [meson]="MESON_ARGS MAKE_TARGETS" [configure]="CONFIGURE_ARGS MAKE_ARGS MAKE_TARGETS"
        [autotools]="CONFIGURE_ARGS MAKE_ARGS MAKE_TARGETS" [make]="MAKE_ARGS MAKE_TARGETS")
    for name in CMAKE_ARGS MESON_ARGS CONFIGURE_ARGS MAKE_ARGS; do
        [[ -z ${option[$name]:-} || " ${used[$system]} " == *" $name "* ]] || warn "$name is set, but $system does not take it."
    done
}

# Git keeps no times. All sources get the same one, those that autotools make from others a later one: nothing is made anew without need.
even_times() {
    find . -type f -exec touch -d '2000-01-01' {} +
    find . -type f -name aclocal.m4 -exec touch -d '2000-01-02' {} +
    find . -type f \( -name configure -o -name Makefile.in -o -name '*.h.in' \) -exec touch -d '2000-01-03' {} +
    # What is younger than this file was made by the build.
    touch "$scratch/start"
}

step() {
    body "\$ $*"
    "$@" 2>&1 | tee "$scratch/log" | indent
    local code=${PIPESTATUS[0]} log header
    ((code != 0)) || return 0
    for log in config.log "$folder/CMakeFiles/CMakeConfigureLog.yaml" "$folder/CMakeFiles/CMakeError.log" "$folder/meson-logs/meson-log.txt"; do
        if [[ -f $log && $1 != make ]]; then
            body "The end of $log:"
            grep -aE 'error|fatal|not found' "$log" | tail -n 15 | indent
        fi
    done
    header=$(grep -aoE 'fatal error: [^:]+: No such file' "$scratch/log" | head -n 1 | cut -d ' ' -f 3 | tr -d :)
    [[ -z $header ]] || warn "The header $header is missing; the Debian package that has it can be named in a file Aptfile."
    fail "'$1' failed with exit code $code." \
        "If an option or a target is missing: CMAKE_ARGS, MESON_ARGS, CONFIGURE_ARGS, MAKE_ARGS, MAKE_TARGETS in native.env"
}

need() { command -v "$1" >/dev/null || fail "The build stack $STACK has no $1."; }

build() {
    # A folder of that name can be a part of the source.
    folder=build
    [[ ! -e build ]] || folder=build-slug
    case $system in
    cmake)
        need cmake
        step cmake -S . -B "$folder" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_BUILD_RPATH_USE_ORIGIN=ON \
            '-DCMAKE_INSTALL_RPATH=$ORIGIN/../lib' "${cmake_args[@]}"
        count_from_here
        step cmake --build "$folder" --parallel "$jobs" "${targets[@]/#/--target=}"
        [[ $install == 1 ]] && step cmake --install "$folder"
        ;;
    meson)
        need meson
        step meson setup "$folder" --buildtype=release --prefix="$prefix" --libdir=lib --wrap-mode=nodownload "${meson_args[@]}"
        count_from_here
        step meson compile -C "$folder" -j "$jobs" "${targets[@]}"
        [[ $install == 1 ]] && step meson install -C "$folder"
        ;;
    configure | autotools)
        if [[ $system == autotools ]]; then
            if file autogen.sh; then step env NOCONFIGURE=1 bash ./autogen.sh; else step autoreconf -fi; fi
            [[ -f configure ]] || fail "No configure script came out of autogen.sh or autoreconf."
        fi
        chmod +x configure
        step ./configure --prefix="$prefix" "${configure_args[@]}"
        count_from_here
        step make -j "$jobs" "${make_args[@]}" "${targets[@]}"
        [[ $install == 1 ]] && step make "${make_args[@]}" install
        ;;
    make)
        count_from_here
        step make -j "$jobs" "${make_args[@]}" "${targets[@]}"
        [[ $install == 1 ]] && step make "${make_args[@]}" PREFIX="$prefix" prefix="$prefix" install
        ;;
    esac
    # Installed where it will run; the slug is made of this folder.
    if [[ $prefix != "$BUILD_DIR/.native" && -d $prefix ]]; then
        rm -rf .native
        mv "$prefix" .native || fail "What was installed can't be moved into the slug."
    fi
    prefix=$BUILD_DIR/.native
}
