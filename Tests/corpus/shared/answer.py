"""A server that tells what it sees: one line in, one line out. `env NAME`, `type PATH`, `mode PATH`, `cat PATH` (hex)."""

import os
import socketserver
import stat


def answer(line):
    word, _, rest = line.partition(" ")
    if word == "env":
        return os.environ.get(rest, "none")
    if word == "type":
        try:
            mode = os.lstat(rest).st_mode
        except OSError:
            return "none"
        if stat.S_ISLNK(mode):
            return "link " + os.readlink(rest)
        return "file" if stat.S_ISREG(mode) else "directory" if stat.S_ISDIR(mode) else "other"
    if word == "mode":
        return "mode " + oct(stat.S_IMODE(os.lstat(rest).st_mode))[2:]
    if word == "cat":
        with open(rest, "rb") as file:
            return file.read(4096).hex()
    if word == "list":
        return " ".join(sorted(os.listdir(rest or ".")))
    return "hello"


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            try:
                text = answer(line.decode().rstrip("\n"))
            except OSError as error:
                text = "error " + str(error)
            self.wfile.write(text.encode(errors="backslashreplace") + b"\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


if __name__ == "__main__":
    Server(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
