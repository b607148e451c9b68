"""Every repository of the corpus is pushed, and what comes of it is what its expect.toml says."""

import pathlib
import re
import shutil
import subprocess
import tomllib
import urllib.error
import urllib.request

import pytest
from slipway import wait_until

HERE = pathlib.Path(__file__).parent
REPOSITORIES = sorted(path.parent for path in (HERE / "repositories").glob("*/expect.toml"))
KEYS = {"about", "result", "config", "push", "reason", "output", "never", "buildpacks", "http", "ask", "files"}


def lay(repository, directory):
    """The repository's tree in an empty checkout."""
    if (repository / "tree").is_dir():
        shutil.copytree(repository / "tree", directory, dirs_exist_ok=True, symlinks=True)
    for path in directory.rglob("*"):
        if path.is_symlink() or not path.is_file() or ".git" in path.parts or path.stat().st_size > 200:
            continue
        text = path.read_bytes()
        if text.startswith(b"@shared/"):
            shutil.copy(HERE / "shared" / text.decode().strip().removeprefix("@shared/"), path)


def lines_of(result):
    return [line.removeprefix("remote: ").rstrip() for line in result.stderr.splitlines()]


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def check_http(app, wanted):
    def right():
        status, body = fetch(f"http://127.0.0.1:{app.port()}{wanted['path']}")
        assert status == wanted.get("status", 200), (status, body)
        assert re.search(wanted.get("body", ""), body), body
        return True

    wait_until(right, 20, f"the answer to {wanted['path']}")


@pytest.mark.parametrize("repository", REPOSITORIES, ids=lambda path: path.name)
def test_repository(app, repository):
    expect = tomllib.loads((repository / "expect.toml").read_text())
    assert expect["about"] and set(expect) <= KEYS, set(expect) - KEYS
    lay(repository, app.directory)
    if (repository / "make").exists():
        subprocess.run(["bash", "-eu", repository / "make"], cwd=app.directory, check=True, env=app.platform.env)
    app.commit()
    if expect.get("config"):
        app.paasctl("config", "set", *[f"{key}={value}" for key, value in expect["config"].items()])
    result = app.git("push", *expect.get("push", ["paas", "main"]), check=False, timeout=900)
    lines = lines_of(result)
    shown = "\n".join(lines)
    for pattern in expect.get("output", []):
        assert any(re.search(pattern, line) for line in lines), f"no line matches {pattern!r} in\n{shown}"
    for pattern in expect.get("never", []):
        assert not any(re.search(pattern, line) for line in lines), f"a line matches {pattern!r} in\n{shown}"
    builds = app.json("builds")
    if expect["result"] == "refused":
        assert result.returncode != 0, shown
        assert re.search(r"\[remote rejected\].*\(" + expect.get("reason", r"build 1 failed") + r"\)", shown), shown
        assert not app.json("releases") or all(r["state"] != "current" for r in app.json("releases") if r["slug"]), shown
        return
    assert result.returncode == 0, shown
    if expect["result"] == "stored":
        assert builds == [], shown
        return
    assert expect["result"] == "released"
    assert builds[0]["state"] == "succeeded"
    if "buildpacks" in expect:
        assert [used["name"] for used in builds[0]["buildpacks"]] == expect["buildpacks"]
    for wanted in expect.get("http", []):
        check_http(app, wanted)
    for wanted in expect.get("ask", []):
        answer = wait_until(lambda: app.ask(wanted["line"]), 20, "an answer")
        assert re.fullmatch(wanted["answer"], answer), f"{wanted['line']}: {answer}"
    for path, wanted in expect.get("files", {}).items():
        word = "mode" if wanted.startswith("mode ") else "type"
        assert app.ask(f"{word} {path}") == wanted, path
