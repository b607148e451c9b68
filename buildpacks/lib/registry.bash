# For buildpacks that have a package manager fetch something; sourced after common.bash.

# public TEXT: without the user names and passwords of the URLs in it.
public() { sed -E 's#([A-Za-z][A-Za-z0-9+.-]*://)[^/[:space:]]*@#\1#g' <<<"$*"; }
# Indents what a tool prints, as `indent` does, and takes the user names and passwords out of its URLs.
indent_public() { sed -u -E 's#([A-Za-z][A-Za-z0-9+.-]*://)[^/[:space:]]*@#\1#g; /./s/^/       /'; }

# reachable URL: whether something answers there, whatever it says. Takes at most 8 s. Else REPLY says why.
reachable() {
    local answer problem code
    # The address may hold a password: it is read from a file that no other process sees. The status comes last.
    answer=$(curl --silent --show-error --head --location --max-redirs 3 --output /dev/null --write-out '\n%{http_code}' \
        --connect-timeout 4 --max-time 8 --config <(printf 'url = "%s"\n' "$(sed 's/[\\"]/\\&/g' <<<"$1")") 2>&1)
    code=$? problem=${answer%$'\n'*}
    [[ ${answer##*$'\n'} =~ ^[1-9][0-9][0-9]$ ]] && return 0
    case $code in
    5) REPLY="the proxy's name is not known" ;;
    6) REPLY="its name is not known" ;;
    7) REPLY="nothing accepts connections there" ;;
    28) REPLY="it does not answer in time" ;;
    35 | 53 | 54 | 58 | 59 | 60 | 66 | 77 | 80 | 83 | 90 | 91) REPLY="TLS: $(public "${problem#curl: (*) }")" ;;
    1 | 3) REPLY="it is no address of a web server" ;;
    # What closes the connection without an answer is there at least.
    *) return 0 ;;
    esac
    return 1
}
# origin URL: scheme, host and port of it.
origin() { sed -E 's#^([A-Za-z][A-Za-z0-9+.-]*://)([^/]*@)?([^/?\#]*).*#\1\3#' <<<"$1"; }

# away WHAT URL WHY REMEDY…: the build ends because a registry can't be reached.
away() {
    local what=$1 url=$2 why=$3
    shift 3
    [[ ${PAAS_NETWORK:-} == none ]] && why="this build has no network (BUILD_NETWORK)"
    fail "$what $(public "$url") can't be reached from the build: $why." "$@"
}

# export_config: config vars as environment, for tools whose settings and scripts read them; in a subshell only. Not those that
# change how a build works.
export_config() {
    local file name
    for file in "$ENV_DIR"/*; do
        [[ -f $file ]] || continue
        name=${file##*/}
        case $name in
        PATH | HOME | LANG | PWD | SHELL | IFS | ENV | BASH_* | BUILD_* | GIT_* | PAAS_* | STACK | CPATH | CPPATH | LD_* | \
            LIBRARY_PATH | SOURCE_VERSION | SOURCE_DATE_EPOCH) continue ;;
        esac
        [[ $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] && export "$name=$(<"$file")"
    done
}
# take_config NAME…: the same for these names, where they are set.
take_config() {
    local name
    for name in "$@"; do
        has_config "$name" && export "$name=$(config "$name")"
    done
    return 0
}

# cache_for NAME KEY: the folder CACHE_DIR/NAME, emptied if what is in it was made for another KEY (words with their meaning, as in
# "go-1.24 debian-13"); says which of the words changed. REPLY is the folder.
cache_for() {
    local folder=$CACHE_DIR/$1 key=$2 old word gone='' new=''
    if [[ -f $folder/key ]]; then
        old=$(<"$folder/key")
        if [[ $old != "$key" ]]; then
            for word in $old; do [[ " $key " == *" $word "* ]] || gone+=" $word"; done
            for word in $key; do [[ " $old " == *" $word "* ]] || new+=" $word"; done
            body "Cache dropped: it was made for${gone:- less}, this is${new:- less}"
            remove "$folder"
        fi
    fi
    mkdir -p "$folder" && printf '%s' "$key" >"$folder/key" || fail "The cache can't be written: $folder."
    REPLY=$folder
}
# limit_cache FOLDER MIB WHAT: drops what package managers keep without end, when it has grown too large; at the end of a build.
limit_cache() {
    local size
    [[ -d $1 ]] || return 0
    size=$(du -sm "$1" 2>/dev/null | cut -f 1)
    ((${size:-0} > $2)) || return 0
    body "Cache of $3 dropped: it takes $size MiB, and $2 MiB are kept; the next build fetches what it needs anew"
    remove "$1"
}
# remove PATH…: also what a tool made read-only.
remove() {
    local path
    for path in "$@"; do
        [[ -e $path || -L $path ]] || continue
        rm -rf -- "$path" 2>/dev/null && continue
        chmod -R u+w -- "$path" 2>/dev/null
        rm -rf -- "$path"
    done
}
# hook FILE: runs a script of the source, if it is there.
hook() {
    file "$1" || return 0
    title "Running $1"
    (export_config; bash "$1") 2>&1 | indent
    ((PIPESTATUS[0] == 0)) || fail "$1 failed."
}
# fits FOLDER: whether it can be kept in the cache as a copy with room to spare.
fits() { (($(du -sk "$1" | cut -f1) * 2 < $(df -Pk "$CACHE_DIR" | awk 'NR == 2 { print $4 }'))); }
