"""Everything that can go wrong with a Hub, and what is said to it.

python -m tests.hub_faults

prints what the page says, with the seconds that each took. What does not answer is given up ten
times as soon as attnviz does it; `--patient` takes the whole time.
"""

import argparse
import json
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import ByT5Tokenizer

from tests.support.hub import Hub
from tests.support.hub_processes import hub_at, impatient
from tests.support.places import PAGE
from tests.support.tiny_models import build, save_tiny


def as_it_is(folder):
    pass


def pickled(folder):
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()


def with_own_code(folder):
    config = folder / "config.json"
    own = {"model_type": "own", "auto_map": {"AutoConfig": "code.Config"}}
    config.write_text(json.dumps(json.loads(config.read_text()) | own))


def without_config(folder):
    (folder / "config.json").unlink()


def without_tokenizer(folder):
    for file in (*folder.glob("tokenizer*"), *folder.glob("vocab*")):
        file.unlink()


def with_slow_tokenizer(folder):
    without_tokenizer(folder)
    save_tiny(folder, "t5", ByT5Tokenizer(), vocab_size=384)


def in_shards(folder):
    (folder / "model.safetensors").unlink()
    build("bert", vocab_size=30522).save_pretrained(folder, max_shard_size="1MB")


def with_old_index(folder):
    """An index of shards that are no longer there; transformers reads the whole file first."""
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def larger(folder):
    """More than huggingface_hub reads at once, 10 MB: what had arrived of it can be kept."""
    save_tiny(folder, hidden_size=256)


@dataclass(frozen=True)
class Case:
    """A model, a fault of the Hub, what is said to it, and what once the fault has passed."""

    says: str  # a pattern for the whole sentence
    fault: str | None = None
    make: object = as_it_is  # of a tiny model's folder
    then: str = "HERE"


HERE = "HERE"
STALLED = "The Hub stopped answering while .* was asked of it."
BUSY = "The Hub is busy: it asks to wait {} seconds before it sends .*"
BROKEN = "The connection to the Hub broke off again and again while it sent .*"
UNLIKE = "What was sent of .* is not what the Hub lists of it."
CASES = {
    "bad token": Case(
        "The Hub does not send .*: it does not accept this machine's token.", "bad token"
    ),
    "gated": Case(".* is gated: its owners give access on request.", "gated"),
    "gone": Case("The Hub has no public model called '.*'.", "gone"),
    "disabled": Case("The Hub has disabled .*", "disabled"),
    "busy for a second": Case(HERE, "busy"),
    "busy for a second, files": Case(HERE, "busy files"),
    "busy for an hour": Case(BUSY.format(3600), "busy for an hour"),
    "busy for an hour, files": Case(BUSY.format(3600), "files busy for an hour"),
    "rate limit": Case(BUSY.format(287), "rate limit"),
    "500 twice": Case(HERE, "broken twice"),
    "500 twice, list": Case(HERE, "broken list"),
    "500 twice, weights": Case(HERE, "broken weights"),
    "500": Case(r"The Hub refused to send .* \(HTTP 500\).", "broken"),
    "stalled": Case(STALLED, "stalled"),
    "stalled before a file": Case(STALLED, "stalled files"),
    "stalled in a file": Case(STALLED, "stalled mid file"),
    "cut off once": Case(HERE, "cut once", larger),
    "cut off": Case(BROKEN, "cut"),
    "shorter than listed": Case(UNLIKE, "shorter"),
    "wrong checksum": Case("model.safetensors of .* arrived damaged: .*", "wrong checksum"),
    "not a Hub": Case(UNLIKE, "nonsense"),
    "pickled": Case(".* has no weights as safetensors; .*", None, pickled, ".*safetensors.*"),
    "own code": Case(
        ".* needs code of its own, which attnviz never runs.", None, with_own_code, ".*own.*"
    ),
    "no config": Case(".* it holds no config.json.", None, without_config, ".*no config.*"),
    "no tokenizer": Case(
        ".* comes without a tokenizer that can be loaded.", None, without_tokenizer, ".*without.*"
    ),
    "slow tokenizer": Case(HERE, None, with_slow_tokenizer),
    "in shards": Case(HERE, None, in_shards),
    "old index": Case(HERE, None, with_old_index),
    "nothing wrong": Case(HERE),
}


def model_of(title):
    return "faulty/" + re.sub(r"\W+", "-", title)


@contextmanager
def hub_with_cases(root, cases=CASES):
    """A Hub with a model for each case, its fault in force."""
    with tempfile.TemporaryDirectory() as folder:
        tiny = save_tiny(Path(folder))
        for title, case in cases.items():
            case.make(Path(shutil.copytree(tiny, root / model_of(title))))
    with Hub(root) as hub:
        for title, case in cases.items():
            hub.control(model_of(title), fault=case.fault)
        yield hub


def main():
    from streamlit.testing.v1 import AppTest  # not before: the cases are tested without it too

    from tests.support.hub_page import offered, visit

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patient", action="store_true", help="wait as long as attnviz does")
    waits = (10, 45) if parser.parse_args().patient else (1, 4.5)
    name, models = offered(*map(model_of, CASES))
    os.environ[name] = models
    with (
        tempfile.TemporaryDirectory() as folder,
        hub_with_cases(Path(folder) / "models") as hub,
        hub_at(hub.address, Path(folder) / "cache"),
        impatient(*waits),
    ):
        page = AppTest.from_file(str(PAGE), default_timeout=120).run()
        for title in CASES:
            seen = visit(page, model_of(title))
            said = seen["said"] or f"shown, with {seen['charts']} pictures"
            print(f"{title:24} {seen['seconds']:5.1f} s  {said} {seen['hint']}", flush=True)


if __name__ == "__main__":
    main()
