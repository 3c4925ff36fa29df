"""Synonyms: from WordNet's files in each supported folder and from our own table; the messages if there are none."""

import zipfile
from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.data import synonyms
from pretrain.data.synonyms import SynonymTable, find_synonyms, load_table, parse_table, save_table

SYNSETS = {
    "noun": [["shoe"], ["footgear", "shoe"], ["man", "adult_male"]],
    "verb": [["wear", "have_on"]],
    "adj": [["blue(a)", "bluish"], ["good", "beneficial"]],
    "adv": [["well", "good"]],
}
EXCEPTIONS = {"noun": "men man\n", "adj": "better good well\n"}


def wordnet(folder: Path) -> Path:
    """A few synsets in the format wndb(5WN)."""
    folder.mkdir(parents=True)
    for part, synsets in SYNSETS.items():
        data, offsets = "  1 licence\n", {}
        for names in synsets:
            for name in names:
                offsets.setdefault(name.partition("(")[0], []).append(f"{len(data):08d}")
            words = " ".join(f"{name} 0" for name in names)
            data += f"{len(data):08d} 00 {part[0]} {len(names):02x} {words} 000 | gloss\n"
        index = [f"{name} {part[0]} {len(at)} 1 @ {len(at)} 0 {' '.join(at)}  " for name, at in sorted(offsets.items())]
        (folder / f"data.{part}").write_text(data)
        (folder / f"index.{part}").write_text("\n".join(["  1 licence", *index]) + "\n")
        (folder / f"{part}.exc").write_text(EXCEPTIONS.get(part, ""))
    return folder


@pytest.fixture(autouse=True)
def no_installed_wordnet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide a WordNet that this machine may have."""
    monkeypatch.delenv("NLTK_DATA", raising=False)
    monkeypatch.setattr(synonyms, "NLTK_FOLDERS", ())
    monkeypatch.setattr(synonyms, "DEBIAN_FOLDER", str(tmp_path / "none"))


EXPECTED = {
    "better": ["beneficial", "good"],
    "blue": ["bluish"],
    "men": ["adult male", "man"],
    "shoes": ["footgear", "shoe"],
    "wearing": ["have on", "wear"],
}


def test_wordnet_is_read_from_a_folder_a_zip_file_or_the_folder_of_nltk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["The men wearing", "Blue shoes", "better", "zebra"]
    folder = wordnet(tmp_path / "data/corpora/wordnet")
    assert find_synonyms(words, str(folder)) == (EXPECTED, f"WordNet in {folder}")
    with zipfile.ZipFile(tmp_path / "wordnet.zip", "w") as packed:
        for file in folder.iterdir():
            packed.write(file, f"wordnet/{file.name}")
    assert find_synonyms(words, str(tmp_path / "wordnet.zip"))[0] == EXPECTED
    monkeypatch.setenv("NLTK_DATA", str(tmp_path / "data"))
    assert find_synonyms(words, "wordnet") == find_synonyms(words, "auto") == (EXPECTED, f"WordNet in {folder}")


def test_without_wordnet_our_own_table_is_used_and_named() -> None:
    words, origin = find_synonyms(["a man in Blue trousers"])
    assert (
        origin == "our own table, since WordNet is not installed"
        and list(words) == ["blue", "man", "trousers"]
        and "pants" in words["trousers"]
    )


def test_our_own_table_has_hundreds_of_words_and_no_word_is_its_own_synonym() -> None:
    words = parse_table((Path(synonyms.__file__).parent / synonyms.OWN_TABLE).read_text(), synonyms.OWN_TABLE)
    assert len([word for word in words if " " not in word]) > 500
    assert all(others and word not in others for word, others in words.items())


def test_a_table_file_has_lines_of_synonyms(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("# mine\nred, scarlet, Deep Red\n\nred, ruby\n")
    assert find_synonyms(["red"], str(tmp_path / "mine.txt"))[0] == {"red": ["scarlet", "deep red", "ruby"]}


def test_a_source_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "lonely.txt").write_text("red, scarlet\nblue\n")
    (tmp_path / "torn.zip").write_bytes(b"PK")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xff")
    wordnet(tmp_path / "torn")
    (tmp_path / "torn/data.noun").write_text("  1 licence\n")
    for source, message in {
        "wordnet": r"no WordNet on this machine; install it with `apt-get install .* data\.synonyms=own works without it",
        str(tmp_path): "holds no WordNet, there is no data.noun in it",
        "wrodnet": "must be auto, own, wordnet, a file or a folder, and there is no file of that name",
        str(tmp_path / "lonely.txt"): "line 2: blue has no synonym",
        str(tmp_path / "torn.zip"): "is not a complete zip file",
        str(tmp_path / "binary.txt"): "is not UTF-8 text",
        str(tmp_path / "torn"): "cannot be read",
    }.items():
        with pytest.raises(UserError, match=message):
            find_synonyms(["shoes"], source)


def test_the_synonyms_of_a_training_are_saved_and_loaded(tmp_path: Path) -> None:
    save_table(tmp_path / "synonyms.json", SynonymTable(EXPECTED, "WordNet"))
    assert load_table(tmp_path / "synonyms.json") == (EXPECTED, "WordNet")
    (tmp_path / "synonyms.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        load_table(tmp_path / "synonyms.json")
