"""What a tenant's process can reach from inside, tried from inside: from a process and from a build."""

import base64
import json
import os
import pathlib
import re
import secrets
import socket
import subprocess
import threading
import time

import pytest
from slipway import SOURCES, ApiLoad, App, Load, wait_until

# Bounds within which the API and a neighbour answer while another app does its worst, on a small and busy machine.
SLOWEST_SECONDS = 5


def sh(app, command, timeout=25):
    status, text = app.ask(f"sh {command}", timeout=timeout).split(" ", 1)
    return int(status), bytes.fromhex(text).decode(errors="replace")


@pytest.fixture(scope="module")
def two(platform, tmp_path_factory):
    """Two apps in two spaces."""
    platform.paasctl("spaces", "create", "tenant-b")
    apps = []
    for space in ["default", "tenant-b"]:
        name = f"t-{secrets.token_hex(4)}"
        app = App(platform, name, tmp_path_factory.mktemp("isolation") / name)
        app.create("--space", space)
        apps.append(app)
        # On both families: who can't be reached over one could be over the other.
        app.deploy(
            files={"probe.py": (SOURCES / "probe/probe.py").read_text(), "hog.py": HOG, "Procfile": "web: LISTEN_HOST=:: python3 who.py\n"},
            source="who")
    yield apps
    for app in apps:
        app.delete()


class Doors:
    """What listens on the host, on all its addresses of both families, and has to be closed from inside."""

    METADATA = "169.254.77.77"

    def __init__(self, platform, others):
        self.platform = platform
        self.received = []
        self.sockets = []
        # A port that nobody has anything to do with, and one that lies in the range of public ports but is not one.
        used = {b["publicPort"] for a in platform.json("apps") for b in platform.json("ports", "-a", a["name"])}
        inside = next(p for p in range(platform.port_range[1], 0, -1) if p not in used)
        self.ports = [self.listen(0), self.listen(inside)]
        self.udp = self.receive()
        self.abstract = f"slipway-probe-{secrets.token_hex(4)}"
        local = socket.socket(socket.AF_UNIX)
        local.bind("\0" + self.abstract)
        local.listen()
        self.sockets.append(local)
        self.addresses = self.present()
        self.others = others
        self.metadata()

    def present(self):
        """The host's addresses, as a container has to write them."""
        interfaces = json.loads(self.platform.command("ip", "-j", "addr").stdout)
        entries = [(a["local"], a["scope"]) for i in interfaces for a in i.get("addr_info", [])]
        # The gateway's link-local address is on the container's own link.
        return sorted({f"{a}%eth0" if scope == "link" else a for a, scope in entries})

    def listen(self, port):
        server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        self.sockets.append(server)
        return server.getsockname()[1]

    def receive(self):
        server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", 0))
        self.sockets.append(server)

        def run():
            while True:
                try:
                    self.received.append(server.recv(100))
                except OSError:
                    return

        threading.Thread(target=run, daemon=True).start()
        return server.getsockname()[1]

    def metadata(self):
        """A server at a link-local address outside of this host, as clouds have one; the host's own addresses stay as they are."""
        self.namespace = name = f"sm-{self.platform.instance}"
        self.link = f"sm{self.platform.instance}"[:12]
        self.close_metadata()
        for command in [
            f"ip netns add {name}", f"ip link add {self.link}0 type veth peer name {self.link}1 netns {name}", f"ip link set {self.link}0 up",
            f"ip -n {name} link set {self.link}1 up", f"ip -n {name} addr add {self.METADATA}/32 dev {self.link}1",
            f"ip route add {self.METADATA}/32 dev {self.link}0", f"ip -n {name} route add default dev {self.link}1",
        ]:
            self.platform.command(*command.split())
        listener = f"import socket, signal; s = socket.create_server(('{self.METADATA}', 80), backlog=1024); signal.pause()"
        self.server = subprocess.Popen(["ip", "netns", "exec", name, "/usr/bin/python3", "-c", listener], cwd="/")

    def close_metadata(self):
        self.platform.command("ip", "netns", "delete", self.namespace, check=False)
        self.platform.command("ip", "link", "delete", f"{self.link}0", check=False)

    def tcp(self):
        platform = self.platform
        known = [platform.api_port, platform.metrics_port, 7070, 7090, 22, 5432, 7022, 7080, 7443]
        return (
            [[a, p] for a in self.addresses for p in self.ports + known] + [[a, 5000] for a in self.others]
            + [[self.METADATA, 80], ["169.254.169.254", 80], ["169.254.170.2", 80], ["fd00:ec2::254", 80]])

    def wanted(self, public):
        """For probe.py. Public ports of others are open on purpose: that is how apps of different spaces talk."""
        platform = self.platform
        paths = [platform.data, platform.run, platform.repo, "/var/lib/paas", "/run/paas", "/run/slipway", "/work"]
        return {
            "paths": [str(p) for p in paths], "abstract": self.abstract, "tcp": self.tcp() + [[a, public] for a in self.addresses],
            "udp": [[a, self.udp] for a in self.addresses],
        }

    def public(self, port):
        """Where the router's public ports have to be reached from inside."""
        return sorted([a, port] for a in self.addresses if not a.startswith("127.") and a != "::1" and "%" not in a)

    def check(self):
        """They are doors at all: from the host, each is open."""
        for address in [a for a in self.addresses if "%" not in a]:
            for port in self.ports:
                socket.create_connection((address, port), timeout=5).close()
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(address.encode(), (address, self.udp))
            wait_until(lambda: address.encode() in self.received, 5, f"a datagram to {address}")
        for address in self.others:
            socket.create_connection((address, 5000), timeout=5).close()
        wait_until(lambda: socket.create_connection((self.METADATA, 80), timeout=2), 10, "the metadata server").close()
        with socket.socket(socket.AF_UNIX) as s:
            s.connect("\0" + self.abstract)
        self.received.clear()

    def close(self):
        self.server.kill()
        self.server.wait()
        self.close_metadata()
        for one in self.sockets:
            one.close()


