"""Whether a package index answers, before pip is asked: pip would try for minutes and blame the package.

usage: reach.py [--pages] [URL…]       URLs with credentials on standard input, one a line, kind first: `index URL` or `host URL`

An index has to give any HTTP answer to a request for its root (`URL/pip/`), but a gateway's error; a host has to accept a
connection. Of an index, the host that its files lie on is looked at too. Proxies and certificates are those of the environment.
Prints `asking<tab>URL` before each, and `URL<tab>WHAT HAPPENED` for the first that fails, without credentials, and ends with 1
then. Its whole time is bounded by the
caller; each wait here takes at most 8 s.
"""

import configparser
import os
import re
import socket
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request

WAIT = 8
PAGE_LIMIT = 512 << 10


def plain(url):
    return re.sub(r"//[^/@]*@", "//", url)


def words(error):
    reason = getattr(error, "reason", error)
    if isinstance(reason, socket.gaierror):
        return "its name can't be resolved"
    if isinstance(reason, (TimeoutError, socket.timeout)):
        return f"no answer within {WAIT} s"
    if isinstance(reason, ssl.SSLError):
        return f"TLS failed: {getattr(reason, 'verify_message', '') or getattr(reason, 'reason', '') or reason}"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return plain(str(reason))


def proxied(url):
    scheme, host = urllib.parse.urlsplit(url).scheme, urllib.parse.urlsplit(url).hostname or ""
    return None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)


def open_url(url):
    parts = urllib.parse.urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urllib.parse.urlunsplit(parts._replace(netloc=host)), headers={
        "Accept": "application/vnd.pypi.simple.v1+html, text/html;q=0.5", "User-Agent": "pip"})
    if login:
        import base64

        request.add_header("Authorization", "Basic " + base64.b64encode(urllib.parse.unquote(login).encode()).decode())
    context = ssl.create_default_context()
    if host.split(":")[0] in os.environ.get("PIP_TRUSTED_HOST", "").replace(":", " ").split():
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context)).open(request, timeout=WAIT)


def connect(url):
    """To the host of a URL, or to the proxy that leads to it."""
    parts = urllib.parse.urlsplit(proxied(url) or url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return
    with socket.create_connection((parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)), timeout=WAIT):
        pass


def asking(url):
    print(f"asking\t{plain(url)}", flush=True)


def index(url):
    """- Returns: what is wrong with it, or None."""
    asking(url)
    page = url.rstrip("/") + "/pip/"
    try:
        with open_url(page) as answer:
            body = answer.read(PAGE_LIMIT).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        if error.code in (502, 503, 504, 407):
            return plain(url), f"the answer is {error.code} {error.reason}" + (" (a proxy's)" if proxied(url) else "")
        return None
    except (OSError, ValueError) as error:
        return plain(url), words(error) + (f" (through the proxy {plain(proxied(url))})" if proxied(url) else "")
    link = re.search(r"""<a\s[^>]*href=["']([^"'#]+)""", body)
    if link:
        target = urllib.parse.urljoin(page, link[1])
        if urllib.parse.urlsplit(target).netloc != urllib.parse.urlsplit(page).netloc:
            return host(target)
    return None


def host(url):
    try:
        parts = urllib.parse.urlsplit(url)
        place = plain(f"{parts.scheme}://{parts.netloc}")
        asking(place)
        connect(url)
    except (OSError, ValueError) as error:
        return plain(url) if isinstance(error, ValueError) else place, words(error)
    return None


def configured():
    """The main index and others of pip's own configuration; the environment goes before it."""
    parser = configparser.RawConfigParser()
    try:
        parser.read("/etc/pip.conf")
    except configparser.Error:
        return None, []
    main, extra = None, []
    for section in ("global", "install"):
        main = parser.get(section, "index-url", fallback=main)
        extra += parser.get(section, "extra-index-url", fallback="").split()
    return main, extra


def main():
    wanted = [line.split(None, 1) for line in sys.stdin.read().splitlines() if " " in line]
    main_index, extra = configured()
    for kind, url in wanted:
        if kind == "default":
            kind, url = "index", os.environ.get("PIP_INDEX_URL") or main_index or "https://pypi.org/simple"
        found = index(url.strip()) if kind == "index" else host(url.strip())
        if found:
            print("\t".join(found))
            return 1
    if "PIP_EXTRA_INDEX_URL" not in os.environ:
        for url in extra:
            found = index(url)
            if found:
                print("\t".join(found))
                return 1
    return 0


sys.exit(main())
