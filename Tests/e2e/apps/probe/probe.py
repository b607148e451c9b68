"""Tries from inside a container what must not work there, and prints as JSON what did work.

    probe.py FILE    FILE: JSON with `paths` (of the host), `tcp` and `udp` ([address, port] each), `abstract` (a socket's name)
"""

import ctypes
import errno
import json
import os
import re
import selectors
import signal
import socket
import struct
import sys
import time

with open(sys.argv[1]) as file:
    wanted = json.load(file)
libc = ctypes.CDLL(None, use_errno=True)
open_doors = []


def attempt(name, action):
    """Notes the name if the action gets through."""
    try:
        action()
    except (OSError, ValueError, OverflowError):
        return
    open_doors.append(name)


def call(name, number, *arguments):
    def action():
        ctypes.set_errno(0)
        words = [a if isinstance(a, (bytes, type(None))) or hasattr(a, "_type_") else ctypes.c_long(a) for a in arguments]
        if libc.syscall(ctypes.c_long(number), *words) < 0:
            raise OSError(ctypes.get_errno(), name)

    attempt(name, action)


def in_child(name, action):
    """In a child, because the attempt would change or end this process."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            signal.alarm(5)
            action()
        except BaseException:
            code = 1
        os._exit(code)
    if os.waitpid(pid, 0)[1] == 0:
        open_doors.append(name)


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "call")


# x86_64; other machines have other numbers.
NUMBERS = dict(
    mount=165, umount2=166, pivot_root=155, chroot=161, setns=308, unshare=272, clone=56, ptrace=101, process_vm_readv=310,
    keyctl=250, add_key=248, request_key=249, bpf=321, perf_event_open=298, userfaultfd=323, io_uring_setup=425,
    open_by_handle_at=304, reboot=169, swapon=167, init_module=175, finit_module=313, kexec_load=246, syslog=103,
    settimeofday=164, clock_settime=227, sethostname=170, acct=163, quotactl=179, iopl=172, ioperm=173, fanotify_init=300,
    fsopen=430, open_tree=428, move_mount=429, mount_setattr=442, lookup_dcookie=212, nfsservctl=180, kcmp=312, pidfd_getfd=438)
n = NUMBERS

# Namespaces and mounts
for kind, flag in dict(user=0x10000000, mount=0x20000, net=0x40000000, pid=0x20000000, ipc=0x8000000, uts=0x4000000, cgroup=0x2000000, time=0x80).items():
    in_child(f"unshare {kind}", lambda flag=flag: check(libc.unshare(flag)))
    in_child(f"unshare user+{kind}", lambda flag=flag: check(libc.unshare(flag | 0x10000000)))
call("clone newuser", n["clone"], 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
call("mount", n["mount"], b"none", b"/mnt", b"tmpfs", 0, None)
call("bind mount", n["mount"], b"/tmp", b"/mnt", None, 4096, None)
call("remount", n["mount"], None, b"/", None, 32, None)
call("umount", n["umount2"], b"/proc", 2)
call("pivot_root", n["pivot_root"], b"/tmp", b"/tmp")
in_child("chroot", lambda: os.chroot("/tmp"))
for name in ["fsopen", "open_tree", "move_mount", "mount_setattr"]:
    call(name, n[name], 0 if name != "fsopen" else b"tmpfs", b"/tmp", 1, 0, 0)
for kind in os.listdir("/proc/1/ns"):
    def enter(kind=kind):
        fd = os.open(f"/proc/1/ns/{kind}", os.O_RDONLY)
        check(libc.setns(fd, 0))

    in_child(f"setns {kind}", enter)

# Other processes, the kernel's insides
call("ptrace", n["ptrace"], 16, 1, 0, 0)
call("process_vm_readv", n["process_vm_readv"], 1, 0, 0, 0, 0, 0)
call("pidfd_getfd", n["pidfd_getfd"], 0, 0, 0)
call("keyctl", n["keyctl"], 0, -3, 1)
call("keyctl user", n["keyctl"], 0, -4, 1)
call("add_key", n["add_key"], b"user", b"slipway", b"x", 1, -3)
call("request_key", n["request_key"], b"user", b"slipway", None, 0)
call("bpf", n["bpf"], 0, ctypes.create_string_buffer(128), 128)
call("perf_event_open", n["perf_event_open"], ctypes.create_string_buffer(struct.pack("II", 1, 128) + bytes(120)), 0, -1, -1, 0)
call("userfaultfd", n["userfaultfd"], 0)
call("io_uring_setup", n["io_uring_setup"], 8, ctypes.create_string_buffer(256))
call("fanotify_init", n["fanotify_init"], 0x200, 0)
call("open_by_handle_at", n["open_by_handle_at"], 3, ctypes.create_string_buffer(64), 0)
call("reboot", n["reboot"], 0xFEE1DEAD, 672274793, 0, None)
call("swapon", n["swapon"], b"/tmp/x", 0)
call("init_module", n["init_module"], b"x", 1, b"")
call("kexec_load", n["kexec_load"], 0, 0, None, 0)
call("syslog", n["syslog"], 3, ctypes.create_string_buffer(4096), 4096)
call("sethostname", n["sethostname"], b"x", 1)
call("acct", n["acct"], b"/tmp/acct")
call("iopl", n["iopl"], 3)
call("kcmp", n["kcmp"], 1, os.getpid(), 0, 0, 0)
attempt("clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))
attempt("realtime", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
for identity in [0, 1001, 65534]:
    in_child(f"setuid {identity}", lambda identity=identity: os.setuid(identity))
    in_child(f"setgid {identity}", lambda identity=identity: os.setgid(identity))
in_child("setgroups", lambda: os.setgroups([0]))

# Devices
for path in [
    "/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/loop0", "/dev/loop-control",
    "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/mapper/control", "/dev/vhost-net", "/dev/vsock", "/proc/kcore", "/proc/kmsg",
]:
    attempt(f"open {path}", lambda path=path: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK)))
for kind, mode in dict(block=0o60666, character=0o20666).items():
    for number in [(8, 0), (253, 0), (254, 0), (7, 0), (1, 1), (10, 237)]:
        attempt(f"mknod {kind} {number}", lambda mode=mode, number=number: os.mknod(f"/tmp/node-{time.monotonic_ns()}", mode, os.makedev(*number)))

# Files that are not the app's
for path in wanted["paths"] + ["/etc/shadow", "/root", "/lost+found", "/proc/1/root/../../etc/shadow", "/work"]:
    def look(path=path):
        os.listdir(path) if os.path.isdir(path) else os.close(os.open(path, os.O_RDONLY))

    attempt(f"read {path}", look)


def write(path):
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def create(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT))


for path in [
    "/paas/init", "/paas/launch", "/paas/environment", "/paas/lifecycle", "/etc/resolv.conf", "/etc/hosts", "/etc/passwd", "/bin/sh",
    "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/sysrq", "/proc/sys/vm/overcommit_memory",
    "/proc/sys/net/ipv4/ip_forward", "/proc/sys/fs/suid_dumpable", "/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/ns_last_pid",
    "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/cgroup.procs", "/sys/fs/cgroup/memory/release_agent",
    "/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids/notify_on_release", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max",
]:
    attempt(f"write {path}", lambda path=path: write(path))
for folder in ["/usr", "/etc", "/", "/paas", "/paas/buildpacks", "/dev", "/sys/fs/cgroup", "/env", "/root", "/var", "/opt", "/run"]:
    attempt(f"create in {folder}", lambda folder=folder: create(f"{folder}/slipway-probe"))
for folder in ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup"]:
    attempt(f"cgroup in {folder}", lambda folder=folder: os.mkdir(f"{folder}/slipway-probe"))


def forgive():
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-500")


attempt("oom_score_adj", forgive)

# The network, beyond plain sockets
for name, family, kind, protocol in [
    ("AF_PACKET", 17, socket.SOCK_RAW, 0), ("AF_PACKET dgram", 17, socket.SOCK_DGRAM, 0), ("raw v4", 2, socket.SOCK_RAW, 1),
    ("raw tcp", 2, socket.SOCK_RAW, 6), ("raw v6", 10, socket.SOCK_RAW, 58), ("AF_VSOCK", 40, socket.SOCK_STREAM, 0),
    ("AF_VSOCK dgram", 40, socket.SOCK_DGRAM, 0), ("AF_ALG", 38, socket.SOCK_SEQPACKET, 0), ("netlink audit", 16, socket.SOCK_RAW, 9),
    ("AF_BLUETOOTH", 31, socket.SOCK_RAW, 1), ("AF_XDP", 44, socket.SOCK_RAW, 0), ("AF_KEY", 15, socket.SOCK_RAW, 2), ("AF_TIPC", 30, socket.SOCK_RDM, 0),
]:
    attempt(name, lambda family=family, kind=kind, protocol=protocol: socket.socket(family, kind, protocol).close())


def transparent():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_IP, 19, 1)


attempt("IP_TRANSPARENT", transparent)


def interface_down():
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"eth0", 0))


attempt("interface down", interface_down)


def new_interface():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        name = b"slipway0\0"
        attribute = struct.pack("HH", 4 + len(name), 3) + name + bytes(-len(name) % 4)
        kind = struct.pack("HH", 10, 1) + b"dummy\0\0\0"
        info = struct.pack("HH", 4 + len(kind), 18) + kind
        body = struct.pack("BxHiII", 0, 0, 0, 0, 0) + attribute + info
        s.send(struct.pack("IHHII", 16 + len(body), 16, 0x605, 1, 0) + body)
        answer = s.recv(4096)
        code = struct.unpack_from("i", answer, 16)[0]
        if code:
            raise OSError(-code, "netlink")


attempt("new interface", new_interface)


def abstract():
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(2)
        s.connect("\0" + wanted["abstract"])


attempt("abstract socket of the host", abstract)

# Everything at once: a closed door may be one that stays silent.
reached = []
waiting = selectors.DefaultSelector()
for address, port in wanted["tcp"]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family)
    connection.setblocking(False)
    try:
        code = connection.connect_ex(socket.getaddrinfo(address, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)[0][4])
    except OSError as error:
        code = error.errno or 1
    if code == 0:
        reached.append([address, port])
    elif code == errno.EINPROGRESS:
        waiting.register(connection, selectors.EVENT_WRITE, [address, port])
deadline = time.monotonic() + 2.5
while waiting.get_map() and time.monotonic() < deadline:
    for key, _ in waiting.select(max(0, deadline - time.monotonic())):
        waiting.unregister(key.fileobj)
        if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            reached.append(key.data)
        key.fileobj.close()
for address, port in wanted["udp"]:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.sendto(b"probe", (address, port))
        except OSError:
            pass

# What it is
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
processes = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        processes.append([os.stat(f"/proc/{pid}").st_uid, open(f"/proc/{pid}/cmdline").read().replace("\0", " ")])
    except OSError:
        continue
instances = 0
while instances < 1000 and libc.inotify_init1(0) >= 0:
    instances += 1
print("PROBE " + json.dumps({
    "open": sorted(open_doors), "reached": reached, "uid": os.getuid(), "groups": os.getgroups(),
    "status": {k: status[k].strip() for k in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"]},
    "hostUID": int(open("/proc/self/uid_map").read().split()[1]), "processes": processes[:60],
    "environment": sorted(os.environ), "inotify": instances, "keys": os.path.exists("/proc/keys") and open("/proc/keys").read() or "",
    "interfaces": sorted(os.listdir("/sys/class/net")), "cgroups": open("/proc/self/cgroup").read().split(),
}), flush=True)
