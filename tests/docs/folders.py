"""What the pages' examples find beside them: images, captions, a packed set, a trained method, under the names that the pages use."""

from pathlib import Path

from tests.pretrain.packs import packed
from tests.pretrain.releases import released
from tests.small.cells import small_jpeg

CAPTIONS = ["a man in a red shirt and blue jeans", "a young woman with long hair and a black handbag", "a girl in a white dress"]


def folders(folder: Path) -> Path:
    """Make them all in a folder."""
    (folder / "captions.txt").write_text("".join(f"{caption}\n" for caption in CAPTIONS))
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(small_jpeg(name, 32, 64))
    (folder / "photos").mkdir()
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (folder / "photos" / name).write_bytes(small_jpeg(name, 32, 64))
    data = packed(folder / "my-set", 60)
    released(folder / "my-aptm", data)
    return folder
