"""What the end-to-end tests share: a platform, an app in it, clients, load."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time

REPO = pathlib.Path(__file__).resolve().parents[2]
SOURCES = pathlib.Path(__file__).parent / "apps"


def wait_until(condition, seconds=30, what="the condition", interval=0.05):
    """Returns the first true value of `condition`; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            value = condition()
            if value:
                return value
        except (OSError, AssertionError, subprocess.SubprocessError, ValueError, LookupError, StopIteration) as error:
            last = error
        time.sleep(interval)
    raise AssertionError(f"{what} did not come true within {seconds} s" + (f" (last: {last})" if last else ""))


class Platform:
    @classmethod
    def of_environment(cls, programs):
        """Several runs side by side: each with a name and an offset for its ports and subnets."""
        return cls(REPO, programs, os.environ.get("SLIPWAY_TEST_NAME", "e2e"), int(os.environ.get("SLIPWAY_TEST_OFFSET", "0")))

    def __init__(self, repo, programs, name="e2e", offset=0):
        self.repo = repo
        self.programs = programs
        self.root = pathlib.Path(os.environ.get("SLIPWAY_TEST_ROOT", "/var/tmp/slipway-test")) / name
        self.data = self.root / "data"
        self.run = pathlib.Path("/run") / f"slipway-test-{name}"
        self.api_port = 17070 + offset * 100
        # Below the range from which the kernel takes ports for outgoing connections, for any offset. Few: a test uses them up.
        self.port_range = (30000 + offset * 100, 30000 + offset * 100 + 99)
        self.instance = f"t{name}"[:8]
        self.metrics_port = 17090 + offset * 100
        # What an operator offers to builds.
        self.buildpacks = self.root / "buildpacks"
        self.ssh_port = 17022 + offset * 100
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("PAAS_")},
            # Not the settings of a platform that is installed here.
            "PAAS_ENV_FILE": "/dev/null",
            "PAAS_DATA_DIR": str(self.data),
            "PAAS_RUN_DIR": str(self.run),
            "PAAS_INSTANCE": self.instance,
            "PAAS_API_ADDRESS": f"127.0.0.1:{self.api_port}",
            "PAAS_SSH_ADDRESS": f"127.0.0.1:{self.ssh_port}",
            "PAAS_ROUTER_METRICS_ADDRESS": f"127.0.0.1:{self.metrics_port}",
            "PAAS_PORT_RANGE": f"{self.port_range[0]}-{self.port_range[1]}",
            "PAAS_SUBNETS": f"10.{221 + offset}.0.0/16,fd5a:1b{0xd0 + offset:02x}::/48",
            "PAAS_UID_BASE": str(2_800_000_000 + offset * 50_000_000),
            "PAAS_BOOT_TIMEOUT_SECONDS": "12",
            "PAAS_BUILDPACK_DIRS": str(self.buildpacks),
            "PAAS_SWIFT_TOOLCHAIN": os.environ.get("SLIPWAY_SWIFT_TOOLCHAIN", ""),
            "HOME": str(self.root / "home"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Test",
            "GIT_AUTHOR_EMAIL": "test@example.org",
            "GIT_COMMITTER_NAME": "Test",
            "GIT_COMMITTER_EMAIL": "test@example.org",
            "GIT_TERMINAL_PROMPT": "0",
            "PATH": f"{self.data}/prefix/bin:" + os.environ["PATH"],
        }
        self.env.pop("SUDO_USER", None)
        self.env.pop("XDG_CONFIG_HOME", None)
        self.api = f"http://127.0.0.1:{self.api_port}"

    # Commands

    def command(self, *arguments, check=True, timeout=300, cwd=None, env=None, input=None):
        result = subprocess.run(
            [str(a) for a in arguments], cwd=cwd, env={**self.env, **(env or {})}, input=input, timeout=timeout,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=not isinstance(input, bytes), stdin=None if input is not None else subprocess.DEVNULL,
        )
        if check and result.returncode != 0:
            raise AssertionError(
                f"{arguments} ended with {result.returncode}\n--- stdout\n{result.stdout}\n--- stderr\n{result.stderr}"
            )
        return result

    def paasctl(self, *arguments, **keywords):
        return self.command("paasctl", *arguments, **keywords)

    def json(self, *arguments):
        return json.loads(self.paasctl(*arguments, "--json").stdout)

    def up(self, *options, timeout=1500):
        (self.root / "home").mkdir(parents=True, exist_ok=True)
        self.buildpacks.mkdir(mode=0o755, exist_ok=True)
        cache = self.stack_cache()
        if not (self.data / "stacks").exists():
            # One of another definition is made anew, but from packages that are here already.
            kept = [cache] if cache.is_dir() else sorted(cache.parent.glob("stacks-*[0-9a-f]"), key=lambda p: p.stat().st_mtime)
            if kept:
                self.data.mkdir(parents=True, exist_ok=True)
                (self.data / ".slipway").touch()
                subprocess.run(["cp", "-a", "--reflink=auto", kept[-1], self.data / "stacks"], check=True)
        result = self.command(self.repo / "bin/up", "--prebuilt", self.programs, *(options or ["--no-demo"]), timeout=timeout)
        if not cache.exists():
            new = f"{cache}.new.{os.getpid()}"
            subprocess.run(["cp", "-a", "--reflink=auto", self.data / "stacks", new], check=True)
            try:
                os.rename(new, cache)
            except OSError:  # another run was quicker
                shutil.rmtree(new)
        return result

    def stack_cache(self):
        """Where the stacks of this definition are kept for all runs on this machine."""
        sums = hashlib.sha256()
        for path in sorted(p for p in (self.repo / "stacks").rglob("*") if p.is_file()):
            sums.update(f"{path.relative_to(self.repo)} {path.stat().st_mode & 0o100} ".encode() + path.read_bytes())
        return self.root.parent / f"stacks-{sums.hexdigest()[:16]}"

    def down(self, purge=False):
        arguments = [self.repo / "bin/down"] + (["--purge"] if purge else [])
        return self.command(*arguments)

    def clear(self):
        """Takes all of it away, and sees that nothing is left."""
        self.down(purge=True)
        left = self.leftovers()
        assert not left, f"bin/down left behind: {left}"
        shutil.rmtree(self.root, ignore_errors=True)

    def token(self):
        return (self.data / "admin-token").read_text().strip()

    # The programs

    def pid(self, service):
        result = self.command("s6-svstat", "-o", "pid", self.run / "s6" / service)
        pid = int(result.stdout)
        assert pid > 0, f"{service} is not running"
        return pid

    def kill(self, service):
        """kill -9, and the pid that was."""
        pid = self.pid(service)
        os.kill(pid, 9)
        return pid

    def wait_ready(self, seconds=20):
        import urllib.request

        def ready():
            with urllib.request.urlopen(self.api + "/readyz", timeout=2) as answer:
                return answer.status == 200

        wait_until(ready, seconds, "the API's readiness")

    def serving(self):
        """Whether all programs answer: the API says so of the others, after it has asked them."""
        import requests

        answer = requests.get(f"{self.api}/api/v1/status", headers={"Authorization": f"Bearer {self.token()}"}, timeout=2)
        return answer.status_code == 200 and all(c["state"] == "up" for c in answer.json()["components"])

    def containers(self):
        """The containers, each with its first process, read from the host and not from a program of the platform."""
        return json.loads(self.command(self.data / "prefix/bin/paas-engine", "list", "--json").stdout)

    def leftovers(self):
        """What of this platform is still on the host."""
        left = []
        for entry in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
            if str(self.run) in entry or str(self.root) in entry:
                left.append("mount " + entry.split()[4])
        for line in subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout.splitlines():
            if str(self.root) in line:
                left.append("loop " + line)
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
        left += [f"interface {m}" for m in re.findall(rf"\d+: (p{self.instance}-[^:@]+)", links)]
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
        if f"paas_{self.instance}" in tables:
            left.append("nft table")
        # os.walk passes over what others remove meanwhile.
        groups = (pathlib.Path(f) / d for f, names, _ in os.walk("/sys/fs/cgroup") for d in names)
        for path in (g for g in groups if "paas" in g.name and g.name.endswith(f"_{self.instance}")):
            left.append(f"cgroup {path}")
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.run) in command or (str(self.data) in command and int(process.name) != os.getpid()):
                left.append(f"process {process.name} {command[:120]}")
        namespaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
        left += [f"network namespace {line}" for line in namespaces.splitlines() if self.instance in line]
        low, high = self.port_range
        for line in subprocess.run(["ss", "-Hltunp"], capture_output=True, text=True).stdout.splitlines():
            port = int(line.split()[4].rsplit(":", 1)[1])
            if low <= port <= high or port in (self.api_port, self.metrics_port, self.ssh_port):
                left.append(f"listening {line}")
        if self.run.exists():
            left.append(f"directory {self.run}")
        return left


