"""Miniatures of the public benchmarks, in the layouts in which their authors ship them: their file names, their fields, JPEG files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from tests.small.cells import attribute_values, small_jpeg

PA100K = [  # the attributes as annotation.mat spells them
    *("Female", "AgeOver60", "Age18-60", "AgeLess18", "Front", "Side", "Back", "Hat", "Glasses", "HandBag", "ShoulderBag", "Backpack"),
    *("HoldObjectsInFront", "ShortSleeve", "LongSleeve", "UpperStride", "UpperLogo", "UpperPlaid", "UpperSplice", "LowerStripe"),
    *("LowerPattern", "LongCoat", "Trousers", "Shorts", "Skirt&Dress", "boots"),
]
MARKET_TRAIN = [  # the fields of market_attribute.train
    *("age", "backpack", "bag", "handbag", "downblack", "downblue", "downbrown", "downgray", "downgreen", "downpink", "downpurple"),
    *("downwhite", "downyellow", "upblack", "upblue", "upgreen", "upgray", "uppurple", "upred", "upwhite", "upyellow", "clothes", "down"),
    *("up", "hair", "hat", "gender"),
]
MARKET_TEST = [  # those of market_attribute.test
    *("age", "backpack", "bag", "handbag", "clothes", "down", "up", "hair", "hat", "gender", "upblack", "upwhite", "upred", "uppurple"),
    *("upyellow", "upgray", "upblue", "upgreen", "downblack", "downwhite", "downpink", "downpurple", "downyellow", "downgray"),
    *("downblue", "downgreen", "downbrown"),
]
MARKET = [  # who, and what is not as of everybody: everybody is a man, adult, short-haired, in long sleeves and pants, with nothing
    (2, {"gender": 2, "age": 2, "hair": 2, "upred": 2, "downpink": 2, "clothes": 1}),
    (7, {"hat": 2, "backpack": 2, "up": 2, "down": 2, "upblack": 2, "downbrown": 2}),
    (1, {"age": 1, "bag": 2, "upgreen": 2, "downgray": 2}),
    (3, {"age": 4, "handbag": 2, "upyellow": 2, "downgreen": 2}),
]
RSTP_CAMERAS = (14, 3)


def shown(folder: Path, names: list[str]) -> None:
    """Image files of these names, each another one."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small_jpeg(name, 16, 32))


def written(file: Path, value: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))
    return file


def cuhk(folder: Path) -> Path:
    """Three persons; splits in no order, one image with three captions, names of several data sets, one of them no JPEG."""
    entries = [
        _cuhk("train", "CUHK01/0363004.jpg", 1, ["A man in red.", "He wears a red coat."]),
        _cuhk("test", "Market/1004_c1s4_056461_00.jpg", 12004, ["A woman with a bag.", "Her bag is blue."]),
        _cuhk("train", "cam_a/000_45.jpg", 1, ["A man with a bag.", "Red coat, black bag.", "Someone in red."]),
        _cuhk("val", "train_query/p11600_s14885.jpg", 11004, ["A boy.", "A boy in green."]),
        _cuhk("train", "train_query/p2_s3.jpg", 2, ["A tall woman.", "  "]),
    ]
    written(folder / "reid_raw.json", entries)
    shown(folder / "imgs", [entry["file_path"] for entry in entries])
    return folder


def _cuhk(split: str, path: str, person: int, captions: list[str]) -> dict[str, Any]:
    tokens = [text.lower().strip(".").split() for text in captions]
    return {"split": split, "captions": captions, "file_path": path, "processed_tokens": tokens, "id": person}


def cuhk_lists(folder: Path) -> Path:
    """The same data set as APTM has it: a training object a caption, a list of captions elsewhere."""
    lists = {"train": [], "val": [], "test": []}  # type: dict[str, list[dict[str, Any]]]
    cuhk(folder / "images" / "CUHK-PEDES")
    for entry in json.loads((folder / "images" / "CUHK-PEDES" / "reid_raw.json").read_text()):
        captions = entry["captions"] if entry["split"] == "train" else [entry["captions"]]
        path = f"imgs/{entry['file_path']}"
        lists[entry["split"]] += [{"image": path, "caption": text, "image_id": entry["id"]} for text in captions]
    (folder / "images" / "CUHK-PEDES" / "reid_raw.json").unlink()
    for split, entries in lists.items():
        written(folder / "data" / "finetune" / f"cuhk_{split}.json", entries)
    return folder


