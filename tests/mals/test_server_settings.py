import pytest

from mals import settings
from mals.errors import UserError

SERVER = {"url": "http://localhost:8000/v1"}
CAPTIONER = {"backend": "openai", "model": "any", "revision": "1", "prompt": "what", "server": SERVER}


def checked(**changes):
    return settings.check({"caption": {"captioners": [{**CAPTIONER, **changes}]}})


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000/v1",
        "ftp://host/v1",
        "http://me:secret@host/v1",
        "http://host/v1?key=secret",
        "http://host:port/v1",
        "http:///v1",
        "http://host/v 1",
        "",
    ],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused_without_repeating_it(url):
    with pytest.raises(UserError, match="the url of a server is like http://localhost:8000/v1") as error:
        checked(server={"url": url})
    assert "secret" not in str(error.value)


def test_a_key_in_place_of_the_name_of_its_variable_is_refused_without_repeating_it():
    with pytest.raises(UserError, match="is the name of an environment variable") as error:
        checked(server={**SERVER, "key_env": "sk-secret"})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"server": None}, "needs a server; set server.url"),
        ({"revision": None}, "needs a revision: a label of yours"),
        ({"backend": "vlm"}, "asks no server; set its backend to openai"),
        ({"server": {**SERVER, "extra": {"messages": []}}}, "extra cannot hold messages"),
        ({"server": {**SERVER, "concurrency": 0}}, "concurrency"),
        ({"backend": "vlm", "server": None, "json_schema": {}}, "leave out json_schema"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_in_one_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        checked(**changes)
    assert "\n" not in str(error.value)


def test_a_server_of_images_takes_nothing_of_a_pipeline():
    tree = {"backend": "openai", "model": "any", "revision": "1", "server": SERVER}
    assert settings.check({"generate": tree}).generate.server.url == SERVER["url"]
    with pytest.raises(UserError, match=r"generate.lora is for diffusers"):
        settings.check({"generate": {**tree, "lora": {"model": "any"}}})
    with pytest.raises(UserError, match="generate of the backend openai needs a revision"):
        settings.check({"generate": {**tree, "revision": None}})


def test_the_end_of_an_address_and_single_settings_are_taken():
    tree = settings.assign({"caption": {"captioners": [CAPTIONER]}}, ["caption.captioners.0.server.url=https://host/v1/"])
    assert settings.check(tree).caption.captioners[0].server.url == "https://host/v1"
