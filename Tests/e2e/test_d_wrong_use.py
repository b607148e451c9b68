"""Wrong use gives a clear message and the right status or exit code."""

import requests


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
    taken = platform.paasctl("apps", "create", app.name, cwd="/", check=False)
    assert taken.returncode in (0, 1)
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


def test_ports(platform, app):
    app.deploy(source="who")
    app.paasctl("ports", "add", "second", "--protocol", "tcp", "--process", "web", "--target", "5000")
    from slipway import wait_until

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


def test_doctor_and_status(platform):
    status = platform.json("status")
    assert status
    doctor = platform.paasctl("doctor", check=False)
    assert doctor.returncode in (0, 1)
    assert "kernel" in doctor.stdout.lower()
