"""A shared memory that is too small for the batches of workers: one sentence with the ways on, before a worker dies of it."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mals.errors import CollectiveError, UserError
from pretrain.data import shared_memory
from pretrain.data.shared_memory import explain_no_room, require_room
from tests.conftest import environment
from tests.pretrain.packs import mals_list

SMALL = """
import json, shutil, sys
from pathlib import Path
import torch
from mals.errors import UserError
from pretrain.data.augment import ImageTransform
from pretrain.data.loader import Loader
from pretrain.data.rows import ImageTextPairs
from pretrain.data.shared_memory import Sent, received
from pretrain.data.tokenizers import WordPiece
from pretrain.gallery import Gallery
from pretrain.method import DataNeeds

LOOK = ImageTransform(384, 128)
pairs = ImageTextPairs.open([f"{sys.argv[1]}/g_attrs.json:{sys.argv[1]}/images"])
words = WordPiece.of(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])

def loader(batch, workers):
    return Loader(pairs, words, DataNeeds(), batch=batch, seed=1, workers=workers, transform=LOOK)

class Filling:
    # batches of 1.2 MB, each made while something else takes the shared memory, all but 0.6 MB of it

    def __len__(self):
        return 20

    def __getitem__(self, at):
        Path(f"/dev/shm/{at}").write_bytes(bytes(max(0, shutil.disk_usage("/dev/shm").free - 600_000)))
        return {"images": torch.zeros(1_200_000, dtype=torch.uint8)}

def outcome(batches):
    try:
        for step in range(20):
            next(batches)
        return "served"
    except StopIteration:
        return "served"
    except UserError as error:
        return str(error)

def gallery(workers):
    return Gallery(pairs, words, LOOK, batch=16, workers=workers).image_batches()

if __name__ == "__main__":
    results = {"too many": outcome(iter(loader(16, 4))), "none": outcome(iter(loader(16, 0))), "gallery": outcome(gallery(2))}
    filled = received(torch.utils.data.DataLoader(Sent(Filling()), batch_size=None, num_workers=1), 1_200_000)
    results |= {"gallery of none": outcome(gallery(0)), "filled": outcome(filled)}
    print(json.dumps(results))
"""


def test_a_small_shared_memory_ends_with_one_sentence_and_both_ways_on(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs of their own")
    mals_list(tmp_path, 64)
    (tmp_path / "small.py").write_text(SMALL)
    script = f"mount -t tmpfs -o size=8m none /dev/shm; '{sys.executable}' '{tmp_path}/small.py' '{tmp_path}'"
    ended = subprocess.run(["unshare", "-rm", "bash", "-c", script], env=environment(), capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
    results = json.loads(ended.stdout)
    assert results["none"] == results["gallery of none"] == "served"
    ways_on = "lower data.workers (--workers) to {}, or give it more, in Docker with --shm-size={}"
    start = "the shared memory /dev/shm has 8.4 MB free, and {} processes that read images need {} MB: "
    assert results["too many"] == start.format(4, "24.2") + ways_on.format(0, "32m")
    assert results["gallery"] == start.format(2, "56.8") + ways_on.format(0, "128m")
    assert results["filled"].startswith("the shared memory /dev/shm has ")
    assert "MB free, and a batch needs 1.2 MB: lower data.workers (--workers), or give it more" in results["filled"]


def test_the_number_of_workers_that_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 64_000_000)
    require_room(4, 2, 6_000_000, 0)
    with pytest.raises(UserError, match=r"has 64\.0 MB free, and 4 processes that read images need 80\.3 MB: .* to 2, or .*=128m$"):
        require_room(4, 2, 8_000_000, 0)
    with pytest.raises(UserError, match=r"to 0, or .*--shm-size=512m$"):
        require_room(1, 2, 88_000_000, 0)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(UserError, match=r"and 16 processes that read images need .* to 0, or .*--shm-size=512m$"):
        require_room(4, 2, 6_000_000, 2_000_000)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(CollectiveError):  # which the first process of the machine reports
        require_room(4, 2, 6_000_000, 2_000_000)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of"),
        OSError(errno.ENOSPC, "No space left on device"),  # of the lock of a queue
    ],
)
def test_an_error_for_want_of_room_is_the_same_sentence(error: Exception) -> None:
    with pytest.raises(UserError, match=r"^the shared memory /dev/shm is full .*: lower data\.workers .*--shm-size=1g$"), explain_no_room():
        raise error
    with pytest.raises(RuntimeError, match="shapes"), explain_no_room():
        raise RuntimeError("shapes differ")
    with pytest.raises(OSError, match="No space left"), explain_no_room():
        raise OSError(errno.ENOSPC, "No space left on device", "checkpoint")


def test_only_tensors_take_room() -> None:
    item = {"rows": torch.zeros(4, dtype=torch.int64), "text": {"ids": torch.zeros(2)}, "unreadable": {"a": "b"}, "parts": [torch.zeros(1)]}
    assert sum(tensor.nbytes for tensor in shared_memory._tensors(item)) == 32 + 8 + 4
