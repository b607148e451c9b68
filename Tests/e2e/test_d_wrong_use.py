"""Wrong use gives a clear message and the right status or exit code."""

import datetime
import uuid

import requests
from slipway import wait_until


def api(platform, method, path, token=None, **keywords):
    headers = {"Authorization": f"Bearer {token or platform.token()}"} | keywords.pop("headers", {})
    return requests.request(method, f"{platform.api}/api/v1{path}", headers=headers, timeout=20, **keywords)


def problem(answer, status):
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    body = answer.json()
    assert body["status"] == status and body["title"] and body["detail"]
    return body


def test_statuses(platform, app):
    problem(api(platform, "GET", "/apps/none-such"), 404)
    problem(api(platform, "GET", "/nothing"), 404)
    answer = api(platform, "POST", "/apps/x")
    problem(answer, 405)
    assert "PUT" in answer.headers["Allow"]
    problem(api(platform, "PUT", "/apps/Bad_Name", json={}), 422)
    problem(api(platform, "PUT", "/apps/other", data=b"{not json"), 400)
    assert "colour" in problem(api(platform, "PUT", "/apps/other", json={"colour": 1}), 400)["detail"]
    problem(api(platform, "GET", "/apps?colour=1"), 400)
    problem(api(platform, "PATCH", f"/apps/{app.name}/formation", data=b"x" * (3 << 20)), 413)
    problem(api(platform, "GET", "/apps", token="wrong"), 401)
    problem(requests.get(f"{platform.api}/api/v1/apps", timeout=10), 401)
    assert api(platform, "PUT", f"/apps/{app.name}", json={}).status_code == 200


def test_paasctl_exit_codes(platform, app):
    unknown = platform.paasctl("apps", "info", "-a", "none-such", check=False)
    assert unknown.returncode == 1 and "none-such" in unknown.stderr
    assert platform.paasctl("nonsense", check=False).returncode == 2
    assert platform.paasctl("apps", "create", "Bad_Name", check=False).returncode == 1
    again = platform.paasctl("apps", "create", app.name, cwd="/")
    assert "is there already" in again.stderr
    unconfirmed = platform.paasctl("apps", "delete", app.name, check=False)
    assert unconfirmed.returncode in (1, 2) and "--confirm" in unconfirmed.stderr
    bad = platform.paasctl("apps", "--token", "wrong", check=False)
    assert bad.returncode == 1 and "token" in bad.stderr.lower()
    away = platform.paasctl("apps", "--api", "http://127.0.0.1:9", check=False)
    assert away.returncode == 1 and "127.0.0.1:9" in away.stderr


def test_tokens_and_roles(platform, app):
    made = platform.json("tokens", "create", "--role", "developer", "--space", "default")
    token = made["token"]
    assert api(platform, "GET", f"/apps/{app.name}", token=token).status_code == 200
    problem(api(platform, "GET", "/tokens", token=token), 403)
    platform.paasctl("spaces", "create", "elsewhere")
    other = platform.json("tokens", "create", "--role", "developer", "--space", "elsewhere")
    problem(api(platform, "GET", f"/apps/{app.name}", token=other["token"]), 404)
    taken = api(platform, "PUT", f"/apps/{app.name}", token=other["token"], json={})
    assert "default" not in problem(taken, 409)["detail"]
    viewer = platform.json("tokens", "create", "--role", "viewer")
    assert api(platform, "GET", f"/apps/{app.name}", token=viewer["token"]).status_code == 200
    problem(api(platform, "PATCH", f"/apps/{app.name}/config", token=viewer["token"], json={"A": "1"}), 403)
    for record in (made, other, viewer):
        platform.paasctl("tokens", "revoke", record["id"])
        problem(api(platform, "GET", "/apps", token=record["token"]), 401)
    assert token not in platform.paasctl("events").stdout


def test_a_post_with_an_idempotency_key_is_done_once(platform, app):
    app.deploy(source="who")
    path, key = f"/apps/{app.name}/builds", str(uuid.uuid4())
    commit = app.json("builds")[0]["source"]["commit"]

    def post(path, document, key=key, token=None):
        return api(platform, "POST", path, token=token, json=document, headers={"Idempotency-Key": key})

    build = {"source": {"commit": commit}, "buildOnly": True}
    first, second = post(path, build), post(path, build)
    assert first.status_code == second.status_code == 202, (first.text, second.text)
    assert "Idempotency-Replayed" not in first.headers and second.headers["Idempotency-Replayed"] == "true"
    assert first.json()["id"] == second.json()["id"] and first.headers["Location"] == second.headers["Location"]
    problem(post(path, build | {"clearCache": True}), 422)
    problem(post(path, build, key="x" * 256), 400)
    wait_until(lambda: app.json("builds")[0]["state"] == "succeeded", 120, "the build")
    # The answer stays when what it told of has ended.
    assert post(path, build).headers["Idempotency-Replayed"] == "true"
    assert len(app.json("builds")) == 2
    made, again = (post("/tokens", {"role": "viewer"}, key="my tokens") for _ in range(2))
    assert made.status_code == again.status_code == 201 and made.json() == again.json()
    assert api(platform, "GET", "/whoami", token=again.json()["token"]).json()["token"] == made.json()["id"]
    assert [t["id"] for t in platform.json("tokens")].count(made.json()["id"]) == 1
    platform.paasctl("tokens", "revoke", made.json()["id"])


