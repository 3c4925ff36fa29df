"""The screenshots of docs/look.md and the README, of a run that `mals demo` made. JSON lines; exit code 1 over a limit.

python -m benchmarks.screenshots RUN --method RUN/pretrain --training RUN/pretrain [--to docs/images]

Each is a WebP file of at most 300 kB, taken in Debian's chromium.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from PIL import Image

LARGEST = 300_000  # bytes of a file
WIDE, NARROW = (1280, 860), (390, 780)  # pixels
SENTENCES = "a woman in a red coat\na man with a backpack"
SHOTS = {  # name -> page, size, scheme
    "overview": ("", WIDE, "light"),
    "thresholds": ("thresholds", WIDE, "light"),
    "person": ("persons", WIDE, "light"),
    "search": (f"search?text={quote_plus(SENTENCES)}", WIDE, "light"),
    "training": ("training", WIDE, "light"),
    "phone": ("images?state=refused", NARROW, "dark"),
}
PATIENCE = 300.0  # seconds until the images are embedded


def take(browser: Any, address: str, page: str, size: tuple[int, int], scheme: str) -> bytes:
    """A page as WebP, when its images are there."""
    opened = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    opened.set_default_timeout(1000 * PATIENCE)
    opened.goto(address + page)
    until = time.monotonic() + PATIENCE
    waits = "document.querySelector('#results[hx-get]') || [...document.images].some((i) => i.loading !== 'lazy' && !i.complete)"
    while opened.evaluate(f"Boolean({waits})") and time.monotonic() < until:
        opened.wait_for_timeout(500)
    opened.wait_for_timeout(1500)  # images that are loaded as they are scrolled to
    image, buffer = Image.open(BytesIO(opened.screenshot())), BytesIO()
    opened.close()
    image.convert("RGB").save(buffer, "WEBP", quality=82, method=6)
    return buffer.getvalue()


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--method", action="append", default=[], help="a trained method to search with; repeat it")
    parser.add_argument("--training", action="append", default=[], help="a training whose curves are shown; repeat it")
    parser.add_argument("--to", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    words = [word for method in arguments.method for word in ("--method", method)]
    command = [sys.executable, "-m", "cli.main", "look", arguments.run, *arguments.training, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    sizes = {}
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for name, (page, size, scheme) in SHOTS.items():
                if (page.startswith("search") and not arguments.method) or (page == "training" and not arguments.training):
                    continue
                data = take(browser, address, page, size, scheme)
                (arguments.to / f"look-{name}.webp").write_bytes(data)
                sizes[name] = len(data)
            browser.close()
    finally:
        process.terminate()
        process.wait(30)
    print(json.dumps({"bytes": sizes, "limits_hold": max(sizes.values()) <= LARGEST}), flush=True)
    if max(sizes.values()) > LARGEST:
        sys.exit(1)


if __name__ == "__main__":
    main()
