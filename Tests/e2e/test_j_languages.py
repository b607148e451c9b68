"""The buildpacks of languages: programs with what they need in the source are pushed and answer, without any network in the build;
what can't be built says why."""

import base64
import hashlib
import io
import json
import urllib.error
import urllib.request
import zipfile

import languages
import pytest
from slipway import REPO, wait_until
from stack import StackBuild, image_of

AWAY = "http://user:very-secret@127.0.0.1:9/registry"


def fetch(app, path="/"):
    def get():
        with urllib.request.urlopen(f"http://127.0.0.1:{app.port()}{path}", timeout=10) as answer:
            return answer.read().decode()

    return wait_until(get, 20, "an answer")


def rebuild(app):
    """Builds HEAD once more; its log and the slug's digest."""
    commit = app.git("rev-parse", "HEAD").stdout.strip()
    return app.paasctl("builds", "create", "--commit", commit, timeout=600).stderr, app.json("builds")[0]["slug"]


def deployed(app, files=None, source=None, **config):
    """Pushes with the network of builds off; the push's output."""
    app.paasctl("config", "set", "BUILD_NETWORK=none", *[f"{k}={v}" for k, v in config.items()])
    return app.deploy(files, source).stderr


def repeated(app):
    """The first build had no cache; one with it gives the slug that runs. Its log."""
    first = app.json("builds")[0]["slug"]
    log, again = rebuild(app)
    assert again == first
    return log


# Pushes


def test_a_go_program_with_vendored_modules(app):
    output = deployed(app, languages.GO, GO_LINKER_SYMBOL="main.version")
    assert "Go app detected" in output and "Using the modules in vendor/" in output
    commit = app.git("rev-parse", "HEAD").stdout.strip()
    assert fetch(app) == f"hello from a vendored module {commit}\n"
    repeated(app)


def test_a_node_program_with_a_build_script(app):
    output = deployed(app, languages.node(), WORD="built-with-config")
    assert "Node.js app detected" in output and "Running the script build" in output
    # The build's own dependency is not in the slug.
    assert fetch(app) == "hello from a package built-with-config greet\n"
    repeated(app)


def test_a_ruby_program_with_gems_in_the_source(app):
    output = deployed(app, languages.ruby())
    assert "Ruby app detected" in output and "Installing the gems of vendor/cache" in output
    assert fetch(app) == "hello from a gem 42\n"
    log = repeated(app)
    assert "Installing greet" not in log


def test_a_php_program_with_a_package_in_the_source(app):
    output = deployed(app, languages.php())
    assert "PHP app detected" in output and "Serving the folder 'public'" in output
    assert fetch(app) == "hello from a package\n"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{app.port()}/.hidden", timeout=10)
    assert refused.value.code == 404
    repeated(app)


def test_a_java_program_with_a_jar_beside_it(app):
    output = deployed(app, source="java")
    assert "Java app detected" in output and "server.jar starts org.example.Server" in output
    text, memory = fetch(app).splitlines()
    assert text == "hello from a jar beside the program"
    # Java takes its share of what the process may use, and not of what the host has.
    assert 64 < int(memory) < 1024, memory


def test_a_server_from_debian_with_libraries_that_the_stack_has_not(app):
    app.paasctl("ports", "add", "kv", "--protocol", "tcp", "--process", "kv")
    output = app.deploy({
        "Aptfile": "redis-server  # and libjemalloc, liblzf\n",
        "Procfile": "kv: redis-server --port $PORT --bind 0.0.0.0 --protected-mode no --save ''\n",
    }).stderr
    assert "Finding the Debian packages that Aptfile names" in output and "libjemalloc2" in output
    assert app.ask("PING", port=app.port("kv")).strip() == "+PONG"
    first = app.json("builds")[0]["slug"]
    log, again = rebuild(app)
    assert "Using the packages of the last build" in log and again == first


# Builds without a push


@pytest.fixture(scope="module")
def builds(platform, tmp_path_factory):
    return StackBuild(image_of(platform), REPO / "buildpacks", tmp_path_factory.mktemp("builds"))


