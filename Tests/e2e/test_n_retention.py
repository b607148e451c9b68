"""What nobody needs any more goes, what a rollback can reach stays. On the platform of the other tests, whose limits are set low
for a while."""

import pathlib
import re
import secrets
import urllib.request

import pytest
from slipway import wait_until

LIMITS = {
    "PAAS_RETAIN_RELEASES": "2", "PAAS_RETAIN_GRACE_SECONDS": "0", "PAAS_RETAIN_BUILD_LOGS": "2", "PAAS_RETAIN_CACHE_DAYS": "0",
    "PAAS_RETAIN_INTERVAL_SECONDS": "1",
}


def restart(platform, settings):
    """paasd with further settings; gives its run script as it was."""
    run = platform.run / "s6/paasd/run"
    plain = run.read_text()
    lines = plain.splitlines()
    for key, value in settings.items():
        lines.insert(-1, f"export {key}={value}")
    put(platform, "\n".join(lines) + "\n")
    return plain


def put(platform, text):
    run = platform.run / "s6/paasd/run"
    run.write_text(text)
    platform.command("s6-svc", "-wr", "-T", "20000", "-r", run.parent)
    platform.wait_ready()


@pytest.fixture(scope="module", autouse=True)
def strict(platform):
    plain = restart(platform, LIMITS)
    yield
    put(platform, plain)


def slugs(platform):
    return {p.stem for p in (platform.data / "slugs").glob("*.erofs")}


def metrics(platform):
    request = urllib.request.Request(platform.api + "/metrics", headers={"Authorization": f"Bearer {platform.token()}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
    return {m[1]: int(m[2]) for m in re.finditer(r"^(slipway_\S+) (\d+)$", text, re.M)}


def digest(app, version):
    return app.json("releases", "info", f"v{version}")["slug"].removeprefix("sha256:")


def test_old_slugs_go_and_what_can_be_rolled_back_to_stays(platform, app):
    kept = []
    for number in range(1, 6):
        app.deploy(files={"number": str(number)}, source="who" if number == 1 else None)
        kept.append(digest(app, number))
    wait_until(lambda: not {kept[0], kept[1]} & slugs(platform), 120, "the oldest slugs to go")
    assert {kept[3], kept[4]} <= slugs(platform)
    # It says so, and a rollback is refused with the way out.
    listed = {r["version"]: r["slugRemoved"] for r in app.json("releases")}
    assert listed[1] and not listed[5] and not listed[4]
    assert "slug removed" in app.paasctl("releases").stdout
    refused = app.paasctl("rollback", "v1", check=False)
    assert refused.returncode == 1 and "no longer kept" in refused.stderr and "builds create --commit" in refused.stderr
    # The process runs on, and a rollback without a number works, however many releases fail after it.
    assert app.ask().startswith("web.1@")
    app.paasctl("rollback", "--wait", check=False)
    wait_until(lambda: app.json("apps", "info")["currentRelease"] == 6, 60, "the rollback")
    assert digest(app, 6) == kept[3]
    wait_until(lambda: app.ask().startswith("web.1@"), 30, "an answer")
    seen = metrics(platform)
    assert seen['slipway_retention_removed_total{kind="slug"}'] >= 2
    assert seen['slipway_retention_freed_bytes_total{kind="slug"}'] > 0
    # The log of the first build went, its row stays; the cache went, too.
    wait_until(lambda: "no longer kept" in app.paasctl("builds", "log", "1").stdout, 120, "the first log to go")
    assert [b["number"] for b in app.json("builds")] == [5, 4, 3, 2, 1]
    identity = app.json("apps", "info")["id"]
    wait_until(lambda: not (platform.data / f"caches/{identity}.img").exists(), 120, "the cache to go")
    # Built again, it is there again.
    commit = app.json("releases", "info", "v1")["commit"]
    app.paasctl("builds", "create", "--commit", commit, timeout=300)
    wait_until(lambda: kept[0] in slugs(platform), 120, "the slug of the first commit")
    assert not app.json("releases", "info", "v1")["slugRemoved"]


def test_a_kill_between_row_and_file_leaves_nothing(platform, app):
    mark = pathlib.Path("/tmp") / f"slipway-retired-{secrets.token_hex(8)}"
    for number in range(1, 3):
        app.deploy(files={"number": f"{app.name} {number}"}, source="who" if number == 1 else None)
    first = digest(app, 1)
    plain = restart(platform, {"PAAS_FAULT": f"slug-retired:{mark}"})
    try:
        app.deploy(files={"number": f"{app.name} 3"})
        app.deploy(files={"number": f"{app.name} 4"})
        wait_until(lambda: mark.exists(), 120, "the kill")
    finally:
        put(platform, plain)
        mark.unlink(missing_ok=True)
    wait_until(lambda: first not in slugs(platform), 120, "the file to go")
    assert app.json("releases", "info", "v1")["slugRemoved"]
    assert app.ask().startswith("web.1@")
