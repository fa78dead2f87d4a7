"""attnviz in a shell: `python -m attnviz "time flies like an arrow" -o figure.svg`."""

import logging
import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnviz.attention.free_memory import free_memory
from attnviz.cli import output_files
from attnviz.cli.options import parsed
from attnviz.text.characters import shown
from attnviz.text.errors import AttnvizError, InputError

if TYPE_CHECKING:
    from attnviz.attention.trace import Trace

LONGEST_TEXT = 10**6  # bytes on standard input; no model reads as much
INTERRUPTED, PIPE_CLOSED = 130, 141  # as shells count signals: 128 and its number


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status, once what was asked for is written or printed.

    0, or 1 for what attnviz cannot show, after a sentence on standard error. A mistake in the
    options ends the process with 2.
    """
    asked = parsed(arguments)
    try:
        with _only_attnviz_speaks():
            _answer(asked)
    except AttnvizError as error:
        _tell(str(error))
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return PIPE_CLOSED
    return 0


def _answer(asked: Namespace) -> None:
    output_files.check(asked.files)
    if asked.text == "-":
        asked.text = _standard_input()
    trace, model, tokenizer = (
        _loaded(asked) if asked.arrays is None else (_read(asked.arrays), None, None)
    )

    # Not before now: whatever is wrong above is told without waiting for them.
    from attnviz.cli.other_texts import more_of
    from attnviz.cli.overview import Overview
    from attnviz.cli.screen import screen_of
    from attnviz.cli.summary import summary
    from attnviz.export.screen import OF_TABLES

    screen = screen_of(asked, trace)
    more = more_of(screen, model, tokenizer, _show_heads)
    if asked.files:
        from attnviz.cli.contents import contents
        from attnviz.text.files import write

        made = contents(asked, screen, trace, more, model)
        for file, content in made.files.items():
            write(file, content)
        for note in made.notes:
            _tell(note)
    if asked.json or not asked.files:
        is_of_table = screen.view in OF_TABLES
        said = Overview(screen, trace, more) if is_of_table else summary(screen, trace)
        _print(said.to_json() if asked.json else str(said))


# What comes in


def _loaded(asked: Namespace) -> tuple["Trace", Any, Any]:
    """The trace of the text, and the model that computed it with its tokenizer."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    from attnviz.capture import forward_pass
    from attnviz.models import loader, local
    from attnviz.models.bundled import BUNDLED

    name = BUNDLED if asked.model is None else asked.model
    if local.find(name, asked.revision) is None:
        from attnviz.models import compat, hub

        compat.prepare_process()
        hub.download(name, asked.revision, on_progress=_show_progress)
    model, tokenizer = loader.load(
        name,
        revision=asked.revision,
        device=asked.device or "cpu",
        dtype=asked.dtype or "float32",
    )
    texts = {"pair": asked.pair, "target": asked.target}
    return forward_pass.trace(model, tokenizer, asked.text, **texts), model, tokenizer


def _read(path: str) -> "Trace":
    """The arrays of a file as a trace."""
    from attnviz.attention import own_arrays

    try:
        file = open(path, "rb")  # noqa: SIM115 # closed below, where no error is its own
    except (OSError, ValueError) as error:
        raise InputError(
            f"The file '{shown(path[:200])}' cannot be read "
            f"({getattr(error, 'strerror', None) or 'it is not a file name'})."
            "\n\nHint: name a file made by numpy.savez, with arrays q, k and v."
        ) from error
    with file:
        return own_arrays.read(file, Path(path).name, free_memory())


def _standard_input() -> str:
    text = b"" if sys.stdin is None else sys.stdin.buffer.read(LONGEST_TEXT + 1)
    if len(text) > LONGEST_TEXT:
        raise InputError(
            f"The text on standard input is longer than {LONGEST_TEXT:,} bytes."
            "\n\nHint: give a shorter one; a model reads some hundred or thousand tokens."
        )
    try:
        return text.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"The text on standard input is not UTF-8: byte {error.start + 1} is "
            f"0x{text[error.start]:02X}.\n\nHint: save it as UTF-8, or convert it with iconv."
        ) from None


# What comes out


def _print(text: str) -> None:
    """The text on standard output, in whatever characters that has."""
    if sys.stdout is None:
        raise InputError("There is no standard output.\n\nHint: write a file with -o instead.")
    try:
        encoding = sys.stdout.encoding or "utf-8"
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        # What is left in the buffer would fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise InputError(
            f"The summary cannot be printed ({error.strerror})."
            "\n\nHint: free some space, or print it elsewhere."
        ) from error


def _tell(message: str) -> None:
    """A sentence on standard error, in which no character commands the terminal."""
    print("\n".join(shown(line) for line in message.split("\n")), file=sys.stderr)


def _show_progress(n_bytes: int, total: int) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        from attnviz.text.phrases import size

        end = "\n" if n_bytes == total else ""
        sys.stderr.write(f"\rDownloading: {size(n_bytes)} of {size(total)}    {end}")
        sys.stderr.flush()


def _show_heads(done: int, in_all: int) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"\rHeads: {done} of {in_all}{chr(10) if done == in_all else ''}")
        sys.stderr.flush()


@contextmanager
def _only_attnviz_speaks() -> Iterator[None]:
    """Without the warnings and log lines of the libraries."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
