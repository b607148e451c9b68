# Sourced by compile: the options, from native.env and the app's config.

declare -A option=()
option_names=(NATIVE_SYSTEM CMAKE_ARGS MESON_ARGS CONFIGURE_ARGS MAKE_ARGS MAKE_TARGETS NATIVE_INSTALL NATIVE_JOBS)

# native.env is read, never run. What quotes enclose as a whole is taken without them, as a shell would.
read_options() {
    local name value line number=0
    if file native.env; then
        (($(stat -L -c %s native.env) <= 65536)) || fail "native.env is larger than 64 KiB."
        while IFS= read -r line || [[ -n $line ]]; do
            number=$((number + 1))
            line=${line%$'\r'}
            [[ $line =~ ^[[:space:]]*(#.*)?$ ]] && continue
            [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?([A-Z_]+)=(.*)$ ]] || fail "native.env line $number: expected NAME=value."
            name=${BASH_REMATCH[2]} value=${BASH_REMATCH[3]}
            [[ " ${option_names[*]} " == *" $name "* ]] || fail "native.env line $number: unknown option $name; known are: ${option_names[*]}"
            if [[ $value =~ ^\"([^\"]*)\"[[:space:]]*$ || $value =~ ^\'([^\']*)\'[[:space:]]*$ ]]; then value=${BASH_REMATCH[1]}; fi
            option[$name]=$value
        done <native.env
    fi
    for name in "${option_names[@]}"; do
        has_config "$name" && option[$name]=$(config "$name")
    done
    split CMAKE_ARGS cmake_args
    split MESON_ARGS meson_args
    split CONFIGURE_ARGS configure_args
    split MAKE_ARGS make_args
    split MAKE_TARGETS targets
    install=${option[NATIVE_INSTALL]:-0}
    [[ $install == [01] ]] || fail "NATIVE_INSTALL must be 1 or 0."
    jobs=${option[NATIVE_JOBS]:-$(nproc)}
    [[ $jobs =~ ^[1-9][0-9]?$ ]] || fail "NATIVE_JOBS must be a number from 1 to 99."
}

# split NAME ARRAY: the words of an option, as a shell splits them (white space, quotes, backslashes), without expanding anything.
split() {
    local rest=${option[$1]:-} word='' open=0 part
    local -n words=$2
    words=()
    while [[ -n $rest ]]; do
        if [[ $rest =~ ^[[:space:]]+ ]]; then
            ((open)) && words+=("$word")
            word='' open=0
            rest=${rest:${#BASH_REMATCH[0]}}
            continue
        fi
        open=1
        if [[ $rest =~ ^[^[:space:]\'\"\\]+ ]]; then
            word+=${BASH_REMATCH[0]}
        elif [[ $rest =~ ^\'([^\']*)\' ]]; then
            word+=${BASH_REMATCH[1]}
        elif [[ $rest =~ ^\"(([^\"\\]|\\.)*)\" ]]; then
            part=${BASH_REMATCH[1]}
            # In double quotes a backslash stands for itself, but before what it can protect.
            word+=$(sed -E 's/\\(["\\$`])/\1/g' <<<"$part")
            rest=${rest:$((${#part} + 2))}
            continue
        elif [[ $rest =~ ^\\(.) ]]; then
            word+=${BASH_REMATCH[1]}
        else
            fail "$1: a quote is not closed: ${rest:0:60}"
        fi
        rest=${rest:${#BASH_REMATCH[0]}}
    done
    ((open)) && words+=("$word")
    return 0
}
