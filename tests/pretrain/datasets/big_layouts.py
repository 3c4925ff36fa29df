"""Miniatures of the large captioned sets, in the layouts in which their authors ship them, with their awkward parts."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.pretrain.datasets.layouts import shown, written

SYNTH = ["Part1/4/0.jpg", "Part1/4/1.jpg", "Part1/5/0.jpg", "Part11/9/0.jpg"]
LUPERSON = ["a1.jpg", "b2.jpg", "c3.jpg"]  # base names of the images that are here


def synth_pedes(folder: Path, count: int = 0) -> Path:
    """Images of three persons, one listed twice, one with attributes that are not six, one in another folder; `count` more of a person."""
    entries: list[dict[str, Any]] = [
        _synth(4, SYNTH[0], "woman,brown hair,red coat,black trousers,white shoes,unknown", ["A woman in red.", "She wears a red coat."]),
        _synth(
            4, SYNTH[1].replace("/", "\\"), "woman,brown hair,red coat,black trousers,unknown,unknown", ["A woman.", " ", "A red coat."]
        ),
        _synth(5, SYNTH[2], "man,black hair,green shirt, shorts and socks,blue jeans,black shoes,backpack", ["A man in green."]),
        _synth(4, SYNTH[0], "woman,brown hair,red coat,black trousers,white shoes,unknown", ["A woman again."]),
        _synth(9, SYNTH[3], "unknown,unknown,unknown,unknown,unknown,unknown", ["Somebody.", "A person."]),
    ]
    entries += [_synth(10, f"Part2/10/{at}.jpg", "man,,,,,bag", [f"A man {at}.", "A man with a bag."]) for at in range(count)]
    written(folder / "synthpedes_dataset.json", entries)
    shown(folder, [*SYNTH, *(f"Part2/10/{at}.jpg" for at in range(count))])
    return folder


def _synth(person: int, path: str, attributes: str, captions: list[str]) -> dict[str, Any]:
    prompt = [f"A {attributes.split(',', 1)[0]}."]
    return {"id": person, "file_path": path, "attributes": [attributes], "captions": captions, "prompt_caption": prompt}


def luperson_mllm(folder: Path) -> Path:
    """Four files in different orders, one without an image's caption, damaged captions, an image that is not here, a base name twice."""
    files = {
        "Ts-qwen": {"x/y/a1.jpg": "A man in black.", "x/y/b2.jpg": "A woman in <unk>.", "x/gone.jpg": "A child.", "z/a1.jpg": "A boy."},
        "Td-qwen": {"x\\y\\a1.jpg": "The man wears a coat [clothing description].", "x/y/c3.jpg": "A [footwear description] man."},
        "Ts-shikra": {"y/b2.jpg": "A lady with a bag.", "y/a1.jpg": "A man with black hair."},
        "Td-shikra": {
            "/data0/imgs/c3.jpg": "A man walks.",
            "/data0/imgs/b2.jpg": "A lady <b>walks</b>.",
            "/data0/imgs/a1.jpg": "Black hair.",
        },
    }
    for name, captions in files.items():
        written(folder / "caption" / f"{name}.json", captions)
    shown(folder / "LUPerson-MLLM", LUPERSON)
    shown(folder / "more", ["a1.jpg"])  # another image of the same base name
    return folder


def ham_pedes(folder: Path) -> Path:
    """Paths as they lay with the authors and as they lie in SYNTH-PEDES, one caption alone, an image that is not here."""
    captions = {
        "Part1/4/0.jpg": ["A woman in red.", "The woman wears a red coat."],
        "/root/SYNTH-PEDES/Part1/4/1.jpg": ["A woman.", "The woman has brown hair."],
        "SYNTH-PEDES\\Part11\\9\\0.jpg": ["A person.", ""],
        "Part3/8/1.jpg": ["A man.", "The man."],
    }
    written(folder / "random100w_2HAMcaptions.json", captions)
    shown(folder / "SYNTH-PEDES", SYNTH)
    return folder


def webperson(folder: Path) -> Path:
    """Two lists, of which the longer one counts; "/n" for line breaks and in words, an empty caption, an image that is not here."""
    entries = [
        {"000/1.jpg": {"caption1": "A man./nHe wears a black/navy coat./n", "caption2": "A man in black /n and blue."}},
        {"000/2.jpg": {"caption1": "A woman in green.", "caption2": ""}},
        {"001\\3.jpg": {"caption1": "A child.", "caption2": "A child in yellow."}},
        {"001/4.jpg": {"caption1": "A man.", "caption2": "A man with a hat."}},
    ]
    written(folder / "100w.json", entries)
    written(folder / "10w.json", entries[:1])
    shown(folder / "images", ["000/1.jpg", "000/2.jpg", "001/3.jpg"])
    return folder


def webperson_tables(folder: Path) -> Path:
    """The same images as the release on the hub has them: two Parquet files with their images, one image null, one no image."""
    shown(folder / "images", ["000/1.jpg", "000/2.jpg", "001/3.jpg"])
    rows = [
        ("000/1.jpg", "A man./nHe wears a black/navy coat./n", "A man in black /n and blue."),
        ("000/2.jpg", "A woman in green.", ""),
        ("001\\3.jpg", "A child.", "A child in yellow."),
        ("001/4.jpg", "A man.", "A man with a hat."),
        ("001/5.jpg", "A boy.", None),
    ]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", struct), ("image_path", pa.string()), ("caption1", pa.string()), ("caption2", pa.string())])
    (folder / "data").mkdir()
    for number, part in enumerate((rows[:2], rows[2:])):
        table = []
        for path, one, two in part:
            file = folder / "images" / path.replace("\\", "/")
            data = file.read_bytes() if file.is_file() else b"no image" if path.endswith("5.jpg") else None
            image = None if data is None else {"bytes": data, "path": None}
            table.append({"image": image, "image_path": path, "caption1": one, "caption2": two})
        pq.write_table(pa.Table.from_pylist(table, schema=schema), folder / "data" / f"train-0000{number}-of-00002.parquet")
    shutil.rmtree(folder / "images")
    return folder


MADE = {"synth-pedes": synth_pedes, "luperson-mllm": luperson_mllm, "ham-pedes": ham_pedes, "webperson": webperson}
