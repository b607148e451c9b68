"""The control plane and its database: away, another one, an older one; and what becomes of builds of deleted apps."""

import json
import secrets
import socket
import subprocess
import urllib.error
import urllib.request

import pytest
from slipway import App, ask, wait_until


@pytest.fixture(scope="module")
def standing(platform, tmp_path_factory):
    name = "t-" + secrets.token_hex(4)
    app = App(platform, name, tmp_path_factory.mktemp("database") / name)
    app.create()
    app.deploy(source="who")
    # Asked while the API answers.
    app.port_number = app.port()
    yield app
    app.delete()


def get(platform, path):
    """Status and body; a refused connection is an error of the test."""
    request = urllib.request.Request(platform.api + path, headers={"Authorization": "Bearer " + platform.token()})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def sql(platform, query):
    command = ["s6-setuidgid", "paas", "psql", "-h", platform.run / "postgres", "-d", "paas", "-tAc", query]
    return platform.command(*command, cwd="/").stdout.strip()


def service(platform, action, name):
    platform.command("s6-svc", *action.split(), platform.run / "s6" / name)


def down(platform, name):
    service(platform, "-wd -T 20000 -d", name)


def test_a_start_without_the_database_answers_503_and_recovers(platform, standing):
    down(platform, "postgres")
    try:
        assert get(platform, "/readyz")[0] == 503
        # The admin still sees what is wrong.
        code, body = get(platform, "/api/v1/status")
        states = {c["name"]: c["state"] for c in json.loads(body)["components"]}
        assert (code, states["postgres"], states["router"]) == (200, "down", "up")
        old = platform.kill("paasd")
        wait_until(lambda: platform.pid("paasd") != old, 10, "the restart")
        code, body = wait_until(lambda: get(platform, "/api/v1/apps"), 10, "an answer")
        assert code == 503 and json.loads(body)["type"].endswith(":unavailable")
        assert get(platform, "/healthz")[0] == 200
        assert ask(standing.port_number).startswith("web.1")
    finally:
        service(platform, "-u", "postgres")
    platform.wait_ready()
    assert standing.json("apps", "info")["name"] == standing.name
    wait_until(lambda: json.loads(get(platform, "/api/v1/status")[1])["state"] == "up", 20, "the state up")


def test_another_database_is_refused_and_nothing_is_removed(platform, standing):
    mark = platform.data / "lock/platform-id"
    mine = mark.read_text()
    down(platform, "paasd")
    mark.write_text("00000000-0000-0000-0000-000000000000\n")
    try:
        result = subprocess.run(
            [platform.run / "s6/paasd/run"], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        assert result.returncode == 1
        assert f"remove {mark}" in result.stdout + result.stderr
    finally:
        mark.write_text(mine)
        service(platform, "-u", "paasd")
    platform.wait_ready()
    id = standing.json("apps", "info")["id"]
    assert (platform.data / f"repos/{id}.git/HEAD").exists()


def test_a_database_from_a_backup_is_taken_up(platform, standing):
    down(platform, "paasd")
    # As if it had been dumped at the first start.
    sql(platform, "update platform set epoch = 1")
    service(platform, "-u", "paasd")
    platform.wait_ready()
    standing.scale(web=2)
    assert len(standing.processes()) == 2
    standing.scale(web=1)


def test_a_paasd_that_can_not_listen_ends(platform, standing):
    down(platform, "paasd")
    try:
        with socket.create_server(("127.0.0.1", platform.api_port)):
            result = subprocess.run(
                [platform.run / "s6/paasd/run"], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        assert result.returncode == 1
        assert "paasd ends" in result.stdout + result.stderr
    finally:
        service(platform, "-u", "paasd")
    platform.wait_ready()


def test_an_app_deleted_during_its_build_leaves_nothing(platform, tmp_path):
    app = App(platform, "t-" + secrets.token_hex(4), tmp_path / "app")
    app.create()
    app.write({"Makefile": "all:\n\techo compiling; sleep 600\n", "Procfile": "web: ./x\n"})
    app.commit()
    id = app.json("apps", "info")["id"]
    push = subprocess.Popen(
        ["git", "push", "paas", "main"], cwd=app.directory, env=platform.env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: list((platform.data / "builds").iterdir()), 30, "the build's volume")
        wait_until(lambda: any(c["app"] == id for c in platform.containers()), 30, "the build's container")
        app.delete()
        output, _ = push.communicate(timeout=60)
    finally:
        push.kill()
    assert push.returncode != 0 and "[remote rejected]" in output

    def gone():
        return not [c for c in platform.containers() if c["app"] == id] and not list(
            (platform.data / "builds").iterdir()) and not (platform.data / f"repos/{id}.git").exists()

    wait_until(gone, 30, "the removal of all that the app had")
    # The log of its build is gone with it.
    wait_until(lambda: not sql(platform, f"select 1 from builds where app_id = '{id}'"), 10, "no rows")
    known = set(sql(platform, "select id from builds").split())
    kept = {p.name.split(".")[0] for p in (platform.data / "build-logs").iterdir()}
    assert kept <= known
