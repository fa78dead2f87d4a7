"""A survey of many texts is the statistics of what each of them gives alone."""

import io
import json
import random
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import attnviz
from attnviz.heads import batching, measures, texts
from attnviz.heads.statistics import MEASURED, Statistics, Survey, Surveyed
from attnviz.heads.surveying import survey
from attnviz.text.errors import AttnvizError, InputError, UnsupportedModelError
from tests.support import tiny_models
from tests.support.places import ROOT

SENTENCES = "time flies like an arrow , and fruit flies like a banana . The old man saw it !"
WORDS = SENTENCES.split()
N = 40
KEYS = ["kind", "layer", "head", "measure"]


def drawn(n, seed=0):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 12))) for _ in range(n)]


TEXTS = drawn(N)


@pytest.fixture(scope="module")
def whole(minilm):
    return survey(*minilm, TEXTS, progress=False)


def one_by_one(model, tokenizer, texts):
    """The same table, by pandas, from a trace of each text."""
    tables = [measures(attnviz.trace(model, tokenizer, text)) for text in texts]
    long = pd.concat(tables).melt(["kind", "layer", "head"], list(MEASURED), "measure")
    return (
        long.groupby(KEYS)["value"]
        .agg(n="count", mean="mean", std=lambda values: values.std(ddof=0), min="min", max="max")
        .reset_index()
    )


def assert_same(survey, other, tolerance=1e-5):
    """The same numbers of every head, whatever the order of rows."""
    mine, others = (
        (one.table() if isinstance(one, Survey) else one).sort_values(KEYS, ignore_index=True)
        for one in (survey, other)
    )
    assert mine[[*KEYS, "n"]].equals(others[[*KEYS, "n"]])
    for column in ("mean", "std", "min", "max"):
        assert_allclose(mine[column], others[column], rtol=tolerance, atol=tolerance)
    if isinstance(other, Survey):
        assert (survey.n_texts, survey.skipped) == (other.n_texts, other.skipped)


def assert_identical(survey, other):
    pd.testing.assert_frame_equal(survey.table(), other.table(), check_exact=True)
    assert (survey.n_texts, survey.skipped) == (other.n_texts, other.skipped)
    assert survey.of == other.of


# What it is


def test_a_survey_is_the_statistics_of_each_texts_own_measures(minilm, whole):
    assert whole.n_texts == N
    assert whole.n_skipped == 0
    assert list(whole.table().columns) == [*KEYS, "n", "mean", "std", "min", "max"]
    assert len(whole.table()) == 72 * len(MEASURED)
    assert_same(whole, one_by_one(*minilm, TEXTS))


def test_a_measure_that_some_texts_lack_is_of_the_others(whole):
    with_marks = sum(any(mark in text for mark in ",.!") for text in TEXTS)
    assert 0 < with_marks < N
    of_marks = whole.table().query("measure == 'punctuation'")
    assert set(of_marks["n"]) == {with_marks}


def test_parts_merged_are_the_whole_in_any_order(minilm, whole):
    parts = [survey(*minilm, TEXTS[start::3], progress=False) for start in range(3)]
    assert_same(parts[0] + parts[1] + parts[2], whole)
    assert_same(parts[2].merge(parts[0].merge(parts[1])), whole)
    shuffled = random.Random(1).sample(TEXTS, N)
    assert_same(survey(*minilm, shuffled, progress=False), whole)


def test_small_buffers_and_batches_give_the_same(minilm, whole, monkeypatch):
    monkeypatch.setattr(texts, "BUFFER", 7)
    assert_same(survey(*minilm, TEXTS, batch_tokens=1, progress=False), whole)


@pytest.mark.parametrize("spread", [1e-3, 1, 1e6])
def test_statistics_of_parts_merge_to_those_of_the_whole(spread):
    rng = np.random.default_rng(0)
    values = 1e6 + spread * rng.normal(size=(1000, 3, 2))
    values[::3, 0] = np.nan
    values[:, 2, 1] = np.nan
    whole = Statistics.of(values)
    merged = sum((Statistics.of(part) for part in np.split(values, 40)), Statistics.of(values[:0]))
    for name, array in vars(whole).items():
        assert_allclose(getattr(merged, name), array, rtol=1e-6, err_msg=name)
    assert_allclose(whole.squares[1, 0] / 1000, values[:, 1, 0].var())
    assert whole.n.tolist() == [[666, 666], [1000, 1000], [1000, 0]]


