"""What is replaced for a recording is replaced only while it runs, whoever else does what."""

import functools
import threading
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import torch
from torch import nn
from transformers.models.bert import modeling_bert
from transformers.models.llama import modeling_llama

import attnviz
from attnviz.capture import compat
from attnviz.capture.attention_code import attends
from attnviz.capture.calls import Recording
from attnviz.capture.modules import modules_of
from attnviz.capture.recording import recording
from attnviz.capture.standins import Standin, standing
from tests.support import architectures, tiny_models
from tests.support.threads import in_another_thread
from tests.support.tracing import tiny_inputs


class Counting(Standin):
    """Stands for a function, and counts what its recording is told of."""

    def told(self, args, kwargs):
        self.recording.append(args)
        return self.original(*args, **kwargs)


def plain(x):
    return -x


@pytest.fixture
def place():
    return {"function": plain}


@contextmanager
def counted(place, calls=None):
    calls = [] if calls is None else calls
    with standing(calls, [Counting(calls, place, "function")]):
        yield calls


# One place


def test_a_stand_in_leaves_when_its_recording_ends(place):
    with counted(place) as calls:
        assert place["function"] is not plain
        assert place["function"](1) == -1
    assert place == {"function": plain}
    assert place["function"](2) == -2
    assert calls == [(1,)]


def test_nothing_stays_where_nothing_was():
    place, calls = {}, []
    with standing(calls, [Counting(calls, place, "function")]):
        assert list(place) == ["function"]
    assert place == {}


def test_it_leaves_after_an_exception(place):
    with pytest.raises(ZeroDivisionError), counted(place):
        _ = 1 / 0
    assert place["function"] is plain


def test_other_threads_are_not_told_of(place):
    with counted(place) as calls:
        assert in_another_thread(lambda: place["function"](1)) == -1
    assert calls == []


def test_the_inner_of_two_recordings_is_told_and_then_the_outer_again(place):
    with counted(place) as outer:
        place["function"](1)
        with counted(place) as inner:
            place["function"](2)
        place["function"](3)
    assert (outer, inner) == ([(1,), (3,)], [(2,)])
    assert place["function"] is plain


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0), (0, 2, 1)])
def test_recordings_of_several_threads_end_in_any_order(place, order):
    """Each is told of its own calls alone, and the last to end leaves the place as it was."""
    go_on = [threading.Event() for _ in order]
    is_there, has_ended = threading.Semaphore(0), threading.Semaphore(0)
    told = [[] for _ in order]

    def record(number):
        with counted(place, told[number]):
            place["function"](number)
            is_there.release()
            go_on[number].wait()
            place["function"](10 + number)
        has_ended.release()

    threads = [threading.Thread(target=record, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
        is_there.acquire()
    for number in order:
        assert place["function"] is not plain
        go_on[number].set()
        has_ended.acquire()
    for thread in threads:
        thread.join()
    assert place["function"] is plain
    assert told == [[(number,), (10 + number,)] for number in range(3)]


def test_recordings_that_never_all_end_leave_no_line_behind_them(place):
    with ExitStack() as last:
        for _ in range(20):
            following = ExitStack()
            following.enter_context(counted(place))
            last.close()
            last = following
            depth, one = 0, place["function"]
            while isinstance(one, Standin):
                depth, one = depth + 1, one.plain
            assert depth == 1
        last.close()
    assert place["function"] is plain


# Somebody else


def test_what_somebody_else_puts_there_meanwhile_stays(place):
    def theirs(x):
        return own(x) + 100

    with counted(place) as calls:
        own = place["function"]
        place["function"] = theirs
        assert place["function"](1) == 99
    assert calls == [(1,)]
    assert place["function"] is theirs
    assert theirs(1) == 99  # what they wrapped only calls what it stood for
    with counted(place) as again:
        assert place["function"](2) == 98
    assert (calls, again) == ([(1,)], [(2,)])  # once, though theirs leads to a stand-in of before
    assert place["function"] is theirs


def test_what_somebody_else_puts_there_while_two_record_is_told_of_once(place):
    with counted(place) as outer:
        own = place["function"]
        place["function"] = lambda x: own(x) + 100
        with counted(place) as inner:
            assert place["function"](1) == 99
        assert place["function"](2) == 98
    assert (outer, inner) == ([(2,)], [(1,)])


def test_a_stand_in_that_somebody_puts_back_too_late_is_taken_away_by_the_next(place):
    with counted(place):
        kept = place["function"]
    place["function"] = kept
    assert place["function"](1) == -1
    with counted(place) as calls:
        place["function"](2)
    assert calls == [(2,)]
    assert place["function"] is plain


def test_a_recording_that_is_over_is_not_held_by_who_kept_its_stand_in(place):
    with counted(place):
        kept = place["function"]
    assert kept.recording is None


# A model


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 2))

    def forward(self, x):
        return self.two(self.one(x))


