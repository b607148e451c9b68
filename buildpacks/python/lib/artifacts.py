"""Turns what pip reports of its installations into lines `SHA256 URL`, one for each file that was fetched.

usage: artifacts.py FIFO OUTPUT

Reads JSON documents, one after the other, from FIFO until the document `"end"`. pip writes one for each run of it, also for those
with which it prepares the building of a package, so that build dependencies are among them. URLs are written without
credentials; what came from the repository itself was not fetched and is left out.
"""

import json
import os
import re
import sys
import urllib.parse


def line(item):
    info = item.get("download_info", {})
    url = str(info.get("url", ""))
    archive = info.get("archive_info", {})
    hashes = archive.get("hashes") or dict([archive["hash"].split("=", 1)] if "=" in str(archive.get("hash", "")) else [])
    digest = str(hashes.get("sha256", ""))
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[0-9a-f]{64}", digest):
        return None
    return f"{digest} " + urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def main():
    decoder, pending, found = json.JSONDecoder(), b"", set()
    # Opened for writing too: each run of pip opens the pipe anew, and the time between two of them is not its end.
    pipe = os.open(sys.argv[1], os.O_RDWR)
    while True:
        # One read can give several documents, and a document can come in several reads.
        try:
            text = pending.decode()
            document, end = decoder.raw_decode(text)
        except ValueError:
            pending = (pending + os.read(pipe, 1 << 20)).lstrip()
            continue
        pending = text[end:].lstrip().encode()
        if document == "end":
            break
        if isinstance(document, dict):
            found.update(filter(None, map(line, document.get("install", []))))
    with open(sys.argv[2], "w", encoding="utf-8") as output:
        output.writelines(entry + "\n" for entry in sorted(found))


main()
