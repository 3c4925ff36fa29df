"""The page of search: what it asks a trained method, and what it says where there is no answer."""

import os
from pathlib import Path

import pytest

from mals.errors import UserError
from mals.look.run_source import RunSource
from mals.look.search import UPLOADS, Uploads, uploaded_file
from mals.look.set_source import SetSource
from pretrain.page_search import TrainedSearch
from pretrain.trained_method import read
from tests.mals.look.serving import ask, serving
from tests.small import cells

BOUNDARY = b"----Boundary7"


def form(data: bytes, name: bytes = b"a b.jpg") -> bytes:
    """A form with one file, as browsers send it."""
    head = b'Content-Disposition: form-data; name="image"; filename="' + name + b'"\r\nContent-Type: image/jpeg'
    return b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n--" + BOUNDARY + b"--\r\n"


@pytest.mark.parametrize("data", [bytes(range(256)), b"\r\n\n\r--x\r\n", os.urandom(100_000)])
def test_a_file_of_a_form_arrives_as_it_is(data: bytes) -> None:
    assert uploaded_file(f"multipart/form-data; boundary={BOUNDARY.decode()}", form(data)) == data


@pytest.mark.parametrize(
    ("kind", "body"), [("text/plain", b"x"), ("multipart/form-data", b""), ("multipart/form-data; boundary=x", form(b"a"))]
)
def test_a_form_without_a_file_is_a_sentence(kind: str, body: bytes) -> None:
    with pytest.raises(UserError, match="no image was chosen"):
        uploaded_file(kind, body)


def test_the_images_that_were_searched_for_last_are_kept() -> None:
    uploads = Uploads()
    names = [uploads.add(bytes([number])) for number in range(UPLOADS + 2)]
    assert uploads.get(names[-1]) == bytes([UPLOADS + 1]) and uploads.add(b"\x05") == names[5]
    with pytest.raises(UserError, match="not kept any more"):
        uploads.get(names[0])


def test_every_kind_of_query_is_answered_by_each_method(data: Path, out: Path) -> None:
    source = SetSource(str(data))
    methods = [TrainedSearch(name, read(str(out)), source) for name in ("one", "other")]
    with serving(source, methods=methods) as address:
        assert "are being embedded" in ask(f"{address}/search").text or methods[0].state().ready
        for method in methods:
            assert method.wait().ready
        empty = ask(f"{address}/search").text
        assert "<figure" not in empty and 'hx-get="' not in empty.split('id="results"')[1][:60]
        page = ask(f"{address}/search?text=a+man+in+a+red+shirt%0D%0A%0D%0Aa+woman&top=12").text
        assert page.count("<figure") == 2 * 2 * 12 and page.count('class="evidence"') == 48
        assert page.index("<h2>one</h2>") < page.index("<h2>other</h2>") and "Words that raise the scores" in page
        both = ask(f"{address}/search?attribute=hat%3Dyes&attribute=").text
        assert both.count("<figure") == 24 and '<option value="hat=yes" selected>' in both and "hits have all attributes" in both
        own = ask(f"{address}/search?row=3").text
        assert own.index("/thumbnail/3.jpg", own.index('id="results"')) < own.index("/image/", own.index("/image/3") + 8)
        sent = ask(
            f"{address}/search/image",
            {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}", "origin": address, "sec-fetch-site": "same-origin"},
            form(source.image(3) or b""),
        )
        assert sent.code == 303 and sent.headers["location"].startswith("/search?upload=")
        name = sent.headers["location"].partition("=")[2]
        assert ask(address + sent.headers["location"]).text.count("<figure") == 24
        assert ask(f"{address}/upload/{name}.jpg").data.startswith(b"\xff\xd8")


def test_what_cannot_be_searched_for_is_a_sentence(data: Path, out: Path) -> None:
    source = SetSource(str(data))
    method = TrainedSearch("one", read(str(out)), source)
    assert method.wait().ready
    own = {"origin": "", "content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    with serving(source, methods=[method]) as address:
        sentences = {
            "/search?attribute=hut%3Dyes": "the attributes of market1501 are",
            "/search?row=x": "is no number of a row",
            "/search?row=999": "there is no row 999",
            "/search?upload=abc": "is not kept any more",
            "/search?text=" + "a%0A" * 13: "are too many for a page",
        }
        for path, sentence in sentences.items():
            answer = ask(address + path)
            assert sentence in answer.text and "Traceback" not in answer.text, path
        refused = ask(f"{address}/search/image", own | {"origin": address}, form(b"no image"))
        assert refused.code == 409 and "cannot be read as an image" in refused.text
        assert ask(f"{address}/search/image", own | {"origin": "http://elsewhere"}, form(b"x")).code == 403
        assert ask(f"{address}/search/image").code == 405
    with serving(source) as address:
        assert ask(f"{address}/search").code == 404 and 'href="/search' not in ask(address).text


def test_a_run_without_kept_rows_says_so_and_an_image_of_it_links_to_its_search(out: Path, tmp_path: Path) -> None:
    run = cells.planned_run(tmp_path / "run", 20)
    source = RunSource(run.store.url)
    method = TrainedSearch("one", read(str(out)), source)
    with serving(source, methods=[method]) as address:
        method.wait()
        assert "no row of" in ask(f"{address}/search").text and "is kept yet" in ask(f"{address}/search?text=a+man").text
        assert 'href="/search?row=1"' in ask(f"{address}/image/1").text
        assert "has no image to search for" in ask(f"{address}/search?row=1").text
