"""The synonyms of EDA: from WordNet if its files are on this machine, otherwise from a table of words for people and clothes.

Nothing is downloaded. The files of WordNet (wndb(5WN)) are read directly: nltk's reader refuses folders outside its own search path and
folders without the file `lexnames`, such as Debian's.
"""

import json
import os
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from mals.errors import ModelMissing, UserError
from pretrain.data.eda import FUNCTION_WORDS, plain

OWN_TABLE = "synonyms.txt"  # in this package
PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
SUFFIX_RULES = {  # "suffix of the inflected form:suffix of the base form", WordNet's own rules (morphy(7WN))
    "noun": "s: ses:s ves:f xes:x zes:z ches:ch shes:sh men:man ies:y",
    "verb": "s: ies:y es:e es: ed:e ed: ing:e ing:",
    "adj": "er: est: er:e est:e",
    "adv": "",
}
NLTK_FOLDERS = ("/usr/share/nltk_data", "/usr/local/share/nltk_data", "/usr/lib/nltk_data", "/usr/local/lib/nltk_data", "~/nltk_data")
DEBIAN_FOLDER = "/usr/share/wordnet"
HOW_TO_INSTALL = (
    "install it with `apt-get install wordnet-base` or `python -m nltk.downloader wordnet`; NLTK_DATA or data.synonyms=DIR name its folder "
    "(with data.noun, or wordnet.zip); data.synonyms=own works without it"
)

Folder = Path | zipfile.Path


class SynonymTable(NamedTuple):
    """The synonyms of some words, and a phrase that says where they come from."""

    words: dict[str, list[str]]  # word -> its synonyms; words without synonyms are missing
    source: str


def find_synonyms(texts: Iterable[str], source: str = "auto") -> SynonymTable:
    """The synonyms of all words of some texts.

    `source` is "own" (the table in this package), "wordnet", "auto" (WordNet if it is installed, otherwise "own"), the folder or zip file
    of a WordNet, or a table file in the format of `parse_table`. Raises UserError if the source does not exist or cannot be read.
    """
    needed_words = sorted({word for text in texts for word in plain(text).split()} - FUNCTION_WORDS)
    if source == "own":
        return SynonymTable(_select(_own_table(), needed_words), "our own table")
    if source in ("auto", "wordnet"):
        folder = installed_wordnet()
        if folder is not None:
            return SynonymTable(read_wordnet(folder, needed_words), f"WordNet in {folder}")
        if source == "wordnet":
            raise ModelMissing(f"data.synonyms=wordnet: there is no WordNet on this machine; {HOW_TO_INSTALL}")
        return SynonymTable(_select(_own_table(), needed_words), "our own table, since WordNet is not installed")
    path = Path(source).expanduser()
    if path.is_dir() or path.suffix == ".zip":
        opened_folder = open_wordnet(path)
        if opened_folder is None:
            raise UserError(f"data.synonyms={source} holds no WordNet, there is no data.noun in it; {HOW_TO_INSTALL}")
        return SynonymTable(read_wordnet(opened_folder, needed_words), f"WordNet in {path}")
    if not path.is_file():
        raise UserError(f"data.synonyms={source} must be auto, own, wordnet, a file or a folder, and there is no file of that name")
    try:
        return SynonymTable(_select(parse_table(path.read_text(encoding="utf-8"), source), needed_words), source)
    except UnicodeDecodeError:
        raise UserError(f"{source} is not UTF-8 text") from None


