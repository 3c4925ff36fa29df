"""Synonyms: WordNet's own files in every place where they lie, our own table, and what is said where there are none."""

import zipfile
from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.data import synonyms as source
from pretrain.data.synonyms import read, synonyms, table, write

SYNSETS = {
    "noun": [["shoe"], ["footgear", "shoe"], ["man", "adult_male"]],
    "verb": [["wear", "have_on"]],
    "adj": [["blue(a)", "bluish"], ["good", "beneficial"]],
    "adv": [["well", "good"]],
}
EXCEPTIONS = {"noun": "men man\n", "adj": "better good well\n"}


def wordnet(folder: Path) -> Path:
    """A few synsets as wndb(5WN) has them."""
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
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No WordNet of this machine."""
    monkeypatch.delenv("NLTK_DATA", raising=False)
    monkeypatch.setattr(source, "PLACES", ())
    monkeypatch.setattr(source, "DEBIAN", str(tmp_path / "none"))


EXPECTED = {
    "better": ["beneficial", "good"],
    "blue": ["bluish"],
    "men": ["adult male", "man"],
    "shoes": ["footgear", "shoe"],
    "wearing": ["have on", "wear"],
}


def test_wordnet_is_read_from_a_folder_a_zip_or_where_nltk_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["The men wearing", "Blue shoes", "better", "zebra"]
    folder = wordnet(tmp_path / "data/corpora/wordnet")
    assert synonyms(words, str(folder)) == (EXPECTED, f"WordNet in {folder}")
    with zipfile.ZipFile(tmp_path / "wordnet.zip", "w") as packed:
        for file in folder.iterdir():
            packed.write(file, f"wordnet/{file.name}")
    assert synonyms(words, str(tmp_path / "wordnet.zip"))[0] == EXPECTED
    monkeypatch.setenv("NLTK_DATA", str(tmp_path / "data"))
    assert synonyms(words, "wordnet") == synonyms(words, "auto") == (EXPECTED, f"WordNet in {folder}")


def test_without_wordnet_our_own_table_serves_and_says_so() -> None:
    words, told = synonyms(["a man in Blue trousers"])
    assert told == "our own table, for want of WordNet" and list(words) == ["blue", "man", "trousers"] and "pants" in words["trousers"]


def test_our_own_table_has_hundreds_of_words_none_of_them_its_own_synonym() -> None:
    words = table((Path(source.__file__).parent / source.OWN).read_text(), source.OWN)
    assert len([word for word in words if " " not in word]) > 500
    assert all(others and word not in others for word, others in words.items())


def test_a_table_of_ones_own_is_lines_of_words(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("# mine\nred, scarlet, Deep Red\n\nred, ruby\n")
    assert synonyms(["red"], str(tmp_path / "mine.txt"))[0] == {"red": ["scarlet", "deep red", "ruby"]}


def test_what_is_no_source_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "lonely.txt").write_text("red, scarlet\nblue\n")
    (tmp_path / "torn.zip").write_bytes(b"PK")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xff")
    wordnet(tmp_path / "torn")
    (tmp_path / "torn/data.noun").write_text("  1 licence\n")
    for given, said in {
        "wordnet": r"there is no WordNet on this machine; `apt-get install wordnet-base` or .* data\.synonyms=own needs none",
        str(tmp_path): "holds no WordNet, there is no data.noun in it",
        "wrodnet": "is neither auto, own nor wordnet, and no file or folder",
        str(tmp_path / "lonely.txt"): "line 2: blue stands alone",
        str(tmp_path / "torn.zip"): "is not a whole zip file",
        str(tmp_path / "binary.txt"): "is not UTF-8 text",
        str(tmp_path / "torn"): "cannot be read",
    }.items():
        with pytest.raises(UserError, match=said):
            synonyms(["shoes"], given)


def test_what_a_training_used_is_kept_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "synonyms.json", EXPECTED, "WordNet")
    assert read(tmp_path / "synonyms.json") == (EXPECTED, "WordNet")
    (tmp_path / "synonyms.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        read(tmp_path / "synonyms.json")
