"""What bin/up, bin/down and bin/test are made of. Needs no platform."""

import os
import pathlib
import socket
import subprocess
import time

import pytest
from slipway import wait_until

REPO = pathlib.Path(__file__).resolve().parents[2]


def bash(script, **settings):
    """Runs a script that has all of bin/lib; only the given settings."""
    environment = {"PATH": os.environ["PATH"], "PAAS_ENV_FILE": "/dev/null"} | {k: str(v) for k, v in settings.items()}
    libraries = "".join(f". bin/lib/{name}.sh\n" for name in ["platform", "packages", "swift", "install", "services"])
    return subprocess.run(["bash", "-euc", libraries + script], cwd=REPO, env=environment, capture_output=True, text=True, timeout=60)


def refused(result, *words):
    assert result.returncode == 1, (result.stdout, result.stderr)
    for word in words:
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize(
    "path", ["/", "/var", "/var/", "//var//", "/srv", "/run/", "/home/alice", "/usr/lib/x", "/etc/x/..", "relative", "/tmp/../home/alice/"])
def test_a_directory_that_can_not_be_the_platforms_is_refused(path):
    for setting in ["PAAS_DATA_DIR", "PAAS_RUN_DIR", "PAAS_PREFIX"]:
        refused(bash("check_directories", **{setting: path}), "PAAS_DATA_DIR")


@pytest.mark.parametrize("data,run", [("/srv/a", "/srv/a"), ("/srv/a", "/srv/a/run"), ("/srv/a/data", "/srv/a")])
def test_directories_that_lie_in_each_other_are_refused(data, run):
    refused(bash("check_directories", PAAS_DATA_DIR=data, PAAS_RUN_DIR=run), "PAAS_RUN_DIR")


