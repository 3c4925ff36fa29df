"""Seconds and memory to plan 1.5 million captions: `python -m benchmarks.plan [ROWS]`, one JSON line.

The captions have about 27 words, as MALS has. Prompts are counted with a byte-pair tokenizer of CLIP's file format, trained here on the
first captions with room for 20,000 pieces: CLIP's own vocabulary cannot be had without a network.
"""

import json
import random
import resource
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


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_500_000
    draw = random.Random(0)
    with tempfile.TemporaryDirectory(prefix="mals-bench-") as scratch:
        folder = Path(scratch)
        words = 0
        with (folder / "captions.txt").open("w") as file:
            for _ in range(rows):
                line = caption(draw)
                words += line.count(" ") + 1
                file.write(line + "\n")
        with (folder / "captions.txt").open() as file:
            tokenizer(folder / "model", [line for _, line in zip(range(100_000), file, strict=False)])
        command = [sys.executable, "-m", "cli.main", "plan", str(folder / "run"), "--captions", str(folder / "captions.txt"), "--json"]
        clock = time.perf_counter()
        output = subprocess.run(
            [*command, "--set", f"generate.model={folder / 'model'}", "--set", "shard_rows=512"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        seconds = time.perf_counter() - clock
    receipt = json.loads(output)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    facts = {"rows": receipt["rows"], "words_per_caption": round(words / rows, 1), "prompts_counted": receipt["token_limit"] is not None}
    print(
        json.dumps(
            {"benchmark": "plan", **facts, "seconds": round(seconds, 1), "rows_per_s": round(rows / seconds), "peak_mib": round(peak)}
        )
    )


if __name__ == "__main__":
    main()
