"""What a tenant's process can reach from inside, tried from inside."""

import os
import pathlib
import re
import time

import pytest
from slipway import Load, wait_until


def sh(app, command):
    status, text = app.ask(f"sh {command}", timeout=25).split(" ", 1)
    return int(status), bytes.fromhex(text).decode(errors="replace")


@pytest.fixture
def two(platform, tmp_path):
    import secrets

    from slipway import App

    apps = []
    for n in (1, 2):
        name = f"t-{secrets.token_hex(4)}"
        app = App(platform, name, tmp_path / name)
        app.create()
        apps.append(app)
        app.deploy(source="who")
    yield apps
    for app in apps:
        app.delete()


def test_the_inside_of_a_container(platform, two):
    mine, other = two
    assert sh(mine, "id -u")[1].strip() == "1000"
    status = sh(mine, "cat /proc/self/status")[1]
    assert re.search(r"CapEff:\s+0+\n", status) and re.search(r"CapBnd:\s+0+\n", status)
    assert re.search(r"NoNewPrivs:\s+1", status) and re.search(r"Seccomp:\s+2", status)
    processes = sh(mine, "ls /proc | grep -c ^[0-9]")[1]
    assert int(processes) < 12
    assert other.name not in sh(mine, "cat /proc/*/environ | tr '\\0' '\\n'")[1]
    for command in [
        "mount -t tmpfs none /mnt", "umount /proc", "cat /proc/kcore", "cat /dev/sda", "cat /dev/vda", "mknod /tmp/x b 8 0",
        "echo 1 > /proc/sys/kernel/sysrq", "echo x > /sys/kernel/uevent_helper", "touch /usr/x", "touch /etc/x && cat /etc/shadow",
        "unshare -U true", "chroot / true", "dmesg", "nsenter -t 1 -n true", "ip link add x type dummy",
        "python3 -c 'import ctypes,sys; sys.exit(0 if ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0 else 1)'",
    ]:
        code, text = sh(mine, command)
        assert code != 0, (command, text)
    for path in [platform.data, platform.run, "/work", "/var/lib/paas", "/run/paas"]:
        assert sh(mine, f"ls {path}")[0] != 0


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


def test_the_platform_can_not_be_reached_from_inside(platform, two):
    mine, other = two
    addresses = {"127.0.0.1"}
    for line in platform.command("ip", "-o", "-4", "addr").stdout.splitlines():
        addresses.add(line.split()[3].split("/")[0])
    probe = "timeout 2 bash -c 'echo > /dev/tcp/{}/{}'"
    for address in sorted(addresses):
        for port in (platform.api_port, 17090, 22, 5432):
            assert sh(mine, probe.format(address, port))[0] != 0, (address, port)
    for metadata in ["169.254.169.254", "169.254.170.2"]:
        assert sh(mine, probe.format(metadata, 80))[0] != 0
    # The way in is the public port, like for everyone else.
    host = next(a for a in addresses if not a.startswith("127."))
    assert sh(mine, probe.format(host, other.port()))[0] == 0


def test_spaces_do_not_reach_each_other(platform, tmp_path):
    from slipway import App
    import secrets

    platform.paasctl("spaces", "create", "tenant-b")
    a = App(platform, f"t-{secrets.token_hex(4)}", tmp_path / "a")
    b = App(platform, f"t-{secrets.token_hex(4)}", tmp_path / "b")
    try:
        a.create()
        b.create("--space", "tenant-b")
        a.deploy(source="who")
        b.deploy(source="who")
        address = b.processes()[0]["address"]
        assert sh(b, f"timeout 2 bash -c 'echo > /dev/tcp/{address}/5000'")[0] == 0
        assert sh(a, f"timeout 2 bash -c 'echo > /dev/tcp/{address}/5000'")[0] != 0
    finally:
        a.delete()
        b.delete()


def test_hogs_harm_only_themselves(platform, two):
    hog, other = two
    # A neighbour and the API answer within bounds while it lasts.
    with Load(other.port(), clients=2) as load:
        for command in [
            "sh :(){ :|:& };:",
            "sh dd if=/dev/zero of=/tmp/fill bs=1M count=4000",
            "memory 4000",
        ]:
            try:
                hog.ask(command, timeout=8)
            except OSError:
                pass
            start = time.monotonic()
            platform.paasctl("apps")
            assert time.monotonic() - start < 5
    assert load.failures == []
    wait_until(lambda: hog.ask().startswith("web.1"), 90, "the hog's recovery")


def test_a_build_can_not_reach_the_platform_either(platform, app):
    app.source("who")
    app.write({
        "Makefile": f"""
all:
\t@id -u
\t@! timeout 2 bash -c 'echo > /dev/tcp/127.0.0.1/{platform.api_port}' 2>/dev/null
\t@! mount -t tmpfs none /mnt 2>/dev/null
\t@! ls {platform.data} 2>/dev/null
\t@! ls {platform.run} 2>/dev/null
\t@! cat /proc/1/root/etc/shadow 2>/dev/null
\t@! touch /paas/buildpacks/x 2>/dev/null
\t@env | grep -q PAAS_TOKEN && exit 1 || true
\t@echo all closed
"""})
    app.commit()
    result = app.push()
    assert "all closed" in result.stderr


def test_a_build_sees_config_only_as_files(app):
    app.paasctl("config", "set", "BUILD_SECRET=abc123xyz")
    app.source("who")
    app.write({"Makefile": "all:\n\t@! env | grep -q abc123xyz\n\t@echo env is clean\n"})
    app.commit()
    assert "env is clean" in app.push().stderr
