# Sourced by compile: versions, where modules come from, which programs there are.

newer() { [[ $1 != "$2" && $(printf '%s\n%s\n' "$1" "$2" | sort -V | tail -n 1) == "$1" ]]; }

check_version() {
    local wanted toolchain
    wanted=$(awk '$1 == "go" { print $2; exit }' go.mod | tr -d '\r')
    toolchain=$(awk '$1 == "toolchain" { print $2; exit }' go.mod | tr -d '\r')
    if [[ -n $wanted ]]; then
        # 1.24 is the language of 1.24.0 and later; rc and beta versions sort below in neither.
        if newer "$wanted" "$version" && [[ $version != "$wanted".* ]]; then
            fail "go.mod asks for Go $wanted, but the stack $STACK has $version." \
                "If the program does not need the newer one: go mod edit -go=${version%.*} -toolchain=none && go mod tidy" \
                "Else use a stack that has it (paasctl stacks), or build the program yourself and push it with a Procfile."
        fi
    fi
    # Before 1.21 the line is not known, and the third number neither.
    if newer 1.21 "$version"; then
        [[ -z $toolchain ]] || fail "go.mod has a toolchain line, which Go $version of the stack $STACK does not know." "Remove it: go mod edit -toolchain=none"
        [[ $wanted != *.*.* ]] || fail "go.mod says 'go $wanted', and Go $version of the stack $STACK knows only two numbers." "Change it: go mod edit -go=${wanted%.*}"
    elif [[ $toolchain == go* ]] && newer "${toolchain#go}" "$version"; then
        body "go.mod would like $toolchain; $version of the stack is used, which its go line allows"
    fi
}

# What Go's messages mean for somebody who only pushes.
explain() {
    local log=$1
    if grep -qE 'inconsistent vendoring|is explicitly required in go.mod, but not marked|not in std|cannot find module providing package .*: import lookup disabled by -mod=vendor' "$log"; then
        ((vendored)) && warn "vendor/ does not fit go.mod; run: go mod vendor, and commit vendor/ (also if .gitignore names it: git add -f vendor)."
    elif grep -qE 'missing go.sum entry|updates to go.mod needed|no required module provides package' "$log"; then
        warn "go.mod or go.sum is incomplete; run: go mod tidy, and commit both."
    elif grep -qE 'sum.golang.org' "$log" && grep -qE 'dial tcp|i/o timeout|no such host|connection refused' "$log"; then
        warn "The checksum database sum.golang.org can't be reached; behind a proxy of your own: paasctl config set GONOSUMDB=… or GOSUMDB=…"
    elif grep -qE 'dial tcp|i/o timeout|no such host|connection refused|proxyconnect|TLS handshake|x509:' "$log"; then
        warn "A module can't be fetched; vendor the modules instead: go mod vendor, and commit vendor/."
    elif grep -qE '^.*\.go:[0-9]+:[0-9]+: ' "$log"; then
        warn "The program does not compile; the messages above say where."
    elif grep -qE 'gcc: error|cgo: C compiler|fatal error: .*\.h' "$log"; then
        warn "C code of a package does not compile; a header may be missing: name its Debian package in an Aptfile, or set CGO_ENABLED=0."
    fi
}
# go_run WORD…: go, with its messages explained.
go_run() {
    local log
    log=$(mktemp)
    go "$@" 2>&1 | tee "$log" | indent_public
    ((PIPESTATUS[0] == 0)) && { rm -f "$log"; return 0; }
    explain "$log"
    rm -f "$log"
    warn "'go $1' failed."
    return 1
}