def test_ports(platform, app):
    app.deploy(source="who")
    app.paasctl("ports", "add", "second", "--protocol", "tcp", "--process", "web", "--target", "5000")
    wait_until(lambda: app.ask(port=app.port("second")).startswith("web.1"), 20)
    used = app.port("second")
    taken = app.paasctl("ports", "add", "third", "--protocol", "tcp", "--public", str(used), check=False)
    assert taken.returncode == 1 and str(used) in taken.stderr
    outside = app.paasctl("ports", "add", "third", "--protocol", "tcp", "--public", "53", check=False)
    assert outside.returncode == 1
    app.paasctl("ports", "remove", "second")
    wait_until(lambda: "second" not in [p["name"] for p in app.json("ports")], 10)


def test_logs(app):
    app.deploy(source="who")
    text = app.paasctl("logs", "-n", "50", "-p", "web", "-s", "app").stdout
    assert "app[web.1]: web.1@v1#" in text
    platform_lines = app.paasctl("logs", "-n", "50", "-s", "platform").stdout
    assert "web.1" in platform_lines
    app.write({"marker": "x"})
    app.commit()
    app.push()
    both = app.paasctl("logs", "-n", "200", "-s", "app").stdout
    assert "web.1@v1#" in both and "web.1@v2#" in both


def test_an_expired_token_is_refused(platform, app):
    expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=3)
    made = platform.json("tokens", "create", "--role", "viewer", "--expires", expires.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert api(platform, "GET", f"/apps/{app.name}", token=made["token"]).status_code == 200
    wait_until(lambda: api(platform, "GET", f"/apps/{app.name}", token=made["token"]).status_code == 401, 10, "the end of the token")
    assert "expired" in problem(api(platform, "GET", "/apps", token=made["token"]), 401)["detail"]
    refused = platform.paasctl("apps", "--token", made["token"], check=False)
    assert refused.returncode == 1 and "expired" in refused.stderr
    past = platform.paasctl("tokens", "create", "--role", "viewer", "--expires", "2020-01-01T00:00:00Z", check=False)
    assert past.returncode == 1 and "expires" in past.stderr.lower()


def test_a_used_up_range_of_ports_is_told(platform, app):
    """All of the range goes to apps of this test; the next port is refused in words, and one that is given back is given again."""
    app.deploy(source="who")
    low, high = platform.port_range
    fillers = []
    try:
        answer = None
        while answer is None or answer.status_code == 201:
            if not fillers or answer is None:
                fillers.append(f"t-fill-{len(fillers)}")
                assert api(platform, "PUT", f"/apps/{fillers[-1]}", json={}).status_code == 201
            for number in range(PORTS_OF_APP):
                port = {"protocol": "tcp", "process": "web"}
                answer = api(platform, "PUT", f"/apps/{fillers[-1]}/ports/p{number}", json=port)
                if answer.status_code != 201:
                    break
            else:
                answer = None
        detail = problem(answer, 422)["detail"]
        assert f"{low} to {high}" in detail and "PAAS_PORT_RANGE" in detail
        refused = app.paasctl("ports", "add", "more", "--protocol", "tcp", "--process", "web", check=False)
        assert refused.returncode == 1 and f"{low} to {high}" in refused.stderr
        assert app.ask().startswith("web.1@")
        assert api(platform, "DELETE", f"/apps/{fillers[0]}/ports/p0").status_code == 204
        app.paasctl("ports", "add", "more", "--protocol", "tcp", "--process", "web")
    finally:
        for name in fillers:
            platform.paasctl("apps", "delete", name, "--confirm", name, check=False)


# The most that an app may have.
PORTS_OF_APP = 50


def test_doctor_and_status(platform):
    status = platform.json("status")
    assert status["state"] == "up" and status["instance"] == platform.instance
    assert {c["name"]: c["state"] for c in status["components"]} == dict.fromkeys(["paasd", "postgres", "engine", "git", "router", "ssh"], "up")
    findings = platform.json("doctor")
    assert {"kernel", "OCI runtime", "cgroups"} <= {f["name"] for f in findings}
    # This host runs the tests, so nothing can be wrong with it.
    assert [f for f in findings if f["state"] == "failed"] == []
    assert platform.paasctl("doctor").returncode == 0
