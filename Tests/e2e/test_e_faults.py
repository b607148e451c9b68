"""Programs of the platform are killed under load; the platform is killed at each step of the durable order."""

import os
import pathlib
import re
import secrets
import signal
import threading
import time

import pytest
import requests
from slipway import App, Load, ask, wait_until

PUSH_POINTS = [
    "ref-pinned", "build-recorded", "slug-stored", "release-recorded", "instance-planned", "instance-started",
    "instance-up", "unrouted", "ref-moved",
]
# A change of the formation or of the config begins with what it records (4) and ends with the old processes (8).
CHANGE_POINTS = ["release-recorded", "instance-planned", "instance-started", "instance-up", "unrouted"]

# What is killed in the moment in which paasd is at a point.
KILLED = [["paasd"], ["paas-engine"], ["paasd", "paas-engine"]]

# From the kill, the restart included, until everything is finished or cleanly failed and nothing is left over.
SETTLE_SECONDS = 10


@pytest.fixture(scope="module")
def standing(platform, tmp_path_factory):
    """One app with two processes for all tests of this file: each leaves it whole, as the next one sees."""
    name = "t-" + secrets.token_hex(4)
    app = App(platform, name, tmp_path_factory.mktemp("standing") / name)
    app.create()
    app.deploy(source="who")
    app.scale(web=2)
    yield app
    app.delete()


