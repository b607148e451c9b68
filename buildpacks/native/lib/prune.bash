# Sourced by compile: what only the build needs goes. Only files that the build made are taken away, never those of the repository.

made() { find . -newer "$scratch/start" "$@"; }
is_elf() { [[ $(head -c 4 "$1" 2>/dev/null | tr -d '\0') == $'\x7fELF' ]]; }

prune() {
    title "Leaving out what only the build needs"
    local before path
    before=$(du -sk . | cut -f1)
    # What is installed is all that runs.
    [[ $install == 1 && ($system == cmake || $system == meson) ]] && rm -rf "$folder"
    made -type f \( -name '*.o' -o -name '*.lo' -o -name '*.a' -o -name '*.la' -o -name '*.lai' -o -name '*.gch' -o -name '*.gcda' -o -name '*.gcno' \
        -o -name '*.Po' -o -name '*.Plo' -o -name '*.Tpo' \) -delete
    prune_libtool
    # Logs and states of the build systems; they hold times and names of this build.
    made -type f \( -name config.log -o -name config.status -o -name config.cache -o -name libtool -o -name 'stamp-h[0-9]*' -o -name CMakeCache.txt \
        -o -name cmake_install.cmake -o -name CTestTestfile.cmake -o -name compile_commands.json -o -name install_manifest.txt \
        -o -name .ninja_log -o -name .ninja_deps -o -name build.ninja -o -name DartConfiguration.tcl \) -delete
    made -depth -type d \( -name CMakeFiles -o -name .deps -o -name autom4te.cache -o -name meson-logs -o -name meson-private -o -name meson-info \
        -o -name Testing -o -name __pycache__ \) -exec rm -rf {} +
    rm -rf "$prefix"/share/{man,doc,info}
    # Programs of tests, unless something runs one.
    while IFS= read -r -d '' path; do
        path=${path#./}
        is_elf "$path" && ! grep -qsF -- "$path" Procfile && rm -f "$path"
    done < <(made -type f \( -path '*/test/*' -o -path '*/tests/*' -o -path '*/testsuite/*' -o -path '*/unittest/*' -o -path '*/unittests/*' \) -print0)
    body "$((before - $(du -sk . | cut -f1))) KiB left out"
}

# libtool puts programs into .libs and a script that starts them beside it. Once all is installed none of it is needed; else a program
# that needs no library from there takes the place of its script, and .libs stays where something is still started from it.
prune_libtool() {
    local script real hidden
    if [[ $install != 1 ]]; then
        while IFS= read -r -d '' script; do
            [[ -f $script ]] || continue
            head -c 400 "$script" | grep -q 'temporary wrapper script for .libs/' || continue
            real=$(dirname "$script")/.libs/$(basename "$script")
            if is_elf "$real" && ! ldd "$real" 2>/dev/null | grep -qE "not found|=> $BUILD_DIR/"; then mv -f "$real" "$script"; fi
        done < <(made -type f -perm -u+x -size -64k -print0)
    fi
    while IFS= read -r -d '' hidden; do
        if [[ $install == 1 ]] || [[ -z $(find "$hidden" ! -type d -print -quit) ]]; then rm -rf "$hidden"; fi
    done < <(made -depth -type d -name .libs -print0)
}

# Libraries that are missing at run time show themselves only there; those that the build itself can't find show here.
check_libraries() {
    local program missing
    while IFS= read -r -d '' program; do
        is_elf "$program" || continue
        missing=$(LD_LIBRARY_PATH=$prefix/lib ldd "$program" 2>/dev/null | awk '/not found/ { print $1 }' | tr '\n' ' ')
        [[ -z $missing ]] || warn "${program#./} needs libraries that are not there: $missing"
    done < <(made -type f -perm -u+x -size +4k -print0)
}
