"""What takes more than one push, or another client than a plain `git push`."""

import json
import os
import signal
import subprocess
import time

import requests
from slipway import wait_until

SLOW = {
    "Makefile": "all:\n\tfor i in $$(seq 20); do echo step $$i; sleep 1; done\n\tcc -o one one.c\n",
    "one.c": "int main(void) { return 0; }\n",
    "Procfile": "web: python3 answer.py\n",
}


def answer(app):
    (app.directory / "answer.py").write_text((__import__("pathlib").Path(__file__).parent / "shared/answer.py").read_text())


def start_push(app):
    return subprocess.Popen(
        ["git", "push", "paas", "main"], cwd=app.directory, env=app.platform.env, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, start_new_session=True)


def running(app):
    return wait_until(lambda: next((b for b in app.json("builds") if b["state"] == "running"), None), 30, "a running build")


def test_a_push_from_a_shallow_clone_and_then_from_a_full_one(app, tmp_path):
    answer(app)
    app.write({"Procfile": "web: python3 answer.py\n", "n": "0"})
    for number in range(1, 5):
        app.write({"n": str(number)})
        app.commit(f"number {number}")
    shallow = tmp_path / "shallow"
    p = app.platform
    p.command("git", "clone", "-q", "--depth", "1", f"file://{app.directory}", shallow)
    url = app.git("remote", "get-url", "paas").stdout.strip()
    helper = app.git("config", "--get-regexp", "^credential", check=False).stdout.splitlines()
    for line in helper:
        key, _, value = line.partition(" ")
        p.command("git", "config", "--add", key, value, cwd=shallow)
    first = p.command("git", "push", url, "main", cwd=shallow, timeout=600)
    assert "Released v1" in first.stderr
    wait_until(lambda: app.ask("cat n") == "34", 20)
    (shallow / "n").write_text("5")
    p.command("git", "commit", "-qam", "number 5", cwd=shallow)
    assert "Released v2" in p.command("git", "push", url, "main", cwd=shallow, timeout=600).stderr
    # Now one who has the whole history.
    app.git("pull", "-q", "--no-rebase", f"file://{shallow}", "main")
    app.write({"n": "6"})
    app.commit("number 6")
    assert "Released v3" in app.push().stderr
    wait_until(lambda: app.ask("cat n") == "36", 20)


def test_the_same_commit_again(app):
    answer(app)
    app.deploy({"Procfile": "web: python3 answer.py\n"})
    assert "Everything up-to-date" in app.push().stderr
    # git asks nothing of the server then; a build of the same commit has a command of its own.
    commit = app.git("rev-parse", "HEAD").stdout.strip()
    again = app.paasctl("builds", "create", "--commit", commit, timeout=300)
    assert "Released v2" in again.stderr
    assert app.json("builds")[0]["slug"] == app.json("builds")[1]["slug"]


def test_a_commit_that_failed_can_be_pushed_again(app):
    answer(app)
    app.write({"Procfile": "web: python3 missing.py\n"})
    app.commit()
    assert "release v1 failed" in app.push(check=False).stderr
    assert "release v2 failed" in app.push(check=False).stderr


def test_a_client_that_is_killed_leaves_the_build_running(app):
    answer(app)
    app.write(SLOW)
    app.commit()
    push = start_push(app)
    build = running(app)
    time.sleep(3)
    os.killpg(push.pid, signal.SIGKILL)
    push.wait(10)
    # The log can be followed by whoever comes later, from its first line to the end.
    log = app.paasctl("builds", "log", str(build["number"]), "-f", timeout=120).stdout
    assert "step 1\n" in log and "step 20\n" in log and "Released v1" in log
    assert app.json("releases")[0]["state"] == "current"
    wait_until(lambda: app.ask("hello") == "hello", 20)
    # The ref moved too: the same commit is up to date.
    assert "Everything up-to-date" in app.push().stderr