def icfg(folder: Path) -> Path:
    """Names of MSMT17, whose folders train and test are not the splits; a single caption each, in a list; one image listed twice."""
    paths = [
        ("train", "train/0000/0000_000_01_0303morning_0015_1.jpg", 0),
        ("train", "test/0627/0627_010_05_0303afternoon_1591_0.jpg", 1),
        ("train", "train/0000/0000_000_01_0303morning_0015_1.jpg", 0),
        ("test", "train/0005/0005_003_14_0303noon_0008_0_ex.jpg", 3102),
    ]
    entries = [_cuhk(split, path, person, [f"The person {at} wears a long blue coat."]) for at, (split, path, person) in enumerate(paths)]
    written(folder / "ICFG-PEDES.json", entries)
    shown(folder / "imgs", sorted({path for _, path, _ in paths}))
    return folder


def rstp(folder: Path) -> Path:
    """Two captions each; the camera is in the name; images under imgs/."""
    entries = [
        {
            "id": person,
            "img_path": f"{person:04d}_c{camera}_{at:04d}.jpg",
            "captions": [f"One of {person}.", f"Two of {at}."],
            "split": split,
        }
        for person, split in ((0, "train"), (1, "train"), (3701, "val"), (3901, "test"))
        for at, camera in enumerate(RSTP_CAMERAS)
    ]
    written(folder / "data_captions.json", entries)
    shown(folder / "imgs", [entry["img_path"] for entry in entries])
    return folder


def pa100k_values(at: int) -> list[int]:
    """26 zeros and ones."""
    return [(at * 7 + column * column) % 3 % 2 for column in range(26)]


PA100K_SIZES = {"train": 5, "val": 2, "test": 3}


def pa100k(folder: Path, order: list[str] = PA100K, inner: str = "data/release_data/release_data", single: bool = False) -> Path:
    """`annotation.mat` with cells of names and matrices of zeros and ones; `order` is that of the columns."""
    columns = [PA100K.index(name) for name in order]
    variables: dict[str, Any] = {"attributes": _cells(order)}
    at = 0
    for split, count in PA100K_SIZES.items():
        names = [f"{at + number + 1:06d}.jpg" for number in range(1 if single else count)]
        values = [[pa100k_values(at + number)[column] for column in columns] for number in range(len(names))]
        variables |= {f"{split}_images_name": _cells(names), f"{split}_label": np.array(values, np.uint8)}
        shown(folder / inner, names)
        at += len(names)
    (folder / "annotation").mkdir(parents=True, exist_ok=True)
    savemat(folder / "annotation" / "annotation.mat", variables)
    return folder


def pa100k_lists(folder: Path) -> Path:
    """The same as APTM's lists."""
    at = 0
    for split, count in PA100K_SIZES.items():
        names = [f"{at + number + 1:06d}.jpg" for number in range(count)]
        entries = [{"image": name, "label": pa100k_values(at + number)} for number, name in enumerate(names)]
        written(folder / f"PA100K_{split}.json", entries)
        shown(folder / "release_data", names)
        at += count
    return folder


def _cells(texts: list[str]) -> np.ndarray:
    """A column of cells, as MATLAB has lists of texts."""
    cells = np.empty((len(texts), 1), object)
    cells[:, 0] = texts
    return cells


def market(folder: Path) -> Path:
    """Persons 2 and 7 to train, 1 and 3 to test, distractors and junk, a file that is no image, the attributes beside."""
    names = {
        "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c3s1_000551_01.jpg", "0007_c2s3_070952_02.jpg"],
        "bounding_box_test": ["-1_c1s1_004051_04.jpg", "0000_c6s2_000151_01.jpg", "0001_c2s1_001976_01.jpg", "0003_c4s6_015641_04.jpg"],
        "query": ["0001_c1s1_001051_00.jpg", "0003_c1s6_015971_00.jpg"],
    }
    for part, files in names.items():
        shown(folder / part, files)
    (folder / "bounding_box_test" / "Thumbs.db").write_bytes(b"no image")
    savemat(folder / "market_attribute.mat", {"market_attribute": market_attributes()})
    return folder


def market_attributes() -> dict[str, Any]:
    """A struct of two structs with the same fields in two orders, values from 1 on, and the identities."""
    return {"test": _market(MARKET_TEST, MARKET[2:]), "train": _market(MARKET_TRAIN, MARKET[:2])}


