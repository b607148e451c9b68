"""Writes where a source will lie, in place of where it was built, into what pip notes of it, and corrects the notes' hashes.

usage: relocate.py FOLDER FROM TO      FOLDER is an environment; FROM and TO are folders
"""

import base64
import hashlib
import pathlib
import sys


def main():
    folder, before, after = sys.argv[1:]
    for note in pathlib.Path(folder).glob("lib/python*/site-packages/*.dist-info/direct_url.json"):
        old = note.read_bytes()
        new = old.replace(pathlib.Path(before).as_uri().encode(), pathlib.Path(after).as_uri().encode())
        if new == old:
            continue
        note.write_bytes(new)
        name = f"{note.parent.name}/{note.name},"
        digest = base64.urlsafe_b64encode(hashlib.sha256(new).digest()).decode().rstrip("=")
        record = note.parent / "RECORD"
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(f"{name}sha256={digest},{len(new)}\n" if line.startswith(name) else line for line in lines))


main()