# Every family


BATCHED = ("bert", "distilbert", "roberta", "gpt2", "llama", "mistral", "qwen3", "gemma2")
ALONE = ("gpt_oss", "t5", "bart")
SHORT = [text for text in TEXTS if len(text.split()) < 8][:10]


@pytest.fixture
def tiny(minilm):
    def build(model_type, **changes):
        tokenizer = minilm[1]
        return tiny_models.build(model_type, vocab_size=len(tokenizer), **changes), tokenizer

    return build


@pytest.fixture
def plans(monkeypatch):
    """What was found out about each model: its plan for batches, if any."""
    made = []
    trial = batching.Passes._try

    def tried(self, few):
        trial(self, few)
        made.append(self.plan)

    monkeypatch.setattr(batching.Passes, "_try", tried)
    return made


@pytest.mark.parametrize("model_type", [*BATCHED, *ALONE, "albert", "modernbert", "deepseek_v3"])
def test_every_family_is_surveyed_as_its_texts_are_one_by_one(tiny, plans, model_type):
    model, tokenizer = tiny(model_type)
    texts = SHORT[:4] if model_type in ALONE else SHORT
    surveyed = survey(model, tokenizer, texts, progress=False)
    assert_same(surveyed, one_by_one(model, tokenizer, texts), 5e-5)
    if model_type in (*BATCHED, *ALONE):
        assert (plans[0] is not None) == (model_type in BATCHED)


def test_a_model_that_padding_disturbs_has_a_pass_for_each_text(tiny, plans):
    model, tokenizer = tiny("bert")
    embed = model.embeddings.forward
    model.embeddings.forward = lambda *args, **given: (
        embed(*args, **given) + given["input_ids"].shape[1] / 100
    )
    surveyed = survey(model, tokenizer, SHORT, progress=False)
    assert plans == [None]
    assert_same(surveyed, one_by_one(model, tokenizer, SHORT), 5e-5)


def test_a_pass_ends_behind_the_last_attention(tiny):
    model, tokenizer = tiny("gpt2")
    ran = []
    first, last = model.h[0].mlp, model.h[-1].mlp
    handles = [one.register_forward_hook(lambda one, *_: ran.append(one)) for one in (first, last)]
    made = survey(model, tokenizer, SHORT, progress=False)
    for handle in handles:
        handle.remove()
    assert ran.count(last) == 2 < ran.count(first)  # the two texts that are traced first
    assert_same(made, one_by_one(model, tokenizer, SHORT))


def test_a_model_that_puts_its_weights_away_ends_its_passes(tiny, plans, tmp_path):
    for part in (plain := tiny("bert")):
        part.save_pretrained(tmp_path)
    spread, tokenizer = attnviz.load(str(tmp_path), device_map={"": "disk"})
    surveyed = survey(spread, tokenizer, SHORT, progress=False)
    assert plans[0] is not None
    assert_same(surveyed, one_by_one(*plain, SHORT))
    assert all(weight.device.type == "meta" for weight in spread.parameters())


# What is skipped


HOSTILE = [
    *("", "   \n", None, 5, b"bytes", ["a", "list"], "\ud800 half a pair", "word " * 600),
    *("x" * 10**6, float("nan")),
]


def test_texts_that_cannot_be_measured_are_skipped_and_counted(minilm, whole):
    mixed = [*TEXTS, *HOSTILE]
    random.Random(2).shuffle(mixed)
    surveyed = survey(*minilm, mixed, progress=False)
    assert surveyed.skipped == {
        "blank": 2,
        "not a string": 5,
        "not valid Unicode": 1,
        "too long": 2,
    }
    assert surveyed.n_seen == len(mixed)
    assert surveyed.table()[["n"]].equals(whole.table()[["n"]])
    assert_same(surveyed.table(), whole.table())


def test_texts_longer_than_one_wants_are_skipped(minilm):
    surveyed = survey(*minilm, ["a", "a b c d"], max_tokens=3, progress=False)
    assert (surveyed.n_texts, surveyed.skipped) == (1, {"too long": 1})


