"""The same survey on a cluster: actors hold the model, and make a survey of each batch of texts."""

import io
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from attnviz.heads.batching import Passes
from attnviz.heads.statistics import Survey
from attnviz.heads.texts import BUFFER, check_column, texts_of
from attnviz.text import packages
from attnviz.text.errors import UnsupportedModelError


class Part:
    """What an actor makes of a batch of rows: one row that holds a survey as a file."""

    def __init__(self, passes: Any, column: str) -> None:
        import ray

        self.passes: Passes = ray.get(passes)
        self.column = column

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[Any]]:
        part, refusal = Survey(self.passes.of), ""
        try:
            for one in self.passes.over(list(rows[self.column])):
                part += one
        except UnsupportedModelError as error:
            refusal = str(error)
        file = io.BytesIO()
        part.save(file)
        return {"survey": [file.getvalue()], "refusal": [refusal]}


def _sent(passes: Passes) -> Any:
    """Ray's reference to the passes.

    A model that was ever asked for its hidden states or attentions keeps hooks of transformers,
    which hold a context variable. That cannot be sent, and nothing is collected by it during a
    survey: an actor gets an empty one of the same name.
    """
    import ray

    ray.util.register_serializer(
        ContextVar,
        serializer=lambda variable: variable.name,
        deserializer=lambda name: ContextVar(name, default=None),
    )
    try:
        return ray.put(passes)
    finally:
        ray.util.deregister_serializer(ContextVar)


def partial_surveys(passes: Passes, texts: Any, column: str) -> Iterator[Survey]:
    """The surveys of parts of the texts, in any order.

    Raises InputError where Ray Data is not installed.
    """
    with packages.of_extra("ray", "A survey on Ray"):
        import ray
        import ray.data
    if not ray.is_initialized():
        ray.init()
    if isinstance(texts, ray.data.Dataset):
        check_column(texts.columns() or (), column)
    else:  # what Arrow cannot hold stays here
        kept, skipped = passes.readable(texts_of(texts, column))
        yield Survey(passes.of, skipped=skipped)
        if not kept:
            return
        texts = ray.data.from_items([{column: text} for text in kept])
    processor = "GPU" if passes.model.device.type == "cuda" else "CPU"
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    most = max(1, int(resources.get(processor, 1)))
    parts = texts.map_batches(
        Part,
        batch_size=BUFFER,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most),
        fn_constructor_args=(_sent(passes), column),
        num_gpus=1 if processor == "GPU" else 0,
    )
    for row in parts.iter_rows():
        if row["refusal"]:
            raise UnsupportedModelError(row["refusal"])
        yield Survey.read(io.BytesIO(row["survey"]))
