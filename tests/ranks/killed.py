"""Trainings that kill themselves after their third step, whose checkpoint is that of the second; arguments: DATA OUT METHOD ..."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.pretrain.methods.small import Small, arguments


class Kill:
    """A watcher that ends its process as SIGKILL does, after a step and once the checkpoint of the one before is written."""

    def __init__(self, out: Path) -> None:
        self.checkpoint = out / "checkpoints/00000002"

    def begin(self, *_: Any) -> None:
        """Nothing to prepare."""

    def after(self, step: int) -> None:
        if step == 3:
            while not self.checkpoint.is_dir():  # written in the background
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

    def end(self) -> dict[str, Any]:
        raise AssertionError("the training went on to its end")


def main() -> None:
    data, out, names = arguments(sys.argv)
    for name in names:  # imports what the methods need once, not in each child
        Small(name).config()
    for name in names:
        child = os.fork()
        if not child:
            try:
                Small(name).train(data, out / name, watcher=Kill(out / name))
            finally:
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        sys.stdout.write(f"{name} {'killed' if os.WIFSIGNALED(status) else 'failed'}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
