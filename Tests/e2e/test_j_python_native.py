"""Python from lock files and from packages in the repository, and programs in C whose next build takes what did not change from the cache."""

import re
import subprocess

import pytest
from slipway import REPO, wait_until
from stack import StackBuild, image_of
from test_g_real_programs import build_again, fetch

SERVER = """
import http.server, os, socket
import markupsafe
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(markupsafe.escape("<hello>")).encode())
Server(("::", int(os.environ["PORT"])), Answer).serve_forever()
"""


def download(folder, *packages):
    subprocess.run(["/usr/bin/python3", "-m", "pip", "download", "-q", "--no-deps", "--python-version", "3.13",
                    "--only-binary", ":all:", "-d", folder, *packages], check=True, timeout=120, capture_output=True)
    return {path.name: subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout[:64] for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["python", "native", "static", "swift", "apt", "registry"])
def test_the_buildpacks_own_tests_hold_in_the_build_image(platform, tmp_path, name):
    stack = StackBuild(image_of(platform), REPO / "buildpacks", tmp_path)
    assert stack.run(f"bash /paas/tests/{name}.test", timeout=600), stack.output
    assert "FAIL" not in stack.output


def test_packages_in_the_repository_need_no_network(app, tmp_path):
    files = download(tmp_path / "wheels", "markupsafe")
    app.paasctl("config", "set", "BUILD_NETWORK=none")
    for file in (tmp_path / "wheels").iterdir():
        app.write({f"vendor/{file.name}": file.read_bytes()})
    result = app.deploy({"requirements.txt": "markupsafe\n", "Procfile": "web: python server.py\n", "server.py": SERVER})
    assert f"Processing ./vendor/{next(iter(files))}" in result.stderr
    assert fetch(f"http://127.0.0.1:{app.port()}/") == b"&lt;hello&gt;"
    first = app.json("builds")[0]["slug"]
    app.paasctl("builds", "purge-cache")
    assert build_again(app)[1] == first
    # Without them the way out is named, at once.
    app.git("rm", "-q", "-r", "vendor")
    app.commit()
    failed = app.push(check=False, timeout=60)
    assert failed.returncode != 0 and "vendor/ holds no packages" in failed.stderr
    assert "pip download -d vendor -r requirements.txt" in failed.stderr


def test_a_lock_file_is_installed_by_its_hashes(app, tmp_path):
    (name, digest), = download(tmp_path / "wheels", "markupsafe").items()
    version = name.split("-")[1]

    def lock(digest):
        return f"""version = 1
requires-python = ">=3.11"
[[package]]
name = "served"
version = "0.1"
source = {{ virtual = "." }}
dependencies = [{{ name = "markupsafe" }}]
[package.metadata]
requires-dist = [{{ name = "markupsafe" }}]
[[package]]
name = "markupsafe"
version = "{version}"
source = {{ registry = "https://pypi.org/simple" }}
wheels = [{{ url = "https://files.pythonhosted.org/{name}", hash = "sha256:{digest}" }}]
"""

    files = {"pyproject.toml": '[project]\nname = "served"\nversion = "0.1"\ndependencies = ["markupsafe"]\n', "Procfile": "web: python server.py\n"}
    result = app.deploy({**files, "server.py": SERVER, "uv.lock": lock(digest)})
    assert "1 packages pinned by version and hash" in result.stderr
    assert fetch(f"http://127.0.0.1:{app.port()}/") == b"&lt;hello&gt;"
    app.write({"uv.lock": lock("0" * 64)})
    app.commit()
    failed = app.push(check=False)
    assert "         uv.lock changed" in failed.stderr and "is not the one that was pinned" in failed.stderr


def test_a_c_program_is_compiled_anew_only_where_it_changed(app):
    files = {f"f{i}.c": f"int f{i}(void) {{ return {i}; }}\n" for i in range(39)}
    files["main.c"] = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"
    files["Makefile"] = "idle: $(patsubst %.c,%.o,$(wildcard *.c))\n\tcc -o $@ $^\n"
    app.deploy({**files, "Procfile": "idle: echo in the slug: *; exec ./idle\n"})
    result = app.deploy({"f7.c": "int f7(void) { return 70; }\n"})
    hits, of = map(int, re.search(r"(\d+) of (\d+) compilations came from the cache", result.stderr).groups())
    assert (hits, of) == (39, 40)
    # No objects in the slug, and the same bytes without a cache.
    listed = wait_until(lambda: re.search(r"(?<!echo )in the slug: (.*)", app.paasctl("logs", "-n", "50").stdout), 20).group(1).split()
    assert "main.c" in listed and "idle" in listed and not [name for name in listed if name.endswith(".o")]
    slug = app.json("builds")[0]["slug"]
    app.paasctl("builds", "purge-cache")
    assert build_again(app)[1] == slug