def _market(fields: list[str], persons: list[tuple[int, dict[str, int]]]) -> dict[str, Any]:
    usual = {"age": 3, "clothes": 2}
    fields_of_all: dict[str, Any] = {
        name: np.array([[values.get(name, usual.get(name, 1)) for _, values in persons]], np.float64) for name in fields
    }
    return fields_of_all | {"image_index": _cells([f"{person:04d}" for person, _ in persons]).T}


def mals(folder: Path, count: int = 4) -> Path:
    """Two of the lists of MALS, whose names sort wrongly as texts, and their images."""
    for number in (2, 10):
        name = f"c_g_a_{number}"
        entries = [
            {
                "image": f"gene_crop/{name}/{at}.jpg",
                "caption": f"a person number {at} of {number}",
                "image_id": f"{name}_{at}",
                "label": attribute_values(at),
            }
            for at in range(count)
        ]
        written(folder / "gene_attrs" / f"g_{name}_attrs.json", entries)
        shown(folder / "images" / "MALS", [entry["image"] for entry in entries])
    return folder


def ufine6926(folder: Path, name: str = "UFine6926_Annotations_1024.json") -> Path:
    """Two captions each, one longer than a tokenizer reads; identities of train from 1 on; a path as Windows writes it."""
    long = "A woman in a red coat, " + "with a black bag and white shoes, " * 12 + "who walks."
    entries = [
        {"split": split, "id": person, "file_path": f"images/{number}.jpg", "captions": [f"{long} {number}", f"Someone in coat {number}."]}
        for number, (split, person) in enumerate((("train", 1), ("train", 1), ("train", 2), ("test", 4927), ("test", 4928)), 1)
    ]
    shown(folder, [entry["file_path"] for entry in entries])
    entries[2]["file_path"] = "images\\3.jpg"
    written(folder / name, entries)
    return folder


def ufine3c(folder: Path) -> Path:
    """Other numbers of captions for each image, from three sources, without the split in one object; persons numbered over all sources."""
    sources = (("CUHK-PEDES", 1), ("CUHK-PEDES", 1), ("ICFG-PEDES", 2), ("UFine6926", 3))
    entries = [
        {
            "id": person,
            "source": source,
            "split": "test",
            "file_path": f"images/{number}.jpg",
            "captions": [f"Style {style} of image {number}." for style in range(2 + number)],
        }
        for number, (source, person) in enumerate(sources, 1)
    ]
    del entries[0]["split"]
    written(folder / "UFine3C" / "UFine3C_Annotations.json", entries)
    shown(folder / "UFine3C", [f"images/{number}.jpg" for number in range(1, 5)])
    return folder


def tag(folder: Path, lists: str = "anno_dir") -> Path:
    """A list for each split, cam_id in some objects, no split in any, punctuation in captions; images under images/."""
    people = {"train": (("a/1.jpg", 12, 0), ("a/2.jpg", 12, 1), ("b/1.jpg", 13, None)), "test": (("a/9.jpg", 40, 0), ("c/9.jpg", 40, None))}
    for split, images in people.items():
        entries = []
        for image, person, view in images:
            captions = [f'A man (about 30): a "red" coat; black shoes! Image {image}.', f"The person {person} wears a blue T-shirt."]
            entries.append({"file_path": image, "id": person, **({} if view is None else {"cam_id": view}), "captions": captions})
        written(folder / lists / f"{split}_reid.json", entries)
        shown(folder / "images", [entry["file_path"] for entry in entries])
    return folder


def aeri(folder: Path) -> Path:
    """Paths with the set's name before them in the training list alone, a pair listed twice, a ground image of several pairs, one path of
    Windows; in the test fewer captions than images for one person, more for another, and a person without captions."""
    pairs = [(1, "aer/1.jpg", "gnd/1.jpg"), (1, "aer/2.jpg", "gnd/1.jpg"), (2, "aer/3.jpg", "gnd/2.jpg"), (1, "aer/1.jpg", "gnd/1.jpg")]
    train = [
        {
            "split": "train",
            "pid": person,
            "aerial_img": f"AERI-PEDES/{aerial}",
            "ground_img": f"AERI-PEDES/{ground}",
            "caption": f"A person from above, pair {number}.",
        }
        for number, (person, aerial, ground) in enumerate(pairs)
    ]
    train[2]["aerial_img"] = "AERI-PEDES\\aer\\3.jpg"
    people = [
        (9, ["A man in a red coat."], ["aer/7.jpg", "aer/8.jpg"], ["gnd/7.jpg"]),
        (10, ["A woman.", "A woman in blue.", "She has a bag."], ["aer/9.jpg", "aer/10.jpg"], ["gnd/8.jpg"]),
        (11, [], ["aer/11.jpg"], []),
    ]
    test = [
        {"split": "test", "pid": person, "captions": captions, "file_paths": aerial, "ground_file_paths": ground}
        for person, captions, aerial, ground in people
    ]
    written(folder / "train_caption.json", train)
    written(folder / "test_caption.json", test)
    shown(folder, [f"aer/{number}.jpg" for number in (1, 2, 3, 7, 8, 9, 10, 11)] + [f"gnd/{number}.jpg" for number in (1, 2, 7, 8)])
    return folder


