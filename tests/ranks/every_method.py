"""Under torchrun: the losses and gradients of methods, as `tests.pretrain.methods.small` measures them, into OUT/METHOD.safetensors.

Arguments: DATA OUT METHOD ...; OUT/METHOD.error has the error of a method that failed.
"""

import sys
import traceback

from safetensors.torch import save_file

from pretrain import ranks
from tests.pretrain.methods.small import arguments, measure


def main() -> None:
    data, out, names = arguments(sys.argv)
    ranks.start("cpu")
    for name in names:
        try:
            values = measure(name, data, out / name)
        except Exception:
            if ranks.is_main():
                (out / f"{name}.error").write_text(traceback.format_exc())
        else:
            if ranks.is_main():
                save_file({key: value.contiguous() for key, value in values.items()}, out / f"{name}.safetensors")
    ranks.stop()


if __name__ == "__main__":
    main()
