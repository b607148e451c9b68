"""The release phase before a rollout, and what app.json gives a first release."""

import pathlib
import re
import secrets
import time

import pytest
from slipway import Load, wait_until
from test_e_faults import restart

WHO = "web: python3 who.py\n"


def release_runs(app, version):
    return app.json("releases", "info", f"v{version}")["runs"]


def deploy(app, command, **files):
    """Pushes `who` with a release phase."""
    app.source("who")
    app.write({"Procfile": WHO + f"release: {command}\n", **files})
    app.commit()
    return app.push(check=False)


@pytest.fixture
def settings(platform):
    """Restarts paasd with other settings; puts the plain ones back at the end."""
    run = platform.run / "s6/paasd/run"
    plain = run.read_text()

    def change(**values):
        lines = plain.splitlines()
        lines[-1:-1] = [f"export {key}={value}" for key, value in values.items()]
        restart(platform, run, "\n".join(lines) + "\n")

    yield change
    restart(platform, run, plain)


def test_it_runs_before_the_processes_with_the_new_config_and_its_output_is_in_the_push(app):
    app.paasctl("config", "set", "GREETING=hello")
    result = deploy(app, 'echo "$GREETING from $DYNO of $PAAS_RELEASE port=${PORT-none}"; ls who.py; echo oops >&2')
    assert result.returncode == 0, result.stderr
    shown = [line.removeprefix("remote: ").rstrip() for line in result.stderr.splitlines()]
    begin = shown.index("-----> Running release command...")
    assert shown[begin + 1] == "       hello from release.1 of v1 port=none"
    assert {"       who.py", "       oops", "       release.1 exited with status 0"} <= set(shown[begin:])
    assert shown.index("       Released v1") > begin
    assert "reserved" not in result.stderr
    [run] = release_runs(app, 1)
    assert (run["state"], run["exitCode"], run["name"]) == ("succeeded", 0, "release.1")
    assert run["output"].splitlines()[0] == "hello from release.1 of v1 port=none"
    assert app.json("releases", "info", "v1")["output"] == run["output"]
    printed = app.paasctl("releases", "output", "v1").stdout
    assert "hello from release.1" in printed and "oops" in printed
    logged = app.paasctl("logs", "-p", "release").stdout
    assert "hello from release.1" in logged
    # A change of config is a release like any other.
    app.paasctl("config", "set", "GREETING=again", "--wait")
    assert release_runs(app, 2)[0]["output"].startswith("again from release.2 of v2")
    app.paasctl("rollback", "v1", "--wait")
    assert release_runs(app, 3)[0]["output"].startswith("hello from release.3 of v3")
    wait_until(lambda: app.ask().startswith("web.1@v3#"), 20)
    wait_until(lambda: [p["name"] for p in app.processes(state=None)] == ["web.1"], 30, "nothing but web.1")


def test_it_is_no_process_of_the_formation(app):
    assert deploy(app, "true").returncode == 0
    assert sorted(app.json("scale")) == ["web"]
    for refused in [("scale", "release=1"), ("ports", "add", "x", "--protocol", "tcp", "--process", "release"), ("ps", "restart", "release.1")]:
        result = app.paasctl(*refused, check=False)
        assert result.returncode == 1 and "once" in result.stderr, (refused, result.stderr)


def test_a_failing_one_keeps_the_old_release_and_declines_the_push(app):
    app.deploy(source="who")
    with Load(app.port()) as load:
        result = deploy(app, "echo no such table; exit 3")
    assert result.returncode != 0 and "release v2 failed" in result.stderr
    assert result.stderr.count("no such table") == 1 and "release.2 exited with status 3" in result.stderr
    assert "v1 goes on" in result.stderr
    assert load.failures == [] and all(a.startswith("web.1@v1#") for a in load.answers)
    assert [r["state"] for r in app.json("releases")] == ["failed", "current"]
    wait_until(lambda: [p["release"] for p in app.processes(state=None)] == [1], 20, "nothing but v1")
    info = app.json("releases", "info", "v2")
    assert "exited with status 3" in info["output"] and "no such table" in info["output"]
    # Nothing of v2 was ever started.
    assert "v2 with command `python3" not in app.paasctl("logs", "-n", "200").stdout
    # The same commit can be pushed again.
    again = app.push(check=False)
    assert again.returncode != 0 and "release v3 failed" in again.stderr