def test_a_survey_of_no_text_is_an_empty_table_and_merges(minilm, whole):
    nothing = survey(*minilm, iter(()), progress=False)
    assert (nothing.n_seen, len(nothing.table())) == (0, 0)
    assert list(nothing.table().columns) == list(whole.table().columns)
    assert_identical(nothing + whole, whole)
    assert_identical(whole + nothing, whole)


def test_hostile_text_is_text(minilm):
    texts = [
        "</script><img src=x onerror=alert(1)>",
        "'\"`\u202e",
        "👩‍👩‍👧 " * 9,
        "\x00a",
        "日本語",
    ]
    surveyed = survey(*minilm, texts, progress=False)
    assert_same(surveyed, one_by_one(*minilm, texts))


@pytest.mark.parametrize("texts", ["one text", b"bytes", {"train": ["a"]}, 5, None, pd.DataFrame()])
def test_what_holds_no_texts_is_refused(minilm, texts):
    with pytest.raises(InputError, match="iterable of strings.*received.*\n\nHint: "):
        survey(*minilm, texts, progress=False)


def test_a_model_that_cannot_be_read_is_refused(tiny):
    model, tokenizer = tiny("bert")
    with pytest.raises(UnsupportedModelError, match="training mode"):
        survey(model.train(), tokenizer, TEXTS, progress=False)
    with pytest.raises(UnsupportedModelError, match="received 'bert'"):
        survey("bert", tokenizer, TEXTS, progress=False)
    fnet = tiny_models.build("fnet", vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1)
    with pytest.raises(UnsupportedModelError, match="no softmax attention"):
        survey(fnet, tokenizer, TEXTS, progress=False)


@pytest.mark.parametrize(
    ("option", "value"),
    [("batch_tokens", 0), ("batch_tokens", "<b>"), ("max_tokens", -1), ("on", "\nmoon")],
)
def test_options_that_are_none_are_refused(minilm, option, value):
    with pytest.raises(InputError, match="received.*\n\nHint: "):
        survey(*minilm, TEXTS, progress=False, **{option: value})


# Streams


def test_a_stream_is_read_a_buffer_at_a_time(minilm, monkeypatch):
    monkeypatch.setattr(texts, "BUFFER", 8)
    read, ahead = [], []

    def stream():
        for text in TEXTS:
            read.append(text)
            yield text

    survey(*minilm, stream(), progress=lambda n, n_all: ahead.append(len(read) - n))
    assert max(ahead) <= 8
    assert len(read) == N


def test_progress_is_told_of_every_text_and_of_all_where_they_are_known(minilm, capsys):
    told = []
    survey(*minilm, TEXTS, progress=lambda *counts: told.append(counts))
    assert told == sorted(told)
    assert told[-1] == (N, N)
    survey(*minilm, iter(TEXTS), progress=lambda *counts: told.append(counts))
    assert told[-1] == (N, None)
    survey(*minilm, TEXTS, progress=True)
    assert f"{N}/{N}" in capsys.readouterr().err


@pytest.mark.process
def test_datasets_are_surveyed_in_memory_and_streamed(minilm, whole):
    import datasets

    dataset = datasets.Dataset.from_dict({"text": TEXTS, "sentence": TEXTS[::-1]})
    assert_identical(survey(*minilm, dataset, progress=False), whole)
    stream = dataset.to_iterable_dataset()
    assert_identical(survey(*minilm, stream, progress=False), whole)
    assert_same(survey(*minilm, stream, column="sentence", progress=False), whole)
    with pytest.raises(InputError, match="no column 'body'.*\n\nHint: .*'sentence'"):
        survey(*minilm, dataset, column="body", progress=False)
    with pytest.raises(InputError, match=r"dataset\['train'\]"):
        survey(*minilm, datasets.DatasetDict({"train": dataset}), progress=False)


def test_rows_are_texts_by_their_column(minilm, whole):
    rows = ({"body": text, "n": 1} for text in TEXTS)
    assert_identical(survey(*minilm, rows, column="body", progress=False), whole)
    with pytest.raises(InputError, match="no column 'text'"):
        survey(*minilm, [{"body": "a"}], progress=False)


# Files


