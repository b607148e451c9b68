"""A program is pushed, built, started and answers; wrong pushes are declined with the reason."""

import os
import subprocess
import time

import pytest
from slipway import SOURCES, Load, ask, wait_until


def test_a_pushed_program_answers_on_its_public_port(app):
    result = app.deploy(source="who")
    assert "-----> " in result.stderr
    assert "Procfile" in result.stderr and "web" in result.stderr
    assert "Released v1" in result.stderr
    port = app.port()
    assert app.platform.port_range[0] <= port <= app.platform.port_range[1]
    assert app.ask().startswith("web.1@v1#")
    # Both families lead to it.
    assert ask(port, host="::1").startswith("web.1@v1#")
    info = app.json("apps", "info")
    assert info["currentRelease"] == 1 and info["deployBranch"] == "main"
    releases = app.json("releases")
    assert [r["state"] for r in releases] == ["current"]
    head = app.git("rev-parse", "HEAD").stdout.strip()
    assert releases[0]["commit"] == head
    assert head in app.git("ls-remote", "paas", "refs/heads/main").stdout
    # Hidden refs stay hidden.
    assert "refs/paas" not in app.git("ls-remote", "paas").stdout


def test_a_second_push_replaces_the_first_without_a_failed_request(app):
    app.deploy(source="who")
    with Load(app.port()) as load:
        app.write({"who.py": (app.directory / "who.py").read_text() + "\n# changed\n"})
        app.commit()
        app.push()
        wait_until(lambda: any("@v2#" in a for a in load.answers), 20, "an answer of v2")
    assert load.failures == []
    assert any("@v1#" in a for a in load.answers)
    assert wait_until(lambda: app.ask().split("@")[1].startswith("v2#"), 20)


def test_a_clone_gives_the_deployed_source(app, tmp_path):
    app.deploy(source="who")
    url = app.git("remote", "get-url", "paas").stdout.strip()
    app.git("clone", "-q", url, str(tmp_path / "clone"), env={"GIT_CONFIG_GLOBAL": str(app.directory / ".git/config")})
    assert (tmp_path / "clone/Procfile").read_text() == "web: python3 who.py\n"


def test_a_failed_build_is_declined_with_the_buildpacks_words_and_can_be_pushed_again(app):
    app.deploy(source="who")
    # The first success pinned the one that is for a Procfile alone.
    app.paasctl("buildpacks", "clear")
    with Load(app.port(), clients=2) as load:
        app.write({"requirements.txt": "this is not a requirement !!\n"})
        app.commit()
        first = app.push(check=False)
        assert first.returncode != 0
        assert "[remote rejected]" in first.stderr and "build 2 failed" in first.stderr
        assert "requirement" in first.stderr.lower()
        again = app.push(check=False)
        assert again.returncode != 0 and "build 3 failed" in again.stderr
    assert load.failures == []
    assert all("@v1#" in a for a in load.answers)
    assert [b["state"] for b in app.json("builds")] == ["failed", "failed", "succeeded"]
    assert "requirement" in app.paasctl("builds", "log", "2").stdout.lower()


def declined(app, files):
    """Pushes what can't run onto a release that serves: the push is declined and nobody notices. What the pusher saw."""
    app.deploy(source="who")
    app.write(files)
    app.commit()
    with Load(app.port(), clients=2) as load:
        result = app.push(check=False)
    assert result.returncode != 0 and "[remote rejected]" in result.stderr
    assert load.failures == [] and all(a.startswith("web.1@v1#") for a in load.answers)
    assert [r["state"] for r in app.json("releases")] == ["failed", "current"]
    assert [p["release"] for p in app.processes(state=None)] == [1]
    return result.stderr


def test_processes_that_crash_at_start_decline_the_push_and_show_their_last_lines(app):
    shown = declined(app, {"who.py": "import sys\nfor n in range(3):\n    print('the reason is here', n, flush=True)\nsys.exit(7)\n"})
    assert "the reason is here 0" in shown and "the reason is here 2" in shown
    assert "status 7" in shown


