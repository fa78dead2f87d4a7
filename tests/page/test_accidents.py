"""Visitors of all sorts at once, some of whom leave early, reload or read slowly."""

import asyncio

import numpy as np
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from transformers import ByT5Tokenizer

import attnviz
from attnviz.models.bundled import BUNDLED
from tests.support.serving import serving
from tests.support.tiny_models import save_tiny
from tests.support.visitors import connected, run, visiting

pytestmark = pytest.mark.process
TARGET = "zeit"
N_VISITORS, N_RELOADS = 30, 50


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Each model that is offered, loaded here, with the kinds of attention that it has."""
    folder = tmp_path_factory.mktemp("models")
    t5 = save_tiny(folder / "t5", "t5", ByT5Tokenizer(), vocab_size=384)
    gpt2 = save_tiny(folder / "gpt2", "gpt2", n_positions=64)
    names = {BUNDLED: ("self",), str(gpt2): ("self",), str(t5): ("encoder", "decoder", "cross")}
    return {name: (attnviz.load(name), kinds) for name, kinds in names.items()}


@pytest.fixture(scope="module")
def offering_all(models, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("log"), ATTNVIZ_MODELS=",".join(models)) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


async def is_right(address, models, number):
    """Whether a visitor is shown the weights of the model, kind, text and head they ask for."""
    asked = [(name, kind) for name, (_, kinds) in models.items() for kind in kinds]
    name, kind = asked[number % len(asked)]
    (model, tokenizer), kinds = models[name]
    text, two = f"time flies {number // 2}", len(kinds) > 1
    given = {"target": TARGET} if two else {}
    head = attnviz.trace(model, tokenizer, text, **given).head(1, number % 2, kind)
    link = given | ({"kind": kind} if two else {})
    link |= {"model": name, "text": text, "layer": "1", "head": str(number % 2)}
    async with visiting(address, **link) as (_, shown):
        sent = np.nan_to_num(np.array(shown.constants["weights"], dtype=np.float32))  # hidden: 0
        return not shown.errors and np.allclose(sent, head.weights, atol=1e-5)


def test_thirty_visitors_of_different_models_and_kinds_are_each_shown_their_own(
    offering_all, models
):
    async def all_at_once():
        visits = (is_right(offering_all.address, models, n) for n in range(N_VISITORS))
        return await asyncio.gather(*visits)

    assert run(all_at_once()) == [True] * N_VISITORS


async def leave_early(address, seconds):
    """Ask for the page, and go before it has answered."""
    async with connected(address) as socket:
        await socket.send(asking_for(f"gone+{seconds}"))
        await asyncio.sleep(seconds)


def asking_for(text):
    asked = BackMsg()
    asked.rerun_script.query_string = f"text={text}"
    return asked.SerializeToString()


def test_who_leaves_or_reloads_while_the_page_loads_disturbs_nobody(offering_all, models):
    address = offering_all.address

    async def all_at_once():
        going = (leave_early(address, 0.01 * n) for n in range(N_RELOADS))
        staying = (is_right(address, models, n) for n in range(5))
        return (await asyncio.gather(*going, *staying))[N_RELOADS:]

    assert run(all_at_once()) == [True] * 5


def test_who_reads_slowly_gets_all_of_it_and_keeps_nobody_waiting(offering_all, models):
    address = offering_all.address

    async def slowly():
        async with connected(address, max_queue=1) as socket:
            await socket.send(asking_for("slow"))
            others = [await is_right(address, models, n) for n in range(5)]
            received = 0
            async with asyncio.timeout(60):
                while received < 50_000:  # the page as it opens is larger
                    received += len(await socket.recv())
            return others

    assert run(slowly()) == [True] * 5