class App:
    def __init__(self, platform, name, directory):
        self.platform = platform
        self.name = name
        self.directory = pathlib.Path(directory)

    def create(self, *options):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main", ".")
        self.platform.paasctl("apps", "create", self.name, *options, cwd=self.directory)

    def delete(self):
        p = self.platform
        result = p.paasctl("apps", "delete", self.name, "--confirm", self.name, check=False)
        assert result.returncode == 0 or "does not exist" in result.stderr, result.stderr

    def git(self, *arguments, check=True, timeout=300, **keywords):
        return self.platform.command("git", *arguments, cwd=self.directory, check=check, timeout=timeout, **keywords)

    def write(self, files):
        for path, content in files.items():
            target = self.directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                target.write_text(content)

    def source(self, name):
        """Copies Tests/e2e/apps/NAME into the repository."""
        shutil.copytree(SOURCES / name, self.directory, dirs_exist_ok=True)

    def commit(self, message="change"):
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").stdout.strip()

    def push(self, *options, check=True, timeout=600, ref="main"):
        result = self.git("push", *options, "paas", ref, check=False, timeout=timeout)
        if check and result.returncode != 0:
            raise AssertionError(f"push failed\n{result.stdout}\n{result.stderr}")
        return result

    def deploy(self, files=None, source=None):
        if source:
            self.source(source)
        if files:
            self.write(files)
        self.commit()
        return self.push()

    def paasctl(self, *arguments, **keywords):
        return self.platform.paasctl(*arguments, "-a", self.name, **keywords)

    def json(self, *arguments):
        return json.loads(self.paasctl(*arguments, "--json").stdout)

    def port(self, name="web"):
        return next(p["publicPort"] for p in self.json("ports") if p["name"] == name)

    def processes(self, state="up"):
        return [p for p in self.json("ps") if state is None or p["state"] == state]

    def scale(self, **counts):
        return self.paasctl("scale", *[f"{k}={v}" for k, v in counts.items()], "--wait", timeout=120)

    def ask(self, line="hello", port=None, timeout=5, host="127.0.0.1"):
        return ask(port or self.port(), line, timeout=timeout, host=host)