@pytest.fixture(scope="module")
def doors(platform, two):
    container = next(c for c in platform.containers() if c["id"] == two[1].processes()[0]["id"])
    doors = Doors(platform, [container["address4"], container["address6"]])
    try:
        doors.check()
        yield doors
    finally:
        doors.close()


def probed(text):
    return json.loads(next(line for line in text.splitlines() if "PROBE {" in line).split("PROBE ", 1)[1])


def check_probe(platform, doors, seen, public):
    assert seen["open"] == []
    wanted = {tuple(door) for door in doors.public(public)}
    # Over the link's own address, too. An address that went away meanwhile, with another platform, is not the host's any more.
    allowed = wanted | {(a, public) for a in doors.addresses if "%" in a}
    gone = set(doors.addresses) - set(doors.present())
    reached = {(a, p) for a, p in seen["reached"] if a not in gone}
    assert reached - allowed == set(), "open to containers"
    assert {(a, p) for a, p in wanted - reached if a not in gone} == set(), "public ports that can't be reached"
    assert doors.received == [], "datagrams came through"
    status = dict(seen["status"])
    assert status.pop("NoNewPrivs") == "1" and status.pop("Seccomp") == "2"
    assert all(int(value, 16) == 0 for value in status.values()), status
    assert seen["uid"] == 1000 and seen["hostUID"] >= 100_000
    # Its own processes only; files of the kernel that belong to the host's root look like nobody's.
    assert {uid for uid, _ in seen["processes"]} <= {0, 1000}
    assert len(seen["processes"]) < 20, seen["processes"]
    assert seen["interfaces"] == ["eth0", "lo"]
    assert seen["keys"].strip() == ""
    assert seen["inotify"] < 1000, "an app takes its own instances, not the host's"


def test_a_process_finds_no_open_door(platform, two, doors):
    mine, other = two
    wanted = base64.b64encode(json.dumps(doors.wanted(other.port())).encode()).decode()
    assert sh(mine, f"echo {wanted} | base64 -d >/tmp/wanted.json")[0] == 0
    code, text = sh(mine, "python3 /app/probe.py /tmp/wanted.json")
    assert code == 0, text
    seen = probed(text)
    check_probe(platform, doors, seen, other.port())
    assert {k for k in seen["environment"] if k.startswith("PAAS_")} == {"PAAS_APP", "PAAS_SPACE", "PAAS_PROCESS", "PAAS_RELEASE"}
    everything = sh(mine, "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'")[1]
    assert other.name not in everything and platform.token() not in everything and str(platform.run) not in everything
    # The other app's process has another range of uids.
    code, text = sh(other, "cat /proc/self/uid_map")
    assert code == 0 and int(text.split()[1]) != seen["hostUID"]


