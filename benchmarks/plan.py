"""Seconds and memory to plan: `python -m benchmarks.plan [captions|images] [ROWS]`, one JSON line each.

captions  1.5 million captions of about 27 words, as MALS has. Prompts are counted with a byte-pair tokenizer of CLIP's file format, trained
          here on the first captions with room for 20,000 pieces: CLIP's own vocabulary cannot be had without a network
images    `--ingest` of a million files in folders of 100, in their order and shuffled; the files are empty, since none is opened
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
COLORS = "black white red purple yellow blue green gray pink brown orange navy beige maroon teal khaki".split()  # noqa: SIM905
TOPS = "shirt jacket coat sweater hoodie blouse t-shirt cardigan vest blazer tank-top polo".split()  # noqa: SIM905
BOTTOMS = "jeans trousers shorts skirt leggings pants slacks sweatpants".split()  # noqa: SIM905
PLACES = ["a crowded street", "a quiet park", "a shopping mall", "a bus stop in the rain", "the entrance of an office", "a wooden bench"]


def caption(draw: random.Random) -> str:
    """A caption of about 27 words with a name of its own in it, so that words do not all repeat."""
    person = draw.choice(["man", "woman", "young woman", "old man", "boy", "girl"])
    top, under, below = (f"{draw.choice(COLORS)} {draw.choice(garments)}" for garments in (TOPS, TOPS, BOTTOMS))
    worn = f"a {top} over a {under} and {below}"
    name = "".join(draw.choices("bcdfglmnprstv", k=3)) + "".join(draw.choices("aeiou", k=2))
    return f"a {person} called {name} wearing {worn} is walking along {draw.choice(PLACES)} with a {draw.choice(COLORS)} bag in one hand"


def tokenizer(folder: Path, texts: list[str]) -> None:
    """A model folder with nothing but a tokenizer that AutoTokenizer loads as CLIP's."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    bpe = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<|startoftext|>", "<|endoftext|>"]
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=20_000, special_tokens=special, end_of_word_suffix="</w>"))
    state = json.loads(bpe.to_str())["model"]
    merges: Any = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in state["merges"]]
    CLIPTokenizer(vocab=state["vocab"], merges=merges, model_max_length=77).save_pretrained(folder / "tokenizer")
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')


def captions(folder: Path, rows: int) -> dict[str, Any]:
    """A plan from a captions file."""
    draw = random.Random(0)
    words = 0
    with (folder / "captions.txt").open("w") as file:
        for _ in range(rows):
            line = caption(draw)
            words += line.count(" ") + 1
            file.write(line + "\n")
    with (folder / "captions.txt").open() as file:
        tokenizer(folder / "model", [line for _, line in zip(range(100_000), file, strict=False)])
    model = ["--set", f"generate.model={folder / 'model'}"]
    facts, receipt = timed(folder / "run", "--captions", str(folder / "captions.txt"), *model)
    return {"words_per_caption": round(words / rows, 1), "prompts_counted": receipt["token_limit"] is not None, **facts}


def images(folder: Path, rows: int) -> dict[str, Any]:
    """Plans of images in folders, with the person from the folder."""
    for person in range(-(-rows // 100)):
        (folder / "images" / f"{person:06d}").mkdir(parents=True)
        for number in range(min(100, rows - 100 * person)):
            (folder / "images" / f"{person:06d}" / f"c{number % 6}_{number:04d}.jpg").touch()
    ingest = ["--ingest", str(folder / "images"), "--person-from", "folder"]
    facts, _ = timed(folder / "in-order", *ingest)
    shuffled, _ = timed(folder / "shuffled", *ingest, "--shuffle", "0")
    return {**facts, **{f"shuffled_{name}": shuffled[name] for name in ("seconds", "cpu_s", "peak_mib")}}


def timed(run: Path, *arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows, seconds (of the clock, and of the processor), and peak memory of `mals plan` in a process of its own, and its receipt."""
    command = [sys.executable, "-m", "cli.main", "plan", str(run), *arguments, "--json", "--set", "shard_rows=512"]
    clock = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    receipt = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    seconds, rows = time.perf_counter() - clock, receipt["rows"]
    facts = {"rows": rows, "seconds": round(seconds, 1), "cpu_s": round(usage.ru_utime + usage.ru_stime, 1)}
    return facts | {"rows_per_s": round(rows / seconds), "peak_mib": round(usage.ru_maxrss / 1024)}, receipt


CASES = {"captions": (captions, 1_500_000), "images": (images, 1_000_000)}


def main() -> None:
    names = [name for name in sys.argv[1:] if name in CASES] or list(CASES)
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    for name in names:
        case, rows = CASES[name]
        with tempfile.TemporaryDirectory(prefix="mals-bench-") as scratch:
            print(json.dumps({"benchmark": f"plan.{name}", **case(Path(scratch), numbers[0] if numbers else rows)}), flush=True)


if __name__ == "__main__":
    main()