def test_processes_that_listen_on_loopback_only_decline_the_push(app):
    source = (SOURCES / "who/who.py").read_text()
    shown = declined(app, {"who.py": source.replace('"0.0.0.0"', '"127.0.0.1"')})
    assert "127.0.0.1:5000 only" in shown and "bind 0.0.0.0 or [::]" in shown
    assert "listens on ('127.0.0.1', 5000)" in shown


def test_processes_that_never_listen_decline_the_push(app):
    shown = declined(app, {"Procfile": "web: echo waiting for nothing; sleep 1000\n"})
    assert "did not listen on tcp port 5000" in shown and "it listens on no tcp port" in shown and "waiting for nothing" in shown


def test_processes_that_listen_on_another_port_decline_the_push(app):
    shown = declined(app, {"Procfile": "web: LISTEN_PORT=5999 python3 who.py\n"})
    assert "did not listen on tcp port 5000" in shown and "it listens on tcp 5999" in shown


def test_a_first_release_that_never_listens_leaves_nothing_running(app):
    app.write({"Procfile": "web: sleep 1000\n"})
    app.commit()
    result = app.push(check=False)
    assert result.returncode != 0
    assert "port 5000" in result.stderr
    wait_until(lambda: app.processes(state=None) == [], 60, "nothing running")


def test_other_branches_are_stored_and_the_way_to_deploy_is_told(app):
    app.deploy(source="who")
    app.git("checkout", "-q", "-b", "feature")
    app.commit("on a branch")
    result = app.push(ref="feature")
    assert "feature is not the deploy branch" in result.stderr
    assert "git push paas feature:main" in result.stderr
    assert "refs/heads/feature" in app.git("ls-remote", "paas").stdout
    assert len(app.json("builds")) == 1
    app.git("tag", "v1.0")
    app.push(ref="v1.0")
    assert "refs/tags/v1.0" in app.git("ls-remote", "paas").stdout
    deleted = app.git("push", "paas", ":main", check=False)
    assert deleted.returncode != 0 and "deleting the deploy branch is refused" in deleted.stderr
    app.git("push", "paas", ":feature")
    assert "refs/heads/feature" not in app.git("ls-remote", "paas").stdout
    app.push(ref="feature:main")
    wait_until(lambda: app.ask().split("@")[1].startswith("v2#"), 20)


def test_shallow_and_forced_pushes_work(app, tmp_path):
    app.deploy(source="who")
    app.write({"x": "1"})
    app.commit()
    origin = tmp_path / "origin.git"
    app.git("clone", "-q", "--bare", ".", str(origin))
    shallow = tmp_path / "shallow"
    app.git("clone", "-q", "--depth", "1", f"file://{origin}", str(shallow))
    remote = app.git("config", "--get-regexp", r"^(remote\.paas|credential)").stdout.splitlines()
    for line in remote:
        key, value = line.split(" ", 1)
        app.platform.command("git", "config", "--add", key, value, cwd=shallow)
    result = app.platform.command("git", "push", "--force", "paas", "main", cwd=shallow, timeout=300)
    assert "Released v2" in result.stderr
    app.git("commit", "-q", "--amend", "-m", "rewritten")
    app.push("--force")
    assert len(app.json("releases")) == 3


def test_push_options(app):
    app.source("who")
    app.commit()
    refused = app.push("-o", "nonsense", check=False)
    assert refused.returncode != 0 and "nonsense" in refused.stderr and "no-wait" in refused.stderr
    app.push("-o", "build.only")
    assert app.json("releases") == [] and app.json("builds")[0]["slug"].startswith("sha256:")
    app.commit("again")
    app.push("-o", "no-wait")
    wait_until(lambda: app.ask().startswith("web.1@v1#"), 30)


def test_an_unknown_app_and_a_bad_token_are_told(app):
    url = app.git("remote", "get-url", "paas").stdout.strip()
    app.source("who")
    app.commit()
    nowhere = app.git("push", url.replace(app.name, "no-such-app"), "main", check=False)
    assert nowhere.returncode != 0 and "no-such-app" in nowhere.stderr
    bad = app.git(
        "-c", "credential.helper=", "-c", f"credential.{app.platform.api}.helper=", "push",
        url.replace("http://", "http://x:wrong@"), "main", check=False)
    assert bad.returncode != 0 and "Authentication failed" in bad.stderr


