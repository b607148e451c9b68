"""Scaling, rolling, rolling back, crashing: each under load from clients that open new connections."""

import os
import signal
import time

from slipway import Load, wait_until


def identities(app, count=60):
    return {app.ask().split("#")[0].split("@")[0] for _ in range(count)}


def test_scaling_up_and_down_under_load_fails_no_request(app):
    app.deploy(source="who")
    with Load(app.port(), clients=6) as load:
        app.scale(web=5)
        assert identities(app) == {f"web.{n}" for n in range(1, 6)}
        app.scale(web=1)
        wait_until(lambda: identities(app, 10) == {"web.1"}, 20)
        app.scale(web=5)
        app.write({"marker": "2"})
        app.commit()
        app.push()
        wait_until(lambda: all("@v2#" in app.ask() for _ in range(20)), 30, "only v2")
    assert load.failures == []
    assert load.count > 200
    assert len(app.processes()) == 5


def test_a_rollback_brings_slug_and_config_back(app):
    app.deploy(source="who")
    app.paasctl("config", "set", "COLOUR=blue")
    wait_until(lambda: app.ask().split("@")[1].startswith("v2#"), 30)
    app.paasctl("config", "set", "COLOUR=red")
    wait_until(lambda: app.ask("env COLOUR") == b"red".hex(), 30)
    with Load(app.port(), clients=3) as load:
        app.paasctl("rollback", "v2")
        wait_until(lambda: app.ask("env COLOUR") == b"blue".hex(), 30)
    assert load.failures == []
    assert app.paasctl("config", "get", "COLOUR").stdout == "blue\n"
    releases = app.json("releases")
    assert releases[0]["version"] == 4 and "v2" in releases[0]["description"]
    missing = app.paasctl("rollback", "v99", check=False)
    assert missing.returncode == 1 and "v99" in missing.stderr


def test_a_killed_process_is_replaced_within_two_seconds(app):
    app.deploy(source="who")
    app.scale(web=2)
    containers = app.platform.containers()
    processes = {p["name"]: p for p in app.processes()}
    with Load(app.port(), clients=4) as load:
        victim = next(c for c in containers if c["id"] == processes["web.1"]["id"])
        killed = time.time()
        os.kill(victim["pid"], signal.SIGKILL)
        wait_until(
            lambda: len(app.processes()) == 2 and processes["web.1"]["id"] not in [p["id"] for p in app.processes()],
            10, "the replacement")
        assert time.time() - killed < 5
        wait_until(lambda: identities(app, 20) == {"web.1", "web.2"}, 5)
    # Only requests that were in flight on it may fail.
    assert len(load.failures) <= load.clients
    assert all(at - killed < 2 for at, _ in load.failures)
    web1 = next(p for p in app.processes() if p["name"] == "web.1")
    assert web1["restarts"] == 1
    assert any(e["kind"] == "process.crashed" and e["app"] == app.name for e in app.platform.json("events"))


def test_a_process_that_keeps_crashing_is_backed_off(app):
    app.deploy(source="who")
    for _ in range(6):
        try:
            app.ask("exit 3", timeout=3)
        except OSError:
            pass
        time.sleep(0.4)
    process = wait_until(lambda: app.json("ps")[0], 5)
    assert process["restarts"] >= 3
    shown = app.paasctl("ps").stdout
    assert "web.1" in shown
    wait_until(lambda: app.ask().startswith("web.1@v1#"), 60)


def test_ps_restart_replaces_without_a_gap(app):
    app.deploy(source="who")
    before = app.ask()
    with Load(app.port(), clients=3) as load:
        app.paasctl("ps", "restart")
        wait_until(lambda: app.ask() != before, 30)
    assert load.failures == []


def test_scaling_to_zero_and_back(app):
    app.deploy(source="who")
    app.scale(web=0)
    wait_until(lambda: app.processes(state=None) == [], 45)
    app.scale(web=1)
    assert app.ask().startswith("web.1@v1#")


def test_wrong_scaling_is_told(app):
    app.deploy(source="who")
    for argument, words in [("webb=2", "web"), ("web=many", "many"), ("web=9999", "500"), ("web", "=")]:
        result = app.paasctl("scale", argument, check=False)
        assert result.returncode in (1, 2), argument
        assert words in result.stderr, (argument, result.stderr)