def test_one_that_takes_too_long_is_ended(app, settings):
    app.deploy(source="who")
    settings(PAAS_RELEASE_TIMEOUT_SECONDS=3)
    start = time.monotonic()
    result = deploy(app, "echo begun; exec sleep 600")
    assert result.returncode != 0 and time.monotonic() - start < 60
    assert "begun" in result.stderr and "release.2 exceeded 3 s" in result.stderr and "PAAS_RELEASE_TIMEOUT_SECONDS" in result.stderr
    assert app.ask().startswith("web.1@v1#")


@pytest.mark.parametrize("service", ["paasd", "paas-engine"])
def test_a_killed_program_of_the_platform_does_not_make_it_run_twice(app, service):
    app.deploy(source="who")
    app.write({"Procfile": WHO + 'release: echo "begun $RANDOM$RANDOM"; sleep 8; echo done\n'})
    app.commit()
    # Whoever only records the push is not concerned when paasd goes away.
    app.push("-o", "no-wait")
    wait_until(lambda: "begun" in app.paasctl("logs", "-p", "release").stdout, 60, "the begin of the release phase")
    app.platform.kill(service)
    app.platform.wait_ready(60)
    wait_until(lambda: app.json("apps", "info")["currentRelease"] == 2, 60, "v2")
    [run] = release_runs(app, 2)
    assert run["state"] == "succeeded" and run["exitCode"] == 0
    assert len(re.findall(r"begun \d+", run["output"])) == 1 and run["output"].endswith("done")
    logged = app.paasctl("logs", "-p", "release", "-s", "app").stdout
    assert logged.count("begun") == 1 and logged.count("done") == 1


@pytest.mark.parametrize("point", ["instance-planned", "instance-started"])
def test_paasd_killed_around_its_start_does_not_make_it_run_twice(app, settings, point):
    app.deploy(source="who")
    mark = pathlib.Path("/tmp") / f"slipway-fault-{secrets.token_hex(8)}"
    app.write({"Procfile": WHO + "release: echo begun; sleep 1; echo done\n"})
    app.commit()
    settings(PAAS_FAULT=f"{point}:{mark}")
    app.push("-o", "no-wait", check=False)
    wait_until(mark.exists, 60, "the fault")
    app.platform.wait_ready(60)
    wait_until(lambda: app.json("apps", "info")["currentRelease"] == 2, 60, "v2")
    mark.unlink()
    assert release_runs(app, 2)[0]["output"] == "begun\ndone"


def test_a_newer_release_ends_a_running_one_and_is_the_one_that_counts(app):
    app.deploy(source="who")
    app.write({
        "Procfile": WHO + "release: exec python3 phase.py\n",
        "phase.py": "import os, signal, sys, time\n"
        "def end(*_):\n    print('told to end', flush=True)\n    sys.exit(9)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('begun', os.environ.get('FAST'), flush=True)\n"
        "if not os.environ.get('FAST'):\n    time.sleep(600)\n",
    })
    app.commit()
    app.push("-o", "no-wait")
    wait_until(lambda: "begun" in app.paasctl("logs", "-p", "release").stdout, 60, "the begin of the release phase")
    # v3 has the slug of v1, which has no release phase.
    app.paasctl("config", "set", "FAST=1", "--wait", timeout=120)
    [run] = wait_until(lambda: [r for r in release_runs(app, 2) if r["output"] is not None], 60)
    assert run["state"] == "superseded" and run["output"] == "begun None\ntold to end"
    assert [r["state"] for r in app.json("releases")] == ["current", "superseded", "superseded"]
    app.commit("again")
    result = app.push()
    assert "begun 1" in result.stderr
    assert app.json("apps", "info")["currentRelease"] == 4


def test_a_restart_of_the_host_meanwhile_fails_it_and_says_so(app):
    app.deploy(source="who")
    app.write({"Procfile": WHO + "release: echo begun; sleep 600\n"})
    app.commit()
    app.push("-o", "no-wait")
    wait_until(lambda: "begun" in app.paasctl("logs", "-p", "release").stdout, 60, "the begin of the release phase")
    app.platform.command(app.platform.repo / "bin/lib/power-cut", timeout=60)
    app.platform.up()
    wait_until(lambda: app.json("releases")[0]["state"] == "failed", 60, "the failure of v2")
    [run] = release_runs(app, 2)
    assert run["state"] == "failed" and run["exitCode"] is None and "can't be known" in run["reason"]
    assert run["output"] == "begun"
    wait_until(lambda: app.ask().startswith("web.1@v1#"), 60)
    wait_until(lambda: [p["name"] for p in app.processes(state=None)] == ["web.1"], 30, "nothing but web.1")


