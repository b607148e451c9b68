"""Answers every line with what it was asked: `who` → instance and release, `env KEY` → the value in hex, and so on."""

import os
import random
import signal
import socket
import socketserver
import sys
import threading

IDENTITY = f"{os.environ['PAAS_PROCESS']}@{os.environ['PAAS_RELEASE']}#{random.getrandbits(32):08x}"


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for raw in self.rfile:
            words = raw.decode().split()
            if not words:
                continue
            if words[0] == "env":
                value = os.environb.get(words[1].encode())
                answer = "unset" if value is None else value.hex()
            elif words[0] == "keys":
                answer = " ".join(sorted(os.environ))
            elif words[0] == "pid":
                answer = str(os.getpid())
            elif words[0] == "sh":
                import subprocess

                done = subprocess.run(["bash", "-c", " ".join(words[1:])], capture_output=True, timeout=20)
                answer = f"{done.returncode} {(done.stdout + done.stderr).hex()}"
            elif words[0] == "exit":
                os._exit(int(words[1]))
            elif words[0] == "memory":
                kept.append(b"x" * (int(words[1]) << 20))  # written, and so really taken
                answer = "kept"
            elif words[0] == "threads":
                answer = str(threading.active_count())
            else:
                answer = IDENTITY
            self.wfile.write(answer.encode() + b"\n")


kept = []


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


if os.environ.get("CRASH_AT_START"):
    print("cannot start: CRASH_AT_START is set", flush=True)
    sys.exit(3)
host = os.environ.get("LISTEN_HOST", "0.0.0.0")
Server.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
server = Server((host, int(os.environ.get("LISTEN_PORT", os.environ["PORT"]))), Handler)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print(f"{IDENTITY} listens on {server.server_address}", flush=True)
server.serve_forever()
