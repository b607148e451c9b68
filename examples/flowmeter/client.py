"""Sends a few flows through a flowmeter and prints what it measured.

usage: client.py HOST PORT [FLOWS]
"""

import json
import socket
import sys


def flow(host: str, port: int, lines: int) -> dict:
    with socket.create_connection((host, port), timeout=5) as connection:
        stream = connection.makefile("rwb")
        report = {}
        for number in range(lines):
            stream.write(f"packet {number}\n".encode())
            stream.flush()
            answer = stream.readline()
            if not answer:
                raise ConnectionError("the function closed the flow")
            report = json.loads(answer)
        return report


def main() -> int:
    if len(sys.argv) not in (3, 4):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    host, port = sys.argv[1], int(sys.argv[2])
    flows = int(sys.argv[3]) if len(sys.argv) == 4 else 3
    try:
        for number in range(1, flows + 1):
            report = flow(host, port, lines=number)
            print(
                f"flow {number}: {report['process']} of {report['release']} counted "
                f"{report['lines']} lines, {report['bytes']} bytes"
            )
    except (OSError, ValueError) as error:
        print(f"{host}:{port} does not answer: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