def tbapr(folder: Path) -> Path:
    """Two sets whose persons have the same numbers, in every split anew; a pair listed twice, a ground image of two pairs, a folder as
    Windows writes it; in the test a person with fewer captions than images, one with more, and one with captions and no image."""
    trained = {
        "AG-ReID/agtext": [(0, "train", "a1"), (0, "train", "a2"), (1, "train", "a3"), (0, "train", "a1")],
        "G2APS-AG/g2aps": [(0, "train\\drone", "b1"), (1, "train", "b2")],
    }
    for name, pairs in trained.items():
        entries = [
            [person, number, [inner, f"{image}.jpg"], ["ground", f"{image[0]}_{person}.jpg"], f"Someone on {image}, pair {number}."]
            for number, (person, inner, image) in enumerate(pairs)
        ]
        written(folder / f"{name}_train.json", entries)
        own = name.partition("/")[0]
        images = [f"{inner}/{image}.jpg".replace("\\", "/") for _, inner, image in pairs]
        shown(folder / own, [*images, *(f"ground/{image[0]}_{person}.jpg" for person, _, image in pairs)])
        for split in ("val", "test"):
            lists = {
                "image_pids": [0, 0, 1],
                "img_paths": [[split, f"{at}.jpg"] for at in range(3)],
                "pair_img_paths": [["ground", f"{split}_{at}.jpg"] for at in (0, 0, 1)],
                "caption_pids": [0, 1, 1, 2],
                "captions": [f"One of {own}.", f"Two of {own}.", f"Two again of {own}.", "Nobody."],
            }
            written(folder / f"{name}_{split}.json", lists)
            shown(folder / own, ["/".join(path) for path in lists["img_paths"] + lists["pair_img_paths"]])
    return folder