def load_table(file: Path) -> SynonymTable:
    """The table that `save_table` wrote; raises UserError if the file is damaged."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return SynonymTable(content["words"], content["source"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{file} is damaged; remove it and the checkpoints beside it to start the training again") from None


def save_table(file: Path, table: SynonymTable) -> None:
    """Write the synonyms that a training uses into its folder, so that a resumed training uses the same."""
    file.write_text(json.dumps({"source": table.source, "words": table.words}, indent=0) + "\n", encoding="utf-8")


def parse_table(text: str, name: str) -> dict[str, list[str]]:
    """Lines of words that are synonyms of each other, separated by commas; `#` starts a comment. UserError for a line of one word."""
    table: dict[str, dict[str, None]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        group = [word for part in line.partition("#")[0].split(",") if (word := plain(part))]
        if len(group) == 1:
            raise UserError(f"{name}, line {number}: {group[0]} has no synonym; a line has words that are synonyms, separated by commas")
        for word in group:
            table.setdefault(word, {}).update(dict.fromkeys(other for other in group if other != word))
    return {word: list(others) for word, others in table.items()}


def installed_wordnet() -> Folder | None:
    """The WordNet in the folders of nltk's data or of Debian's package, None if there is none."""
    environment = [folder for folder in os.environ.get("NLTK_DATA", "").split(os.pathsep) if folder]
    folders = [*environment, *NLTK_FOLDERS]
    paths = [Path(folder).expanduser() / "corpora" / name for folder in folders for name in ("wordnet", "wordnet.zip")]
    opened = (open_wordnet(path) for path in (*paths, Path(DEBIAN_FOLDER)))
    return next((folder for folder in opened if folder is not None), None)


def open_wordnet(path: Path) -> Folder | None:
    """The folder of WordNet's files at a path, which may be a zip file or contain a folder `dict`; None if it has none."""
    if path.is_file() and path.suffix == ".zip":
        try:
            root = zipfile.Path(path)
        except zipfile.BadZipFile:
            raise UserError(f"{path} is not a complete zip file") from None
        return next((folder for folder in (root, *root.iterdir()) if (folder / "data.noun").is_file()), None)
    return next((folder for folder in (path, path / "dict", path / "wordnet") if (folder / "data.noun").is_file()), None)


def read_wordnet(folder: Folder, words: Sequence[str]) -> dict[str, list[str]]:
    """For each word the other members of all synsets of the word and of its base forms, sorted."""
    synonyms: dict[str, set[str]] = {}
    try:
        for part in PARTS_OF_SPEECH:
            forms_of = _base_forms(folder, part, words)
            members_of = _synset_members(folder, part, {form for forms in forms_of.values() for form in forms})
            for word, forms in forms_of.items():
                synonyms.setdefault(word, set()).update(name for form in forms for name in members_of.get(form, ()))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"the WordNet in {folder} cannot be read: {error}") from None
    return {word: others for word in words if (others := sorted(synonyms.get(word, set()) - {word, ""}))}


def _base_forms(folder: Folder, part: str, words: Sequence[str]) -> dict[str, list[str]]:
    """Each word itself and its possible base forms as this part of speech."""
    irregular: dict[str, list[str]] = {}
    if (folder / f"{part}.exc").is_file():
        for line in (folder / f"{part}.exc").read_text(encoding="utf-8").splitlines():
            word, *bases = line.split()
            irregular[word] = bases
    rules = [rule.partition(":") for rule in SUFFIX_RULES[part].split()]
    return {
        word: [word, *(irregular.get(word) or [word.removesuffix(end) + base for end, _, base in rules if word.endswith(end)])]
        for word in words
    }


def _synset_members(folder: Folder, part: str, lemmas: set[str]) -> dict[str, list[str]]:
    """For each lemma the words of all its synsets."""
    data, members = (folder / f"data.{part}").read_bytes(), {}
    for line in (folder / f"index.{part}").read_text(encoding="utf-8").splitlines():
        lemma = line.partition(" ")[0]
        if lemma in lemmas:
            fields = line.split()
            members[lemma] = [name for offset in fields[-int(fields[2]) :] for name in _names(data, int(offset))]
    return members


def _names(data: bytes, offset: int) -> list[str]:
    """The words of the synset at an offset, without the syntactic marker in brackets that adjectives may have."""
    fields = data[offset : data.index(b"\n", offset)].decode().split()
    return [plain(re.sub(r"\(.*\)", "", name)) for name in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]


def _own_table() -> dict[str, list[str]]:
    return parse_table((files(__package__) / OWN_TABLE).read_text(encoding="utf-8"), OWN_TABLE)


def _select(table: Mapping[str, list[str]], words: Sequence[str]) -> dict[str, list[str]]:
    return {word: table[word] for word in words if word in table}
