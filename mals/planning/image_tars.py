"""Images in uncompressed tar files: WebDataset shards, or any tar of images.

A WebDataset sample is a run of members whose names agree up to the first dot of the last part: KEY.jpg, KEY.txt (a caption), KEY.json.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import IO

from mals.errors import UserError
from mals.planning.image_files import (
    CAPTION,
    FACTS,
    ImageFile,
    caption_of,
    decode_text,
    ignored,
    is_image,
    json_object,
    kind_of,
)
from mals.planning.image_source import file_address, open_file, printable, tar_address

Member = tuple[str, int, int, bytes | None]  # name, offset, size, and the content of a caption or of facts


def tar_images(path: str, name: str, left_out: Counter[str]) -> Iterator[ImageFile]:
    """The images of the tar at `path`, which is called `name` in its collection; other members are counted in `left_out`."""
    address = file_address(path)
    try:
        with open_file(address) as file:
            for _, members in groupby(_members(file, left_out), key=lambda member: _key(member[0])):
                yield from _sample(list(members), address, name, left_out)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{printable(path)} cannot be read as an uncompressed tar: {error}; unpack it, or get it again") from None


def _members(file: IO[bytes], left_out: Counter[str]) -> Iterator[Member]:
    with tarfile.open(fileobj=file, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined] # tarfile would keep every member in memory
            if member.isdir():
                continue
            name = member.name.removeprefix("./").lstrip("/")
            if not member.isfile():
                left_out["link in a tar"] += 1
            elif reason := next((reason for part in name.split("/") if (reason := ignored(part))), None):
                left_out[reason] += 1
            else:
                small = name.endswith((CAPTION, FACTS)) and (content := tar.extractfile(member)) is not None
                yield name, member.offset_data, member.size, content.read() if small and content else None


def _key(name: str) -> str:
    """The name up to the first dot of its last part."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _sample(members: list[Member], address: str, tar_name: str, left_out: Counter[str]) -> Iterator[ImageFile]:
    """The images among members with one key; the caption and the facts are those of the same stem, or else those of the key."""
    contents = {name: content for name, _, _, content in members if content is not None}
    used = set()
    images = [member for member in members if is_image(member[0])]
    exact = [member for member in images if member[0].rpartition(".")[0] == _key(member[0])]
    left_out["further image of a WebDataset sample"] += len(images) - len(exact or images)
    for name, offset, size, _ in exact or images:
        stems = dict.fromkeys((name.rpartition(".")[0], _key(name)))
        texts, jsons = ([stem + suffix for stem in stems if stem + suffix in contents][:1] for suffix in (CAPTION, FACTS))
        used |= {*texts, *jsons}
        text = decode_text(contents[texts[0]]) if texts else None
        facts = json_object(contents[jsons[0]]) if jsons else None
        left_out["caption that is no text"] += bool(texts) and text is None
        left_out["facts that are no JSON object"] += bool(jsons) and facts is None
        folder = name.rpartition("/")[0]
        yield ImageFile(f"{tar_name}/{name}", tar_address(address, offset, size), folder, caption_of(text), facts or {})
    left_out.update(kind_of(name) for name, *_ in members if not is_image(name) and name not in used)
