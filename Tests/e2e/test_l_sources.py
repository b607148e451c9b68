"""Builds of what is not pushed: archives, repositories elsewhere, commits that are here; their queue; what is known about slugs;
promotion; the buildpacks of an app."""

import hashlib
import io
import json
import secrets
import signal
import subprocess
import tarfile
import time

import pytest
import requests
from slipway import SOURCES, App, wait_until
from test_m_release_phase import settings  # noqa: F401

WHO = {name: (SOURCES / "who" / name).read_bytes() for name in ("Procfile", "who.py")}
SLOW = {"Makefile": b"all:\n\tsleep 60\n", "Procfile": b"web: true\n"}


def archive(files, mode="w:gz"):
    """A tar of files, given as bytes, and of entries, given as they are."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in files.items():
            entry, content = (content, b"") if isinstance(content, tarfile.TarInfo) else (tarfile.TarInfo(name), content)
            entry.name = name
            if entry.isreg():
                entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def entry(kind, target="", **fields):
    made = tarfile.TarInfo()
    made.type, made.linkname = kind, target
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def create(app, *arguments, check=True, **keywords):
    return app.paasctl("builds", "create", *arguments, check=check, timeout=600, **keywords)


def api(platform, path, method="GET", token=None, **keywords):
    headers = {"Authorization": f"Bearer {token or platform.token()}", **keywords.pop("headers", {})}
    return requests.request(method, f"{platform.api}/api/v1{path}", headers=headers, timeout=60, **keywords)


def uploads(platform):
    folder = platform.data / "uploads"
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def apps(platform, tmp_path):
    """Makes further apps; they go at the end."""
    made = []

    def make():
        name = "t-" + secrets.token_hex(4)
        app = App(platform, name, tmp_path / name)
        app.create()
        made.append(app)
        return app

    yield make
    for app in made:
        app.delete()


def test_an_archive_is_built_and_released(app, tmp_path):
    file = tmp_path / "source.tar.gz"
    # A folder around everything is what forges and `tar -czf x.tar.gz folder` make.
    file.write_bytes(archive({f"who-1.0/{name}": content for name, content in WHO.items()}))
    result = create(app, "--tar", file)
    assert result.stdout == "1\n"
    assert "Procfile app detected" in result.stderr and "Released v1" in result.stderr
    assert app.ask().startswith("web.1@v1#")
    build = app.json("builds")[0]
    assert build["source"] == {"kind": "tar", "commit": None, "ref": None, "url": None}
    release = app.json("releases")[0]
    assert release["commit"] is None and release["description"] == "Deploy of an archive"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    source = app.json("slugs", "info", "v1")["provenance"]["predicate"]["buildDefinition"]["externalParameters"]["source"]
    assert source["kind"] == "tar" and source["sha256"] == digest
    assert app.git("ls-remote", "paas").stdout == ""
    assert uploads(app.platform) == []

    # By the API, otherwise compressed, and from standard input.
    answer = api(
        app.platform, f"/apps/{app.name}/builds?buildOnly=1", "POST", data=archive(WHO, "w:xz"),
        headers={"Content-Type": "application/x-xz"})
    assert answer.status_code == 202 and answer.headers["Location"].startswith("/api/v1/operations/")
    app.paasctl("builds", "log", "2", "-f", timeout=300)
    third = create(app, "--tar", "-", "--build-only", "--json", input=archive(WHO, "w"))
    build = json.loads(third.stdout)
    assert build["state"] == "succeeded" and build["release"] is None
    # How it was packed does not matter.
    assert {b["slug"] for b in app.json("builds")} == {build["slug"]}
    assert uploads(app.platform) == []


BAD = {
    "a path that leads out": ({"../outside": b"x"}, "outside"),
    "an absolute path": ({"/tmp/outside": b"x"}, "outside"),
    "a link that leads out": ({"link": entry(tarfile.SYMTYPE, "/etc/passwd")}, "link"),
    "a write through a link": ({"link": entry(tarfile.SYMTYPE, "."), "link/file": b"x"}, "link"),
    "a hard link that leads out": ({"hard": entry(tarfile.LNKTYPE, "../../etc/passwd")}, "../../etc/passwd"),
    "a device": ({"null": entry(tarfile.CHRTYPE, devmajor=1, devminor=3)}, "device"),
    "a named pipe": ({"pipe": entry(tarfile.FIFOTYPE)}, "pipe"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_archive_with_a_trap_is_refused(app, tmp_path, name):
    files, words = BAD[name]
    file = tmp_path / "source.tar.gz"
    file.write_bytes(archive({**WHO, **files}))
    result = create(app, "--tar", file, check=False)
    assert result.returncode == 1 and words in result.stderr, result.stderr
    build = app.json("builds")[0]
    assert build["state"] == "failed" and "source can't be had" in build["error"]["detail"]
    assert uploads(app.platform) == []


def test_a_bomb_is_refused_before_it_bursts(app, tmp_path):
    file = tmp_path / "bomb.tar.gz"
    file.write_bytes(archive({**WHO, "zeros": bytes(300 << 20)}))
    assert file.stat().st_size < 1 << 20
    result = create(app, "--tar", file, check=False)
    assert result.returncode == 1 and "times its own size" in result.stderr, result.stderr
    assert "too large" in app.json("builds")[0]["error"]["detail"]


def test_what_is_no_archive_is_refused(app, tmp_path):
    path = f"/apps/{app.name}/builds"
    tar = {"Content-Type": "application/x-tar"}
    empty = api(app.platform, path, "POST", data=b"", headers=tar)
    assert empty.status_code == 400 and "empty" in empty.json()["detail"]
    file = tmp_path / "notes.txt"
    file.write_text("no archive")
    result = create(app, "--tar", file, check=False)
    assert result.returncode == 1 and app.json("builds")[0]["state"] == "failed"
    assert create(app, "--tar", tmp_path, check=False).returncode == 1
    assert create(app, "--tar", tmp_path / "missing", check=False).returncode == 1
    for arguments in ([], ["--tar", "x", "--commit", "y"], ["--ref", "x", "--commit", "y"]):
        assert create(app, *arguments, check=False).returncode == 2
    assert uploads(app.platform) == []


def test_an_archive_above_the_limit_is_refused_with_the_limit(app, settings, tmp_path):  # noqa: F811
    settings(PAAS_CHECKOUT_LIMIT_BYTES=str(1 << 20))
    file = tmp_path / "large.tar"
    file.write_bytes(secrets.token_bytes(5 << 20))
    result = create(app, "--tar", file, check=False)
    assert result.returncode == 1 and str(1 << 20) in result.stderr, result.stderr
    # Without a length that is told before, as from a pipe.
    answer = api(
        app.platform, f"/apps/{app.name}/builds", "POST", data=iter([file.read_bytes()]),
        headers={"Content-Type": "application/octet-stream"})
    assert answer.status_code == 413 and "1 MiB" in answer.json()["detail"]
    assert uploads(app.platform) == [] and app.json("builds") == []


def test_an_upload_that_breaks_off_leaves_nothing(app):
    def parts():
        yield b"x" * 100_000
        raise ConnectionError("the line is cut")

    with pytest.raises((ConnectionError, requests.RequestException)):
        api(app.platform, f"/apps/{app.name}/builds", "POST", data=parts(), headers={"Content-Type": "application/x-tar"})
    wait_until(lambda: uploads(app.platform) == [], 10, "the removal of half an archive")
    assert app.json("builds") == []


@pytest.fixture
def forge(platform, apps, tmp_path):
    """A repository served by an app of the platform: its address as builds reach it, and its commits by tag."""
    work, served = tmp_path / "work", tmp_path / "served"
    git = lambda *arguments: platform.command("git", *arguments, cwd=work).stdout.strip()  # noqa: E731
    work.mkdir()
    platform.command("git", "init", "-q", "-b", "trunk", work)
    commits = {}
    for tag in ("v1", "v2"):
        for name, content in WHO.items():
            (work / name).write_bytes(content)
        (work / "version").write_text(tag)
        git("add", "-A")
        git("commit", "-q", "-m", tag)
        git("tag", tag)
        commits[tag] = git("rev-parse", "HEAD")
    platform.command("git", "clone", "-q", "--bare", work, served)
    platform.command("git", "update-server-info", cwd=served)
    files = {f"files/shop.git/{p.relative_to(served)}": p.read_bytes() for p in served.rglob("*") if p.is_file()}
    app = apps()
    file = tmp_path / "forge.tar"
    file.write_bytes(archive({**files, "Procfile": b'web: python3 -m http.server "$PORT" --directory files\n'}, "w"))
    create(app, "--tar", file)
    links = json.loads(platform.command("ip", "-j", "-4", "addr").stdout)
    gateway = next(
        a["local"] for link in links if link["ifname"].startswith(f"p{platform.instance}-") for a in link["addr_info"])
    return f"http://{gateway}:{app.port()}/shop.git", commits


def test_a_repository_elsewhere_is_built(app, forge):
    url, commits = forge
    first = create(app, "--git", url, "--ref", "v1")
    assert commits["v1"] in first.stderr and app.ask("sh cat version") == f"0 {b'v1'.hex()}"
    build = app.json("builds")[0]
    assert build["source"] == {"kind": "git", "commit": commits["v1"], "ref": "v1", "url": url}
    assert app.json("releases")[0]["commit"] == commits["v1"]
    # Without a ref: the repository's own HEAD.
    create(app, "--git", url)
    assert app.json("builds")[0]["source"]["commit"] == commits["v2"]
    wait_until(lambda: app.ask("sh cat version") == f"0 {b'v2'.hex()}", 20)
    assert app.git("ls-remote", "paas").stdout == ""
    statement = api(app.platform, f"/apps/{app.name}/builds/2/provenance").json()
    source = statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    assert source["uri"] == url and source["digest"]["gitCommit"] == commits["v2"] and len(source["digest"]["gitTree"]) == 40

    unknown = create(app, "--git", url, "--ref", "v9", check=False)
    assert unknown.returncode == 1 and "v9" in unknown.stderr
    assert "source can't be had" in app.json("builds")[0]["error"]["detail"]
    app.paasctl("config", "set", "BUILD_NETWORK=none")
    offline = create(app, "--git", url, check=False)
    assert offline.returncode == 1 and "BUILD_NETWORK" in offline.stderr
    assert app.ask().startswith("web.1@")


def test_passwords_in_addresses_go_nowhere(app):
    secret = "sesame-" + secrets.token_hex(4)
    url = f"https://me:{secret}@git.example/x.git"
    result = create(app, "--git", url, check=False)
    assert result.returncode == 2 and secret not in result.stderr + result.stdout
    answer = api(app.platform, f"/apps/{app.name}/builds", "POST", json={"source": {"git": {"url": url}}})
    assert answer.status_code == 422 and secret not in answer.text
    answer = api(app.platform, f"/apps/{app.name}", "PATCH", json={"buildpacks": [url]})
    assert answer.status_code == 422 and secret not in answer.text
    assert app.json("builds") == []


def test_a_rebuild_is_proven_equal_and_slugs_tell_how_they_came_to_be(app):
    app.deploy(source="who")
    commit = app.git("rev-parse", "HEAD").stdout.strip()
    again = create(app, "--commit", commit)
    slug = app.json("releases")[0]["slug"]
    assert f"Slug {slug} equals the one of v1" in again.stderr
    build = app.json("builds")[0]
    assert build["source"]["kind"] == "commit" and build["comparison"]["equal"] is True and build["comparison"]["release"] == 1
    # By a short id, without the cache, and without a release.
    fresh = create(app, "--commit", commit[:8], "--clear-cache", "--build-only")
    assert "equals the one of v2" in fresh.stderr and len(app.json("releases")) == 2
    assert create(app, "--commit", "0" * 40, check=False).returncode == 1

    listed = app.json("slugs")
    assert [s["digest"] for s in listed] == [slug] and listed[0]["uses"][0]["builds"] == [3, 2, 1]
    info = app.json("slugs", "info", slug)
    assert info["uses"] == [{"app": app.name, "builds": [3, 2, 1], "releases": [2, 1]}]
    definition = info["provenance"]["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["source"]["commit"] == commit
    kinds = {d.get("name"): d for d in definition["resolvedDependencies"]}
    assert len(kinds["stack"]["digest"]["sha256"]) == 64 and kinds["buildpack"]["uri"].endswith(":procfile")
    shown = app.paasctl("slugs", "info", "v2").stdout
    assert commit in shown and slug in shown
    bill = json.loads(app.paasctl("slugs", "sbom", "v2").stdout)
    assert bill["bomFormat"] == "CycloneDX" and bill["specVersion"] == "1.5"

    # Whoever may not know of the app may not know of its slugs.
    space = "s-" + secrets.token_hex(4)
    app.platform.paasctl("spaces", "create", space)
    token = app.platform.paasctl("tokens", "create", "--role", "developer", "--space", space).stdout.strip()
    for path in (f"/slugs/{slug}", f"/slugs/{slug}/sbom", f"/apps/{app.name}/slugs"):
        assert api(app.platform, path).status_code == 200
        assert api(app.platform, path, token=token).status_code == 404


def test_a_promotion_keeps_the_slug_and_the_other_apps_config(app, apps):
    app.deploy(source="who")
    shop = apps()
    shop.paasctl("config", "set", "COLOUR=red")
    app.paasctl("promote", "--to", shop.name, "--wait")
    assert shop.ask("env COLOUR") == b"red".hex()
    [release] = shop.json("releases")
    assert release["slug"] == app.json("releases")[0]["slug"] and release["description"] == f"Promote {app.name} v1"
    assert [s["digest"] for s in shop.json("slugs")] == [release["slug"]]
    empty = apps()
    refused = empty.paasctl("promote", "--to", shop.name, check=False)
    assert refused.returncode == 1 and "no current release" in refused.stderr
    answer = api(app.platform, f"/apps/{shop.name}/releases", "POST", json={"promoteFrom": "nobody"})
    assert answer.status_code == 404


def test_builds_wait_in_a_queue_that_shows_and_are_cancelled_within_two_seconds(apps, tmp_path):
    file = tmp_path / "slow.tar"
    file.write_bytes(archive(SLOW, "w"))
    first, second, third = apps(), apps(), apps()
    for app in (first, second):
        assert create(app, "--tar", file, "--no-wait").stdout == "1\n"
    for app in (first, second):
        wait_until(lambda: "sleep 60" in app.paasctl("builds", "log", "1").stdout, 60, "a build that runs")
    create(third, "--tar", file, "--no-wait")
    assert wait_until(lambda: third.json("builds")[0]["waitsFor"] == 2, 10)
    shown = third.paasctl("builds").stdout
    assert "queued, 2 before it" in shown and "tar" in shown
    assert "Waiting for 2 other builds" in third.paasctl("builds", "log", "1").stdout
    busy = create(first, "--tar", file, "--no-wait", check=False)
    assert busy.returncode == 1 and "builds cancel 1" in busy.stderr
    for app in (third, first):
        start = time.monotonic()
        result = app.paasctl("builds", "cancel", "1")
        assert time.monotonic() - start < 2.5 and "done" in result.stderr
        assert app.json("builds")[0]["state"] == "cancelled"
    # The others move up.
    create(third, "--tar", file, "--no-wait")
    wait_until(lambda: third.json("builds")[0]["state"] == "running", 10)
    for app, number in ((second, "1"), (third, "2")):
        app.paasctl("builds", "cancel", number)
        assert app.paasctl("builds", "cancel", number, check=False).returncode == 1
    assert uploads(first.platform) == []


def test_leaving_a_build_does_not_end_it(app, tmp_path):
    file = tmp_path / "source.tar"
    file.write_bytes(archive({**WHO, "Makefile": b"all:\n\tsleep 6\n"}, "w"))
    command = ["paasctl", "builds", "create", "--tar", str(file), "-a", app.name]
    with subprocess.Popen(command, env=app.platform.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "sleep 6" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        assert process.wait(10) == 130
    assert f"paasctl builds log 1 -f -a {app.name}" in rest and "builds cancel 1" in rest
    assert app.json("builds")[0]["state"] == "running"
    log = app.paasctl("builds", "log", "1", "-f", timeout=120).stdout
    assert "sleep 6" in log and "Released v1" in log
    assert app.ask().startswith("web.1@v1#")


def test_buildpacks_are_pinned_set_and_cleared(app):
    output = app.deploy(source="who").stderr
    assert f"{app.name} is built by procfile from now on (pinned)" in output
    assert app.paasctl("buildpacks").stdout == "procfile\n"
    assert "Buildpacks:" in app.paasctl("apps", "info").stdout
    # A file that another one looks for changes nothing by itself.
    app.write({"Makefile": "all:\n\techo made by make\n"})
    app.commit()
    output = app.push().stderr
    assert "Procfile app detected" in output and "made by make" not in output and "pinned" not in output
    assert app.paasctl("buildpacks", "set", "slipway/native").stdout == "slipway/native\n"
    app.commit()
    assert "made by make" in app.push().stderr
    app.paasctl("buildpacks", "set", "node")
    app.commit()
    refused = app.push(check=False)
    assert refused.returncode != 0 and "does not match" in refused.stderr
    assert app.paasctl("buildpacks", "clear").stdout == ""
    assert app.json("buildpacks") == []
    assert "is built by native from now on (pinned)" in app.push().stderr
    assert app.paasctl("buildpacks", "set", "perl", check=False).returncode == 1
    assert app.paasctl("buildpacks", "set", "two words", check=False).returncode == 2
    available = app.platform.paasctl("buildpacks", "available").stdout
    assert "python" in available and "native" in available
    failed = app.json("builds")[1]
    assert failed["state"] == "failed" and failed["error"]["type"].startswith("urn:slipway:problem:")