def test_a_survey_comes_back_from_its_file(whole, tmp_path):
    whole.save(tmp_path / "survey.npz")
    assert_identical(Survey.read(tmp_path / "survey.npz"), whole)
    file = io.BytesIO()
    whole.save(file)
    file.seek(0)
    assert_identical(Survey.read(file), whole)


def changed(survey, says=None, arrays=None):
    """The survey's file with some of it replaced."""
    file = io.BytesIO()
    survey.save(file)
    file.seek(0)
    content = dict(np.load(file))
    told = json.loads(str(content["about"]))
    told |= says or {}
    content |= {"about": np.array(json.dumps(told))} | (arrays or {})
    made = io.BytesIO()
    np.savez(made, **content)
    made.seek(0)
    return made


@pytest.mark.parametrize(
    "about",
    [
        {"of": 5},
        {"of": {}},
        {"of": {"model_name": "</script>"}},
        {"heads": 5},
        {"heads": [["self", 0]]},
        {"heads": [["self", 0, 0]] * 72},
        {"heads": [["self", {}, 0]] * 72},
        {"n_texts": -1},
        {"n_texts": 1},
        {"n_texts": True},
        {"n_texts": 10**400},
        {"skipped": {"blank": "many"}},
        {"skipped": [1]},
    ],
)
def test_a_file_that_says_something_else_is_refused(whole, about):
    with pytest.raises(InputError, match="\n\nHint: .*survey.save"):
        Survey.read(changed(whole, about))


@pytest.mark.parametrize(
    "arrays",
    [
        {"n": np.ones(3)},
        {"n": np.full((72, 21), 0.5)},
        {"mean": np.full((72, 21), np.inf)},
        {"mean": np.full((72, 21), 1e9)},
        {"squares": np.full((72, 21), -1.0)},
        {"smallest": np.full((72, 21), np.nan)},
        {"largest": np.array(["a"])},
        {"about": np.array("{")},
        {"about": np.array("[" * 100_000)},
        {"about": np.array([1.5])},
        {"mean": np.array([None])},
    ],
)
def test_a_file_with_other_arrays_is_refused(whole, arrays):
    with pytest.raises(InputError, match="\n\nHint: .*survey.save"):
        Survey.read(changed(whole, arrays=arrays))


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"\x80\x04N.", b"{}" * 99])
def test_a_broken_file_is_refused(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match="\n\nHint: .*survey.save"):
        Survey.read(tmp_path / "file")


def test_files_that_are_not_there_are_named(whole, tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Survey.read(tmp_path / "none.npz")
    with pytest.raises(InputError, match="cannot be written"):
        whole.save(tmp_path / "no" / "folder.npz")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_name", "'</script>\n"),
        ("weights", "others"),
        ("dtype", "bfloat16"),
        ("max_tokens", 5),
        ("measures", ("entropy",)),
    ],
)
def test_surveys_of_something_else_are_not_merged(whole, name, value):
    other = Survey(Surveyed(**vars(whole.of) | {name: value}))
    with pytest.raises(InputError, match=f"{name} are .*\n\nHint: "):
        whole.merge(other)
    with pytest.raises(TypeError):
        whole + 5


def test_a_model_trained_on_is_another(tiny):
    model, tokenizer = tiny("bert")
    before = survey(model, tokenizer, SHORT[:2], progress=False)
    model.embeddings.word_embeddings.weight.data += 0.1
    with pytest.raises(InputError, match="weights are"):
        before + survey(model, tokenizer, SHORT[:2], progress=False)


# Checkpoints


class Stop(Exception):
    """Stands for whatever ends a survey."""


@pytest.fixture(scope="module")
def uninterrupted(minilm):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(texts, "BUFFER", 8)
        return survey(*minilm, TEXTS, progress=False)