@pytest.fixture
def stack(builds):
    """Without config vars. The cache is that of all tests, as Go compiles its own library only once then."""
    builds.config()
    return builds


def changed(files, **changes):
    """Files with some replaced, and without those that are None; `__` in a name is a dot, `___` a slash."""
    result = dict(files)
    for name, content in changes.items():
        name = name.replace("___", "/").replace("__", ".")
        if content is None:
            for path in [p for p in result if p == name or p.startswith(name + "/")]:
                del result[path]
        else:
            result[name] = content
    return result


LISTENER = """
python3 - <<'PYTHON' &
import socket, time
server = socket.create_server(("127.0.0.1", 9099))
open("/tmp/listens", "w").close()
time.sleep(300)
PYTHON
listener=$!
until [ -e /tmp/listens ]; do kill -0 $listener || exit 1; read -r -t 0.05 <> <(:) || true; done
"""


@pytest.mark.parametrize("pack, variable", [("go", "GOPROXY"), ("node", "NPM_CONFIG_REGISTRY"), ("ruby", "BUNDLE_MIRROR__ALL"), ("python", "PIP_INDEX_URL")])
def test_a_registry_that_never_answers_is_named_in_time(stack, pack, variable):
    """It listens, and nobody takes the connections."""
    root = {"name": "hello", "version": "1.0.0", "dependencies": {"left-pad": "1.3.0"}}
    source = {
        "go": lambda: changed(languages.GO, vendor=None), "node": lambda: {"package.json": json.dumps(root)},
        "ruby": lambda: changed(languages.ruby(), vendor=None), "python": lambda: {"requirements.txt": "demo\n"},
    }[pack]()
    (stack.root / "tmp/listens").unlink(missing_ok=True)
    stack.config(**{variable: AWAY.replace(":9/", ":9099/")})
    assert not stack.compile(pack, source, before=LISTENER), stack.output
    assert "http://127.0.0.1:9099/registry can't be reached from the build" in stack.output, stack.output
    assert "very-secret" not in stack.output
    assert stack.seconds < 30


def test_go_says_what_is_wrong(stack):
    assert "Gopkg.lock is of dep" in stack.fails("go", {"Gopkg.lock": ""})
    go = languages.GO
    output = stack.fails("go", changed(go, go__mod=go["go.mod"].replace("go 1.19", "go 1.99")))
    assert "go.mod asks for Go 1.99, but the stack debian-13 has 1." in output
    stack.config(GOPROXY=AWAY)
    output = stack.fails("go", changed(go, vendor=None))
    assert "The Go module proxy http://127.0.0.1:9/registry can't be reached" in output and "go mod vendor" in output
    assert "very-secret" not in output
    assert "go.mod requires modules, and there is no go.sum." in stack.fails("go", changed(go, vendor=None, go__sum=None))
    stack.config(GOPROXY="direct")
    assert "The server of the module example.org/greet, https://example.org can't be reached" in stack.fails("go", changed(go, vendor=None))
    output = stack.fails("go", changed(go, go__mod=go["go.mod"].replace("v1.0.0", "v1.0.1")))
    assert "vendor/ does not fit go.mod; run: go mod vendor" in output


def test_go_builds_each_program_that_is_meant(stack):
    main = "package main\n\nfunc main() {}\n"
    files = {"go.mod": "module example.org/tools/v2\n\ngo 1.19\n", "cmd/one/main.go": main, "cmd/two/main.go": main}
    assert stack.compile("go", files), stack.output
    assert sorted(p.name for p in (stack.app / "bin").iterdir()) == ["one", "two"] and stack.web() is None
    assert "say in it which one to run" in stack.output
    first = stack.tree()
    assert stack.compile("go", files) and stack.tree() == first
    stack.config(GO_INSTALL_PACKAGE_SPEC="./cmd/two")
    assert stack.compile("go", files) and stack.web() == "bin/two"
    stack.config(GO_INSTALL_PACKAGE_SPEC="./cmd/$(id)")
    assert "is no Go package" in stack.fails("go", files)
    stack.config()
    assert stack.compile("go", changed(files, cmd=None, main__go=main)) and stack.web() == "bin/tools"
    assert "no package is called 'main'" in stack.fails("go", changed(files, cmd=None, a__go="package a\n"))