def written_lines(file: Path, entries: list[dict[str, Any]]) -> Path:
    """A file with an object on each line, a blank line between."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n\n".join(map(json.dumps, entries)) + "\n")
    return file


def pab(folder: Path, pairs: int = 4) -> Path:
    """Two of the 75 lists of lines; partners without `train/`, one of them not listed; captions as a list in test and ucc alone."""
    for number in (2, 10):
        entries = []
        for at in range(pairs):
            own, other = (f"train/imgs_{number}/{kind}/{at}.jpg" for kind in ("goal", "full"))
            entries += [_pab(number, at, own, other, "normal", "walks"), _pab(number, at, other, own, "anomaly", "falls")]
        shown(folder, [entry["image"] for entry in entries])
        written_lines(folder / "annotation" / "train" / f"attr_{number}.json", entries)
    for split, persons in {"test": ("7", "8"), "ucc": ("3", "3", "4")}.items():
        tests = [
            {"image": f"{split}/{at}.jpg", "image_id": who, "caption": [f"{split} {who}, image {at}"]} for at, who in enumerate(persons)
        ]
        shown(folder, [entry["image"] for entry in tests])
        written_lines(folder / "annotation" / "test" / ("attr.json" if split == "test" else "ucc.json"), tests)
    return folder


def _pab(number: int, at: int, own: str, other: str, kind: str, action: str) -> dict[str, Any]:
    """A line of the training split."""
    other_action = "walks" if action == "falls" else "falls"
    return {
        "image": own,
        "caption": f"The image shows a person who {action} at place {at}",
        "image_id": f"{number}_{at if action == 'walks' else at + 100}",
        "hard_i": other.removeprefix("train/"),
        "hard_c": f"The image shows a person who {other_action} at place {at}",
        "hard_i_id": f"{number}_{at if action == 'falls' else at + 100}",
        "source_id": f"{at}_1",
        "source_caption": "someone in a street",
        kind: action,
        "scene": "street",
    }


def pab_challenge(folder: Path) -> Path:
    """The masked test set of 2026: the queries in lines, in another order than query_index.txt has."""
    shown(folder / "gallery", [f"{name * 15}.jpg" for name in "abcdefghijkl"])
    queries = {"x" * 15: "a person falls", "y" * 15: "a person walks", "z" * 15: "a person sits"}
    written_lines(folder / "query_text.json", [{"query_index": name, "caption": text} for name, text in queries.items()])
    (folder / "query_index.txt").write_text("\n".join(sorted(queries, reverse=True)) + "\n")
    return folder


def syntbpr(folder: Path) -> Path:
    """Two persons; back translations of one image, one of them blank; an object of a captioner, without id and with an absolute path."""
    entries = [
        {"id": 7, "file_path": "images_7_123_base.jpg", "captions": ["A man in red."], "captions_bt": ["A red man."]},
        {"id": 7, "file_path": "images_7_123_2.jpg", "captions": ["A man in red on a beach."], "captions_bt": [" "]},
        {"id": 12, "file_path": "images_12_4_base.jpg", "captions": ["A woman in blue.", "She wears blue."]},
        {"image_path": "/data/made/images_12_4_1.jpg", "captions": ["A woman in snow."], "split": "train", "InternVL_question": "?"},
    ]
    written(folder / "train_reid.json", entries)
    shown(folder / "images", [Path(entry.get("file_path") or entry["image_path"]).name for entry in entries])
    return folder


def syncpr(folder: Path) -> Path:
    """Three pairs in both directions, of two base texts; one object twice; a reference that is never a target."""
    entries = []
    for pair, (group, text) in enumerate([(0, "black"), (0, "black"), (2, "green")]):
        sides = [
            (f"test1/sub_img/img_{side}/{pair}-1_{side}.png", f"A person in {color}.") for side, color in (("left", text), ("right", "red"))
        ]
        for direction, (reference, target) in enumerate((sides, sides[::-1])):
            entries.append(_syncpr(reference, target, group + direction))
    entries += [entries[0], _syncpr(("test2/lonely.png", "Nobody."), (entries[0]["target_image_path"], "A person in red."), 0)]
    written(folder / "SynCPR.json", entries)
    shown(folder, sorted({entry["target_image_path"] for entry in entries}))
    return folder


def _syncpr(reference: tuple[str, str], target: tuple[str, str], group: int) -> dict[str, Any]:
    names = ("reference_image_path", "reference_caption", "target_image_path", "target_caption")
    return {**dict(zip(names, (*reference, *target), strict=True)), "edit_caption": f"Wearing {target[1][12:-1]}", "cpr_id": group}


def itcpr(folder: Path) -> Path:
    """Two queries of one person and one of another data set's person of the same id; an image twice, and distractors last."""
    gallery = [
        ("Celeb-reID/001/1_2_0.jpg", "Celeb-reID", 1, 1),
        ("Celeb-reID/001/1_70_0.jpg", "Celeb-reID", 1, 2),
        ("Celeb-reID/001/1_70_0.jpg", "Celeb-reID", 1, 2),
        ("PRCC/train/1/a.jpg", "PRCC", 1, 900),
        ("LAST/000000/1.jpg", "LAST", 0, -1),
        ("LAST/000001/2.jpg", "LAST", 1, -1),
    ]
    names = ("file_path", "datasets", "person_id", "instance_id")
    written(folder / "gallery.json", [dict(zip(names, entry, strict=True)) for entry in gallery])
    queries = [
        {"file_path": "Celeb-reID/001/1_1_0.jpg", "datasets": "Celeb-reID", "person_id": 1, "instance_id": 1, "caption": "Wearing a hat"},
        {"file_path": "Celeb-reID/001/1_1_0.jpg", "datasets": "Celeb-reID", "person_id": 1, "instance_id": 2, "caption": "Wearing red"},
        {"file_path": "PRCC/train/1/b.jpg", "datasets": "PRCC", "person_id": 1, "instance_id": 900, "caption": "Wearing blue jeans"},
        {"file_path": "PRCC/train/1/b.jpg", "datasets": "PRCC", "person_id": 1, "instance_id": 901, "caption": "Wearing nothing of this"},
    ]
    written(folder / "query.json", queries)
    shown(folder, sorted({entry[0] for entry in gallery}))
    return folder
