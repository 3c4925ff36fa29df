"""Where EDA's synonyms come from: WordNet, where its files are on this machine, or our own table of words for people and clothes.

Nothing is ever downloaded. WordNet's files (wndb(5WN)) are read as they are: nltk's reader refuses folders outside of its own places,
and those without its `lexnames`, such as Debian's.
"""

import json
import os
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from mals.errors import ModelMissing, UserError
from pretrain.data.eda import FUNCTION, plain

OWN = "synonyms.txt"  # of this package
PARTS = ("noun", "verb", "adj", "adv")
ENDS = {  # of inflected forms, and of what they are forms of: WordNet's own rules (morphy(7WN))
    "noun": "s: ses:s ves:f xes:x zes:z ches:ch shes:sh men:man ies:y",
    "verb": "s: ies:y es:e es: ed:e ed: ing:e ing:",
    "adj": "er: est: er:e est:e",
    "adv": "",
}
PLACES = ("/usr/share/nltk_data", "/usr/local/share/nltk_data", "/usr/lib/nltk_data", "/usr/local/lib/nltk_data", "~/nltk_data")
DEBIAN = "/usr/share/wordnet"
HOW = (
    "`apt-get install wordnet-base` or `python -m nltk.downloader wordnet` bring it, NLTK_DATA or data.synonyms=DIR tell where it is "
    "(a folder with data.noun, or wordnet.zip), and data.synonyms=own needs none"
)

Folder = Path | zipfile.Path


def synonyms(words: Iterable[str], source: str = "auto") -> tuple[dict[str, list[str]], str]:
    """The synonyms of those words that have some, and where they are from.

    `source` is own, wordnet, auto (WordNet where it is found, else own), a folder or zip of WordNet, or a file like our own.
    Raises UserError where there is no such thing.
    """
    wanted = sorted({part for word in words for part in plain(word).split()} - FUNCTION)
    if source == "own":
        return _only(table((files(__package__) / OWN).read_text(encoding="utf-8"), OWN), wanted), "our own table"
    if source in ("auto", "wordnet"):
        found = installed()
        if found is not None:
            return wordnet(found, wanted), f"WordNet in {found}"
        if source == "wordnet":
            raise ModelMissing(f"data.synonyms=wordnet: there is no WordNet on this machine; {HOW}")
        return synonyms(wanted, "own")[0], "our own table, for want of WordNet"
    path = Path(source).expanduser()
    if path.is_dir() or path.suffix == ".zip":
        given = opened(path)
        if given is None:
            raise UserError(f"data.synonyms={source} holds no WordNet, there is no data.noun in it; {HOW}")
        return wordnet(given, wanted), f"WordNet in {path}"
    if not path.is_file():
        raise UserError(f"data.synonyms={source} is neither auto, own nor wordnet, and no file or folder")
    try:
        return _only(table(path.read_text(encoding="utf-8"), source), wanted), source
    except UnicodeDecodeError:
        raise UserError(f"{source} is not UTF-8 text") from None


def read(file: Path) -> tuple[dict[str, list[str]], str]:
    """What `write` wrote; UserError where it is not that."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return told["words"], told["source"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{file} is damaged; without it, and the checkpoints beside it, the training begins anew") from None


def write(file: Path, words: Mapping[str, Sequence[str]], source: str) -> None:
    """As JSON."""
    file.write_text(json.dumps({"source": source, "words": words}, indent=0) + "\n", encoding="utf-8")


def table(text: str, name: str) -> dict[str, list[str]]:
    """Lines of words that stand for each other, commas between; UserError for a line of one."""
    found: dict[str, dict[str, None]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        group = [word for part in line.partition("#")[0].split(",") if (word := plain(part))]
        if len(group) == 1:
            raise UserError(f"{name}, line {number}: {group[0]} stands alone; a line has words that stand for each other, commas between")
        for word in group:
            found.setdefault(word, {}).update(dict.fromkeys(other for other in group if other != word))
    return {word: list(others) for word, others in found.items()}


def installed() -> Folder | None:
    """WordNet in the places of nltk's data, or of Debian's package."""
    given = [place for place in os.environ.get("NLTK_DATA", "").split(os.pathsep) if place]
    places = [Path(place).expanduser() / "corpora" / name for place in (*given, *PLACES) for name in ("wordnet", "wordnet.zip")]
    found = (opened(place) for place in (*places, Path(DEBIAN)))
    return next((one for one in found if one is not None), None)


def opened(path: Path) -> Folder | None:
    """The folder of WordNet's files at a path, which may be a zip or hold a folder `dict`; None where there is none."""
    if path.is_file() and path.suffix == ".zip":
        try:
            whole = zipfile.Path(path)
        except zipfile.BadZipFile:
            raise UserError(f"{path} is not a whole zip file") from None
        return next((one for one in (whole, *whole.iterdir()) if (one / "data.noun").is_file()), None)
    return next((one for one in (path, path / "dict", path / "wordnet") if (one / "data.noun").is_file()), None)


def wordnet(folder: Folder, words: Sequence[str]) -> dict[str, list[str]]:
    """What stands beside each word, or what it is a form of, in any of WordNet's synsets."""
    found: dict[str, set[str]] = {}
    try:
        for part in PARTS:
            forms = _forms(folder, part, words)
            synsets = _synsets(folder, part, {form for some in forms.values() for form in some})
            for word, some in forms.items():
                found.setdefault(word, set()).update(name for form in some for name in synsets.get(form, ()))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"the WordNet in {folder} cannot be read: {error}") from None
    return {word: others for word in words if (others := sorted(found.get(word, set()) - {word, ""}))}


def _forms(folder: Folder, part: str, words: Sequence[str]) -> dict[str, list[str]]:
    """Each word and what it may be a form of."""
    irregular: dict[str, list[str]] = {}
    if (folder / f"{part}.exc").is_file():
        for line in (folder / f"{part}.exc").read_text(encoding="utf-8").splitlines():
            word, *bases = line.split()
            irregular[word] = bases
    rules = [rule.partition(":") for rule in ENDS[part].split()]
    return {
        word: [word, *(irregular.get(word) or [word.removesuffix(end) + base for end, _, base in rules if word.endswith(end)])]
        for word in words
    }


def _synsets(folder: Folder, part: str, lemmas: set[str]) -> dict[str, list[str]]:
    """The words of all synsets of each lemma."""
    data, found = (folder / f"data.{part}").read_bytes(), {}
    for line in (folder / f"index.{part}").read_text(encoding="utf-8").splitlines():
        lemma = line.partition(" ")[0]
        if lemma in lemmas:
            fields = line.split()
            found[lemma] = [name for offset in fields[-int(fields[2]) :] for name in _names(data, int(offset))]
    return found


def _names(data: bytes, offset: int) -> list[str]:
    """The words of the synset at an offset; those of adjectives may tell in brackets where they stand."""
    fields = data[offset : data.index(b"\n", offset)].decode().split()
    return [plain(re.sub(r"\(.*\)", "", name)) for name in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]


def _only(known: Mapping[str, list[str]], words: Sequence[str]) -> dict[str, list[str]]:
    return {word: known[word] for word in words if word in known}