def go_sum(files):
    """What go.sum says of a module: the hash of the list of its files' hashes."""
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))
    return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()


def test_go_fetches_modules_from_a_proxy_once(stack):
    """The proxy is a folder, as a site without internet may have it."""
    module = b"module example.org/greet\n\ngo 1.19\n"
    contents = {
        "example.org/greet@v1.0.0/go.mod": module,
        "example.org/greet@v1.0.0/greet.go": b'package greet\n\nfunc Hello() string { return "" }\n',
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        for name, content in contents.items():
            z.writestr(zipfile.ZipInfo(name), content)
    proxy = "proxy/example.org/greet/@v/"
    main = 'package main\n\nimport "example.org/greet"\n\nfunc main() { println(greet.Hello()) }\n'
    files = changed(languages.GO, vendor=None, main__go=main, go__sum=(
        f"example.org/greet v1.0.0 {go_sum(contents)}\nexample.org/greet v1.0.0/go.mod {go_sum({'go.mod': module})}\n"))
    there = {
        proxy + "list": "v1.0.0\n", proxy + "v1.0.0.mod": module, proxy + "v1.0.0.zip": archive.getvalue(),
        proxy + "v1.0.0.info": '{"Version": "v1.0.0", "Time": "2024-01-01T00:00:00Z"}',
    }
    stack.config(GOPROXY="file:///app/proxy", GOSUMDB="off")
    assert "checksum mismatch" in stack.fails("go", files | there | {"go.sum": languages.GO["go.sum"]})
    assert stack.compile("go", files | there) and "Fetching modules from file:///app/proxy" in stack.output, stack.output
    assert stack.compile("go", files) and "All modules are in the cache of the last build" in stack.output, stack.output
    assert stack.web() == "bin/hello"


def test_node_says_what_is_wrong(stack):
    node = languages.node()
    package = json.loads(node["package.json"])

    def engines(wanted):
        return changed(node, package__json=json.dumps({**package, "engines": {"node": wanted}}))

    assert "package.json asks for Node.js >=99 (engines.node), but the stack debian-13 has" in stack.fails("node", engines(">=99"))
    assert "is no range of versions: 'newest'" in stack.fails("node", engines("newest"))
    output = stack.fails("node", changed(node, package_lock__json=None) | {"yarn.lock": "", "package-lock.json": "{}"})
    assert "There are two lock files" in output
    files = {k: v for k, v in node.items() if k != "package-lock.json"}
    assert "yarn.lock is of yarn, which the stack debian-13 does not have" in stack.fails("node", files | {"yarn.lock": ""})
    foreign = {"left-pad": {"version": "1.3.0", "resolved": "https://registry.npmjs.org/left-pad/-/left-pad-1.3.0.tgz"}}
    root = {"name": "hello", "dependencies": {"left-pad": "1.3.0"}}
    lock = {"name": "hello", "lockfileVersion": 3, "packages": {"": root, "node_modules/left-pad": foreign["left-pad"]}}
    files = {"package.json": json.dumps(root), "package-lock.json": json.dumps(lock)}
    stack.config(NPM_CONFIG_REGISTRY=AWAY)
    for source in (files, {"package.json": files["package.json"]}):
        output = stack.fails("node", source)
        assert "The npm registry http://127.0.0.1:9/registry can't be reached" in output and "git add -f node_modules" in output
        assert "very-secret" not in output
    # Where packages lie elsewhere, that place is named; what fails with the cache for another reason is shown.
    lock["packages"]["node_modules/left-pad"] = {"version": "1.3.0", "resolved": "http://user:very-secret@127.0.0.1:10/left-pad.tgz"}
    elsewhere = files | {"package-lock.json": json.dumps(lock)}
    output = stack.fails("node", elsewhere)
    assert "The server of packages http://127.0.0.1:10 can't be reached" in output and "very-secret" not in output
    (stack.root / "cache/node/npm/_cacache/index-v5").mkdir(parents=True)
    assert "The server of packages http://127.0.0.1:10 can't be reached" in stack.fails("node", elsewhere)
    root = {"name": "hello", "optionalDependencies": {"left-pad": "1.3.0"}, "scripts": {"postinstall": "echo its own words; exit 3"}}
    lock["packages"][""], lock["packages"]["node_modules/left-pad"]["optional"] = root, True
    output = stack.fails("node", {"package.json": json.dumps(root), "package-lock.json": json.dumps(lock)})
    assert "its own words" in output and "'npm ci' failed." in output and "from the build" not in output
    # What is in the source needs no registry.
    checked_in = {"node_modules/left-pad/package.json": '{"name": "left-pad", "version": "1.3.0"}', "index.js": ""}
    assert stack.compile("node", files | checked_in) and "Rebuilding node_modules" in stack.output, stack.output
    assert stack.web() == "node index.js"
    assert stack.compile("node", {"package.json": "{}", "server.js": ""}) and stack.web() == "npm start", stack.output
    assert "package.json is not a JSON object" in stack.fails("node", {"package.json": "[]"})


def test_ruby_says_what_is_wrong(stack):
    ruby = languages.ruby()
    assert "There is no Gemfile.lock" in stack.fails("ruby", {"Gemfile": ""})
    output = stack.fails("ruby", changed(ruby, Gemfile='ruby "1.9.3"\n' + ruby["Gemfile"]))
    assert "Gemfile asks for Ruby 1.9.3, but the stack debian-13 has" in output
    assert "Gemfile can't be read" in stack.fails("ruby", changed(ruby, Gemfile="gem(\n"))
    output = stack.fails("ruby", changed(ruby, Gemfile=ruby["Gemfile"] + 'gem "other"\n'))
    assert "Gemfile.lock does not fit Gemfile; run: bundle lock" in output
    stack.config(BUNDLE_MIRROR__ALL=AWAY)
    output = stack.fails("ruby", changed(ruby, vendor=None))
    assert "The gem source http://127.0.0.1:9/registry can't be reached" in output and "bundle cache" in output
    assert "very-secret" not in output
    stack.config()
    assert "The gem source https://rubygems.org/ can't be reached" in stack.fails("ruby", changed(ruby, vendor=None))
    # What a Gemfile prints is no version, and what a config var says is text.
    stack.config(BUNDLE_WITHOUT='dev$(touch /app/evil)"; touch /app/evil2; "')
    assert stack.compile("ruby", changed(ruby, Gemfile='puts "asked=1.0"\nwarn "hello"\n' + ruby["Gemfile"])), stack.output
    assert stack.run("cd /app && HOME=/app && . .profile.d/ruby.sh && printf '%s' \"$BUNDLE_WITHOUT\""), stack.output
    assert stack.output == 'dev$(touch /app/evil)"; touch /app/evil2; "' and not list(stack.app.glob("evil*"))


def test_php_says_what_is_wrong(stack):
    php = languages.php()

    def with_requirement(name, wanted):
        composer, lock = json.loads(php["composer.json"]), json.loads(php["composer.lock"])
        composer["require"][name] = lock["platform"][name] = wanted
        return changed(php, composer__json=json.dumps(composer), composer__lock=json.dumps(lock))

    assert "name its package in an Aptfile: php8" in stack.fails("php", with_requirement("ext-gd", "*"))
    assert "The packages ask for PHP >=99, but the stack debian-13 has" in stack.fails("php", with_requirement("php", ">=99"))
    assert "there is no composer.lock" in stack.fails("php", changed(php, composer__lock=None))
    lock = json.loads(php["composer.lock"])
    lock["packages"].append({
        "name": "psr/log", "version": "3.0.2", "type": "library",
        "dist": {"type": "zip", "url": AWAY + "/log.zip", "reference": "f" * 40, "shasum": ""}})
    output = stack.fails("php", changed(php, composer__lock=json.dumps(lock)))
    assert "The server of packages http://127.0.0.1:9 can't be reached" in output and "git add -f vendor" in output
    assert "very-secret" not in output
    assert stack.compile("php", {"index.php": "<?php echo 1;"}) and stack.web() == "php -S 0.0.0.0:$PORT -t . .php/router.php"


PHP_ASK = r"""
cd /app && . .profile.d/php.sh && export PHP_DOCROOT_IS_SOURCE=1
python3 - <<'PYTHON'
import os, socket, subprocess, time
# A socket that listens before the server is there takes no port that another has.
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
server = subprocess.Popen(["php", "-S", f"127.0.0.1:{port}", "-t", ".", ".php/router.php"], stderr=subprocess.DEVNULL)
def ask(target):
    end = time.monotonic() + 20
    while True:
        try:
            link = socket.create_connection(("127.0.0.1", port))
            break
        except OSError:
            if time.monotonic() > end: raise
    link.sendall(f"GET {target} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
    answer = b""
    while part := link.recv(65536): answer += part
    return answer.split(b" ")[1].decode()
for target in os.environ["TARGETS"].split(): print("answer", target, ask(target))
server.kill()
PYTHON
"""


def test_php_shows_nobody_what_belongs_to_the_program(stack):
    source = {"index.php": "<?php echo 1;", "page.php": "<?php echo 2;", "vendor/x.php": "<?php echo 3;", "Procfile": "web: x\n", ".env": "s", "a/b.txt": "4",
              ".well-known/security.txt": "5"}
    assert stack.compile("php", source), stack.output
    hidden = ["/vendor/x.php", "//vendor/x.php", "/./vendor/x.php", "/%2e/vendor/x.php", "/a/../vendor/x.php", "/a/%2e%2e//vendor/x.php", "/%76endor/x.php",
              "/vendor/x.php/more", "http://x/vendor/x.php", "/Procfile", "//Procfile", "/.env", "/a/..//.env", "/%2eenv", "/vendor/x.php?y"]
    shown = ["/", "/page.php", "/a/b.txt", "//page.php", "/.well-known/security.txt", "/page.php?x=/vendor/"]
    assert stack.run(PHP_ASK, HOME="/app", TARGETS=" ".join(hidden + shown)), stack.output
    answers = dict(line.split()[1:] for line in stack.output.splitlines() if line.startswith("answer "))
    assert answers == {**dict.fromkeys(hidden, "404"), **dict.fromkeys(shown, "200")}


def test_java_says_what_is_wrong(stack):
    def jar(main="a.B", version=61, **more):
        data = io.BytesIO()
        manifest = "".join(f"{k}: {v}\r\n" for k, v in {"Manifest-Version": "1.0", "Main-Class": main, **more}.items() if v)
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF"), manifest + "\r\n")
            archive.writestr(zipfile.ZipInfo("a/B.class"), bytes([0xCA, 0xFE, 0xBA, 0xBE, 0, 0, 0, version]))
        return data.getvalue()

    for marker in ("pom.xml", "build.gradle"):
        output = stack.fails("java-jar", {marker: ""})
        assert "Maven Central, https://repo.maven.apache.org/maven2" in output and "push the jar: git add -f" in output
    assert "app.jar is compiled for Java 99, but the stack debian-13 has" in stack.fails("java-jar", {"app.jar": jar(version=143)})
    assert "Several jars can be started: a.jar b.jar" in stack.fails("java-jar", {"a.jar": jar(), "b.jar": jar()})
    stack.config(JAVA_JAR="b.jar")
    assert stack.compile("java-jar", {"a.jar": jar(), "b.jar": jar()}) and stack.web() == "java $JAVA_OPTS -jar b.jar"
    stack.config()
    assert "damaged" in stack.fails("java-jar", {"app.jar": "no", "Procfile": "web: java -jar app.jar\n"})
    assert stack.compile("java-jar", {"pom.xml": "", "target/app.jar": jar(), "target/app-sources.jar": jar()}), stack.output
    assert stack.web() == "java $JAVA_OPTS -jar target/app.jar"
    assert stack.compile("java-jar", {"app.jar": jar(**{"Spring-Boot-Version": "3", "Class-Path": "lib/x.jar"})})
    assert stack.web() == "java -Dserver.port=$PORT $JAVA_OPTS -jar app.jar" and "names lib/x.jar" in stack.output
    assert not stack.compile("java-jar", {"app.jar": jar(main=None)}) and stack.code == 100
