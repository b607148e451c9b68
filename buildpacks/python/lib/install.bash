# Sourced by compile: what is to be installed, and its installation with pip.

# Sets `manager` (pip, pipenv, poetry, uv, project, nothing) and `lock`.
choose_manager() {
    local -A files=([requirements.txt]=pip [Pipfile.lock]=pipenv [poetry.lock]=poetry [uv.lock]=uv)
    local name found=()
    for name in requirements.txt Pipfile.lock poetry.lock uv.lock; do file "$name" && found+=("$name"); done
    manager=nothing lock=${found[0]:-}
    if ((${#found[@]} > 0)); then
        manager=${files[$lock]}
        ((${#found[@]} == 1)) || body "Several files name the packages: ${found[*]}; $lock is used. Remove what is not meant."
        return 0
    fi
    for name in requirement.txt Requirements.txt requirements.text requirements.txt.txt requirments.txt; do
        file "$name" && fail "There is a file $name; pip's file is called requirements.txt." "Rename it: git mv $name requirements.txt"
    done
    file Pipfile && fail "There is a Pipfile but no Pipfile.lock." "Make and commit it: pipenv lock"
    file pdm.lock && fail "pdm.lock can't be read." "Export it: pdm export --prod -o requirements.txt"
    if file setup.py || { file pyproject.toml && grep -qE '^[[:space:]]*\[(project|build-system|tool\.poetry)\]' pyproject.toml; }; then
        manager=project
        file pyproject.toml && grep -qE '^[[:space:]]*\[tool\.poetry\]' pyproject.toml &&
            body "There is no poetry.lock: versions are chosen by pip. Pin them: poetry lock"
    fi
    return 0
}

# A wish for a version is honoured or refused, never passed over.
check_version() {
    local wanted= source=.python-version
    if file .python-version; then
        wanted=$(grep -vE '^[[:space:]]*(#|$)' .python-version | head -n 1 | tr -d '[:space:]')
    elif file runtime.txt; then
        source=runtime.txt
        wanted=$(head -n 1 runtime.txt | tr -d '[:space:]')
    fi
    wanted=${wanted#python-} wanted=${wanted#cpython-}
    [[ -n $wanted ]] || return 0
    local series=${PYTHON_VERSION%.*}
    if [[ $wanted == 3 || $wanted == "$series" || $wanted == "$PYTHON_VERSION" ]]; then return 0; fi
    if [[ $wanted =~ ^[0-9]+\.[0-9]+\.[0-9]+$ && ${wanted%.*} == "$series" ]]; then
        body "$source asks for Python $wanted; the stack $STACK has $PYTHON_VERSION of the same series"
    elif [[ $(config PYTHON_VERSION_LENIENT) == 1 ]]; then
        warn "$source asks for Python ${wanted:0:40}; the stack $STACK has $PYTHON_VERSION, which is used (PYTHON_VERSION_LENIENT)."
    else
        fail "$source asks for Python ${wanted:0:40}, but the stack $STACK has $PYTHON_VERSION." \
            "Ask for $series, choose another stack (paasctl stacks), or: paasctl config set PYTHON_VERSION_LENIENT=1"
    fi
}

# What may be set for pip; its own variables only, so that config never changes how the build itself works.
read_settings() {
    local name value
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_NO_COLOR=1 PIP_PROGRESS_BAR=off PIP_ROOT_USER_ACTION=ignore
    export PIP_NO_WARN_SCRIPT_LOCATION=1 PIP_RETRIES=2 GIT_TERMINAL_PROMPT=0
    for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_FIND_LINKS PIP_NO_INDEX PIP_CONSTRAINT PIP_NO_BINARY PIP_ONLY_BINARY PIP_DEFAULT_TIMEOUT PYTHON_EXTRAS; do
        if has_config "$name"; then
            value=$(config "$name")
            export "$name=$value"
        fi
    done
    export PIP_DEFAULT_TIMEOUT=${PIP_DEFAULT_TIMEOUT:-15}
    export PIP_CACHE_DIR=$CACHE_DIR/python/pip
    mkdir -p "$PIP_CACHE_DIR"
    # Compiled packages hold no path of the folder, different in each build, that they were compiled in.
    export CFLAGS="${CFLAGS:-} -g0" CXXFLAGS="${CXXFLAGS:-} -g0"

    # Packages that lie in the repository are all that is looked at, unless the app says otherwise.
    vendor=
    compgen -G 'vendor/*.whl' >/dev/null || compgen -G 'vendor/*-[0-9]*.tar.gz' >/dev/null || compgen -G 'vendor/*-[0-9]*.zip' >/dev/null && vendor=vendor
    [[ ${PAAS_NETWORK:-} == none ]] && PIP_NO_INDEX=1
    [[ -n $vendor && -z ${PIP_NO_INDEX:-} ]] && PIP_NO_INDEX=1
    offline=
    case ${PIP_NO_INDEX:-0} in 1 | true | yes | on) offline=1 ;; esac
    links=()
    [[ -n $vendor ]] && links+=("$BUILD_DIR/$vendor")
    for value in ${PIP_FIND_LINKS:-}; do
        [[ -d $value ]] && value=$(cd "$value" && pwd)
        links+=("$value")
    done
    [[ -z $offline ]] || export PIP_NO_INDEX=1
    ((${#links[@]} == 0)) || export PIP_FIND_LINKS="${links[*]}"

    # Facts about requirements.txt; variables that it names are taken from the app's config.
    changing=() indexes=() repositories=() unpinned=0 main_index=
    if [[ $manager == pip ]]; then
        local kind
        while IFS=$'\t' read -r kind value; do
            case $kind in
            variable) has_config "$value" && export "$value=$(config "$value")" ;;
            changing) changing+=("$value") ;;
            main-index) main_index=1 indexes+=("$value") ;;
            extra-index) indexes+=("$value") ;;
            repository) repositories+=("$value") ;;
            unpinned) unpinned=$value ;;
            no-index) offline=1 ;;
            esac
        done < <("$python" "$pack/lib/environment.py" scan requirements.txt)
    fi
}

# Whether the environment of the last build is what this one needs; says why not.
reuse() {
    local line reasons
    [[ -d $cache/venv && -f $cache/state ]] || return 1
    mapfile -t reasons < <("$python" "$pack/lib/environment.py" reasons "$cache/state" "$scratch/state" || echo "its description can't be read")
    for line in "${changing[@]:0:5}"; do reasons+=("$line can change while its name stays"); done
    ((${#reasons[@]} > 0)) || return 0
    body "The virtual environment of the last build is not used:"
    for line in "${reasons[@]:0:20}"; do body "  $line"; done
    return 1
}

copy_tree() { rm -rf "$2" && mkdir -p "$2" && cp -a "$1/." "$2/"; }
record() { [[ -z ${PAAS_ARTIFACTS:-} || ! -s $1 ]] || { cat "$1" >>"$PAAS_ARTIFACTS" && LC_ALL=C sort -u -o "$PAAS_ARTIFACTS" "$PAAS_ARTIFACTS"; }; }
compile_python() { "$python" "$pack/lib/bytecode.py" "$VENV/lib"; }

# For the next build, if there is room; the platform keeps the cache only if the whole build succeeds.
keep() {
    local size
    size=$(du -sk "$VENV" | cut -f1)
    ((size * 3 < $(df -Pk "$CACHE_DIR" | awk 'NR == 2 { print $4 }'))) || return 0
    copy_tree "$VENV" "$cache/venv" && cp "$scratch/state" "$cache/state" && cp "$scratch/artifacts" "$cache/artifacts" && return 0
    rm -rf "$cache/venv" "$cache/state" "$cache/artifacts"
}

trim_downloads() {
    local size
    size=$(du -sm "$PIP_CACHE_DIR" 2>/dev/null | cut -f1)
    if ((${size:-0} > 512)); then
        warn "pip's downloads take $size MiB, more than the 512 MiB that are kept; the next build loads what it needs anew."
        rm -rf "$PIP_CACHE_DIR"
    fi
}

# Whether an index answers, before pip tries for minutes. Arguments: lines `index URL`, `host URL`, `default`.
reach() {
    local found code url what
    # Lines `asking<tab>URL`, and at the end what is wrong with the last of them.
    found=$(printf '%s\n' "$@" | timeout 20 "$python" -u "$pack/lib/reach.py")
    code=$? found=${found##*$'\n'}
    ((code != 0)) || return 0
    url=${found%%$'\t'*} what=${found#*$'\t'}
    [[ $url != asking ]] || { url=$what what=; }
    ((code != 124)) || what="no answer within 20 s"
    warn "The package index $url can't be reached from the build: ${what:-it gave no answer that can be read}."
    warn "Check the host's network and proxy, or name an index that answers: paasctl config set PIP_INDEX_URL=https://…/simple"
    fail "Or put the packages into the repository: pip download -d vendor -r requirements.txt"
}

# pip_install ARGUMENTS…: with the stack's pip into the environment; what it fetches is written down.
pip_install() {
    local log=$scratch/pip.log
    PIP_REPORT=$scratch/reports "$python" -m pip --python "$VENV/bin/python" install --no-compile "$@" 2>&1 |
        sed -u -E '/^ *Stored in directory: /d; s#(://)[^/@[:space:]]*@#\1#g' | tee "$log" | indent
    ((PIPESTATUS[0] == 0)) && return 0
    explain "$log"
    exit 1
}

explain() {
    local log=$1 host hint
    host=$(grep -oE "host='[^']+'" "$log" | head -n 1 | cut -d "'" -f 2)
    if [[ -n $offline ]] && grep -qE 'No matching distribution|Could not find a version' "$log"; then
        warn "Not everything is there without a package index; what is missing stands above."
        hint="Put it into the repository: pip download -d vendor -r requirements.txt"
        [[ $manager == pip ]] || hint="Put it into vendor/ (pip download -d vendor …); the project's build requirements belong there too"
        [[ ${PAAS_NETWORK:-} != none && -n $vendor ]] && hint+=", or let the index be asked too: paasctl config set PIP_NO_INDEX=0"
        warn "$hint"
    elif [[ -n $host ]] && grep -qiE 'NewConnectionError|ConnectTimeout|Read timed out|NameResolutionError|Temporary failure|unreachable|ProxyError|SSLError|Max retries' "$log"; then
        warn "$host can't be reached from the build."
        warn "Check the host's network and proxy, or name an index that answers: paasctl config set PIP_INDEX_URL=https://…/simple"
    elif grep -qE 'THESE PACKAGES DO NOT MATCH THE HASHES|HashMismatch' "$log"; then
        warn "A file of the index is not the one that was pinned: its hash differs. Find out why before you lock again."
    elif grep -q 'require-hashes mode' "$log"; then
        warn "Some requirements have hashes and some have none; give all of them one (pip-compile --generate-hashes) or none."
    elif grep -qE 'No matching distribution|Could not find a version' "$log"; then
        warn "The package index has no version of a package that fits; check its name and version, and that it supports Python ${PYTHON_VERSION%.*}."
    elif grep -qE '(^|[[:space:]])error: command .*(gcc|cc|g\+\+|rustc|cargo)|fatal error: .*\.h|Rust' "$log"; then
        warn "A package has to be compiled and that failed; a header or compiler may be missing in the build stack: pin a version with a wheel."
    elif grep -qE 'git (clone|fetch|checkout).*(did not run|exit)' "$log"; then
        warn "A repository that a requirement names could not be fetched; a private one needs a token: https://\${TOKEN}@… with TOKEN as a config var."
    else
        warn "pip could not install the packages; its own words stand above."
    fi
}

# The version of a project without its repository: packages that take it from tags would fail.
pretend_version() {
    [[ ${SOURCE_VERSION:-} =~ ^[0-9a-f]{7,}$ && ! -d .git ]] || return 0
    local version=0.0.0+g${SOURCE_VERSION:0:12} name
    name=$("$python" - 2>/dev/null <<'PYTHON'
import re, tomllib
print(re.sub(r"[-_.]+", "_", tomllib.load(open("pyproject.toml", "rb"))["project"]["name"]).upper())
PYTHON
    )
    # By its name, where it has one, so that dependencies that are built from source keep their own.
    if [[ $name =~ ^[A-Z0-9_]+$ ]]; then
        export "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_$name=$version"
    else
        export SETUPTOOLS_SCM_PRETEND_VERSION="$version"
    fi
}

# build_project ARGUMENTS…: installs the project itself, and takes away what its build leaves beside the source.
build_project() {
    title "Installing this project with pip"
    pretend_version
    local left before
    before=$(compgen -G 'build' ; compgen -G '*.egg-info'; compgen -G 'src/*.egg-info')
    pip_install "$@"
    for left in build *.egg-info src/*.egg-info; do
        [[ ! -d $left || $'\n'$before$'\n' == *$'\n'"$left"$'\n'* ]] || rm -rf "$left"
    done
}

# Starts writing down what pip fetches; `stop_reports` ends it and leaves $scratch/artifacts.
start_reports() {
    mkfifo "$scratch/reports" || exit 1
    (
        "$python" "$pack/lib/artifacts.py" "$scratch/reports" "$scratch/artifacts" &
        child=$!
        trap 'kill "$child" 2>/dev/null; exit 1' TERM
        wait "$child" && exit 0
        trap - TERM
        # A pipe that nobody reads would have pip wait without end: what it says is taken and thrown away.
        while IFS= read -r line; do [[ $line != '"end"' ]] || exit 1; done <>"$scratch/reports"
    ) &
    reporter=$!
}
stop_reports() {
    kill -0 "$reporter" 2>/dev/null || fail "What was fetched can't be written down: what does that has ended."
    printf '\n"end"\n' >"$scratch/reports"
    wait "$reporter" || fail "What was fetched can't be written down."
    reporter=
    rm -f "$scratch/reports"
    record "$scratch/artifacts"
}

install_all() {
    local questions=()
    : >"$scratch/artifacts"
    [[ $manager == nothing ]] && return 0
    if [[ $manager != pip && $manager != project ]]; then
        title "Reading $lock"
        mkdir "$scratch/lock"
        local notes lines
        notes=$("$python" "$pack/lib/lock_requirements.py" "$lock" "$scratch/lock" "$ENV_DIR" 2>"$scratch/lock/refused") || {
            mapfile -t lines <"$scratch/lock/refused"
            fail "${lines[@]:0:10}"
        }
        [[ -z $notes ]] || warn "$notes"
        body "$(wc -l <"$scratch/lock/hashed.txt") packages pinned by version and hash, $(wc -l <"$scratch/lock/plain.txt") by commit or folder"
        use_indexes
    fi
    if [[ -z $offline ]]; then
        local url
        # Further indexes of requirements.txt are asked beside the main one, not in its place.
        [[ $manager != pip || -n $main_index ]] || indexes=(default "${indexes[@]}")
        for url in "${indexes[@]:-default}"; do
            if [[ $url == default ]]; then questions+=("default -"); else questions+=("index $url"); fi
        done
        for url in ${PIP_EXTRA_INDEX_URL:-}; do questions+=("index $url"); done
        for url in "${repositories[@]}"; do questions+=("host $url"); done
        reach "${questions[@]}"
    elif [[ -z ${PIP_FIND_LINKS:-} && $manager == pip ]] && grep -qE '^[[:space:]]*[A-Za-z0-9]' requirements.txt; then
        [[ ${PAAS_NETWORK:-} == none ]] && warn "This build has no network (BUILD_NETWORK=none), and vendor/ holds no packages."
    fi
    # What builds packages can come from the stack if there is no index.
    [[ -z $offline || ! -d /usr/share/python-wheels ]] || export PIP_FIND_LINKS="${PIP_FIND_LINKS:-} /usr/share/python-wheels"
    start_reports
    case $manager in
    pip)
        title "Installing requirements.txt with pip"
        pip_install -r requirements.txt
        ;;
    project)
        build_project ".${PYTHON_EXTRAS:+[$PYTHON_EXTRAS]}"
        ;;
    *)
        title "Installing $lock with pip"
        [[ ! -s $scratch/lock/hashed.txt ]] || pip_install --no-deps --require-hashes -r "$scratch/lock/hashed.txt"
        [[ ! -s $scratch/lock/plain.txt ]] || pip_install --no-deps -r "$scratch/lock/plain.txt"
        install_locked_project
        ;;
    esac
    stop_reports
}

# The indexes that a lock file names. An index of the app's config or of the operator stands for the public one.
use_indexes() {
    local found url extra=()
    mapfile -t found <"$scratch/lock/indexes"
    for url in "${found[@]}"; do
        if [[ $url == default ]]; then
            indexes+=(default)
        elif ((${#indexes[@]} == 0)); then
            export PIP_INDEX_URL=$url
            indexes+=("$url")
        else
            extra+=("$url") indexes+=("$url")
        fi
    done
    ((${#extra[@]} == 0)) || export PIP_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL:-} ${extra[*]}"
    while IFS= read -r url; do PIP_FIND_LINKS="${PIP_FIND_LINKS:-} $url"; done <"$scratch/lock/links"
    [[ -z ${PIP_FIND_LINKS:-} ]] || export PIP_FIND_LINKS
}

install_locked_project() {
    [[ -e $scratch/lock/project ]] || return 0
    build_project --no-deps .
}

# The environment of the last build holds the project as it was then.
install_project_again() {
    case $manager in
    project) ;;
    poetry | uv)
        mkdir "$scratch/lock"
        "$python" "$pack/lib/lock_requirements.py" "$lock" "$scratch/lock" "$ENV_DIR" >/dev/null 2>&1 || fail "$lock can't be read."
        [[ -e $scratch/lock/project ]] || return 0
        use_indexes
        ;;
    *) return 0 ;;
    esac
    [[ -n $offline ]] || reach "default -"
    [[ -z $offline || ! -d /usr/share/python-wheels ]] || export PIP_FIND_LINKS="${PIP_FIND_LINKS:-} /usr/share/python-wheels"
    start_reports
    if [[ $manager == project ]]; then
        build_project ".${PYTHON_EXTRAS:+[$PYTHON_EXTRAS]}"
    else
        install_locked_project
    fi
    stop_reports
}
