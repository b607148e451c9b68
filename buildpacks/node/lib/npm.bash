# Sourced by compile.

# Lock files of tools that the stack has not.
check_tools() {
    local manager
    manager=$(field .packageManager)
    for file in yarn.lock:yarn pnpm-lock.yaml:pnpm bun.lockb:bun bun.lock:bun; do
        file "${file%%:*}" || continue
        if file package-lock.json || file npm-shrinkwrap.json; then
            fail "There are two lock files, package-lock.json and ${file%%:*}, which may say different versions." "Keep one: git rm ${file%%:*}"
        fi
        [[ -d node_modules ]] && continue
        fail "${file%%:*} is of ${file##*:}, which the stack $STACK does not have; it has npm." \
            "Run: npm install, commit package-lock.json, and: git rm ${file%%:*}" \
            "Or commit node_modules as well (git add -f node_modules); it is used as it is then."
    done
    if [[ -n $manager && $manager != npm@* && ! -d node_modules ]]; then
        fail "package.json asks for the package manager $manager; the stack $STACK has npm only." \
            "Remove the field \"packageManager\", run: npm install, and commit package-lock.json."
    fi
}

# engines.node is honoured or refused, never passed over.
check_engines() {
    local wanted
    wanted=$(field .engines.node?)
    [[ -n $wanted ]] || return 0
    NODE_PATH=/usr/share/nodejs node -e '
        const semver = require("semver"), [, range] = process.argv
        process.exit(semver.validRange(range) === null ? 3 : semver.satisfies(process.version, range) ? 0 : 2)' "$wanted" 2>/dev/null
    case $? in
    0) return 0 ;;
    2)
        if [[ $(config NODE_VERSION_LENIENT) == 1 ]]; then
            warn "Node.js $wanted is asked for; the stack $STACK has ${node#v}, which is used (NODE_VERSION_LENIENT)."
            return 0
        fi
        fail "package.json asks for Node.js $wanted (engines.node), but the stack $STACK has ${node#v}." \
            "Change engines.node, as in: \">=$(cut -d. -f1 <<<"${node#v}")\", or: paasctl config set NODE_VERSION_LENIENT=1" ;;
    3) fail "package.json: engines.node is no range of versions: '$wanted'." "It is as in: \"20.x\" or \">=18\"." ;;
    *) fail "The build stack $STACK can't compare versions (node-semver is missing)." ;;
    esac
}

