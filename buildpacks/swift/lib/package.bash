# Sourced by compile: the steps of a build with SwiftPM.

find_toolchain() {
    toolchain=${PAAS_SWIFT_TOOLCHAIN:-/opt/swift}
    [[ -x $toolchain/usr/bin/swift ]] || toolchain=/opt/swift
    if [[ ! -x $toolchain/usr/bin/swift ]]; then
        fail "There is no Swift toolchain in the build." \
            "The operator of the platform has to set PAAS_SWIFT_TOOLCHAIN to a toolchain on the host, the folder that holds usr/bin/swift," \
            "in /etc/paas/paas.env, and to start the platform anew: sudo bin/down && sudo bin/up" \
            "If that is set, the folder is gone or not readable for everybody: paasctl doctor says which."
    fi
    export PATH=$toolchain/usr/bin:$PATH
    local words missing
    words=$(swift --version 2>&1) || {
        missing=$(ldd "$toolchain/usr/bin/swift-package" 2>/dev/null | awk '/not found/ { print $1 }' | tr '\n' ' ')
        fail "The Swift toolchain does not run on the stack $STACK${missing:+; it needs $missing}." \
            "The operator has to give one that was made for this release of Debian."
    }
    version=$(grep -oE 'Swift version [0-9][^ ]*' <<<"$words" | head -n 1)
    [[ -n $version ]] || fail "The version of the Swift toolchain can't be read."
    title "Using $version"
    local needed=
    needed=$(head -n 1 Package.swift | grep -oE 'swift-tools-version:[[:space:]]*[0-9]+\.[0-9]+' | grep -oE '[0-9]+\.[0-9]+$')
    if [[ -n $needed && $(printf '%s\n' "$needed" "${version##* }" | sort -V | tail -n 1) == "$needed" && ${version##* } != "$needed"* ]]; then
        fail "Package.swift asks for Swift $needed, but the toolchain of this platform is ${version##* }." \
            "Lower swift-tools-version in its first line, or ask the operator for a newer toolchain."
    fi
}

# What was compiled is kept for the same compiler, stack and folder; SwiftPM itself finds out what changed since.
prepare_cache() {
    cache=$CACHE_DIR/swift
    mkdir -p "$cache"
    local key="$STACK, $version, $BUILD_DIR"
    if [[ -f $cache/key && $(<"$cache/key") != "$key" ]]; then
        body "What was compiled before is dropped: it was made for $(<"$cache/key"), this is $key"
        rm -rf "$cache"
        mkdir -p "$cache"
    fi
    printf '%s' "$key" >"$cache/key"
    options=(--package-path "$BUILD_DIR" --scratch-path "$cache/build" --cache-path "$cache/packages" --disable-sandbox --disable-automatic-resolution)
    # Without a file of its pins the versions of dependencies are chosen now.
    [[ -f Package.resolved ]] || unset 'options[-1]'
    had_settings=0
    [[ ! -e .swiftpm ]] || had_settings=1
    # A container without a terminal and without a home of its own.
    export HOME=$scratch GIT_TERMINAL_PROMPT=0 GIT_HTTP_LOW_SPEED_LIMIT=1000 GIT_HTTP_LOW_SPEED_TIME=20 CLANG_MODULE_CACHE_PATH=$cache/modules
    # A dump that shows how the compiler crashed tells the pusher nothing.
    export SWIFT_BACKTRACE=enable=no
}

describe_package() {
    if ! swift package "${options[@]}" dump-package >"$scratch/package.json" 2>"$scratch/errors"; then
        indent <"$scratch/errors"
        fail "Package.swift can't be read by $version; its words stand above."
    fi
}

choose_product() {
    local names=() target
    mapfile -t names < <(jq -r '
        [.products[] | select(.type | has("executable")) | .name] as $products
        | [.targets[] | select(.type == "executable") | .name] as $targets
        | [.products[] | select(.type | has("executable")) | .targets[]] as $covered
        | ($products + ($targets - $covered))[]' "$scratch/package.json" | LC_ALL=C sort -u)
    product=$(config SWIFT_PRODUCT)
    if [[ -n $product ]]; then
        [[ " ${names[*]-} " == *" $product "* ]] ||
            fail "SWIFT_PRODUCT=$product, but the programs of this package are: ${names[*]:-none}."
    elif ((${#names[@]} == 1)); then
        product=${names[0]}
    elif ((${#names[@]} == 0)); then
        fail "This package has no program: no executable product and no executable target."
    else
        fail "This package has several programs: ${names[*]}." "Name the one to run: paasctl config set SWIFT_PRODUCT=${names[0]}"
    fi
    [[ $product =~ ^[A-Za-z0-9_.-]+$ ]] || fail "The program '$product' has a name that can't be used here."
}

# Repositories of dependencies, host by host: SwiftPM and git would wait for minutes for one that is away.
fetch_dependencies() {
    local urls=() url host
    mapfile -t urls < <(
        {
            jq -r '.dependencies[]? | (.sourceControl // [])[]? | .location.remote[]? | (.urlString // .)' "$scratch/package.json"
            [[ ! -f Package.resolved ]] || jq -r '(.pins // .object.pins // [])[] | (.location // .repositoryURL // empty)' Package.resolved
        } 2>/dev/null | grep -E '^[a-z+]+://|^[^/]+@' | LC_ALL=C sort -u
    )
    ((${#urls[@]} > 0)) || return 0
    # All of them are here from the last build if none changed.
    if [[ -d $cache/build/checkouts && -f $cache/pins && -f Package.resolved ]] && cmp -s "$cache/pins" Package.resolved; then return 0; fi
    title "Fetching the dependencies"
    for url in "${urls[@]}"; do
        host=$(sed -E 's#^[a-z+]+://([^/@]*@)?([^/]+).*#\2#; s#^[^/@]*@([^:/]+).*#\1#' <<<"$url")
        [[ " ${reached:-} " == *" $host "* ]] && continue
        if ! timeout 20 git ls-remote --exit-code "$url" HEAD >/dev/null 2>"$scratch/errors"; then
            strip <"$scratch/errors" | tail -n 3 | indent
            warn "The repository $(strip <<<"$url") can't be reached from the build (20 s at most are waited)."
            warn "Check the host's network and proxy (https_proxy), or put the dependency into the repository:"
            fail 'git clone it into a folder, and .package(path: "vendor/NAME") in Package.swift'
        fi
        reached="${reached:-} $host"
    done
    swift package "${options[@]}" resolve 2>&1 | strip | indent
    ((PIPESTATUS[0] == 0)) || fail "The dependencies could not be fetched; Package.resolved and Package.swift may not fit: swift package resolve"
}
strip() { sed -u -E 's#(://)[^/@[:space:]]*@#\1#g'; }

build_product() {
    title "Building $product (swift build -c release)"
    local more=()
    read -r -a more <<<"$(config SWIFT_BUILD_ARGS)"
    # Paths of this build are not in the program, and equal sources give equal bytes.
    swift build "${options[@]}" -c release --static-swift-stdlib --product "$product" -j "$(nproc)" \
        -Xswiftc -file-prefix-map -Xswiftc "$BUILD_DIR=." -Xcc "-ffile-prefix-map=$BUILD_DIR=." "${more[@]}" 2>&1 |
        strip | grep -v --line-buffered -E '^\[[0-9]+/[0-9]+\] (Compiling|Write|Emitting)' | indent
    ((PIPESTATUS[0] == 0)) || fail "swift build failed; the compiler's words stand above."
}

install_product() {
    local built item
    built=$(swift build "${options[@]}" -c release --show-bin-path) || fail "The folder of the build can't be found."
    [[ -x $built/$product ]] || fail "swift build ended without $product."
    rm -rf .swift-bin
    mkdir .swift-bin
    cp "$built/$product" .swift-bin/
    # Debug information that is a multiple of the program; names of functions stay for backtraces.
    objcopy --strip-debug ".swift-bin/$product" || fail "The debug information of $product can't be taken out."
    for item in "$built"/*.resources "$built"/*.bundle; do
        [[ ! -d $item ]] || cp -R "$item" .swift-bin/
    done
    printf '%s' "$product" >.swift-bin/.product
    [[ ! -f Package.resolved ]] || cp Package.resolved .swift-bin/
    mkdir -p .profile.d
    printf 'export PATH="$HOME/.swift-bin:$PATH"\n' >.profile.d/swift.sh
    rm -rf .build
    ((had_settings)) || rm -rf .swiftpm
    body "$(du -k ".swift-bin/$product" | cut -f1) KiB in .swift-bin/$product"
}

# The compiled state is large; a limit keeps it from filling the build's disk.
keep_cache() {
    [[ ! -f Package.resolved ]] || cp Package.resolved "$cache/pins"
    local size
    size=$(du -sm "$cache" | cut -f1)
    if ((size > 2048)); then
        warn "What was compiled has $size MiB, more than the 2048 MiB that are kept; the next build begins anew."
        rm -rf "$cache"
    fi
}