def ask(port, line="hello", timeout=5, host="127.0.0.1"):
    """One connection, one line out, one line back."""
    with socket.create_connection((host, port), timeout=timeout) as connection:
        connection.sendall(line.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            part = connection.recv(65536)
            if not part:
                raise ConnectionError(f"closed after {answer!r}")
            answer += part
        return answer.decode().rstrip("\n")


class Load:
    """Clients that open a new connection for each request, until stopped. Counts what failed and how long answers took."""

    def __init__(self, port, clients=4, pause=0.005, line="who"):
        self.port = port
        self.clients = clients
        self.pause = pause
        self.line = line
        self.answers = {}
        self.failures = []
        self.count = 0
        self.slowest = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def request(self):
        return ask(self.port, self.line, timeout=10)

    def _run(self):
        while not self._stop.is_set():
            start = time.monotonic()
            try:
                answer = self.request()
                with self._lock:
                    self.count += 1
                    self.slowest = max(self.slowest, time.monotonic() - start)
                    self.answers[answer] = self.answers.get(answer, 0) + 1
            except Exception as error:  # whatever it is: a client that ends without a word would prove nothing
                with self._lock:
                    self.count += 1
                    self.failures.append((time.time(), repr(error)))
            self._stop.wait(self.pause)

    def __enter__(self):
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self.count > 5, 20, "load")
        self._entered = self.count
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(15)
        if kind is None:
            assert not any(thread.is_alive() for thread in self._threads), "a client hangs"
            assert self.count > self._entered, "there was no load"


class ApiLoad(Load):
    """The same with requests to the API."""

    def __init__(self, platform, pause=0.05):
        super().__init__(platform.api_port, clients=1, pause=pause)
        self.platform = platform
        self.headers = {"Authorization": f"Bearer {platform.token()}"}

    def request(self):
        import requests

        answer = requests.get(f"{self.platform.api}/api/v1/apps", headers=self.headers, timeout=30)
        return str(answer.status_code)


if __name__ == "__main__":
    # What a run that was ended half-way left: bin/test calls this.
    Platform.of_environment(None).clear()
