"""java-keystore.py FILE SECONDS: gives all certificates of a keystore (JKS, as Debian's ca-certificates-java makes it) one date.

The date of making is in it otherwise, and no two images would be the same. Java itself does not look at it.
"""

import hashlib
import pathlib
import struct
import sys

SALT = "changeit".encode("utf-16-be") + b"Mighty Aphrodite"
HEADER = struct.Struct(">III")
CERTIFICATE = 2


def main():
    path, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    data = bytearray(path.read_bytes())
    body, seal = data[:-20], data[-20:]
    magic, version, count = HEADER.unpack_from(body)
    if (magic, version) != (0xFEEDFEED, 2) or hashlib.sha1(SALT + body).digest() != seal:
        sys.exit(f"{path} is no keystore of the kind that ca-certificates-java makes")
    at = HEADER.size
    for _ in range(count):
        tag, length = struct.unpack_from(">IH", body, at)
        if tag != CERTIFICATE:
            sys.exit(f"{path} holds something else than certificates")
        at += 6 + length
        struct.pack_into(">Q", body, at, seconds * 1000)
        at += 8
        (length,) = struct.unpack_from(">H", body, at)
        at += 2 + length
        (length,) = struct.unpack_from(">I", body, at)
        at += 4 + length
    if at != len(body):
        sys.exit(f"{path} does not end where it should")
    path.write_bytes(body + hashlib.sha1(SALT + body).digest())


main()
