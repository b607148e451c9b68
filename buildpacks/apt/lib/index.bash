# Sourced by compile: from what Aptfile asks for to .deb files in the cache. Fills `debs` with lines "SHA256 FILE URL".

debs=()
day=86400
updated=

# apt's own state is the app's: the image can't be written, and its status is that of the build image.
apt_options=()
set_apt_options() {
    local pair
    for pair in Dir::State="$state" Dir::State::lists="$state/lists" Dir::State::status="$run_status" \
        Dir::State::extended_states="$state/extended_states" Dir::Cache="$state/pkgcache" Dir::Cache::archives="$state/archives" \
        APT::Architecture="$arch" APT::Install-Recommends=false APT::Install-Suggests=false APT::Sandbox::User= \
        Debug::NoLocking=true Acquire::Languages=none Acquire::GzipIndexes=true Acquire::ForceHash=SHA256 Acquire::Retries=1 \
        Acquire::http::Timeout=8 Acquire::https::Timeout=8 Acquire::ftp::Timeout=8 Binary::apt-get::APT::Keep-Downloaded-Packages=true; do
        apt_options+=(-o "$pair")
    done
}
apt() { LC_ALL=C DEBIAN_FRONTEND=noninteractive "apt-$1" "${apt_options[@]}" "${@:2}" </dev/null; }

# Seconds since the index was loaded.
age() { echo $(($(date +%s) - $(cat "$state/updated" 2>/dev/null || echo 0))); }
have_index() { [[ -f $state/updated ]]; }

# The mirrors of the image, without what is secret in their addresses.
mirrors() {
    local uris
    uris=$(apt get update --print-uris 2>/dev/null | sed -nE "s#^'([^']+)/dists/.*#\1#p" | LC_ALL=C sort -u | tr '\n' ' ')
    public "${uris% }"
}

