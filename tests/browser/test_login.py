"""Two people, an admin and a stranger in Chromium: through a real OpenID provider, and through nginx with TLS."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from benchmarks.server import free_port
from core.errors import NotAllowed
from core.jobs import service
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.browser.conftest import expect, from_menu, in_chromium, new_page, settle, stand_still, wait_for
from tests.browser.forked_server import ForkedServer
from tests.pages.run_folders import make_run

pytestmark = in_chromium
PEOPLE = {"ana": "ana@lab.example", "ben": "ben@lab.example", "cleo": "cleo@lab.example", "eve": "eve@evil.example"}
SITE = """site:
  members: ["*@lab.example"]
  admins: [cleo@lab.example]
  people: {ana@lab.example: ana}
"""
UPLOAD = "fetch('_stcore/upload_file/of-nobody/1', { method: 'PUT', body: 'x' }).then((answer) => answer.status)"
SECRET = "the-proxy-and-the-lab-know-this"
Enter = Callable[[str, str], Any]  # (person, path) → their page at that path, signed in


@pytest.fixture
def hers(lab_folders: Path) -> Run:
    """A run that ana started from her shell, and that failed."""
    return make_run(RunStore(lab_folders / "runs"), state=RunState.FAILED, name="first", owner="ana")


def configured(folder: Path, site: str, streamlit: str = "", secrets: str = "") -> ForkedServer:
    """A server of a lab whose config.yaml is `site`, on a port that is known before it starts."""
    for path, text in (
        (folder / "project" / "config.yaml", site),
        (folder / ".streamlit" / "config.toml", streamlit),
        (folder / ".streamlit" / "secrets.toml", secrets),
    ):
        if text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    return ForkedServer(
        folder, {**os.environ, "LAB_PROJECT": str(folder / "project"), "NO_PROXY": "127.0.0.1,localhost"}
    )


@pytest.fixture
def through_oidc(lab_folders: Path, browser: Any, forks: None) -> Iterator[Enter]:
    """Signed in at a provider, by its own form, from the button of the lab."""
    provider = pytest.importorskip("oidc_provider_mock", reason="needs oidc-provider-mock (requirements-dev.txt)")
    if importlib.util.find_spec("authlib") is None:
        pytest.skip("needs Authlib (requirements-dev.txt)")
    known = [provider.User(sub=name, claims={"email": mail, "name": "ana"}) for name, mail in PEOPLE.items()]
    with provider.run_server_in_thread(user_claims=known) as running:
        port = free_port()
        secrets = f"""[auth]
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
cookie_secret = "{"c" * 40}"
client_id = "lab"
client_secret = "{"s" * 40}"
server_metadata_url = "http://localhost:{running.server_port}/.well-known/openid-configuration"
"""
        server = configured(lab_folders, SITE, secrets=secrets)
        server.port = port
        server.start()

        def enter(person: str, path: str) -> Any:
            page = new_page(browser)
            page.goto(f"{server.address}/{path}")
            page.get_by_text("Sign in to enter this lab.").wait_for()
            expect(page.locator("h1")).to_have_count(0)
            settle(page)
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("button", name=person, exact=True).first.click()
            page.wait_for_url(f"{server.address}/**")
            stand_still(page)
            page.goto(f"{server.address}/{path}")
            return page

        yield enter
        server.kill()


@pytest.fixture
def through_nginx(lab_folders: Path, browser: Any, forks: None) -> Iterator[Enter]:
    """Signed in by nginx, which speaks TLS, serves the lab below /lab, and adds login and secret."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None or shutil.which("openssl") is None:
        pytest.skip("needs nginx and openssl (Debian: apt-get install nginx-light openssl)")
    (lab_folders / "secret").write_text(SECRET)
    site = SITE + f"  login_secret_file: {lab_folders / 'secret'}\n"
    streamlit = '[server]\nbaseUrlPath = "lab"\ntrustedUserHeaders = \'{"X-Forwarded-Email": "email"}\'\n'
    server = configured(lab_folders, site, streamlit)
    server.start()
    port = free_port()
    proxy = proxied(nginx, lab_folders / "nginx", port, server)
    wait_for(lambda: answers(port), lambda: (lab_folders / "nginx" / "error.log").read_text())

    def enter(person: str, path: str) -> Any:
        page = new_page(browser, ignore_https_errors=True, http_credentials={"username": person, "password": "pass"})
        page.goto(f"https://localhost:{port}/lab/{path}")
        return page

    try:
        for path in ("/lab/", "/lab/runs", "/lab/_stcore/health"):  # past the proxy, with the header it would send
            request = urllib.request.Request(server.address + path, headers={"X-Forwarded-Email": PEOPLE["cleo"]})
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(request, timeout=180)
        yield enter
    finally:
        proxy.terminate()
        proxy.wait()
        server.kill()