def test_a_push_that_is_cancelled_is_gone_within_two_seconds(app):
    answer(app)
    app.write(SLOW | {"Makefile": "all:\n\ttrap '' TERM; for i in $$(seq 60); do echo step $$i; sleep 1; done\n"})
    app.commit()
    push = start_push(app)
    build = running(app)
    log = lambda: app.paasctl("builds", "log", str(build["number"])).stdout  # noqa: E731
    wait_until(lambda: "step 1\n" in log(), 30, "the compile")
    start = time.monotonic()
    app.paasctl("builds", "cancel", str(build["number"]))
    wait_until(lambda: app.json("builds")[0]["state"] == "cancelled", 5, "the cancelled build")
    wait_until(lambda: not [c for c in app.platform.containers() if c["app"] == app.json("apps", "info")["id"]], 5)
    assert time.monotonic() - start < 2.5
    assert push.wait(10) != 0
    shown = push.stderr.read()
    assert "build 1 cancelled" in shown or "was cancelled" in shown
    assert app.json("releases") == []
    assert not any(app.platform.data.joinpath("builds").iterdir())
    # Nothing stands in the way of the next one.
    app.write({"Makefile": "all:\n\tcc -o one one.c\n"})
    app.commit()
    assert "Released v1" in app.push().stderr


def test_a_second_push_during_a_build_is_refused_at_once(app):
    answer(app)
    app.write(SLOW)
    app.commit()
    push = start_push(app)
    build = running(app)
    app.write({"more": "x"})
    app.commit()
    start = time.monotonic()
    second = app.push(check=False)
    assert time.monotonic() - start < 5
    assert second.returncode != 0
    assert f"Build {build['number']} of {app.name} is in progress" in second.stderr
    assert f"paasctl builds cancel {build['number']} -a {app.name}" in second.stderr
    app.paasctl("builds", "cancel", str(build["number"]))
    push.wait(30)
    push.stderr.close()


def test_main_and_master_together_and_a_deploy_branch_of_ones_own(app):
    answer(app)
    app.write({"Procfile": "web: python3 answer.py\n"})
    app.commit()
    app.git("branch", "master")
    both = app.git("push", "paas", "main", "master", timeout=300)
    assert "main and master came together: main is built" in both.stderr and len(app.json("builds")) == 1
    app.paasctl("git", "deploy-branch", "production")
    stored = app.git("push", "paas", "main:other", timeout=300)
    assert "to deploy: git push paas other:production" in stored.stderr
    app.write({"more": "x"})
    app.commit()
    assert "Released v2" in app.push(ref="main:production").stderr


def test_lfs_asks_and_is_told(app):
    answer = requests.post(
        f"{app.platform.api}/git/{app.name}.git/info/lfs/objects/batch", auth=("x", app.platform.token()),
        headers={"Content-Type": "application/vnd.git-lfs+json", "Accept": "application/vnd.git-lfs+json"},
        data=json.dumps({"operation": "upload", "objects": []}), timeout=10)
    assert answer.status_code == 404
    assert "git lfs migrate export" in answer.json()["message"]


def test_a_repository_with_sha256_is_refused(app, tmp_path):
    other = tmp_path / "sha256"
    other.mkdir()
    p = app.platform
    p.command("git", "init", "-q", "-b", "main", "--object-format=sha256", ".", cwd=other)
    (other / "Procfile").write_text("web: x\n")
    p.command("git", "add", "-A", cwd=other)
    p.command("git", "commit", "-qm", "one", cwd=other)
    url = app.git("remote", "get-url", "paas").stdout.strip()
    for line in app.git("config", "--get-regexp", "^credential", check=False).stdout.splitlines():
        key, _, value = line.partition(" ")
        p.command("git", "config", "--add", key, value, cwd=other)
    result = p.command("git", "push", url, "main", cwd=other, check=False, timeout=60)
    assert result.returncode != 0 and app.json("builds") == []


def test_a_buildpack_whose_programs_lost_their_modes(app):
    folder = app.platform.buildpacks / f"modes-{app.name}"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/detect").write_text("#!/bin/sh\necho Modes\n")
    (folder / "bin/compile").write_text('#!/bin/sh\necho "-----> Compiling with modes mended"\necho made > "$1/made.txt"\n')
    (folder / "bin/release").write_text('#!/bin/sh\nprintf "default_process_types:\\n  web: python3 answer.py\\n"\n')
    for program in (folder / "bin").iterdir():
        program.chmod(0o644)
    answer(app)
    app.paasctl("buildpacks", "set", f"file://{folder}")
    app.commit()
    assert "Compiling with modes mended" in app.push().stderr
    assert wait_until(lambda: app.ask("type made.txt"), 20) == "file"
    # Not a buildpack: said as such.
    (folder / "bin/compile").unlink()
    app.write({"more": "x"})
    app.commit()
    refused = app.push(check=False)
    assert refused.returncode != 0 and "bin/compile" in refused.stderr
