"""Who may ask for a page, and who may not."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mals.look.folder_source import FolderSource
from mals.look.security import COOKIE, HEADERS, is_loopback, same_origin
from tests.mals.look.serving import ask, serving
from tests.small import cells


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    (tmp_path / "one.jpg").write_bytes(cells.small_jpeg("one", 16, 32))
    return FolderSource(str(tmp_path))


def test_another_host_name_is_refused(source: FolderSource) -> None:
    with serving(source) as address:
        port = urlsplit(address).port
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost", f"[::1]:{port}"):
            assert ask(address, {"Host": host}).code == 200
        for host in (f"attacker.example:{port}", "127.0.0.1.attacker.example", "localhost.attacker.example", ""):
            assert ask(address, {"Host": host}).code == 421


def test_every_answer_has_the_strict_headers(source: FolderSource) -> None:
    with serving(source) as address:
        for page in ("/", "/nothing", "/thumbnail/0.jpg", "/static/look.js", "/images?least=x"):
            headers = ask(address + page).headers
            assert {name: headers[name] for name in HEADERS} == HEADERS
        for page in ("/", "/images", "/image/0"):
            text = ask(address + page).text
            assert " style=" not in text and "<style" not in text and "onclick" not in text and "<script>" not in text
            assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text


def test_elsewhere_the_token_is_needed_and_a_cookie_takes_its_place(source: FolderSource) -> None:
    with serving(source, "secret-token") as address:
        assert ask(address + "/images").code == 401
        assert ask(address + "/images?token=other").code == 401
        assert ask(address + "/thumbnail/0.jpg", {"Cookie": f"{COOKIE.format(port=urlsplit(address).port)}=other"}).code == 401
        answer = ask(address + "/images?token=secret-token&text=coat&text=hat")
        assert answer.code == 303 and answer.headers["location"] == "/images?text=coat&text=hat"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
        assert ask(address + "/images", {"Cookie": cookie.split(";")[0], "Host": "set.example"}).code == 200
        assert ask(address + "//attacker.example?token=secret-token").headers["location"] == "/attacker.example"


def test_two_servers_of_one_machine_have_cookies_of_their_own(source: FolderSource) -> None:
    with serving(source, "one") as first, serving(source, "two") as second:
        cookies = [
            ask(f"{address}/?token={token}").headers["set-cookie"].split(";")[0] for address, token in ((first, "one"), (second, "two"))
        ]
        assert [ask(address, {"Cookie": "; ".join(cookies)}).code for address in (first, second)] == [200, 200]
        assert ask(first, {"Cookie": cookies[1]}).code == 401


def test_a_request_of_another_page_changes_nothing(source: FolderSource) -> None:
    with serving(source) as address:
        for headers in ({}, {"Origin": "http://attacker.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            assert ask(address + "/images", headers, b"x=1").code == 403
        assert ask(address + "/images", {"Origin": address}, b"x=1").code == 405


def test_the_origin_must_be_the_host() -> None:
    assert same_origin({"origin": "http://localhost:8710", "host": "localhost:8710"})
    assert not same_origin({"origin": "http://localhost:9999", "host": "localhost:8710"})
    assert not same_origin({"origin": "http://localhost:8710", "host": "localhost:8710", "sec-fetch-site": "same-site"})
    assert same_origin({"sec-fetch-site": "same-origin", "host": "localhost:8710"})
    assert is_loopback("127.0.0.1") and not is_loopback("0.0.0.0")
