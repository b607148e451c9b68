# Finding Swift and building. To be sourced after platform.sh.
# shellcheck shell=bash

# Prints the path of a Swift 6.3 (or later) toolchain's `swift`.
find_swift() {
    local candidate candidates=()
    [ -n "${PAAS_SWIFT:-}" ] && candidates+=("$PAAS_SWIFT" "$PAAS_SWIFT/swift" "$PAAS_SWIFT/usr/bin/swift")
    candidate=$(command -v swift) && candidates+=("$candidate")
    if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        candidate=$(runuser -l "$SUDO_USER" -c 'command -v swift' 2>/dev/null </dev/null) && candidates+=("$candidate")
    fi
    candidates+=(/opt/swift/usr/bin/swift /usr/local/swift/usr/bin/swift /usr/libexec/swift/*/bin/swift /usr/local/bin/swift
        /root/.local/share/swiftly/bin/swift)
    for candidate in "${candidates[@]}"; do
        [ -x "$candidate" ] && [ ! -d "$candidate" ] || continue
        "$candidate" --version 2>/dev/null | grep -qE 'Swift version (6\.([3-9]|[1-9][0-9])|[7-9]|[1-9][0-9])' || continue
        printf '%s' "$candidate"
        return 0
    done
    return 1
}

# What the programs are made of: equal stamps, equal programs.
source_stamp() {
    (cd "$REPO" && find Package.swift Sources -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-32)
}

# build_programs OUTPUT-VARIABLE: release build as the user who called sudo; sets the variable to the folder of the programs.
build_programs() {
    local -n out=$1
    local swift as=()
    swift=$(find_swift) || die "no Swift 6.3 found" "install it from swift.org and put it on PATH, or set PAAS_SWIFT to its folder"
    if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] && [ "$(stat -c %U "$REPO")" = "$SUDO_USER" ]; then
        as=(runuser -u "$SUDO_USER" --)
    fi
    body "with $("$swift" --version 2>/dev/null | head -1)"
    (cd "$REPO" && "${as[@]}" env PATH="$(dirname "$swift"):$PATH" "$swift" build -c release --static-swift-stdlib 2>&1 </dev/null |
        awk '/error:|warning: unre|Build complete|^\[[0-9]+\/[0-9]+\] (Linking|Build)/ {print "       " $0; fflush(); next}
             match($0, /^\[[0-9]+\/[0-9]+\]/) {split(substr($0, 2, RLENGTH - 2), n, "/"); if (n[1] >= next_at) {print "       compiled " n[1] " of " n[2]; fflush(); next_at = n[1] + 100}}'
        exit "${PIPESTATUS[0]}") || die "the build failed" "the messages above say where; nothing was changed"
    # shellcheck disable=SC2034
    out=$(cd "$REPO" && "$swift" build -c release --static-swift-stdlib --show-bin-path </dev/null)
}