class Fault:
    """Once paasd is at the point, kills what is to be killed there. paasd alone kills itself at it; for the others it stops
    there until they are dead, and goes on or is killed with them."""

    def __init__(self, platform, mark, services):
        self.mark = mark
        self.services = services
        self.paasd = platform.pid("paasd")
        self.victims = [platform.pid(service) for service in services]
        self.at = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        wait_until(self.mark.exists, 60, "the fault", interval=0.002)
        self.at = time.monotonic()
        if self.services == ["paasd"]:
            return
        try:
            wait_until(lambda: pathlib.Path(f"/proc/{self.paasd}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T", 5, interval=0.002)
            for pid in self.victims:
                os.kill(pid, signal.SIGKILL)
        finally:
            if "paasd" not in self.services:
                os.kill(self.paasd, signal.SIGCONT)

    def happened(self):
        """When; fails the test if it did not."""
        self._thread.join(60)
        assert self.at, "paasd did not come to the point"
        return self.at


@pytest.fixture(scope="module")
def armed(platform):
    """Restarts paasd with a fault point; puts the plain one back at the end. The fault happens once: then the mark is there, and
    paasd goes on."""
    run = platform.run / "s6/paasd/run"
    plain, marks = run.read_text(), []

    def arm(app, point, services):
        # A test that failed has left something under way: not this one's matter.
        wait_until(lambda: not unsettled(platform, app), 60, "a settled start")
        mark = pathlib.Path("/tmp") / f"slipway-fault-{secrets.token_hex(8)}"
        marks.append(mark)
        lines = plain.splitlines()
        lines.insert(-1, f"export PAAS_FAULT={point}:{mark}" + ("" if services == ["paasd"] else ":stop"))
        restart(platform, run, "\n".join(lines) + "\n")
        return Fault(platform, mark, services)

    yield arm
    restart(platform, run, plain)
    for mark in marks:
        mark.unlink(missing_ok=True)


def restart(platform, run, text):
    run.write_text(text)
    platform.command("s6-svc", "-wr", "-T", "20000", "-r", run.parent)
    platform.wait_ready()


# What is there, and what must not be there


def sql(platform, query):
    command = ["s6-setuidgid", "paas", "psql", "-h", platform.run / "postgres", "-d", "paas", "-tAc", query]
    return platform.command(*command, cwd="/").stdout.split()


def pids(platform, app):
    mine = {p["id"] for p in app.processes()}
    return {c["id"]: c["pid"] for c in platform.containers() if c["id"] in mine and "pid" in c}


def unsettled(platform, app):
    """What of the app is half done or left over, in words; empty when it is as it is wanted, with each container once."""
    found = []
    formation = app.json("scale")
    wanted = sorted(f"{t}.{n}" for t, entry in formation.items() for n in range(1, entry["quantity"] + 1))
    processes = app.processes(state=None)
    if sorted(p["name"] for p in processes) != wanted or any(p["state"] != "up" for p in processes):
        found.append(f"processes {[(p['name'], p['state'], p['release']) for p in processes]}, wanted {wanted}")
    info = app.json("apps", "info")
    current = info["currentRelease"]
    if any(p["release"] != current for p in processes):
        found.append(f"processes of other releases than v{current}")
    rows = {p["id"] for p in processes}
    containers = [c for c in platform.containers() if c["app"] == info["id"]]
    if sorted(c["id"] for c in containers) != sorted(rows) or any(c["state"] != "running" for c in containers):
        found.append(f"containers {[(c['name'], c['state'], c['id']) for c in containers]}, rows {rows}")
    inside = cgroups(platform)
    for container in containers:
        # Tini of it is there, and it is the only one of this instance.
        if container.get("pid") not in inside.get(container["id"], []):
            found.append(f"{container['name']} has the processes {inside.get(container['id'])}")
    known = {c["id"] for c in platform.containers()}
    found += [f"processes {ps} of the unknown container {id}" for id, ps in inside.items() if ps and id not in known]
    app_id = info["id"]
    for table, condition in [
        ("builds", "state in ('queued', 'running') or state = 'succeeded' and not ref_moved"),
        ("releases", "state in ('pending', 'rolling')"), ("operations", "finished_at is null"),
    ]:
        left = sql(platform, f"select id from {table} where app_id = '{app_id}' and ({condition})")
        found += [f"{table} not ended: {id}" for id in left]
    for release in sql(platform, f"select version from releases where app_id = '{app_id}' and state = 'current'"):
        if int(release) != current:
            found.append(f"v{release} is current, too")
    found += leftovers(platform, app_id)
    return found


def leftovers(platform, app_id):
    found = []
    data = platform.data
    found += [f"build volume {p.name}" for p in (data / "builds").iterdir()]
    found += [f"mount of a build {p.name}" for p in (platform.run / "builds").iterdir()]
    repository = data / "repos" / f"{app_id}.git"
    refs = platform.command(
        "git", "-c", "safe.directory=*", "-C", repository, "for-each-ref", "--format=%(refname)", "refs/paas").stdout
    pins = {line.rsplit("/", 1)[1] for line in refs.split()}
    builds = set(sql(platform, f"select id from builds where app_id = '{app_id}'"))
    if pins != builds:
        found.append(f"pins {pins - builds} without builds, builds {builds - pins} without pins")
    found += [f"lock {p}" for p in repository.rglob("*.lock")]
    found += [f"quarantine {p}" for p in (repository / "objects").glob("*incoming*")]
    files = {p.name.split(".")[0] for p in (data / "slugs").iterdir()}
    slugs = {digest.removeprefix("sha256:") for digest in sql(platform, "select digest from slugs")}
    if files != slugs:
        found.append(f"slug files {files - slugs} without rows, rows {slugs - files} without files")
    return found


def cgroups(platform):
    """Instance id → pids in its control groups."""
    found = {}
    root = pathlib.Path("/sys/fs/cgroup")
    # With a hierarchy per controller, those that always have everybody.
    roots = [root] if (root / "cgroup.controllers").exists() else [root / "pids", root / "memory"]
    # Groups come and go meanwhile: os.walk passes over what is gone.
    for folder in (pathlib.Path(f) for r in roots for f, _, _ in os.walk(r)):
        id = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(folder))
        if not id or platform.instance not in str(folder):
            continue
        try:
            pids = [int(p) for p in (folder / "cgroup.procs").read_text().split()]
        except OSError:
            continue
        found[id.group()] = sorted(set(found.get(id.group(), [])) | set(pids))
    return found


def check_settles(platform, app, since):
    """Finished or cleanly failed in time after the kill, and nothing left."""

    def look():
        try:
            return unsettled(platform, app)
        except FileNotFoundError as error:  # something is still being removed
            return [str(error)]

    platform.wait_ready()
    seen = look()
    while seen and time.monotonic() - since < SETTLE_SECONDS:
        time.sleep(0.2)
        seen = look()
    assert not seen, f"after {SETTLE_SECONDS} s: " + "; ".join(seen)


def remote_head(app):
    return app.git("ls-remote", "paas", "refs/heads/main").stdout.split()[0]


