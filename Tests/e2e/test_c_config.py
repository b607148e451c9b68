"""Config vars arrive byte for byte, make one release a set, and never lie in clear anywhere."""

import pathlib
import subprocess

from slipway import wait_until

SECRET = "s3cr3t-" + "Zx9Qv" * 3


def test_one_set_is_one_release_and_reaches_every_process(app):
    app.deploy(source="who")
    app.scale(web=2)
    app.paasctl("config", "set", "A=1", "B=two words", "C==x=")
    wait_until(lambda: {app.ask("env A") for _ in range(6)} == {b"1".hex()}, 30)
    assert app.ask("env B") == b"two words".hex()
    assert app.ask("env C") == b"=x=".hex()
    assert [r["version"] for r in app.json("releases")] == [2, 1]
    assert app.json("config") == {"A": "1", "B": "two words", "C": "=x="}
    app.paasctl("config", "set", "A=1")
    assert len(app.json("releases")) == 2
    app.paasctl("config", "unset", "B")
    wait_until(lambda: app.ask("env B") == "unset", 30)
    missing = app.paasctl("config", "get", "NONE", check=False)
    assert missing.returncode == 1


def test_values_arrive_byte_for_byte(app):
    app.deploy(source="who")
    values = {
        "NEWLINES": "a\nb\n\n", "QUOTES": "'\"`\\ $HOME ${PATH} $(id) !x", "UTF8": "ä€🚀", "SPACES": "  x\t ", "EMPTY": "",
        "LARGE": "0123456789abcdef" * 4096,
    }
    for key, value in values.items():
        file = app.directory.parent / "value"
        file.write_bytes(value.encode())
        app.paasctl("config", "set", key, "--file", file)
    binary = bytes(range(1, 256))
    app.paasctl("config", "set", "BINARY", "--stdin", input=binary)
    wait_until(lambda: app.ask("env BINARY") == binary.hex(), 60)
    for key, value in values.items():
        assert bytes.fromhex(app.ask(f"env {key}")) == value.encode(), key
        assert app.paasctl("config", "get", key).stdout == value + "\n", key


def test_what_a_process_sees(app):
    app.deploy(source="who")
    seen = {}
    for key in ["PORT", "PORT_WEB", "PAAS_APP", "PAAS_SPACE", "PAAS_PROCESS", "PAAS_RELEASE", "DYNO", "HOME"]:
        seen[key] = bytes.fromhex(app.ask(f"env {key}")).decode()
    assert seen == {
        "PORT": "5000", "PORT_WEB": "5000", "PAAS_APP": app.name, "PAAS_SPACE": "default", "PAAS_PROCESS": "web.1",
        "PAAS_RELEASE": "v1", "DYNO": "web.1", "HOME": "/app",
    }
    refused = app.paasctl("config", "set", "PORT=1", check=False)
    assert refused.returncode == 2 and "PORT" in refused.stderr
    assert app.paasctl("config", "set", "1A=x", check=False).returncode == 2
    assert app.paasctl("config", "set", "NOVALUE", check=False).returncode == 2


def test_profile_scripts_run_before_the_command(app):
    app.deploy(
        files={".profile.d/10-a.sh": "export ORDER=a\n", ".profile.d/20-b.sh": "export ORDER=${ORDER}b\n", ".profile": "export ORDER=${ORDER}c\n"},
        source="who")
    assert bytes.fromhex(app.ask("env ORDER")) == b"abc"


def test_no_value_lies_in_clear_anywhere(app, tmp_path):
    app.deploy(source="who")
    app.paasctl("config", "set", f"TOKEN={SECRET}")
    wait_until(lambda: app.ask("env TOKEN") == SECRET.encode().hex(), 30)
    # A build sees it too, and leaves a slug and a cache.
    app.write({"Makefile": "all: who\n", "who.c": "int main(void) { return 0; }\n"})
    app.commit()
    pushed = app.push()
    assert SECRET not in pushed.stderr
    wait_until(lambda: app.ask().split("@")[1].startswith("v3#"), 30)
    platform = app.platform
    dump = platform.command(
        "s6-setuidgid", "paas", "pg_dump", "-h", platform.run / "postgres", "-U", "paas", "paas", cwd="/").stdout
    assert "config" in dump and SECRET not in dump
    assert search(platform.data) == [] and search(platform.run) == []
    # Images of slugs are compressed.
    slug = app.json("builds")[0]["slug"].removeprefix("sha256:")
    image = next(p for p in (platform.data / "slugs").iterdir() if p.name.startswith(slug) and p.suffix == ".erofs")
    unpacked = tmp_path / "slug"
    platform.command("fsck.erofs", f"--extract={unpacked}", image)
    assert list(unpacked.rglob("who.py")) and search(unpacked) == []
    # The search would have found it: the file that the process reads it from lies in memory.
    assert search(platform.run, on_disk=False)
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            assert SECRET.encode() not in (process / "cmdline").read_bytes(), process
        except OSError:
            continue
    assert SECRET not in platform.paasctl("events").stdout
    assert SECRET not in app.paasctl("logs", "-n", "1000").stdout


def search(root, on_disk=True):
    """Files with the secret, images and sockets' folders included; but for memory-backed ones, where a value has to be for its
    process."""
    found = subprocess.run(
        ["grep", "-rlF", "--devices=skip", SECRET, root], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.split("\n")
    if not on_disk:
        return found[:-1]
    kinds = {f: subprocess.run(["stat", "-f", "-c", "%T", f], capture_output=True, text=True).stdout.strip() for f in found[:-1]}
    return [f for f, kind in kinds.items() if kind not in ("tmpfs", "ramfs")]


def test_etags_guard_config_and_formation(app):
    import requests

    app.deploy(source="who")
    headers = {"Authorization": f"Bearer {app.platform.token()}"}
    url = f"{app.platform.api}/api/v1/apps/{app.name}/config"
    first = requests.get(url, headers=headers)
    assert first.status_code == 200 and first.headers["ETag"]
    ok = requests.patch(url, headers=headers | {"If-Match": first.headers["ETag"]}, json={"A": "1"})
    assert ok.status_code == 202 and ok.headers["Location"].startswith("/api/v1/operations/")
    stale = requests.patch(url, headers=headers | {"If-Match": first.headers["ETag"]}, json={"A": "2"})
    assert stale.status_code == 412
    assert stale.headers["Content-Type"].startswith("application/problem+json")