def test_a_build_finds_no_open_door(platform, two, doors):
    mine, other = two
    mine.write({
        "wanted.json": json.dumps(doors.wanted(other.port())),
        "Makefile": "all:\n\t@python3 probe.py wanted.json\n\t@cat /proc/[0-9]*/environ | tr '\\0' '\\n' | sed 's/^/ENV /'\n",
    })
    mine.commit()
    mine.push()
    log = mine.paasctl("builds", "log", str(mine.json("builds")[0]["number"])).stdout
    seen = probed(log)
    check_probe(platform, doors, seen, other.port())
    environment = [line.split("ENV ", 1)[1] for line in log.splitlines() if "ENV " in line]
    assert environment
    assert not [e for e in environment if platform.token() in e or "TICKET" in e or "SOCKET" in e or str(platform.run) in e]
    # In the same range of uids as the app's processes, and so in no other app's.
    uid = int(sh(mine, "cat /proc/self/uid_map")[1].split()[1])
    assert uid == seen["hostUID"]


def test_host_uids_are_not_root_and_differ_per_app(platform, two):
    containers = platform.containers()
    uids = []
    for app in two:
        process = app.processes()[0]
        pid = next(c["pid"] for c in containers if c["id"] == process["id"])
        uid = int(re.search(r"Uid:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))
        assert uid >= 100_000
        uids.append(uid // 65536)
    assert uids[0] != uids[1]


def test_nobody_but_git_can_speak_for_a_pusher(platform, two):
    """The way from git's hook to paasd: closed to all but paas-git, and even that needs the ticket of a push under way."""
    mine, other = two
    path = platform.run / "push/push.sock"
    before = [len(app.json("builds")) for app in two]
    head = mine.git("rev-parse", "HEAD").stdout.strip()
    attempt = (
        "import json, socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1]);"
        "s.sendall((sys.argv[2] + chr(10)).encode()); print(s.recv(65536).decode())")
    hello = json.dumps({
        "ticket": "0" * 64, "options": [], "commands": [{"ref": "refs/heads/main", "old": "0" * len(head), "new": head}]})

    def speak(*identity):
        return platform.command(
            "setpriv", *identity, "--clear-groups", "/usr/bin/python3", "-c", attempt, path, hello, cwd="/", check=False)

    pid = next(c["pid"] for c in platform.containers() if c["id"] == mine.processes()[0]["id"])
    uid = re.search(r"Uid:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)
    for identity in [uid, "nobody", "paas-router", "paas-db"]:
        refused = speak(f"--reuid={identity}", f"--regid={identity if identity != 'nobody' else 'nogroup'}")
        assert refused.returncode != 0 and "PermissionError" in refused.stderr, (identity, refused.stdout, refused.stderr)
    forged = speak("--reuid=paas-git", "--regid=paas-git")
    assert "PermissionError" not in forged.stderr
    assert '"accept"' not in forged.stdout, forged.stdout
    assert [len(app.json("builds")) for app in two] == before


def test_a_build_can_not_push_for_anybody(platform, two):
    """No repository, no remote, no credentials, no way to the API: git in a build has nothing to speak with."""
    mine, other = two
    host = next(a for a in json.loads(platform.command("ip", "-j", "-4", "addr", "show", "scope", "global").stdout) if a["addr_info"])
    address = host["addr_info"][0]["local"]
    urls = [f"http://x:y@{a}:{platform.api_port}/git/{other.name}.git" for a in ["127.0.0.1", address]]
    tries = "".join(f"\t@cd /tmp/r && ! timeout 5 git push -q {url} HEAD:refs/heads/main 2>/dev/null\n" for url in urls)
    mine.write({
        "Makefile": "all:\n\t@test ! -e .git\n\t@git init -q /tmp/r && cd /tmp/r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x\n"
        + tries + "\t@! find / -xdev -type s 2>/dev/null | grep .\n\t@echo all closed\n",
    })
    builds = len(other.json("builds"))
    mine.commit()
    assert "all closed" in mine.push().stderr
    assert len(other.json("builds")) == builds
    assert [b["state"] for b in mine.json("builds")][0] == "succeeded"


def pids_refused(platform, app):
    """How often the kernel refused the app's process another process."""
    pid = next(c["pid"] for c in platform.containers() if c["id"] == app.processes()[0]["id"])
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"]:
            events = pathlib.Path(root + path) / "pids.events"
            if controllers in ("", "pids") and events.exists():
                return int(re.search(r"max (\d+)", events.read_text()).group(1))
    raise AssertionError("no pids.events")


def test_hogs_harm_only_themselves(platform, two):
    hog, other = two
    # A neighbour and the API answer within bounds while it lasts.
    with Load(other.port(), clients=2) as load, ApiLoad(platform) as api:
        # A fork bomb comes to its app's limit.
        before = pids_refused(platform, hog)
        try:
            hog.ask("sh :(){ :|:& };:", timeout=8)
        except OSError:
            pass
        wait_until(lambda: pids_refused(platform, hog) > before, 30, "the limit of processes")
        hog.paasctl("ps", "restart", "web")
        wait_until(lambda: hog.ask().startswith("web.1@"), 90, "an app without the bomb")
        # A disk filler comes to the end of its own disk.
        code, text = sh(hog, "dd if=/dev/zero of=/tmp/fill bs=1M count=20000 2>&1; ls /tmp")
        assert "No space left on device" in text, text
        sh(hog, "rm -f /tmp/fill")
        # A memory hog is killed, and this is told.
        instance = hog.processes()[0]["id"]
        try:
            hog.ask("memory 6000", timeout=20)
            raise AssertionError("6 GB are there")
        except OSError:
            pass
        wait_until(lambda: hog.processes() and hog.processes()[0]["id"] != instance, 90, "the replacement")
        wait_until(lambda: "memory" in hog.paasctl("logs", "-n", "50", "-s", "platform").stdout.lower(), 20, "the reason")
        wait_until(lambda: hog.ask().startswith("web.1@"), 90, "the hog's recovery")
    assert load.failures == [] and api.failures == [] and set(api.answers) == {"200"}
    print(f"slowest: neighbour {load.slowest:.2f} s, API {api.slowest:.2f} s")
    assert load.slowest < SLOWEST_SECONDS and api.slowest < SLOWEST_SECONDS


def test_hogs_in_a_build_harm_only_themselves(platform, two):
    hog, other = two
    hog.write({"Makefile": "all:\n\t@python3 hog.py\n"})
    hog.commit()
    with Load(other.port(), clients=2) as load, ApiLoad(platform) as api:
        result = hog.push(timeout=900)
    assert "HOG processes stopped" in result.stderr and "HOG disk full" in result.stderr and "HOG memory killed" in result.stderr, result.stderr
    assert load.failures == [] and api.failures == [] and set(api.answers) == {"200"}
    print(f"slowest: neighbour {load.slowest:.2f} s, API {api.slowest:.2f} s")
    assert load.slowest < SLOWEST_SECONDS and api.slowest < SLOWEST_SECONDS


HOG = """
import errno, os, signal, subprocess, sys, time
children = []
try:
    for _ in range(100_000):
        pid = os.fork()
        if pid == 0:
            signal.pause()
        children.append(pid)
    print("HOG processes without end")
except OSError as error:
    print("HOG processes stopped" if error.errno == errno.EAGAIN else f"HOG {error}", len(children), flush=True)
for pid in children:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
file = os.open("/tmp/fill", os.O_WRONLY | os.O_CREAT)
try:
    os.posix_fallocate(file, 0, 200 << 30)
    print("HOG disk without end")
except OSError as error:
    print("HOG disk full" if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT) else f"HOG {error}", flush=True)
os.close(file)
os.unlink("/tmp/fill")
code = "kept = [b'x' * (1 << 26) for _ in range(1600)]"
done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
print("HOG memory killed" if done.returncode == -9 else f"HOG memory {done.returncode}", flush=True)
"""


def test_what_the_host_lends_a_build_is_read_only(platform, two):
    """The lifecycle program, buildpacks of platform and operator, the toolchain: nothing of them can be changed, and a build's own
    folders are all that it finds to write to."""
    mine, _ = two
    operators = platform.buildpacks / "trial"
    operators.mkdir(exist_ok=True)
    (operators / "name").write_text("trial\n")
    program = platform.data / "prefix/bin/paas-lifecycle"
    before = (program.stat().st_mtime_ns, program.read_bytes()[:64], sorted(os.listdir(platform.data / "prefix/buildpacks")))
    lent = ["/paas/lifecycle", "/paas/launch", "/paas/init", "/paas/environment", "/paas/buildpacks", str(operators), "/env", "/opt/swift"]
    own = ["/app", "/cache", "/layers", "/tmp", "/result"]
    code = f"""
import os
for path in {lent!r}:
    if not os.path.exists(path):
        print("LENT", path, "absent")
        continue
    inside = path + "/x" if os.path.isdir(path) else path
    done = []
    for name, action in dict(
        write=lambda: os.close(os.open(inside, os.O_WRONLY | os.O_CREAT)), remove=lambda: os.unlink(inside if not os.path.isdir(path) else path + "/name"),
        chmod=lambda: os.chmod(path, 0o777), rename=lambda: os.rename(path, path + ".old"), chown=lambda: os.chown(path, 1000, 1000),
    ).items():
        try:
            action()
            done.append(name)
        except OSError:
            pass
    print("LENT", path, done)
for path in {own!r}:
    open(path + "/own", "w").close()
    os.unlink(path + "/own")
writable = set()
for root, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(root, f) not in {["/proc", "/sys", "/dev", *own]!r}]
    if os.access(root, os.W_OK):
        writable.add(root)
print("WRITABLE", sorted(writable))
"""
    mine.write({"lent.py": code, "Makefile": "all:\n\t@cat %s/name\n\t@python3 lent.py\n" % operators})
    mine.commit()
    log = mine.push(timeout=300).stderr
    assert "trial" in log
    for path in lent:
        assert f"LENT {path} []" in log or (path == "/opt/swift" and "LENT /opt/swift absent" in log), log
    # What the image itself leaves open is the container's own memory, gone with it.
    writable = re.search(r"WRITABLE \[(.*)\]", log).group(1)
    assert set(re.findall(r"'([^']+)'", writable)) <= {"/var/tmp", "/run/lock", "/dev/shm", "/dev/mqueue"}, writable
    assert before == (program.stat().st_mtime_ns, program.read_bytes()[:64], sorted(os.listdir(platform.data / "prefix/buildpacks")))
    assert (operators / "name").read_text() == "trial\n" and not (operators / "x").exists()


def test_a_build_without_network_reaches_nobody(platform, app, doors):
    app.paasctl("config", "set", "BUILD_NETWORK=none")
    app.source("who")
    code = f"""
import os, socket
print("INTERFACES", sorted(os.listdir("/sys/class/net")))
for address, port in {doors.tcp()!r}:
    try:
        socket.create_connection((address, port), timeout=1).close()
        print("REACHED", address, port)
    except OSError:
        pass
"""
    app.write({"reach.py": code, "Makefile": "all:\n\t@python3 reach.py\n"})
    app.commit()
    log = app.push(timeout=300).stderr
    assert "INTERFACES ['lo']" in log and "REACHED" not in log, log
    # Only builds are without: the process answers.
    assert app.ask().startswith("web.1@")


def test_no_process_survives_its_build(platform, app):
    """Processes that leave their session, ignore signals and let go of everything; after a success and after a cancellation."""
    stray = "import os, signal, time\nfor s in (1, 2, 3, 13, 15): signal.signal(s, signal.SIG_IGN)\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\ntime.sleep(1000)\n"
    app.source("who")
    app.write({"stray.py": stray, "Makefile": "all:\n\t@python3 stray.py >/dev/null 2>&1 </dev/null\n"})
    app.commit()
    app.push()
    assert strays(platform) == []
    app.write({"Makefile": "all:\n\t@python3 stray.py; trap '' TERM; echo stubborn; while :; do sleep 1; done\n"})
    app.commit()
    push = subprocess.Popen(["git", "push", "-q", "paas", "main"], cwd=app.directory, env=platform.env, stderr=subprocess.PIPE, text=True)
    try:
        number = wait_until(lambda: next(b["number"] for b in app.json("builds") if b["state"] == "running"), 60, "the build")
        wait_until(lambda: "stubborn" in app.paasctl("builds", "log", str(number), check=False).stdout, 60, "the program")
        began = time.monotonic()
        app.paasctl("builds", "cancel", str(number))
        wait_until(lambda: strays(platform) == [] and app.json("builds")[0]["state"] == "cancelled", 10, "the end", interval=0.02)
        took = time.monotonic() - began
        print(f"cancelled within {took:.2f} s")
        assert took < 3 and push.wait(10) != 0
    finally:
        push.kill()
        push.communicate()
    wait_until(lambda: not list((platform.data / "builds").iterdir()), 10, "no volume")
    assert not list((platform.run / "builds").iterdir())


def strays(platform):
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if b"stray.py" in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


def test_a_build_sees_config_only_as_files(app):
    app.paasctl("config", "set", "BUILD_SECRET=abc123xyz")
    app.source("who")
    app.write({"Makefile": "all:\n\t@! env | grep -q abc123xyz\n\t@echo env is clean\n"})
    app.commit()
    assert "env is clean" in app.push().stderr