# Programs are killed


@pytest.mark.parametrize(
    "services", [["paasd"], ["paas-engine"], ["paasd", "paas-engine"], ["paas-git"]], ids="+".join)
def test_killed_programs_touch_no_traffic_and_no_container(platform, standing, services):
    before = pids(platform, standing)
    assert len(before) == 2
    with Load(standing.port(), clients=4) as load:
        old = {service: platform.kill(service) for service in services}
        killed = time.monotonic()
        # Not only there, but doing their work.
        wait_until(lambda: all(platform.pid(s) != old[s] for s in services) and platform.serving(), 10, "the restarted programs")
        assert time.monotonic() - killed < 2
        check_settles(platform, standing, killed)
        count = load.count
        wait_until(lambda: load.count > count + 100, 10, "more requests")
    assert load.failures == []
    assert pids(platform, standing) == before
    # And everything still works.
    standing.scale(web=3)
    standing.scale(web=2)


def test_a_killed_router_serves_again_within_a_second_without_paasd(platform, standing):
    port = standing.port()
    platform.command("s6-svc", "-wd", "-T", "20000", "-d", platform.run / "s6/paasd")
    try:
        ask(port, "who")
        platform.kill("paas-router")
        killed = time.monotonic()
        wait_until(lambda: ask(port, "who", timeout=1).startswith("web."), 10, "the router", interval=0.01)
        assert time.monotonic() - killed < 1
        # All processes are served, from the copy of the table.
        wait_until(lambda: {ask(port, "who").split("@")[0] for _ in range(8)} == {"web.1", "web.2"}, 5)
    finally:
        platform.command("s6-svc", "-u", platform.run / "s6/paasd")
        started = time.monotonic()
        platform.wait_ready()
    check_settles(platform, standing, started)


def test_a_killed_database_stops_no_traffic_and_the_api_recovers(platform, standing):
    before = pids(platform, standing)
    headers = {"Authorization": f"Bearer {platform.token()}"}
    url = f"{platform.api}/api/v1/apps/{standing.name}"

    def status():
        return requests.get(url, headers=headers, timeout=10).status_code

    with Load(standing.port(), clients=3) as load:
        platform.command("s6-svc", "-O", platform.run / "s6/postgres")
        platform.kill("postgres")
        wait_until(lambda: status() == 503, 10, "503")
        for method, path in [("get", ""), ("patch", "/formation"), ("get", "/builds")]:
            answer = requests.request(method, url + path, headers=headers, json={"web": 1}, timeout=10)
            assert answer.status_code == 503, (method, path)
            assert answer.headers["Content-Type"].startswith("application/problem+json")
            problem = answer.json()
            assert problem["status"] == 503 and problem["title"] and problem["detail"]
            assert "paas" not in problem["detail"].lower() or "/" not in problem["detail"], "no paths of the platform"
        pushed = standing.push(check=False)
        assert pushed.returncode != 0 and "503" in pushed.stderr
        platform.command("s6-svc", "-u", platform.run / "s6/postgres")
        wait_until(lambda: status() == 200, 20, "recovery")
        # Killed with its supervisor watching: nobody has to do anything.
        platform.kill("postgres")
        wait_until(lambda: status() == 200, 20, "recovery by itself")
        check_settles(platform, standing, time.monotonic())
    assert load.failures == []
    assert pids(platform, standing) == before
    standing.scale(web=3)
    standing.scale(web=2)


def test_a_killed_process_is_replaced_within_two_seconds_and_counted(platform, standing):
    victim = next(p for p in standing.processes() if p["name"] == "web.1")
    with Load(standing.port(), clients=4) as load:
        killed = time.time()
        os.kill(pids(platform, standing)[victim["id"]], 9)
        replacement = wait_until(
            lambda: next(p for p in standing.processes() if p["name"] == "web.1" and p["id"] != victim["id"]),
            10, "the replacement", interval=0.02)
        assert time.time() - killed < 2
        wait_until(lambda: ask(standing.port(), "who").startswith("web.1@"), 5)
        check_settles(platform, standing, time.monotonic())
    assert len(load.failures) <= load.clients and all(at - killed < 2 for at, _ in load.failures)
    assert replacement["restarts"] == victim["restarts"] + 1