def state_of(model):
    """What every module of a model holds, and the functions that its code calls."""
    attributes = [
        {name: id(value) for name, value in vars(module).items()} for module in modules_of(model)
    ]
    functions = (modeling_bert.eager_attention_forward, modeling_llama.eager_attention_forward)
    return attributes, functions, modeling_llama.apply_rotary_pos_emb, nn.Module.__call__


def test_modules_are_called_as_torch_calls_them():
    """Importing attnviz and tracing has replaced nothing."""
    assert nn.Module.__call__ is nn.Module._wrapped_call_impl
    assert nn.Module.__call__.__module__ == "torch.nn.modules.module"
    assert modeling_bert.eager_attention_forward.__code__.co_filename == modeling_bert.__file__


@pytest.mark.parametrize("model_type", ["bert", "llama", "t5", "bloom"])
def test_a_trace_leaves_the_model_and_what_its_code_calls_as_they_were(model_type):
    model = tiny_models.build(model_type)
    inputs = tiny_inputs(model)
    attnviz.trace_inputs(model, inputs)  # transformers puts hooks of its own on some at first
    before = state_of(model)
    attnviz.trace_inputs(model, inputs)
    assert state_of(model) == before
    attention = next(module for module in modules_of(model) if attends(type(module)))
    with attention.register_forward_hook(failing), pytest.raises(attnviz.UnsupportedModelError):
        attnviz.trace_inputs(model, inputs)
    assert state_of(model) == before


def failing(module, args, output):
    raise ValueError(module)


def test_while_a_recording_runs_other_threads_see_a_plain_model():
    model = tiny_models.build("llama")
    inputs = tiny_inputs(model)

    def own():
        with torch.no_grad():
            return model(**inputs, use_cache=False).last_hidden_state

    alone, made = own(), Recording()
    with recording(modules_of(model), made):
        result = in_another_thread(own)
        assert (made.calls, made.rotations) == ([], [])
        assert type(result) is torch.Tensor
        torch.testing.assert_close(result, alone, rtol=0, atol=0)
        model(**inputs)
        assert len(made.calls) == 3
        assert len(made.rotations) == 6


def test_a_trace_inside_a_trace_is_another_one():
    model, inner = tiny_models.build("bert"), []
    inputs = tiny_inputs(model)
    alone = attnviz.trace_inputs(model, inputs)

    def trace_too(module, args, output):
        if not inner:
            inner.append(None)
            inner[0] = attnviz.trace_inputs(model, inputs)

    with model.encoder.layer[1].register_forward_hook(trace_too):
        outer = attnviz.trace_inputs(model, inputs)
    for trace in (outer, *inner):
        assert trace.layers() == alone.layers()
        for layer in trace.layers():
            np.testing.assert_array_equal(
                trace.layer(layer).own_weights, alone.layer(layer).own_weights
            )


def test_an_attention_function_that_somebody_replaces_is_observed_too(monkeypatch):
    model, calls = tiny_models.build("bert"), []
    own = modeling_bert.eager_attention_forward

    @functools.wraps(own)
    def theirs(*args, **kwargs):
        calls.append(args)
        return own(*args, **kwargs)

    monkeypatch.setattr(modeling_bert, "eager_attention_forward", theirs)
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    assert modeling_bert.eager_attention_forward is theirs
    assert len(calls) == 3
    assert trace.head(0, 0).is_exact


def test_a_part_that_is_compiled_is_recorded_by_its_own_code_and_stays_compiled():
    module, made, x = Parts(), Recording(), torch.ones(1, 2)

    def compiled(x):
        return x * 0

    vars(module.two)[compat.CALLED_INSTEAD] = compiled
    made.n_attending = 1  # as inside an attention, where projections are noted
    with recording(modules_of(module), made):
        assert module(x).any()
        assert not in_another_thread(lambda: module(x)).any()
    assert [one.module for one in made.returned] == [module.one, module.two[1]]
    assert vars(module.two)[compat.CALLED_INSTEAD] is compiled
    assert not module(x).any()


def test_modules_that_a_model_exchanges_while_it_runs_are_recorded():
    """For a short text big_bird makes itself other attention modules at its first run."""
    model = architectures.build("big_bird")
    before = modules_of(model)
    trace = attnviz.trace_inputs(model, architectures.inputs_of(model))
    assert modules_of(model) != before
    assert trace.layers() == (0, 1, 2)
    assert trace.head(0, 0).is_exact