def test_an_empty_tree_and_lfs_pointers_are_refused_clearly(app):
    app.commit("nothing in it")
    empty = app.push(check=False)
    assert empty.returncode != 0 and "holds no files" in empty.stderr
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n"
    app.write({"Procfile": "web: ./model\n", "model": pointer})
    app.commit()
    lfs = app.push(check=False)
    assert lfs.returncode != 0 and "LFS" in lfs.stderr and "model" in lfs.stderr


def test_nothing_detected_lists_what_is_looked_for(app):
    app.write({"notes.txt": "nothing to run"})
    app.commit()
    result = app.push(check=False)
    assert result.returncode != 0
    for marker in ["requirements.txt", "Makefile", "index.html", "Procfile"]:
        assert marker in result.stderr


@pytest.mark.parametrize(
    "procfile,words",
    [("web python3 who.py\n", "colon"), ("web: a\nweb: b\n", "twice"), ("<<<<<<< HEAD\nweb: a\n", "merge conflict"), ("Web_1: x\n", "a-z")],
)
def test_a_broken_procfile_is_named(app, procfile, words):
    app.write({"Procfile": procfile, "who.py": ""})
    app.commit()
    result = app.push(check=False)
    assert result.returncode != 0
    assert "Procfile line" in result.stderr and words in result.stderr


def test_links_in_a_tree_lead_nowhere(app):
    app.source("who")
    os.symlink("/etc/passwd", app.directory / "passwd")
    os.symlink("../../../../../../etc/shadow", app.directory / "shadow")
    os.symlink("/etc/passwd", app.directory / "static")
    app.commit()
    app.push()
    # Inside, the links lead to the container's own files.
    for link, path in [("passwd", "/etc/passwd"), ("static", "/etc/passwd")]:
        status, text = app.ask(f"sh cat /app/{link}").split(" ")
        inside = bytes.fromhex(text).decode()
        assert inside == bytes.fromhex(app.ask(f"sh cat {path}").split(" ")[1]).decode() and inside != open(path).read()
    # The container's own, which its user can't read.
    status, text = app.ask("sh cat /app/shadow").split(" ")
    assert status != "0" and "Permission denied" in bytes.fromhex(text).decode()


def test_a_procfile_that_is_a_link_is_not_followed(app):
    os.symlink("/etc/passwd", app.directory / "Procfile")
    app.write({"who.py": ""})
    app.commit()
    result = app.push(check=False)
    assert result.returncode != 0
    assert "root:" not in result.stderr


def test_a_second_push_during_a_build_is_refused_at_once(app):
    app.source("who")
    app.write({"Makefile": "all:\n\tsleep 15\n"})
    app.commit()
    first = subprocess.Popen(
        ["git", "push", "paas", "main"], cwd=app.directory, env=app.platform.env, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: [b for b in app.json("builds") if b["state"] == "running"], 30, "a running build")
        start = time.monotonic()
        app.commit("another")
        second = app.push(check=False)
        assert second.returncode != 0
        assert time.monotonic() - start < 5
        assert "build 1" in second.stderr and "paasctl builds cancel 1" in second.stderr
        app.paasctl("builds", "cancel", "1")
        _, text = first.communicate(timeout=30)
        assert first.returncode != 0 and "cancelled" in text
    finally:
        first.kill()
        first.wait()
    assert app.json("builds")[0]["state"] == "cancelled"


def test_a_push_whose_client_is_gone_builds_on(app):
    app.source("who")
    app.write({"Makefile": "all:\n\tsleep 4\n"})
    app.commit()
    push = subprocess.Popen(
        ["git", "push", "paas", "main"], cwd=app.directory, env=app.platform.env, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: [b for b in app.json("builds") if b["state"] == "running"], 30, "a running build")
    push.kill()
    push.wait()
    wait_until(lambda: app.ask().startswith("web.1@v1#"), 60, "the app")
    head = app.git("rev-parse", "HEAD").stdout.strip()
    wait_until(lambda: head in app.git("ls-remote", "paas", "refs/heads/main").stdout, 20, "the ref")