def proxied(nginx: str, folder: Path, port: int, server: ForkedServer) -> subprocess.Popen[bytes]:
    """nginx with a made certificate, as docs/deployment.md describes it."""
    folder.mkdir()
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    (folder / "users").write_text("".join(f"{name}:{{PLAIN}}pass\n" for name in PEOPLE))
    mails = "".join(f"    {name} {mail};\n" for name, mail in PEOPLE.items())
    (folder / "nginx.conf").write_text(f"""user {"root" if os.getuid() == 0 else "nobody"};
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
daemon off;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $remote_user $login {{
{mails}  }}
  map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/cert.pem;
    ssl_certificate_key {folder}/key.pem;
    auth_basic "lab";
    auth_basic_user_file {folder}/users;
    location /lab/ {{
      proxy_pass http://127.0.0.1:{server.port};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-Email $login;
      proxy_set_header X-Lab-Secret {SECRET};
      proxy_read_timeout 1d;
      client_max_body_size 200m;
    }}
  }}
}}
""")
    return subprocess.Popen([nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL)


def answers(port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        urllib.request.urlopen(f"https://localhost:{port}/lab/", timeout=60, context=context)
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return True


def said(page: Any) -> str:
    """The words of the page, without the joiners that keep an address from becoming a link."""
    return str(page.get_by_test_id("stMainBlockContainer").inner_text()).replace("\u2060", "").strip()


@pytest.mark.parametrize("way", ["through_oidc", "through_nginx"])
def test_two_people_an_admin_and_a_stranger(
    way: str, hers: Run, lab_folders: Path, request: pytest.FixtureRequest
) -> None:
    enter: Enter = request.getfixturevalue(way)
    store, path = RunStore(lab_folders / "runs"), f"runs?run={hers.id}"

    stranger = enter("eve", path)
    stranger.get_by_text("is not a member of this lab").wait_for()
    stand_still(stranger)
    sentence = "eve@evil.example is not a member of this lab: ask one of its admins to add you"
    wait_for(lambda: re.fullmatch(rf"{re.escape(sentence)}[^\n]*", said(stranger)), lambda: said(stranger))
    expect(stranger.get_by_test_id("stMain").get_by_role("button")).to_have_count(0)
    answer = stranger.evaluate(UPLOAD)
    assert answer == 403, "strangers fill the memory of the server"

    ben = enter("ben", path)
    ben.get_by_role("heading", name="first").first.wait_for()
    stand_still(ben)
    expect(ben.get_by_role("button", name="Resume")).to_have_count(0)
    ben.get_by_text(re.compile(r"ben@\W?lab")).first.wait_for()
    with pytest.MonkeyPatch.context() as patch:  # what the page does not offer, the service refuses
        patch.setenv("LAB_PROJECT", str(lab_folders / "project"))
        with pytest.raises(NotAllowed):
            service.delete_run(store, hers.id, by="ben@lab.example")

    ana = enter("ana", path)
    ana.get_by_role("button", name="Resume").wait_for()
    ana.goto(urljoin(ana.url, "data"))
    with ana.expect_response(lambda answer: "upload_file" in answer.url) as sent:
        ana.locator("input[type=file]").first.set_input_files({"name": "a.zip", "mimeType": "", "buffer": b"none"})
    assert sent.value.ok

    cleo = enter("cleo", path)
    cleo.get_by_role("button", name="Resume").wait_for()
    menu, asked = cleo.get_by_role("button", name="more_vert"), cleo.get_by_text("Delete a run of ana?")
    from_menu(cleo, menu, cleo.get_by_role("button", name="Delete").first, asked.is_visible, "an admin is not asked")
    cleo.get_by_test_id("stDialog").get_by_role("button", name="Delete").click()
    wait_for(lambda: not store.list(), "an admin cannot delete it", seconds=120)
    told = Run(store.root / ".trash" / hers.id).events  # a moment after the folder has moved
    wait_for(lambda: [event["by"] for event in told()][-1:] == ["cleo@lab.example"], "its events do not name the admin")