set_npm() {
    # Registries that are there answer within seconds; a pusher should not wait minutes to learn that there is none.
    export npm_config_cache=$cache/npm npm_config_fetch_retries=1 npm_config_fetch_retry_mintimeout=1000 \
        npm_config_fetch_retry_maxtimeout=3000 npm_config_fetch_timeout=20000
    export npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false npm_config_progress=false \
        npm_config_color=false npm_config_logs_max=0 npm_config_prefer_offline=true npm_config_loglevel=warn
    # Headers of the stack: node-gyp would fetch them from nodejs.org.
    [[ -d /usr/include/node ]] && export npm_config_nodedir=/usr
    [[ -f /etc/ssl/certs/ca-certificates.crt ]] && export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}
    NODE_ENV=$(config NODE_ENV)
    export NODE_ENV=${NODE_ENV:-production}
}
# npm_do WORD…: npm with the app's config vars, which its scripts and .npmrc read.
npm_do() {
    (
        mode=$NODE_ENV
        npm_config
        export NODE_ENV=$mode
        exec npm "$@" </dev/null
    )
}
# npm takes its settings in capitals and in small letters: the app's win over those of the site, however each is written.
npm_config() {
    local name
    for name in "$ENV_DIR"/[Nn][Pp][Mm]_[Cc][Oo][Nn][Ff][Ii][Gg]_*; do
        [[ -f $name ]] || continue
        name=${name##*/}
        unset "${name,,}" "${name^^}"
    done
    export_config
}

npm_run() {
    local log
    log=$(mktemp)
    npm_do "$@" 2>&1 | tee "$log" | indent_public
    ((PIPESTATUS[0] == 0)) && { rm -f "$log"; return 0; }
    explain "$log"
    rm -f "$log"
    warn "'npm $1' failed."
    return 1
}
# explain LOG: what to do about what npm says in it.
explain() {
    local log=$1
    if grep -qE 'ENOTFOUND|ECONNREFUSED|ETIMEDOUT|ECONNRESET|EAI_AGAIN|ENOTCACHED|network timeout|ERR_SOCKET_TIMEOUT|CERT|SELF_SIGNED' "$log"; then
        warn "A package can't be fetched. $(remedy | head -n 1)"
    elif grep -qE 'can only install packages when your package.json and package-lock.json|EUSAGE' "$log"; then
        warn "package-lock.json does not fit package.json; run: npm install, and commit package-lock.json."
    elif grep -qE 'E404|ETARGET' "$log"; then
        warn "The registry $(public "$registry") has no such package or version; check its name in package.json."
    elif grep -qE 'EINTEGRITY' "$log"; then
        warn "A package is not the one of package-lock.json; if that is meant: remove package-lock.json, npm install, commit it."
    elif grep -qE 'E401|E403' "$log"; then
        warn "The registry $(public "$registry") asks for a token; refer to a config var in .npmrc, as in: //host/:_authToken=\${NPM_TOKEN}"
    elif grep -qE 'gyp ERR|node-gyp' "$log"; then
        warn "A package with C++ code does not compile; if a header is missing, name its Debian package (lib…-dev) in an Aptfile."
    fi
    return 0
}
remedy() {
    echo "Put the packages into the source, then no registry is needed: npm ci --omit=dev && git add -f node_modules"
    echo "Or name a registry that can be reached: paasctl config set NPM_CONFIG_REGISTRY=https://…"
}

run_script() {
    script "$1" || return 0
    title "Running the script $1"
    npm_do run --if-present "$1" 2>&1 | indent_public
    ((PIPESTATUS[0] == 0)) || fail "The script $1 of package.json failed; the messages above say why."
}

lock_file() {
    local lock
    for lock in npm-shrinkwrap.json package-lock.json; do file "$lock" && { REPLY=$lock; return 0; }; done
    return 1
}
has_development() { jq -e '(.devDependencies // {}) | length > 0' package.json >/dev/null; }
# How many packages have to come from somewhere else than the source.
foreign() {
    local development=$1
    if lock_file; then
        jq --argjson development "$development" '
            if .packages then
                [.packages | to_entries[] | select(.key | test("(^|/)node_modules/")) | .value
                    | select((.link | not) and (.inBundle | not) and ((.dev | not) or $development == 1)
                        and ((.resolved // "") | startswith("file:") | not))] | length
            else
                [.dependencies // {} | .. | objects | select(has("version"))
                    | select(((.dev | not) or $development == 1) and (.bundled | not) and (.version | startswith("file:") | not))] | length
            end' "$REPLY" 2>/dev/null || echo 1
    else
        jq --argjson development "$development" '
            [.dependencies, .optionalDependencies, (if $development == 1 then .devDependencies else null end) | . // {} | .[]
                | select(startswith("file:") | not)] | length' package.json
    fi
}

install_dependencies() {
    local command=(install --no-package-lock --no-save) omit=(--omit=dev) count
    if lock_file; then
        command=(ci)
        jq -e 'type == "object"' "$REPLY" >/dev/null 2>&1 || fail "$REPLY is not a JSON object." "Make it anew: npm install"
    elif jq -e '[.dependencies, .devDependencies, .optionalDependencies | . // {} | length] | add > 0' package.json >/dev/null; then
        warn "There is no package-lock.json: each build may get other versions. Run: npm install, and commit it."
    fi
    ((development)) && omit=(--include=dev)
    count=$(foreign "$development")
    if ((count == 0)) && [[ ${command[0]} == install ]] && ! jq -e '.dependencies // {} | length > 0' package.json >/dev/null; then
        body "package.json asks for no packages"
        return 0
    fi
    registry=$( (npm_config; npm config get registry) 2>/dev/null)
    local place why='' asked=''
    if ((count > 0)); then
        while IFS= read -r place; do
            reachable "$place" || { asked=$place why=$REPLY; break; }
        done < <(places)
    fi
    if [[ -n $asked ]]; then
        [[ ${PAAS_NETWORK:-} == none ]] && why='this build has no network'
        # What the last build had is in npm's cache.
        [[ -d $npm_config_cache/_cacache/index-v5 ]] || npm_away "$asked" "$why"
        warn "$(server "$asked") $(public "$asked") can't be reached: $why. Trying with what earlier builds fetched."
        title "Installing from the cache (npm ${command[0]})"
        local log
        log=$(mktemp)
        npm_do "${command[@]}" "${omit[@]}" --offline >"$log" 2>&1 && { rm -f "$log"; return 0; }
        grep -qE 'ENOTCACHED|ENOTFOUND|ECONNREFUSED' "$log" && npm_away "$asked" "$why"
        # It fails for a reason of its own, as it would with a registry.
        indent_public <"$log"
        explain "$log"
        fail "'npm ${command[0]}' failed."
    fi
    if ((count > 0)); then
        title "Installing from $(public "$registry") (npm ${command[0]})"
    else
        title "Installing what is in the source (npm ${command[0]})"
    fi
    npm_run "${command[@]}" "${omit[@]}" || exit 1
}
# server URL: what it is called.
server() { if [[ $1 == "$registry" ]]; then echo "The npm registry"; else echo "The server of packages"; fi; }
npm_away() {
    local lines
    mapfile -t lines < <(remedy)
    [[ $1 == "$registry" ]] || lines[1]="Or have package-lock.json name another server: npm install --registry https://…, and commit it."
    away "$(server "$1")" "$1" "$2" "${lines[@]}"
}
# Where npm will fetch packages from, at most three: the hosts of package-lock.json, in whose place npm may put its registry.
places() {
    local replace url host
    lock_file || { echo "$registry"; return 0; }
    replace=$( (npm_config; npm config get replace-registry-host) 2>/dev/null)
    jq -r --argjson development "$development" '
        if .packages then .packages | to_entries[] | select(.key | test("(^|/)node_modules/")) | .value | select((.link | not) and (.inBundle | not))
        else .dependencies // {} | .. | objects | select(has("version") and (.bundled | not)) end
        | select((.dev | not) or $development == 1) | .resolved // "registry" | strings' "$REPLY" 2>/dev/null |
        while IFS= read -r url; do
            case $url in
            registry) echo "$registry" ;;
            http://* | https://*)
                host=${url#*://} host=${host%%/*} host=${host##*@}
                if [[ $replace == always || $replace == "$host" || ${replace:-npmjs} == npmjs && $host == registry.npmjs.org ]]; then
                    echo "$registry"
                else
                    origin "$url"
                fi ;;
            esac
        done | LC_ALL=C sort -u | head -n 3
}

# cacheDirectories of package.json: folders of the source that are kept from build to build.
cache_directories() {
    local path
    jq -r '(.cacheDirectories // .cache_directories // []) | arrays | .[] | strings' package.json | while IFS= read -r path; do
        path=${path#./} path=${path%/}
        case "/$path/" in */../* | //* | */./* | /.git/*) warn "cacheDirectories: '$path' is not used; name folders of the source, without '..'." >&2; continue ;; esac
        printf '%s\n' "$path"
    done
}
restore_directories() {
    local path count=0
    while IFS= read -r path; do
        [[ -d $cache/directories/$path && ! -e $path ]] || continue
        mkdir -p "$(dirname "$path")" && cp -a "$cache/directories/$path" "$path" && count=$((count + 1))
        [[ $path == node_modules ]] && restored_modules=1
    done < <(cache_directories)
    ((count == 0)) || body "$count cached folders put back (cacheDirectories)"
}
save_directories() {
    local path
    remove "$cache/directories"
    while IFS= read -r path; do
        [[ -d $path && ! -L $path ]] || continue
        if ! fits "$path"; then warn "cacheDirectories: '$path' is too large for the cache."; continue; fi
        mkdir -p "$(dirname "$cache/directories/$path")" && cp -a "$path" "$cache/directories/$path"
    done < <(cache_directories 2>/dev/null)
}