@pytest.fixture
def interrupted(minilm, monkeypatch, tmp_path):
    """A survey with a checkpoint that meets an error at the n-th call of a function."""
    monkeypatch.setattr(texts, "BUFFER", 8)

    def interrupt(place, n, error):
        calls = []

        def count(*_):
            calls.append(1)
            if len(calls) == n:
                raise error

        def texts():
            for text in TEXTS:
                if place == "text":
                    count()
                yield text

        with monkeypatch.context() as patched:
            if place == "pass":
                run = batching.Passes._values
                patched.setattr(
                    batching.Passes, "_values", lambda *given: (count(), run(*given))[1]
                )
            if place == "merge":
                merge = Survey.merge
                patched.setattr(Survey, "merge", lambda *given: (count(), merge(*given))[1])
            with pytest.raises(type(error)):
                survey(
                    *minilm,
                    texts(),
                    checkpoint=tmp_path / "c.npz",
                    progress=count if place == "progress" else False,
                )
        return tmp_path / "c.npz"

    return interrupt


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Stop()])
@pytest.mark.parametrize(
    ("place", "n"),
    [
        *(("text", 1), ("text", 30), ("pass", 4), ("merge", 5), ("progress", 7)),
        *(
            pytest.param(*at, marks=pytest.mark.long)
            for at in (("text", 12), ("pass", 2), ("merge", 1), ("merge", 11), ("progress", 1))
        ),
    ],
)
def test_an_interrupted_survey_goes_on_to_the_very_same_numbers(
    minilm, uninterrupted, interrupted, place, n, error
):
    checkpoint = interrupted(place, n, error)
    assert Survey.read(checkpoint).n_seen < N
    resumed = survey(*minilm, TEXTS, checkpoint=checkpoint, progress=False)
    assert_identical(resumed, uninterrupted)


KILLED = """
import os, signal, sys
import attnviz
from attnviz.heads import survey, texts
texts.BUFFER = 8
def kill(n, n_all):
    if n > 20:
        os.kill(os.getpid(), signal.SIGKILL)
survey(*attnviz.load(), sys.argv[2:], checkpoint=sys.argv[1], checkpoint_seconds=0, progress=kill)
"""


@pytest.mark.process
def test_a_killed_survey_goes_on(minilm, monkeypatch, tmp_path):
    monkeypatch.setattr(texts, "BUFFER", 8)
    checkpoint = tmp_path / "c.npz"
    command = [sys.executable, "-c", KILLED, str(checkpoint), *TEXTS]
    ran = subprocess.run(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    assert ran.returncode == -signal.SIGKILL
    assert Survey.read(checkpoint).n_seen == 16
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]
    resumed = survey(*minilm, TEXTS, checkpoint=checkpoint, progress=False)
    assert_same(resumed, survey(*minilm, TEXTS, progress=False))


KILLED_INSIDE = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)  # a fork has no others
import attnviz
from attnviz.heads import Survey, survey, texts
texts.BUFFER = 8
model, tokenizer = attnviz.load()
folder, given = Path(sys.argv[1]), sys.argv[2:]

def written(checkpoint, n_write=0, share=0.0):
    "A whole survey, or one that is killed at its n-th write, when a share of it is on the disk."
    writes = []
    write_bytes, replace = Path.write_bytes, os.replace

    def killed(path, content):
        writes.append(path)
        if len(writes) == n_write and share <= 1:
            with open(path, "wb", buffering=0) as file:
                file.write(content[: int(share * len(content))])
            os.kill(os.getpid(), signal.SIGKILL)
        write_bytes(path, content)

    def killed_after(source, target):
        replace(source, target)
        if len(writes) == n_write:
            os.kill(os.getpid(), signal.SIGKILL)

    Path.write_bytes, os.replace = killed, killed_after
    more = dict(checkpoint=checkpoint, checkpoint_seconds=0, progress=False)
    return survey(model, tokenizer, given, **more)

def forked(call):
    if (process := os.fork()) == 0:
        call()
        os._exit(0)
    return os.waitpid(process, 0)[1]

n = 0
for n_write in (1, 2, 3, 4):
    for share in (0, 0.3, 0.6, 0.99, 1, 2):
        checkpoint = folder / f"{n}.npz"
        assert forked(lambda: written(checkpoint, n_write, share)) == signal.SIGKILL
        assert forked(lambda: written(checkpoint).save(folder / f"whole {n}")) == 0
        n += 1
