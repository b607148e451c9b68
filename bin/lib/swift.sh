# Finding Swift and building. To be sourced after platform.sh.
# shellcheck shell=bash

# How to build: as the user who called sudo, if the repository is that user's, so that .build stays so too.
BUILD_AS=()
if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] && [ "$(stat -c %U "$REPO")" = "$SUDO_USER" ]; then
    BUILD_AS=(runuser -u "$SUDO_USER" --)
fi

# Prints the path of a Swift 6.3 (or later) toolchain's `swift`: the toolchain's own, also where swiftly's is on PATH, which
# works for its user only.
find_swift() {
    local candidate resources candidates=()
    [ -n "${PAAS_SWIFT:-}" ] && candidates+=("$PAAS_SWIFT" "$PAAS_SWIFT/swift" "$PAAS_SWIFT/usr/bin/swift")
    candidate=$(command -v swift) && candidates+=("$candidate")
    if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        candidate=$(runuser -l "$SUDO_USER" -c 'command -v swift' 2>/dev/null </dev/null) && candidates+=("$candidate")
    fi
    candidates+=(/opt/swift/usr/bin/swift /usr/local/swift/usr/bin/swift /usr/libexec/swift/*/bin/swift /usr/local/bin/swift
        /root/.local/share/swiftly/bin/swift)
    for candidate in "${candidates[@]}"; do
        [ -x "$candidate" ] && [ ! -d "$candidate" ] || continue
        as_builder "$candidate" --version 2>/dev/null | grep -qE 'Swift version (6\.([3-9]|[1-9][0-9])|[7-9]|[1-9][0-9])' || continue
        resources=$(as_builder "$candidate" -print-target-info 2>/dev/null | jq -r '.paths.runtimeResourcePath') || continue
        [ -x "$resources/../../bin/swift" ] || continue
        printf '%s/swift\n' "$(realpath "$resources/../../bin")"
        return 0
    done
    return 1
}

# as_builder COMMAND…, with the home directory of the user who builds.
as_builder() { (cd "$REPO" && exec "${BUILD_AS[@]}" "$@" </dev/null); }

need_swift() {
    SWIFT=$(find_swift) || die "no Swift 6.3 found" "install it from swift.org and put it on PATH, or set PAAS_SWIFT to its folder"
    body "with $("$SWIFT" --version 2>/dev/null | head -1)"
}

# What the programs are made of: equal stamps, equal programs.
source_stamp() { stamp_of Package.swift Sources; }

# stamp_of PATH…: names, modes and contents.
stamp_of() {
    (cd "$REPO" && { find "$@" -type f -printf '%m %p\n' | sort; find "$@" -type f -print0 | sort -z | xargs -0 sha256sum; } |
        sha256sum | cut -c1-32)
}

# swift_build WORD…: `swift build WORD…` in the repository. Shows how far it is, and errors.
swift_build() {
    (as_builder env PATH="$(dirname "$SWIFT"):$PATH" "$SWIFT" build "$@" 2>&1 |
        awk '/error:|warning: unre|Build complete|^\[[0-9]+\/[0-9]+\] (Linking|Build)/ {print "       " $0; fflush(); next}
             match($0, /^\[[0-9]+\/[0-9]+\]/) {split(substr($0, 2, RLENGTH - 2), n, "/"); if (n[1] >= next_at) {print "       compiled " n[1] " of " n[2]; fflush(); next_at = n[1] + 100}}'
        exit "${PIPESTATUS[0]}") || die "the build failed" "the messages above say where; nothing was changed"
}

# Release build; sets the variable to the folder of the programs.
build_programs() {
    local -n out=$1
    need_swift
    swift_build -c release --static-swift-stdlib
    # shellcheck disable=SC2034
    out=$(as_builder "$SWIFT" build -c release --static-swift-stdlib --show-bin-path)
}

# paas-lifecycle runs in containers of every stack, so it is one file that needs no library. Its own folder, because the flag
# would not do for the other programs. Sets the variable to the file, without symbols: each container maps it.
build_lifecycle() {
    local -n file=$1
    local words=(-c release --product paas-lifecycle --scratch-path .build-lifecycle -Xswiftc -static-executable) folder
    [ -n "${SWIFT:-}" ] || need_swift
    swift_build "${words[@]}"
    folder=$(as_builder "$SWIFT" build "${words[@]}" --show-bin-path)
    file=$folder/stripped/paas-lifecycle
    as_builder mkdir -p "$folder/stripped" && as_builder strip -o "$file" "$folder/paas-lifecycle" ||
        die "paas-lifecycle can't be stripped" "apt-get install binutils"
}

# Prints the folder that holds usr/ of the toolchain whose `swift` is given; fails if builds can't use it: the host's own /usr
# is no toolchain to mount, every user has to be able to read it, and paasd takes no path with white space or a comma.
toolchain_root() {
    local root
    case $1 in */usr/bin/swift) root=${1%/usr/bin/swift} ;; *) return 1 ;; esac
    case $root in *[[:space:][:cntrl:],]*) return 1 ;; esac
    [ -n "$root" ] && [ -x "$root/usr/bin/swiftc" ] &&
        [ -z "$(find "$root" "$root/usr" "$root/usr/bin" "$root/usr/lib" -maxdepth 0 ! -perm -0005 2>&1)" ] || return 1
    printf '%s' "$root"
}