def test_a_process_that_keeps_crashing_is_backed_off(platform, standing):
    """Killed each time it is up again: the pauses grow from nothing to 1 s, 2 s."""
    pauses = []
    standing.scale(web=1)
    for _ in range(7):
        up = wait_until(lambda: next(p for p in standing.processes() if p["name"] == "web.1"), 20, interval=0.02)
        pid = wait_until(lambda: pids(platform, standing)[up["id"]], 5)
        os.kill(pid, 9)
        killed = time.monotonic()
        after = wait_until(
            lambda: next(p for p in standing.processes(state=None) if p["name"] == "web.1" and p["id"] != up["id"]),
            20, "the next start", interval=0.02)
        pauses.append(time.monotonic() - killed)
        assert after["restarts"] == up["restarts"] + 1
    assert after["restarts"] >= 5
    assert pauses[-1] > 1.9, pauses
    shown = standing.paasctl("ps").stdout
    assert "web.1" in shown
    wait_until(lambda: standing.ask().startswith("web.1@"), 20)
    standing.scale(web=2)


# Killed at each step of the durable order


@pytest.mark.parametrize("services", KILLED, ids="+".join)
@pytest.mark.parametrize("point", PUSH_POINTS)
def test_killed_at_each_step_of_a_push(platform, standing, armed, point, services):
    app = standing
    fault = armed(app, point, services)
    number, release, old_head = app.json("builds")[0]["number"], app.json("apps", "info")["currentRelease"], remote_head(app)
    app.write({"marker": secrets.token_hex(8)})
    head = app.commit()
    with Load(app.port(), clients=3) as load:
        pushed = app.push(check=False, timeout=120)
        check_settles(platform, app, fault.happened())
    print(pushed.stderr)
    assert load.failures == []
    builds = [b["state"] for b in app.json("builds") if b["number"] > number]
    released = app.json("apps", "info")["currentRelease"] == release + 1
    assert builds in (["succeeded"], ["failed"], []) and released == (builds == ["succeeded"])
    # The pusher hears of a success only if it is one. With paasd, the connection is gone.
    assert pushed.returncode != 0 if "paasd" in services else (pushed.returncode == 0) == released
    if PUSH_POINTS.index(point) >= PUSH_POINTS.index("release-recorded"):
        assert released, "what is recorded is carried out"
    if not released:
        assert app.json("apps", "info")["currentRelease"] == release and remote_head(app) == old_head
        assert all(f"@v{release}#" in app.ask() for _ in range(4))
        app.push()
        assert app.json("apps", "info")["currentRelease"] == release + 1
    assert remote_head(app) == head == app.json("releases")[0]["commit"]
    assert all(f"@v{release + 1}#" in app.ask() for _ in range(4))


@pytest.mark.parametrize("services", KILLED, ids="+".join)
@pytest.mark.parametrize("point", CHANGE_POINTS)
def test_killed_at_each_step_of_a_scale(platform, standing, armed, point, services):
    app = standing
    target = 1 if point == "unrouted" else 4
    fault = armed(app, point, services)
    with Load(app.port(), clients=3) as load:
        result = app.paasctl("scale", f"web={target}", "--wait", check=False)
        check_settles(platform, app, fault.happened())
    assert load.failures == []
    assert "paasd" in services or result.returncode == 0, result.stderr
    assert app.json("scale")["web"]["quantity"] == target and len(app.processes()) == target
    app.scale(web=2)


@pytest.mark.parametrize("services", KILLED, ids="+".join)
@pytest.mark.parametrize("point", CHANGE_POINTS)
def test_killed_at_each_step_of_a_rolling_release(platform, standing, armed, point, services):
    app = standing
    fault = armed(app, point, services)
    release = app.json("apps", "info")["currentRelease"]
    value = secrets.token_hex(4)
    with Load(app.port(), clients=3) as load:
        result = app.paasctl("config", "set", f"VALUE={value}", check=False)
        check_settles(platform, app, fault.happened())
    assert load.failures == []
    assert "paasd" in services or result.returncode == 0, result.stderr
    assert app.json("apps", "info")["currentRelease"] == release + 1
    assert {app.ask("env VALUE") for _ in range(8)} == {value.encode().hex()}