print(n)
"""


@pytest.mark.process
@pytest.mark.long
def test_a_survey_killed_inside_of_a_checkpoint_goes_on_to_the_very_same_numbers(minilm, tmp_path):
    command = [sys.executable, "-c", KILLED_INSIDE, str(tmp_path), *TEXTS]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert int(ran.stdout) == 24, ran.stderr
    whole = [Survey.read(path) for path in tmp_path.glob("whole*")]
    assert len(whole) == 24
    for resumed in whole[1:]:
        assert_identical(resumed, whole[0])
    assert_same(whole[0], survey(*minilm, TEXTS, progress=False))


def test_a_finished_survey_is_not_done_again(minilm, whole, monkeypatch, tmp_path):
    assert_identical(survey(*minilm, TEXTS, checkpoint=tmp_path / "c", progress=False), whole)
    monkeypatch.setattr(batching.Passes, "over", None)
    assert_identical(survey(*minilm, TEXTS, checkpoint=tmp_path / "c", progress=False), whole)


def test_a_checkpoint_of_something_else_is_refused(minilm, tiny, tmp_path):
    checkpoint = tmp_path / "c.npz"
    survey(*minilm, TEXTS[:2], checkpoint=checkpoint, progress=False)
    before = checkpoint.read_bytes()
    with pytest.raises(InputError, match="goes on from a checkpoint where both are of the same"):
        survey(*tiny("bert"), TEXTS, checkpoint=checkpoint, progress=False)
    with pytest.raises(InputError, match="max_tokens are 'None' and '9'"):
        survey(*minilm, TEXTS, checkpoint=checkpoint, max_tokens=9, progress=False)
    assert checkpoint.read_bytes() == before
    checkpoint.write_bytes(b"something else")
    with pytest.raises(InputError, match="\n\nHint: "):
        survey(*minilm, TEXTS, checkpoint=checkpoint, progress=False)
    assert checkpoint.read_bytes() == b"something else"


@pytest.mark.parametrize("checkpoint", ["no/folder/here.npz", "\0", 5, "."])
def test_a_checkpoint_that_cannot_be_written_is_refused_before_any_pass(
    minilm, monkeypatch, checkpoint
):
    monkeypatch.setattr(batching.Passes, "over", None)
    with pytest.raises(AttnvizError, match="\n\nHint: "):
        survey(*minilm, TEXTS, checkpoint=checkpoint, progress=False)


# Ray


def on_ray(test):
    """Of a test that starts a cluster: Ray warns of its own settings."""
    return pytest.mark.process(pytest.mark.filterwarnings("ignore::DeprecationWarning")(test))


def test_ray_is_named_where_it_is_missing(minilm, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r'\n\nHint: pip install "attnviz\[ray\]"'):
        survey(*minilm, TEXTS, on="ray", progress=False)


def test_a_checkpoint_is_refused_on_ray(minilm, tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        survey(*minilm, TEXTS, on="ray", checkpoint=tmp_path / "c", progress=False)


@pytest.fixture(scope="module")
def ray():
    """A cluster of two workers on this machine."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@on_ray
def test_a_survey_on_ray_is_that_of_one_process(minilm, ray):
    model, tokenizer = minilm
    # transformers leaves hooks on a model that was asked for its attentions
    model(**tokenizer("x", return_tensors="pt"), output_attentions=True, output_hidden_states=True)
    texts = drawn(600, seed=3)
    here = survey(*minilm, [*texts, *HOSTILE], progress=False)
    told = []
    there = survey(
        *minilm, iter([*texts, *HOSTILE]), on="ray", progress=lambda *counts: told.append(counts)
    )
    assert_same(there, here)
    assert told[-1] == (610, None)


@on_ray
def test_rays_own_datasets_are_surveyed_by_their_column(minilm, ray, whole):
    from ray import data

    dataset = data.from_items([{"body": text, "n": 1} for text in TEXTS])
    of_dataset = survey(*minilm, dataset, column="body", on="ray", progress=False)
    assert_same(of_dataset, whole)
    with pytest.raises(InputError, match="no column 'text'"):
        survey(*minilm, dataset, on="ray", progress=False)


@on_ray
def test_a_model_that_cannot_be_read_is_refused_on_ray(minilm, ray):
    _, tokenizer = minilm
    fnet = tiny_models.build("fnet", vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1)
    with pytest.raises(UnsupportedModelError, match="no softmax attention"):
        survey(fnet, tokenizer, TEXTS, on="ray", progress=False)