# proxy_of URL: the proxy that apt has for it, as its own configuration says, or DIRECT; empty: that of the environment, if any.
proxy_of() {
    local scheme=${1%%:*} host rest proxy
    rest=${1#*://} host=${rest%%/*} host=${host##*@} host=${host%%:*}
    proxy=$(apt config dump --format '%v%n' "Acquire::$scheme::Proxy::$host" | head -n 1)
    [[ -n $proxy ]] || proxy=$(apt config dump --format '%v%n' "Acquire::$scheme::Proxy" | head -n 1)
    printf '%s' "$proxy"
}
# mirror_away: whether one of the mirrors gives no answer: apt itself asks each of their addresses for a while. Then REPLY says which
# and why.
mirror_away() {
    local place proxy
    # A program that finds a proxy out is apt's own matter.
    [[ -z $(apt config dump --format '%v%n' Acquire::http::Proxy-Auto-Detect Acquire::http::ProxyAutoDetect) ]] || return 1
    while read -r place; do
        [[ $place == http://* || $place == https://* ]] || continue
        proxy=$(proxy_of "$place")
        (
            if [[ $proxy == DIRECT ]]; then
                unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY
            elif [[ -n $proxy ]]; then
                unset no_proxy NO_PROXY
                export http_proxy=$proxy https_proxy=$proxy
            fi
            reachable "$place/" || { printf '%s' "$REPLY" >"$state/away"; exit 1; }
        ) && continue
        REPLY="$(public "$place"): $(<"$state/away")"
        [[ -z $proxy || $proxy == DIRECT ]] || REPLY+=" (through the proxy $(public "$proxy"))"
        rm -f "$state/away"
        return 0
    done < <(apt get update --print-uris 2>/dev/null | sed -nE "s#^'([^']+)/dists/.*#\1#p" | LC_ALL=C sort -u | head -n 3)
    return 1
}

# Loads the index of the archive. With an older one at hand it may fail.
update() {
    local log=$state/update.log why="the messages above say why"
    updated=1
    rm -f "$log"
    if [[ ${PAAS_NETWORK:-} != none ]]; then
        body "Loading the index of $(mirrors)"
        if mirror_away; then
            why=$REPLY
            body "No answer: $why"
        elif apt get update --error-on=any >"$log" 2>&1; then
            date +%s >"$state/updated"
            return 0
        else
            grep -E '^(E|W|Err)' "$log" | sort -u | head -n 5 | indent_public
        fi
        # Something that is broken for another reason than the network says so in its own words above.
    fi
    if have_index; then
        warn "The index can't be loaded; the one of the last build is used, which is $(($(age) / 3600)) hours old."
        return 0
    fi
    grep -qE 'Temporary failure|Could not resolve' "$log" 2>/dev/null && why="its name is not known"
    grep -qE 'Could not connect|Connection timed out|Connection refused|Unable to connect' "$log" 2>/dev/null && why="nothing answers there"
    away "The Debian archive" "$(mirrors)" "$why" \
        "Check the network and proxy of the host (the operator names a mirror in the host's apt sources and makes the stack anew)," \
        "or put the .deb files into the source and name their paths in Aptfile."
}

# stale FILE: whether it was loaded more than a day ago.
stale() { (($(date +%s) - $(stat -c %Y "$1") >= day)); }
# Addresses of .deb files: with a hash they are loaded once, without one each day, as what lies there may be another file then.
fetch_addresses() {
    local address url hash file got protocols
    for address in "${addresses[@]}"; do
        url=${address%%#*} hash=
        [[ $address == *'#sha256='* ]] && hash=${address##*=}
        file=$state/given/$(sha256sum <<<"$address" | cut -c1-16)-$(basename "$url")
        if [[ ! -f $file ]] || { [[ -z $hash && ${PAAS_NETWORK:-} != none ]] && stale "$file"; }; then
            # Without a hash nothing but TLS says that it is what was meant: also a redirection has to keep to it.
            protocols='=http,https'
            [[ -n $hash ]] || protocols='=https'
            body "Fetching $(public "$url")"
            if ! reachable "$(origin "$url")"; then
                [[ -f $file ]] || away "The server of Aptfile" "$(origin "$url")" "$REPLY" \
                    "Check its name, or put the file into the source and name its path in Aptfile."
                warn "$(public "$(origin "$url")") can't be reached: $REPLY. The file of an earlier build is used."
            else
                curl --silent --show-error --fail --location --proto '=http,https' --proto-redir "$protocols" --connect-timeout 8 \
                    --speed-limit 1000 --speed-time 20 --max-filesize 1G --output "$file.part" \
                    --config <(printf 'url = "%s"\n' "$(sed 's/[\\"]/\\&/g' <<<"$url")") 2>&1 | indent_public
                ((PIPESTATUS[0] == 0)) || { rm -f "$file.part"; fail "Aptfile: $(public "$url") can't be fetched; check the address."; }
                mv "$file.part" "$file"
            fi
        fi
        got=$(sha256sum "$file" | cut -d ' ' -f 1)
        if [[ -n $hash && $hash != "$got" ]]; then
            rm -f "$file"
            fail "Aptfile: $(public "$url") has the hash $got, and not the one that Aptfile says." "Find out why it changed before you trust it."
        fi
        dpkg-deb --info "$file" >/dev/null 2>&1 || { rm -f "$file"; fail "Aptfile: $(public "$url") is no Debian package."; }
        files+=("$file")
        debs+=("$got $file $(public "$url")")
    done
    # Those of earlier builds.
    local old
    for old in "$state"/given/*.deb; do
        [[ -f $old && " ${files[*]} " != *" $old "* ]] && rm -f "$old"
    done
    for file in "${files[@]}"; do
        [[ $file == ./* ]] || continue
        dpkg-deb --info "$file" >/dev/null 2>&1 || fail "Aptfile: '${file#./}' is no Debian package."
        debs+=("$(sha256sum "$file" | cut -d ' ' -f 1) $file file:${file#./}")
    done
}

# wanted_by NAME…: lines "SHA256 FILE SIZE URL" of what these and the files of Aptfile need beyond the run image; what apt said is in
# $state/resolve.log.
wanted_by() {
    apt get --yes --no-remove --print-uris -qq install "$@" "${files[@]}" >"$state/uris" 2>"$state/resolve.log" || return 1
    # 'URL' FILE SIZE SHA256:HASH; a file without a hash in the signed index would not be what Debian made.
    sed -nE "s#^'([^']+)' ([^ ]+) ([0-9]+) SHA256:([0-9a-f]{64})\$#\4 \2 \3 \1#p" "$state/uris" | grep -v ' file:'
    [[ $(grep -c "^'" "$state/uris") == "$(grep -cE "^'file:|SHA256:[0-9a-f]{64}\$" "$state/uris")" ]]
}
# Writes $state/wanted, and to $state/needed the files that processes need; the others are there for headers only.
resolve() {
    local name programs=()
    for name in "${names[@]}"; do [[ ${name%%[:=]*} == *-dev ]] || programs+=("$name"); done
    wanted_by "${names[@]}" >"$state/wanted" || return 1
    if ((${#programs[@]} == ${#names[@]})); then
        cp "$state/wanted" "$state/needed"
    else
        wanted_by "${programs[@]}" >"$state/needed" || return 1
    fi
}

explain() {
    local log=$state/resolve.log name release
    release=$(. /etc/os-release && echo "${PRETTY_NAME:-Debian}")
    for name in $(sed -nE 's/^E: Unable to locate package (.*)/\1/p; s/^E: Package .(.*). has no installation candidate.*/\1/p' "$log" | sort -u); do
        warn "Aptfile: the archive of $release has no package '$name'."
    done
    sed -nE "s/^E: Version '(.*)' for '(.*)' was not found/\2 \1/p" "$log" | while read -r name version; do
        warn "Aptfile: there is no version $version of '$name'; there is: $(apt cache madison "$name" 2>/dev/null | awk -F '|' '{ gsub(/ /, "", $2); print $2 }' | sort -uV | tr '\n' ' ')"
    done
    if ! grep -qE '^E: (Unable to locate|Version|Package .* has no inst)' "$log"; then
        grep -vE '^W: ' "$log" | tail -n 15 | indent_public
        warn "apt can't install what Aptfile asks for."
    fi
    fail "Look a name up at https://packages.debian.org, or: apt-cache policy NAME on a machine with $release."
}

cached() { [[ -f $state/archives/$2 && $(sha256sum "$state/archives/$2" | cut -d ' ' -f 1) == "$1" ]]; }

# Loads what is wanted and not in the cache; apt checks it against the signed index.
download() {
    local hash file size url count=0 bytes=0
    while read -r hash file size url; do
        cached "$hash" "$file" && continue
        rm -f "$state/archives/$file"
        count=$((count + 1)) bytes=$((bytes + size))
    done <"$state/wanted"
    ((count == 0)) && return 0
    [[ ${PAAS_NETWORK:-} == none ]] && return 1
    body "Loading $count $(plural "$count" package), $((bytes / 1024)) KiB"
    apt get --yes --no-remove --download-only -qq install "${names[@]}" "${files[@]}" >"$state/download.log" 2>&1 || return 1
    while read -r hash file size url; do cached "$hash" "$file" || return 1; done <"$state/wanted"
}

find_packages() {
    local key hash file size url given='' old=()
    set_apt_options
    # The same wishes, and an index of today: what was found then is what would be found now.
    key=$(printf '%s\n' "${names[@]}" "${debs[@]%% *}" | sha256sum | cut -d ' ' -f 1)
    if [[ ! -f $state/wanted.key ]]; then
        body "Nothing is kept of an earlier build"
    elif [[ $(<"$state/wanted.key") != "$key" ]]; then
        body "Aptfile asks for something else than in the last build"
    elif ! have_index || (($(age) >= day)); then
        body "The index of the last build is older than a day"
    fi
    if [[ -f $state/wanted.key && $(<"$state/wanted.key") == "$key" ]] && have_index && { (($(age) < day)) || [[ ${PAAS_NETWORK:-} == none ]]; } && download; then
        body "Using the packages of the last build"
    else
        rm -f "$state/wanted.key"
        # Files of the source alone may need nothing of the archive.
        if ((${#names[@]} > 0)) && { ! have_index || (($(age) >= day)); }; then update; fi
        if ! resolve; then
            [[ -z $updated ]] || explain
            update
            resolve || explain
        fi
        if ! download; then
            # Packages that were replaced since the index was loaded are gone from the archive.
            if [[ -z $updated ]]; then
                update
                resolve || explain
            fi
            if ! download; then
                grep -E '^E:' "$state/download.log" 2>/dev/null | head -n 5 | indent_public
                away "The Debian archive" "$(mirrors)" "packages can't be loaded" \
                    "Try again; if it stays so, ask the operator to check the mirror."
            fi
        fi
        printf '%s' "$key" >"$state/wanted.key"
    fi
    # What is given as a file is not also taken from the archive.
    for file in "${files[@]}"; do given+=" $(dpkg-deb --field "$file" Package) "; done
    while read -r hash file size url; do
        old+=("$file")
        [[ $given == *" ${file%%_*} "* ]] || debs+=("$hash $state/archives/$file $(public "$url")")
    done <"$state/wanted"
    for file in "$state"/archives/*.deb; do
        [[ -f $file && " ${old[*]} " != *" ${file##*/} "* ]] && rm -f "$file"
    done
    # Large, and of use to apt only.
    rm -rf "$state"/*.log "$state/uris" "$state/pkgcache"
    return 0
}
