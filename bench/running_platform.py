"""What the measurements share: the running platform, its command line, an app's repository, the machine's description."""

import json
import os
import pathlib
import platform
import secrets
import shutil
import subprocess
import sys
import tempfile
import time

REPO = pathlib.Path(__file__).resolve().parents[1]
DATA = pathlib.Path(os.environ.get("PAAS_DATA_DIR", "/var/lib/paas"))
RUN = pathlib.Path(os.environ.get("PAAS_RUN_DIR", "/run/paas"))
CTL = DATA / "prefix/bin/paasctl"


def environment():
    return os.environ | {
        "PAAS_API": "http://" + os.environ.get("PAAS_API_ADDRESS", "127.0.0.1:7070"),
        "PAAS_TOKEN": (DATA / "admin-token").read_text().strip(),
        "PATH": f"{DATA}/prefix/bin:" + os.environ["PATH"],
        "GIT_AUTHOR_NAME": "bench", "GIT_AUTHOR_EMAIL": "bench@localhost",
        "GIT_COMMITTER_NAME": "bench", "GIT_COMMITTER_EMAIL": "bench@localhost",
    }


def run(*command, cwd=None):
    """Standard output; ends the measurement with the command's words if it fails."""
    return run_for(command, cwd).stdout


def run_for(command, cwd=None):
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command} ended with {done.returncode}\n{done.stderr}")
    return done


def until(condition, what, seconds=60):
    """The time at which it came true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return time.monotonic()
        except (OSError, ValueError, StopIteration):
            pass
        time.sleep(0.002)
    sys.exit(f"{what} did not happen within {seconds} s")


class App:
    """An app with a repository of its own; gone at the end of the `with`."""

    def __enter__(self):
        self.name = "bench-" + secrets.token_hex(3)
        self.work = pathlib.Path(tempfile.mkdtemp())
        run("git", "init", "-q", "-b", "main", ".", cwd=self.work)
        run(CTL, "apps", "create", self.name, cwd=self.work)
        return self

    def __exit__(self, *_):
        run(CTL, "apps", "delete", self.name, "--confirm", self.name)
        shutil.rmtree(self.work)

    def push(self):
        """Commits all and pushes. - Returns: what git printed."""
        run("git", "add", "-A", cwd=self.work)
        run("git", "commit", "-qm", "change", "--allow-empty", cwd=self.work)
        return run_for(["git", "push", "paas", "main"], self.work).stderr

    def port(self):
        return next(p["publicPort"] for p in json.loads(run(CTL, "ports", "-a", self.name, "--json")) if p["name"] == "web")


def machine():
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    status = json.loads(run(CTL, "status", "--json"))
    return {
        "cores": os.cpu_count(), "processor": models[0] if models else platform.machine(),
        "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
        "runtime": next(c["detail"] for c in status["components"] if c["name"] == "engine"),
        "load before": round(os.getloadavg()[0], 2),
    }


def described(m, rounds):
    return (
        f"{m['cores']} cores ({m['processor']}), {m['memory GiB']} GiB, {m['system']}, {m['runtime']}, load {m['load before']} before;"
        f" {rounds} rounds, {time.strftime('%Y-%m-%d')}."
    )