# app.json


def test_the_first_release_takes_variables_formation_ports_and_the_script(app):
    app.source("who")
    app.write({
        "Procfile": WHO + "worker: exec sleep 1000\n",
        "app.json": """{
            "name": "Example", "stack": "heroku-24",
            "env": {"SECRET": {"generator": "secret"}, "PLAIN": "theirs", "OTHER": {"value": "theirs"}},
            "formation": {"web": {"quantity": 2, "size": "eco"}, "worker": {"quantity": 1}},
            "scripts": {"postdeploy": "echo seeding as $DYNO with ${#SECRET}"},
            "healthchecks": {"web": [{"type": "startup", "uptime": 2}, {"type": "liveness", "path": "/"}]},
            "slipway": {"formation": {"worker": {"memory": "64Mi"}},
                        "ports": [{"name": "line", "protocol": "tcp", "process": "web", "targetPort": 5000, "drainSeconds": 3}]}
        }""",
    })
    app.commit()
    app.paasctl("config", "set", "PLAIN=mine")
    result = app.push()
    shown = result.stderr
    assert "config vars: SECRET (generated), PLAIN, OTHER" in shown and "formation: web=2 worker=1" in shown
    for words in ["names stack", "size is ignored", "healthchecks.web[1]: liveness checks are not supported yet"]:
        assert words in shown
    assert "-----> Running postdeploy script..." in shown and "seeding as postdeploy.1 with 64" in shown
    config = app.json("config")
    config = config.get("vars", config)
    assert config["PLAIN"] == "mine" and config["OTHER"] == "theirs" and re.fullmatch("[0-9a-f]{64}", config["SECRET"])
    assert config["SECRET"] not in shown
    assert config["SECRET"] not in app.paasctl("logs", "-n", "500").stdout
    assert config["SECRET"] not in app.paasctl("builds", "log", "1").stdout
    scale = app.json("scale")
    assert {t: e["quantity"] for t, e in scale.items()} == {"web": 2, "worker": 1} and scale["worker"]["memory"] == "64Mi"
    [port] = app.json("ports")
    assert (port["name"], port["drainSeconds"]) == ("line", 3)
    assert app.ask(port=port["publicPort"]).split("@")[1].startswith("v1#")
    # Once: the next release takes nothing.
    app.paasctl("config", "unset", "OTHER", "--wait", timeout=120)
    app.scale(worker=0)
    app.commit("again")
    later = app.push()
    assert "postdeploy" not in later.stderr and "OTHER" not in app.json("config").get("vars", app.json("config"))
    assert app.json("scale")["worker"]["quantity"] == 0


def test_a_required_variable_is_asked_for_before_the_build(app):
    app.source("who")
    app.write({"requirements.txt": "this would fail !!\n", "app.json": '{"env": {"TOKEN": {"description": "of the API"}}}'})
    app.commit()
    result = app.push(check=False)
    assert result.returncode != 0 and "TOKEN: of the API" in result.stderr and "paasctl config set TOKEN=…" in result.stderr
    assert "requirement" not in result.stderr.lower().replace("requires", "")
    (app.directory / "requirements.txt").unlink()
    app.commit()
    app.paasctl("config", "set", "TOKEN=x")
    assert "Released v1" in app.push().stderr


def test_a_script_that_fails_leaves_the_release_and_a_broken_file_names_its_place(app):
    app.source("who")
    app.write({"app.json": '{"scripts": {"postdeploy": "echo half; exit 5"}}'})
    app.commit()
    result = app.push()
    assert "postdeploy.1 exited with status 5" in result.stderr and "v1 stays" in result.stderr
    assert app.ask().startswith("web.1@v1#")
    kinds = [e["kind"] for e in app.platform.json("events") if e["app"] == app.name]
    assert "run.failed" in kinds
    app.write({"app.json": '{"formation": {"web": {"quantity": "two"}}}'})
    app.commit()
    broken = app.push(check=False)
    assert broken.returncode != 0 and "app.json: formation.web.quantity must be a whole number, not a string" in broken.stderr