def test_directories_have_the_names_that_the_kernel_gives_them(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    result = bash('check_directories; echo "$PAAS_DATA_DIR $PAAS_PREFIX $PAAS_BOOT_ID_FILE"',
                  PAAS_DATA_DIR=f"{tmp_path}//link/../link/data/", PAAS_RUN_DIR=f"{tmp_path}/link/run/")
    assert result.stdout.split() == [f"{tmp_path}/real/data", f"{tmp_path}/real/data/prefix", f"{tmp_path}/real/run/boot-id"]


def test_only_what_holds_our_marker_is_taken_and_removed(tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "precious").write_text("")
    for script in ['adopt_directory "$PAAS_DATA_DIR"', 'remove_directory "$PAAS_DATA_DIR"']:
        refused(bash(script, PAAS_DATA_DIR=foreign), str(foreign))
    assert [p.name for p in foreign.iterdir()] == ["precious"]
    for own in [tmp_path / "missing", tmp_path / "empty"]:
        if own.name == "empty":
            own.mkdir()
        taken = bash('adopt_directory "$PAAS_DATA_DIR"; adopt_directory "$PAAS_PREFIX"; remove_directory "$PAAS_DATA_DIR"', PAAS_DATA_DIR=own)
        assert taken.returncode == 0, taken.stderr
        assert not own.exists()


def down(*options, **settings):
    environment = {"PATH": os.environ["PATH"], "PAAS_ENV_FILE": "/dev/null"} | {k: str(v) for k, v in settings.items()}
    return subprocess.run(["bin/down", *options], cwd=REPO, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def stopped(tmp_path):
    """Settings of a platform of which nothing runs, with a program in the place of the engine that leaves what its teardown does."""
    settings = {"PAAS_DATA_DIR": tmp_path / "data", "PAAS_RUN_DIR": tmp_path / "run", "PAAS_INSTANCE": f"t{os.getpid()}"}
    made = bash('for d in "$PAAS_RUN_DIR" "$PAAS_DATA_DIR" "$PAAS_PREFIX"; do adopt_directory "$d"; done', **settings)
    assert made.returncode == 0, made.stderr
    engine = tmp_path / "data/prefix/bin/paas-engine"
    engine.parent.mkdir()
    engine.write_text('#!/bin/sh\nmkdir -p "$PAAS_RUN_DIR" && : >>"$PAAS_RUN_DIR/engine.lock"\n')
    engine.chmod(0o755)
    yield settings
    pathlib.Path(f"/run/slipway-{settings['PAAS_INSTANCE']}.lock").unlink(missing_ok=True)


def test_bin_down_can_be_repeated(stopped):
    for options in [[], [], ["--purge"], [], ["--purge"]]:
        result = down(*options, **stopped)
        assert result.returncode == 0, (options, result.stdout, result.stderr)
        assert not stopped["PAAS_RUN_DIR"].exists()
        assert stopped["PAAS_DATA_DIR"].exists() == (options == [] and "Nothing to stop" not in result.stdout)
    again = bash('for d in "$PAAS_RUN_DIR" "$PAAS_DATA_DIR" "$PAAS_PREFIX"; do adopt_directory "$d"; done', **stopped)
    assert again.returncode == 0, again.stderr


def test_bin_down_purges_after_a_reboot(stopped):
    """The run directory is gone, or is what a teardown without a marker left."""
    (stopped["PAAS_RUN_DIR"] / ".slipway").unlink()
    stopped["PAAS_RUN_DIR"].rmdir()
    for leave in [lambda: None, lambda: (stopped["PAAS_RUN_DIR"].mkdir(), (stopped["PAAS_RUN_DIR"] / "engine.lock").touch())]:
        leave()
        result = down(**stopped)
        assert result.returncode == 0, result.stderr
        assert not stopped["PAAS_RUN_DIR"].exists()
    result = down("--purge", **stopped)
    assert result.returncode == 0, result.stderr
    assert not stopped["PAAS_RUN_DIR"].exists() and not stopped["PAAS_DATA_DIR"].exists()


def test_empty_directories_are_nothing_to_stop(tmp_path):
    for folder in ["data/lost+found", "run"]:
        (tmp_path / folder).mkdir(parents=True)
    result = down("--purge", PAAS_DATA_DIR=tmp_path / "data", PAAS_RUN_DIR=tmp_path / "run")
    assert result.returncode == 0 and "Nothing to stop" in result.stdout, result.stderr
    (tmp_path / "run/precious").touch()
    refused(down("--purge", PAAS_DATA_DIR=tmp_path / "data", PAAS_RUN_DIR=tmp_path / "run", PAAS_INSTANCE=f"t{os.getpid()}"),
            f"{tmp_path}/run isn't the platform's")
    pathlib.Path(f"/run/slipway-t{os.getpid()}.lock").unlink()


@pytest.mark.parametrize("mount", ["-t tmpfs none", "--bind precious"])
def test_what_is_mounted_in_a_directory_of_ours_is_not_removed(tmp_path, mount):
    """Neither another file system nor a part of the same one."""
    data = tmp_path / "da ta"
    (tmp_path / "precious").mkdir()
    script = f"""
        adopt_directory "$PAAS_DATA_DIR"
        mkdir -p "$PAAS_DATA_DIR/inside"
        cd {tmp_path}
        mount {mount} "$PAAS_DATA_DIR/inside"
        : >"$PAAS_DATA_DIR/inside/kept"
        (remove_directory "$PAAS_DATA_DIR") && exit 3
        ls "$PAAS_DATA_DIR/inside/kept" "$PAAS_DATA_DIR/.slipway"
        umount "$PAAS_DATA_DIR/inside"
        remove_directory "$PAAS_DATA_DIR"
    """
    result = bash(f"unshare -m bash -euc '. bin/lib/platform.sh\n{script}'", PAAS_DATA_DIR=data)
    assert result.returncode == 0, result.stderr
    assert f"{data}/inside" in result.stderr and not data.exists()


def test_a_platform_from_before_the_marker_is_taken(tmp_path):
    data = tmp_path / "data"
    for folder in ["slugs", "repos", "prefix/bin"]:
        (data / folder).mkdir(parents=True)
    (data / "secret.key").write_text("key")
    run = tmp_path / "run"
    run.mkdir()
    (run / "up.lock").write_text("")
    script = 'for d in "$PAAS_RUN_DIR" "$PAAS_DATA_DIR" "$PAAS_PREFIX"; do adopt_directory "$d"; done'
    taken = bash(script, PAAS_DATA_DIR=data, PAAS_RUN_DIR=run)
    assert taken.returncode == 0, taken.stderr
    assert (data / ".slipway").exists() and (run / ".slipway").exists() and (data / "secret.key").read_text() == "key"


def test_settings_come_from_the_environment_over_the_named_file(tmp_path):
    file = tmp_path / "env"
    file.write_text("# comment\n  PAAS_DOMAIN=from.file\nPAAS_PORT_RANGE=1000-2000\nOTHER=x\n")
    result = bash('echo "$PAAS_DOMAIN $PAAS_PORT_RANGE ${OTHER-}"', PAAS_ENV_FILE=file, PAAS_PORT_RANGE="5000-6000")
    assert result.stdout.split() == ["from.file", "5000-6000"]
    refused(bash("check_directories", PAAS_ENV_FILE=tmp_path / "none"), "PAAS_ENV_FILE")


def test_the_databases_password_is_in_the_run_script_of_paasd_only():
    url = "postgresql://paas:very-secret@db/paas"
    for service, there in [("paasd", True), ("paas-engine", False), ("paas-router", False), ("paas-git", False)]:
        result = bash(f"settings_export {service}", PAAS_DATABASE_URL=url, PAAS_TOKEN="also-secret")
        assert ("very-secret" in result.stdout) == there and "also-secret" not in result.stdout
        assert "export PAAS_DATA_DIR=/var/lib/paas" in result.stdout


def test_an_address_that_is_taken_is_told_with_its_holder():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for host in ["127.0.0.1", "0.0.0.0", "[::]"]:
            refused(bash("check_addresses", PAAS_API_ADDRESS=f"{host}:{port}"), "PAAS_API_ADDRESS", f"pid={os.getpid()}")
        refused(bash("check_addresses", PAAS_API_ADDRESS="127.0.0.1:1", PAAS_ROUTER_METRICS_ADDRESS=f"127.0.0.1:{port}"),
                "PAAS_ROUTER_METRICS_ADDRESS")
        free = bash("check_addresses", PAAS_API_ADDRESS=f"127.0.0.2:{port}", PAAS_ROUTER_METRICS_ADDRESS="127.0.0.2:1")
        assert free.returncode == 0, free.stderr


def test_a_supervision_tree_without_a_start_time_is_not_taken_for_ours(tmp_path):
    (tmp_path / "run").mkdir()
    pid_file = tmp_path / "run/s6-svscan.pid"
    for text, running in [(f"{2**22}\n", False), (f"{2**22} \n", False), ("\n", False), ("", False), (f"{os.getpid()} 1\n", False)]:
        pid_file.write_text(text)
        assert (bash("svscan_pid", PAAS_RUN_DIR=tmp_path / "run").returncode == 0) == running, text
    own = bash(f'echo "{os.getpid()} $(start_time {os.getpid()})" >"$PAAS_RUN_DIR/s6-svscan.pid"; svscan_pid', PAAS_RUN_DIR=tmp_path / "run")
    assert own.stdout == str(os.getpid())


def test_a_killed_program_is_started_at_once_and_one_that_keeps_dying_is_not(tmp_path):
    made = bash('mkdir -p "$S6/program"; write_finish program; write_finish postgres', PAAS_RUN_DIR=tmp_path / "run")
    assert made.returncode == 0, made.stderr
    service = tmp_path / "run/s6/program"
    run = service / "run"
    run.write_text("#!/bin/sh\n: >started\nexec sleep 1000\n")
    run.chmod(0o755)

    def stat(*fields):
        return subprocess.run(["s6-svstat", "-o", ",".join(fields), service], capture_output=True, text=True).stdout.split()

    def killed():
        """Seconds until it runs again."""
        pid = int(stat("pid")[0])
        os.kill(pid, 9)
        start = time.monotonic()
        wait_until(lambda: int(stat("pid")[0]) not in (-1, pid), 5, interval=0.005)
        return time.monotonic() - start

    supervisor = subprocess.Popen(["s6-supervise", service])
    try:
        wait_until(lambda: stat("up", "updownfor")[0] == "true" and int(stat("updownfor")[0]) >= 3, 20)
        assert killed() < 0.8
        assert killed() > 0.9
        wait_until(lambda: int(stat("updownfor")[0]) >= 3, 20)
        subprocess.run(["s6-svc", "-wD", "-T", "5000", "-d", service], check=True)
        assert stat("up") == ["false"]
    finally:
        subprocess.run(["s6-svc", "-xd", service])
        supervisor.wait(10)


def test_a_second_bin_up_of_a_platform_is_refused(tmp_path):
    name = f"t{os.getpid()}"
    lock = pathlib.Path(f"/run/slipway-{name}.lock")
    try:
        result = bash("lock_platform; bash -euc '. bin/lib/platform.sh; lock_platform' || exit 1", PAAS_INSTANCE=name)
        refused(result, "another bin/up or bin/down")
    finally:
        lock.unlink(missing_ok=True)


def test_stamps_change_with_contents_and_modes(tmp_path):
    folder = tmp_path / "buildpacks"
    folder.mkdir()
    (folder / "detect").write_text("1")

    def stamp():
        result = bash(f"REPO={tmp_path}; stamp_of buildpacks")
        assert result.returncode == 0
        return result.stdout

    seen = [stamp()]
    (folder / "detect").chmod(0o755)
    seen.append(stamp())
    (folder / "detect").write_text("2")
    seen.append(stamp())
    (folder / "compile").write_text("")
    seen.append(stamp())
    assert len(set(seen)) == 4


def test_swift_is_found_by_its_setting_and_named_by_its_own_path(tmp_path):
    """A launcher on PATH, as swiftly's, is not what is built with."""
    found = bash("find_swift")
    assert found.returncode == 0 and found.stdout.endswith("/bin/swift\n")
    launcher = tmp_path / "swift"
    launcher.write_text(f'#!/bin/sh\nexec {found.stdout.strip()} "$@"\n')
    launcher.chmod(0o755)
    again = bash("find_swift", PAAS_SWIFT=tmp_path)
    assert again.stdout == found.stdout


@pytest.mark.parametrize("name,mode,usable", [("tool", 0o755, True), ("to ol", 0o755, False), ("to,ol", 0o755, False), ("tool", 0o750, False)])
def test_a_toolchain_that_builds_can_not_use_is_not_taken(tmp_path, name, mode, usable):
    root = tmp_path / name
    for folder in ["usr/bin", "usr/lib"]:
        (root / folder).mkdir(parents=True)
    for program in ["swift", "swiftc"]:
        (root / "usr/bin" / program).write_text("#!/bin/sh\n")
        (root / "usr/bin" / program).chmod(0o755)
    root.chmod(mode)
    result = bash(f"toolchain_root '{root}/usr/bin/swift'")
    assert (result.returncode == 0, result.stdout) == (usable, str(root) if usable else "")


GUARDED = 'POLICY={folder}/policy; disable_system_sshd() {{ : >{folder}/disabled; }}\n'


@pytest.mark.parametrize("command,status", [("test -x {folder}/policy", 0), ("false", 1)])
def test_what_forbids_starts_goes_with_the_installation(tmp_path, command, status):
    result = bash(GUARDED.format(folder=tmp_path) + "without_starts " + command.format(folder=tmp_path))
    assert result.returncode == status, result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["disabled"]


def test_what_forbids_starts_goes_when_the_installation_is_interrupted(tmp_path):
    # The installer tells that it runs, and is ended with all of its group, as by Ctrl-C.
    script = f". bin/lib/platform.sh; . bin/lib/packages.sh; {GUARDED.format(folder=tmp_path)} without_starts bash -c 'echo runs; exec sleep 100'"
    process = subprocess.Popen(["bash", "-euc", script], cwd=REPO, stdout=subprocess.PIPE, text=True, start_new_session=True,
                               env={"PATH": os.environ["PATH"], "PAAS_ENV_FILE": "/dev/null"})
    assert process.stdout.readline() == "runs\n" and (tmp_path / "policy").exists()
    os.killpg(process.pid, 15)
    process.wait(10)
    wait_until(lambda: [p.name for p in tmp_path.iterdir()] == ["disabled"], 10)


def test_buildpacks_that_are_replaced_stay_for_the_builds_that_run(tmp_path):
    script = """
        REPO=$PAAS_DATA_DIR/repo
        mkdir -p "$REPO/buildpacks" "$PAAS_PREFIX"
        for n in 1 1 2; do echo $n >"$REPO/buildpacks/name"; install_tree buildpacks; done
        cat "$PAAS_PREFIX/buildpacks/name" "$PAAS_PREFIX/buildpacks.old/name"
    """
    result = bash(script, PAAS_DATA_DIR=tmp_path / "data")
    assert result.stdout.split() == ["2", "1"], result.stderr


def test_stacks_that_are_there_and_known_are_renewed(tmp_path):
    data = tmp_path / "data"
    for made in ["debian-12", "debian-13", "older"]:
        (data / "stacks" / made).mkdir(parents=True)
        (data / "stacks" / made / "current").symlink_to("x")
    (data / "stacks/broken").mkdir()
    for defined in ["debian-12", "debian-13", "broken", "new"]:
        (data / "prefix/stacks" / defined).mkdir(parents=True)
        (data / "prefix/stacks" / defined / "stack.conf").touch()
    assert bash("present_stacks", PAAS_DATA_DIR=data).stdout.split() == ["debian-12", "debian-13"]
    assert bash("present_stacks", PAAS_DATA_DIR=tmp_path / "none").stdout == ""


def test_the_configuration_of_sshd_is_one_that_it_takes(tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    config = bash("sshd_config", PAAS_SSH_USER="nobody").stdout
    config = "".join(line + "\n" for line in config.splitlines() if not line.startswith("HostKey"))
    (tmp_path / "config").write_text(config + f"HostKey {tmp_path}/key\n")
    # Root's sshd wants a folder that is there once the system's has run.
    script = f"mount -t tmpfs none /run && mkdir -m 0755 /run/sshd && /usr/sbin/sshd -T -f {tmp_path}/config"
    result = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True)
    assert result.returncode == 0 and "unusedconnectiontimeout 30" in result.stdout, result.stderr


def test_those_who_are_connected_end_with_sshd(tmp_path):
    """Also those of an sshd before this one."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = pathlib.Path(subprocess.run(["mktemp", "-d", "-p", "/var/tmp"], capture_output=True, text=True, check=True).stdout.strip())
    data.chmod(0o711)
    script = f"""
        mkdir -p "$PAAS_DATA_DIR/service-logs" "$PAAS_PREFIX" "$S6"
        trap stop_tree EXIT
        make_ssh_user; make_host_keys; write_sshd; start_tree
        s6-svscanctl -a "$S6"
        wait_for 10 s6 test -p "$S6/paas-sshd/supervise/control"
        s6-svc -u "$S6/paas-sshd"
        wait_for 10 sshd ssh_listens
        connected() {{ ssh_sessions "$(s6-svstat -o pid "$S6/paas-sshd")" | wc -l; }}
        have() {{ [ "$(connected)" = "$1" ]; }}
        exec 5<>/dev/tcp/127.0.0.1/{port}
        wait_for 10 client have 1
        s6-svc -wD -T 5000 -r "$S6/paas-sshd"
        wait_for 10 sshd ssh_listens
        exec 6<>/dev/tcp/127.0.0.1/{port}
        wait_for 10 client have 2
        end_ssh_sessions
        wait_for 5 sessions have 0
        if ssh_listens; then exit 3; fi
        # A listener that is not sshd is none.
        python3 -c 'import socket, time; s = socket.create_server(("127.0.0.1", {port})); print(flush=True); time.sleep(1000)' >"$PAAS_DATA_DIR/other" &
        wait_for 10 listener test -s "$PAAS_DATA_DIR/other"
        if ssh_listens; then exit 3; fi
        kill $!
        SECONDS=0
        stop_tree
        [ $SECONDS -lt 10 ]
    """
    try:
        result = bash(script, PAAS_DATA_DIR=data, PAAS_RUN_DIR=data / "run", PAAS_SSH_ADDRESS=f"127.0.0.1:{port}")
        assert result.returncode == 0, (result.stdout, result.stderr)
    finally:
        subprocess.run(["rm", "-rf", data], check=True)
