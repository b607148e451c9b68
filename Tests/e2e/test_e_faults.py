"""Programs of the platform are killed under load; the platform is killed at each step of the durable order."""

import json
import os
import pathlib
import subprocess
import time

import pytest
import requests
from slipway import Load, wait_until

FAULT_POINTS = [
    "ref-pinned", "build-recorded", "slug-stored", "release-recorded", "instance-planned", "instance-started",
    "instance-up", "unrouted", "ref-moved",
]


def pids(platform, app):
    mine = {p["id"] for p in app.processes()}
    return {c["id"]: c["pid"] for c in platform.containers() if c["id"] in mine}


@pytest.mark.parametrize("services", [["paasd"], ["paas-engine"], ["paasd", "paas-engine"], ["paas-git"]])
def test_killed_programs_touch_no_traffic_and_no_container(platform, app, services):
    app.deploy(source="who")
    app.scale(web=3)
    before = pids(platform, app)
    assert len(before) == 3
    with Load(app.port(), clients=4) as load:
        for service in services:
            platform.kill(service)
        platform.wait_ready()
        wait_until(lambda: pids(platform, app) == before, 20, "the same containers")
        time.sleep(1)
    assert load.failures == []
    assert pids(platform, app) == before
    # And it still works.
    app.scale(web=2)


def test_a_killed_router_serves_again_within_a_second_without_paasd(platform, app):
    app.deploy(source="who")
    port = app.port()
    app.ask()
    platform.command("s6-svc", "-wd", "-d", platform.run / "s6/paasd")
    try:
        platform.kill("paas-router")
        killed = time.monotonic()
        wait_until(lambda: app_answers(port), 10, "the router")
        assert time.monotonic() - killed < 2
    finally:
        platform.command("s6-svc", "-u", platform.run / "s6/paasd")
        platform.wait_ready()


def app_answers(port):
    from slipway import ask

    return ask(port, "who", timeout=1).startswith("web.")


def test_a_killed_database_stops_no_traffic_and_the_api_recovers(platform, app):
    app.deploy(source="who")
    headers = {"Authorization": f"Bearer {platform.token()}"}
    url = f"{platform.api}/api/v1/apps/{app.name}"
    with Load(app.port(), clients=3) as load:
        platform.command("s6-svc", "-d", platform.run / "s6/postgres")
        platform.kill("postgres")

        def unavailable():
            answer = requests.get(url, headers=headers, timeout=10)
            return answer.status_code == 503 and answer.headers["Content-Type"].startswith("application/problem+json")

        wait_until(unavailable, 15, "503")
        time.sleep(1)
        platform.command("s6-svc", "-u", platform.run / "s6/postgres")
        wait_until(lambda: requests.get(url, headers=headers, timeout=10).status_code == 200, 30, "recovery")
    assert load.failures == []
    app.scale(web=2)


@pytest.fixture
def armed(platform, tmp_path_factory):
    """Restarts paasd with a fault point; puts the plain one back."""
    run = platform.run / "s6/paasd/run"
    plain = run.read_text()
    marks = tmp_path_factory.mktemp("marks")
    os.chmod(marks.parent, 0o711)
    os.chmod(marks.parent.parent, 0o711)
    os.chmod(marks, 0o777)

    def arm(point):
        mark = pathlib.Path("/tmp") / f"slipway-fault-{os.getpid()}-{time.monotonic_ns()}"
        lines = plain.splitlines()
        lines.insert(-1, f"export PAAS_FAULT={point}:{mark}")
        run.write_text("\n".join(lines) + "\n")
        platform.command("s6-svc", "-r", platform.run / "s6/paasd")
        platform.wait_ready()
        return mark

    made = []
    yield lambda point: made.append(arm(point)) or made[-1]
    run.write_text(plain)
    platform.command("s6-svc", "-r", platform.run / "s6/paasd")
    platform.wait_ready()
    for mark in made:
        mark.unlink(missing_ok=True)


def settled(platform, app):
    """Nothing half done: no active build, no rollout, what runs is what is wanted, each container once."""
    builds = app.json("builds")
    if any(b["state"] in ("queued", "running") for b in builds):
        return False
    if any(r["state"] in ("pending", "rolling") for r in app.json("releases")):
        return False
    formation = app.json("scale")
    wanted = sum(entry["quantity"] for entry in formation.values())
    processes = app.processes(state=None)
    up = [p for p in processes if p["state"] == "up"]
    return len(up) == wanted and len(processes) == wanted


@pytest.mark.parametrize("point", FAULT_POINTS)
def test_killed_at_each_step_of_a_push(platform, app, armed, point):
    app.deploy(source="who")
    app.scale(web=2)
    app.write({"marker": point})
    head = app.commit()
    mark = armed(point)
    with Load(app.port(), clients=3) as load:
        app.push(check=False, timeout=120)
        wait_until(mark.exists, 60, "the fault")
        platform.wait_ready()
        wait_until(lambda: settled(platform, app), 30, "a settled state")
    assert load.failures == []
    latest = app.json("builds")[0]
    if latest["state"] == "succeeded":
        wait_until(lambda: "@v2#" in app.ask(), 20)
        wait_until(lambda: head in app.git("ls-remote", "paas", "refs/heads/main").stdout, 20, "the ref")
    else:
        # Cleanly failed: the same commit can be pushed again.
        result = app.push()
        assert "Released v2" in result.stderr
    check_nothing_left(platform, app)


@pytest.mark.parametrize("point", ["instance-planned", "instance-started", "instance-up", "unrouted"])
def test_killed_during_a_scale(platform, app, armed, point):
    app.deploy(source="who")
    app.scale(web=2)
    mark = armed(point)
    with Load(app.port(), clients=3) as load:
        app.paasctl("scale", "web=1" if point == "unrouted" else "web=4", check=False)
        wait_until(mark.exists, 30, "the fault")
        platform.wait_ready()
        wait_until(lambda: settled(platform, app), 45, "a settled state")
    assert load.failures == []
    check_nothing_left(platform, app)


def check_nothing_left(platform, app):
    app_id = app.json("apps", "info")["id"]
    wait_until(
        lambda: {c["id"] for c in platform.containers() if c["app"] == app_id} == {p["id"] for p in app.processes(state=None)},
        45, "containers and rows to agree")
    assert not list((platform.data / "builds").glob("*.img")), "a build volume is left"
