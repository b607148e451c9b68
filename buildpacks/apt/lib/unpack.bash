# Sourced by compile: from .deb files to .apt, and what programs need to find things there.

# Files that were moved: a slug is below /app and never at /.
unpack_all() {
    local entry hash file url name version package section arch control=$state/control
    : >.apt/.packages
    # By name, so that a file that two packages have is always the same one's.
    while read -r name hash file url; do
        read -r -d '' package version arch section < <(dpkg-deb --show --showformat '${Package} ${Version} ${Architecture} ${Section}' "$file"; printf '\0')
        case $package in
        libc6 | libc-bin)
            # The loader of the stack and a C library of another version do not work together.
            warn "A package asks for a newer $package than the stack has; the stack's own is used."
            warn "If programs miss something of it, ask the operator for: paasctl stacks build $STACK"
            continue ;;
        esac
        # What a -dev package asks for and the build has already is of no use to a process.
        if [[ $section =~ (^|/)(libdevel|devel|kernel)$ ]] && ! grep -q " $(basename "$file") " "$state/needed" &&
            [[ $file == "$state"/archives/* && $(dpkg-query --show --showformat '${db:Status-Abbrev}${Version}' "$package" 2>/dev/null) == "ii $version" ]]; then
            continue
        fi
        body "$package $version"
        dpkg-deb --extract "$file" .apt || fail "$package can't be unpacked."
        # Links that the package would make when it is installed.
        rm -rf "$control" && dpkg-deb --control "$file" "$control" 2>/dev/null &&
            [[ -f $control/postinst ]] && alternatives "$control/postinst"
        printf '%s %s %s %s %s\n' "$package" "$version" "$arch" "$hash" "$url" >>.apt/.packages
        [[ -z ${PAAS_ARTIFACTS:-} ]] || printf '%s %s\n' "$hash" "$url" >>"$PAAS_ARTIFACTS"
    done < <(for entry in "${debs[@]}"; do
        read -r hash file url <<<"$entry"
        printf '%s %s %s %s\n' "$(basename "$file")" "$hash" "$file" "$url"
    done | LC_ALL=C sort)
    rm -rf "$control"
    LC_ALL=C sort -o .apt/.packages .apt/.packages
}

# alternatives SCRIPT: notes the links of update-alternatives that the script asks for with plain paths; it is read, never run.
links=()
alternatives() {
    local line words i
    while IFS= read -r line; do
        read -r -a words <<<"$line"
        for ((i = 0; i + 3 < ${#words[@]}; i++)); do
            case ${words[i]} in --install | --slave) ;; *) continue ;; esac
            [[ ${words[i + 1]} =~ ^/[A-Za-z0-9/._+-]+$ && ${words[i + 3]} =~ ^/[A-Za-z0-9/._+-]+$ ]] || continue
            case "${words[i + 1]}${words[i + 3]}/" in */../*) continue ;; esac
            # --install LINK NAME PATH PRIORITY: the highest wins.
            local priority=${words[i + 4]:-0}
            [[ ${words[i]} == --install && $priority =~ ^[0-9]+$ ]] || priority=0
            links+=("$priority ${words[i + 1]} ${words[i + 3]}")
        done
    done < <(sed -E ':a; /\\$/ { N; s/\\\n/ /; ba }' "$1" | grep -F update-alternatives | head -n 200)
}

tidy() {
    local share
    # As in the stack's images.
    for share in man info lintian locale doc-base; do rm -rf ".apt/usr/share/$share"; done
    [[ -d .apt/usr/share/doc ]] && find .apt/usr/share/doc -not -type d -not -name copyright -delete
    [[ -d .apt/usr/share/doc ]] && find .apt/usr/share/doc -depth -type d -empty -delete
    # Rights of root that nobody has here, and folders of root's that the app's user must be able to read.
    find .apt -perm /6000 -not -type l -exec chmod u-s,g-s {} +
    find .apt -type d -not -perm -0700 -exec chmod u+rwx {} +
}

# Whether a path of the package's world is in .apt; the stack's /bin, /sbin and /lib are those below /usr.
inside() {
    local path
    for path in "$1" "/usr$1"; do
        [[ -e .apt$path || -L .apt$path ]] && { REPLY=.apt$path; return 0; }
    done
    return 1
}
mend_links() {
    local link target priority path
    while read -r priority link path; do
        [[ -n $link ]] || continue
        [[ -e .apt$link || -L .apt$link ]] && continue
        inside "$path" || continue
        mkdir -p ".apt${link%/*}" && ln -sr "$REPLY" ".apt$link"
    done < <(((${#links[@]} == 0)) || printf '%s\n' "${links[@]}" | LC_ALL=C sort -k2,2 -k1,1nr -k3,3)
    # Those that lead out of .apt and whose end is in it.
    while IFS= read -r -d '' link; do
        target=$(readlink "$link")
        inside "$target" && ln -sfnr "$REPLY" "$link"
    done < <(find .apt -type l -lname '/*' -print0)
}

# Libraries say where they are; that is another place now. Only the build reads it.
mend_pkgconfig() {
    find .apt -type f -path '*/pkgconfig/*.pc' -print0 |
        xargs -0 -r sed -i -E "s#^([a-z_]+[[:space:]]*=[[:space:]]*)/usr(/|\$)#\1$BUILD_DIR/.apt/usr\2#"
}

# From here on: in the folder .apt.

# have VARIABLE PATTERN…: lines VARIABLE<tab>/folder for the folders that are there.
have() {
    local variable=$1 pattern folder
    shift
    for pattern in "$@"; do
        # Architectures are no patterns, but versions in names are.
        while IFS= read -r folder; do
            [[ -d $folder && ! -L $folder ]] && printf '%s\t/%s\n' "$variable" "$folder"
        done < <(compgen -G "$pattern" | LC_ALL=C sort)
    done
    return 0
}
# The same with every folder that has libraries in it, the usual ones first; not those of modules that a language's own loader finds.
have_libraries() {
    local variable=$1 folder
    {
        have x "usr/local/lib/$multiarch" usr/local/lib "usr/lib/$multiarch" usr/lib "lib/$multiarch" lib | cut -f 2
        find . \( -name 'lib*.so' -o -name 'lib*.so.*' \) -not -path '*/python3*' -not -path '*/perl*' -not -path '*/ruby/*' \
            -not -path '*/php/*' -not -path '*/gconv/*' -not -path '*/jvm/*' -printf '/%P\n' | sed 's#/[^/]*$##' | LC_ALL=C sort -u
    } | awk '!seen[$0]++' | while IFS= read -r folder; do
        compgen -G ".$folder/*.so*" >/dev/null && printf '%s\t%s\n' "$variable" "$folder"
    done
    return 0
}
run_paths() {
    have PATH usr/local/sbin usr/local/bin usr/sbin usr/bin sbin bin usr/games 'usr/lib/jvm/*/bin'
    have_libraries LD_LIBRARY_PATH
    have PYTHONPATH usr/lib/python3/dist-packages
    have PERL5LIB "usr/lib/$multiarch/perl5/*" usr/share/perl5 "usr/lib/$multiarch/perl-base" "usr/lib/$multiarch/perl/*" 'usr/share/perl/*'
    have RUBYLIB usr/lib/ruby/vendor_ruby "usr/lib/$multiarch/ruby/vendor_ruby"
    have NODE_PATH usr/share/nodejs usr/lib/nodejs "usr/lib/$multiarch/nodejs"
}
build_paths() {
    run_paths
    have_libraries LIBRARY_PATH
    have CPATH "usr/include/$multiarch" usr/include
    have PKG_CONFIG_PATH "usr/lib/$multiarch/pkgconfig" usr/lib/pkgconfig usr/share/pkgconfig
    have CMAKE_PREFIX_PATH usr
    have ACLOCAL_PATH usr/share/aclocal
}
# exports ROOT: lines for a shell, with ROOT/.apt before what a variable has already.
exports() {
    awk -F '\t' -v root="$1" '
        !($1 in value) { order[++n] = $1 }
        { value[$1] = value[$1] (value[$1] == "" ? "" : ":") root "/.apt" $2 }
        END { for (i = 1; i <= n; i++) printf "export %s=\"%s${%s:+:$%s}\"\n", order[i], value[order[i]], order[i], order[i] }'
}
write_paths() {
    local home
    mkdir -p .profile.d
    (cd .apt && run_paths) | exports '$HOME' >.profile.d/000_apt.sh
    (cd .apt && build_paths) | exports "$BUILD_DIR" >"$pack/export"
    home=$(cd .apt && compgen -G 'usr/lib/jvm/*/bin/java' | LC_ALL=C sort | head -n 1)
    if [[ -n $home ]]; then
        printf 'export JAVA_HOME="$HOME/.apt/%s"\n' "${home%/bin/java}" >>.profile.d/000_apt.sh
        printf 'export JAVA_HOME="%s/.apt/%s"\n' "$BUILD_DIR" "${home%/bin/java}" >>"$pack/export"
    fi
}
