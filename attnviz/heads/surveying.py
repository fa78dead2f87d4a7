"""What heads do in a whole corpus: one stream of texts, of which nothing but statistics is kept."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from attnviz.attention import npz
from attnviz.capture.traceable import checked
from attnviz.heads.batching import Passes, surveyed
from attnviz.heads.on_ray import partial_surveys
from attnviz.heads.statistics import Survey, Surveyed
from attnviz.heads.texts import buffers, texts_of
from attnviz.text.characters import quoted
from attnviz.text.errors import InputError

__all__ = ["Survey", "survey"]


Progress = bool | Callable[[int, int | None], object]


def survey(
    model: Any,
    tokenizer: Any,
    texts: Iterable[Any],
    *,
    column: str = "text",
    max_tokens: int | None = None,
    batch_tokens: int = 1024,
    progress: Progress = True,
    checkpoint: Path | str | None = None,
    checkpoint_seconds: float = 30,
    on: Literal["here", "ray"] = "here",
) -> Survey:
    """Statistics over many texts of every measure that one text has, for each head.

    `texts` is any iterable of strings, or of rows such as those of a Hugging Face dataset, in
    memory or streamed, whose text is in `column`. It is read once, a few hundred texts at a time.
    A text that cannot be measured (no string, blank, longer than the model's positions or
    `max_tokens`…) is skipped, and the survey says how many and why.

    A pass of the model takes texts of up to `batch_tokens` tokens with their padding, where that
    gives the numbers that each text has alone, and ends behind the last attention; otherwise every
    text has its own. `progress` shows a bar, or is called with the number of texts so far and that
    of all, None where it is not known.

    `checkpoint` names a file that is written at least every `checkpoint_seconds`, after the texts
    at hand, and at the end, also where the survey is interrupted. Called again with the same
    arguments it goes on behind the texts that are counted there.

    `on="ray"` maps the same over a `ray.data.Dataset`, or any iterable, which is read first, on all
    machines of a Ray cluster; it needs `pip install "attnviz[ray]"`, and takes no checkpoint.

    Raises InputError for texts that are none, a checkpoint of something else and one that cannot
    be written, and UnsupportedModelError for a model whose attention cannot be read.
    """
    if on not in ("here", "ray"):
        raise InputError(
            f"A survey runs 'here' or on 'ray'; received on={quoted(str(on))}."
            "\n\nHint: leave it out, unless there is a Ray cluster."
        )
    _check_counts(max_tokens=max_tokens, batch_tokens=batch_tokens)
    model, _ = checked(model)
    passes = Passes(model, tokenizer, surveyed(model, max_tokens), batch_tokens)
    with _shown(progress, _n_of(texts)) as show:
        if on == "here":
            return _here(passes, texts_of(texts, column), show, checkpoint, checkpoint_seconds)
        if checkpoint is not None:
            raise InputError(
                "A survey on Ray takes no checkpoint: its parts are done in any order."
                "\n\nHint: leave checkpoint out, or survey parts of the texts and merge them by +."
            )
        done = Survey(passes.of)
        for part in partial_surveys(passes, texts, column):
            done += part
            show(done.n_seen)
        return done


def _here(
    passes: Passes,
    texts: Iterator[Any],
    show: Callable[[int], object],
    checkpoint: Path | str | None,
    seconds: float,
) -> Survey:
    done = Survey(passes.of) if checkpoint is None else _resumed(passes.of, checkpoint)
    written_at = time.monotonic()
    try:
        for buffer in buffers(islice(texts, done.n_seen, None)):
            part = Survey(passes.of)
            for one in passes.over(buffer):
                part += one
                show(done.n_seen + part.n_seen)
            done += part  # whole buffers alone: whoever goes on begins with the same one
            if checkpoint is not None and time.monotonic() - written_at >= seconds:
                done.save(checkpoint)
                written_at = time.monotonic()
    finally:
        if checkpoint is not None:
            done.save(checkpoint)
    return done


def _resumed(of: Surveyed, checkpoint: Path | str) -> Survey:
    if not isinstance(checkpoint, npz.PATH):
        raise InputError(
            f"A checkpoint is the path of a file; received {type(checkpoint).__name__}."
            "\n\nHint: checkpoint='survey.npz'"
        )
    if not Path(checkpoint).exists():
        begun = Survey(of)
        begun.save(checkpoint)  # hours before it would be too late
        return begun
    begun = Survey.read(checkpoint)
    begun.check_same(of, "A survey goes on from a checkpoint")
    return begun


def _n_of(texts: Any) -> int | None:
    try:
        return len(texts)
    except (TypeError, AttributeError, NotImplementedError):
        return None


def _check_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        is_count = isinstance(count, int) and not isinstance(count, bool) and count > 0
        if not is_count and (name, count) != ("max_tokens", None):
            raise InputError(
                f"{name} is a number of tokens; received {quoted(str(count))}.\n\nHint: {name}=512"
            )


@contextmanager
def _shown(progress: Progress, n_all: int | None) -> Iterator[Callable[[int], object]]:
    """What is to be called with the number of texts so far."""
    if callable(progress):
        yield lambda n: progress(n, n_all)
    elif progress:
        from tqdm import tqdm  # type: ignore[import-untyped]

        with tqdm(total=n_all, unit=" texts", smoothing=0) as bar:
            yield lambda n: bar.update(n - bar.n)
    else:
        yield lambda n: None