# Sets `vendored` and how Go takes modules. Ends the build if modules are needed that nothing can give.
choose_modules() {
    local module json needed sum
    vendored=0
    module=$(go mod edit -json 2>&1) || { indent_public <<<"$module"; fail "go.mod can't be read; the message above says why."; }
    json=$module
    # Modules that are replaced by folders of the source need nothing.
    needed=$(jq -r '
        ([.Replace // [] | .[] | select(.New.Version == null) | .Old.Path]) as $local
        | .Require // [] | .[] | select(.Path as $p | $local | index($p) | not) | .Path' <<<"$json")
    if [[ -f vendor/modules.txt ]]; then
        vendored=1
        title "Using the modules in vendor/"
        export GOPROXY=off GOFLAGS="${GOFLAGS:-} -mod=vendor"
        return 0
    fi
    if [[ -z $needed ]]; then
        body "go.mod requires no modules"
        export GOFLAGS="${GOFLAGS:-} -mod=readonly"
        return 0
    fi
    if [[ -d vendor ]]; then
        warn "There is a folder vendor/ without modules.txt, which Go does not use; it is made by: go mod vendor"
    fi
    file go.sum || fail "go.mod requires modules, and there is no go.sum." "Run: go mod tidy, and commit go.sum."
    # Written by Go so that it can be removed again.
    export GOFLAGS="${GOFLAGS:-} -mod=readonly -modcacherw"
    sum=$(GOPROXY=off GOSUMDB=off go list -deps ./... 2>&1 >/dev/null) && [[ -d $GOMODCACHE ]] && {
        body "All modules are in the cache of the last build"
        return 0
    }
    find_proxy "$needed"
    title "Fetching modules from $(public "$(go env GOPROXY)")"
}

# Sees that the first place that Go would ask answers at all: Go itself waits for minutes.
find_proxy() {
    local setting first rest module host asked=' '
    setting=$(go env GOPROXY)
    first=${setting%%[,|]*} rest=${setting#"$first"}
    local remedy=("Vendor the modules, then no registry is needed: go mod vendor, and commit vendor/."
        "Or name a proxy that can be reached: paasctl config set GOPROXY=https://…")
    case $first in
    off) fail "go.mod requires modules, and GOPROXY=off forbids to fetch them." "${remedy[0]}" ;;
    direct)
        for module in $1; do
            host=${module%%/*}
            [[ $asked == *" $host "* ]] && continue
            asked+="$host "
            reachable "https://$host" || away "The server of the module $module," "https://$host" "$REPLY" "${remedy[@]}"
            # Enough to see that there is a network.
            ((${#asked} > 80)) && break
        done ;;
    file://*) [[ -d ${first#file://} ]] || fail "GOPROXY names the folder ${first#file://}, which is not there." "${remedy[@]}" ;;
    *)
        if ! reachable "$first"; then
            # After a | Go goes on to the next place.
            [[ $rest == '|'* ]] || away "The Go module proxy" "$first" "$REPLY" "${remedy[@]}"
            warn "The Go module proxy $(public "$first") can't be reached: $REPLY; Go tries the next one of GOPROXY."
        fi ;;
    esac
}

module_name() {
    local path
    path=$(awk '$1 == "module" { gsub(/[";\r]/, "", $2); print $2; exit }' go.mod)
    # example.org/tool/v2 is called tool.
    [[ ${path##*/} =~ ^v[0-9]+$ ]] && path=${path%/*}
    printf '%s\n' "${path##*/}"
}
# program_name PACKAGE: as go install would call it.
program_name() {
    local path=$1
    [[ $path == . || $path == "$(awk '$1 == "module" { gsub(/[";\r]/, "", $2); print $2; exit }' go.mod)" ]] && { module_name; return; }
    [[ ${path##*/} =~ ^v[0-9]+$ ]] && path=${path%/*}
    printf '%s\n' "${path##*/}"
}

# Sets `programs`: GO_INSTALL_PACKAGE_SPEC, a comment `// +heroku install ./cmd/…` in go.mod, or all programs of the module.
choose_programs() {
    local spec list pattern words log
    spec=$(config GO_INSTALL_PACKAGE_SPEC)
    [[ -n $spec ]] || spec=$(sed -nE 's#^//[[:space:]]*\+heroku[[:space:]]+install[[:space:]]+##p' go.mod | tr '\r\n' '  ')
    read -r -a words <<<"${spec:-./...}"
    for pattern in "${words[@]}"; do
        [[ $pattern =~ ^[A-Za-z0-9_./~-]+$ ]] || fail "'$pattern' is no Go package; GO_INSTALL_PACKAGE_SPEC is as in: ./cmd/server ./cmd/worker"
    done
    log=$(mktemp)
    if ! list=$(go list -find -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' "${words[@]}" 2>"$log"); then
        indent_public <"$log"
        explain "$log"
        fail "The packages ${words[*]} can't be listed."
    fi
    rm -f "$log"
    mapfile -t programs < <(grep -v '^$' <<<"$list")
    ((${#programs[@]} > 0)) || fail "There is no program in ${words[*]}: no package is called 'main'." \
        "If it is elsewhere: paasctl config set GO_INSTALL_PACKAGE_SPEC=./path/of/the/package"
}
