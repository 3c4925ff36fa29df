"""The command `mals`: all its commands, and the only place where an error becomes a sentence and an exit code."""

import logging
import os
import re
import signal
import sys
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from cli import output, streams

LOGGERS = ("mals", "pretrain")
# The start of an argument with "~": `~/x`, `-o~/x`, `--out=~/x`, `model=~/x`, `--set=model=~/x`; but not `x=~`, which is YAML's null.
HOME = re.compile(r"^((?:-\w|--[\w-]+=)?(?:[\w.-]+=)?(?=~[\w-]*/)|--(?!set=)[\w-]+=(?=~$))(~[\w-]*)")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Synthetic person data sets in the manner of MALS: captions to packed, labelled images. Give a command again to resume it.",
)


def print_version(requested: bool) -> None:
    """Print the version and exit, where --version is given."""
    if requested:
        import mals

        print(f"mals {mals.__version__}")
        raise typer.Exit


def register() -> None:
    """Put the commands of each module under `mals`."""
    from cli import (
        compare,
        dataset,
        datasets,
        demo,
        explain,
        finetune,
        look,
        pretrain,
        recipes,
        release,
        retrieval,
        search,
        stages,
        templates,
        world,
    )

    stages.register(app)
    dataset.register(app)
    recipes.register(app)
    explain.register(app)
    templates.register(app)
    world.register(app)
    datasets.register(app)
    look.register(app)
    pretrain.register(app)
    finetune.register(app)
    compare.register(app)
    retrieval.register(app)
    search.register(app)
    release.register(app)
    demo.register(app)


def main() -> None:
    """Run one command; exit code 2 with one sentence for a mistake of the user, 1 for shards that failed, 130 and 143 when stopped.

    With --json the sentence is on stdout too, as {"error": SENTENCE}.
    """
    from mals.errors import CollectiveError, UserError, quoted, system_error_sentence

    streams.prepare()
    signal.signal(signal.SIGINT, _stop)  # Typer would end a KeyboardInterrupt without a message
    signal.signal(signal.SIGTERM, _stop)
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries' messages to the authors of other libraries
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")  # in worker processes too
    configure_logging()
    register()
    try:
        _run(expand_home(sys.argv[1:]))
    except SystemExit as ended:
        if ended.code:
            _leave("", ended.code if isinstance(ended.code, int) else 1)
        raise
    except CollectiveError as error:
        _leave(str(error) if os.environ.get("RANK", "0") == "0" or not _launched() else "", 2)
    except UserError as error:
        _leave("" if _launched() and not _in_group() and os.environ["LOCAL_RANK"] != "0" else str(error), 2)
    except BrokenPipeError:  # the reader of the output, such as `head`, has seen enough
        streams.give_up()
        sys.exit(0)
    except OSError as error:
        if (message := system_error_sentence(error)) is None:
            raise
        _leave(message, 2)
    except UnicodeEncodeError as error:  # of a path whose bytes are no text in the encoding of this system, which Arrow does not take
        if not any("\udc80" <= character <= "\udcff" for character in error.object[error.start : error.end]):
            raise
        _leave(f"{quoted(error.object)} holds bytes that are no UTF-8 text; rename it, or set LC_ALL=C.UTF-8", 2)
    except Stopped as stopped:
        _leave("stopped; give the same command again to go on", 128 + stopped.signal)
    except Exception as error:
        if hasattr(error, "format_message"):  # of usage
            _leave(error.format_message(), 2)
        if _launched() or _wants_json():
            traceback.print_exc()
            _leave("", 1, f"{type(error).__name__}: {error}")
        raise


def _run(arguments: list[str]) -> None:
    """Run one command; errors of writing the last of its output are raised here, not when the interpreter ends."""
    try:
        code = app(arguments, standalone_mode=not _wants_json())  # in standalone mode it prints errors of usage itself, for a reader
        if isinstance(code, int) and code:
            sys.exit(code)
        sys.stdout.flush()
    except SystemExit as ended:
        if not ended.code:
            sys.stdout.flush()
        raise


def expand_home(arguments: list[str]) -> list[str]:
    """Arguments with the home folder in place of `~` at the start of a value, as in --out=~/x or model=~/x, where shells leave it."""
    return [HOME.sub(lambda match: f"{match[1]}{Path(match[2]).expanduser()}", argument, count=1) for argument in arguments]


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=print_version, help="Print the version and exit.")] = False,
) -> None:
    """The options of `mals` itself."""


def configure_logging() -> None:
    """Print what the packages log, INFO and up, on stderr: the message and nothing else."""
    handler = StderrHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in LOGGERS:
        log = logging.getLogger(name)
        log.setLevel(logging.INFO)
        log.addHandler(handler)
        log.propagate = False


class StderrHandler(logging.Handler):
    """Prints to the sys.stderr of that moment: a progress bar replaces it, so that messages appear above the bar."""

    last_error: str | None = None  # the last message of level ERROR

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            StderrHandler.last_error = record.getMessage()
        print(self.format(record), file=sys.stderr, flush=True)


class Stopped(BaseException):
    """SIGINT or SIGTERM was sent to this process."""

    def __init__(self, number: int):
        self.signal = number


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


def _launched() -> bool:
    """Whether torchrun started this process, as in `pretrain.ranks.launched`, without importing torch."""
    return "LOCAL_RANK" in os.environ


def _in_group() -> bool:
    """Whether this process has joined its process group; before that all processes of a machine fail in the same way."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_initialized()


def _wants_json() -> bool:
    return "--json" in sys.argv


def _leave(text: str, code: int, error: str | None = None) -> None:
    """Print a sentence and exit; `error` is what --json prints where the sentence is empty, by default the last error of the log."""
    if text:
        print(text, file=sys.stderr)
    if _wants_json() and os.environ.get("RANK", "0") == "0":
        with suppress(OSError):
            output.print_error(text or error or StderrHandler.last_error or f"exit code {code}, stderr has the reason")
    streams.flush_or_give_up()
    if _launched():  # threads of the process group would abort the interpreter at its end
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
