"""A model in somebody's own holder is taken out, or the line that takes it out is said."""

import peft
import pytest
import torch
from torch import nn
from transformers import BertModel, LlamaConfig, LlamaForCausalLM, Trainer, pipeline

import attnviz
from tests.support import tiny_models
from tests.support.adapting import adapted
from tests.support.tracing import all_heads, tiny_inputs


@pytest.fixture(scope="module")
def bert():
    return tiny_models.build("bert")


def same(trace, other):
    pairs = zip(all_heads(trace), all_heads(other), strict=True)
    return all((head.weights == expected.weights).all() for head, expected in pairs)


class Holder(nn.Module):
    """A module of somebody's own with a model in it."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


HOLDERS = {
    "torch.compile": lambda model: torch.compile(model, backend="eager"),
    "DataParallel": nn.DataParallel,
    "both": lambda model: torch.compile(nn.DataParallel(model), backend="eager"),
    "Trainer": lambda model: _named("transformers.trainer", "Trainer", model),
    "a pipeline": lambda model: _named("transformers.pipelines.base", "Pipeline", model),
}


def _named(module, name, model):
    """An instance of a class of this name, which has the model where those of transformers do."""
    holder = type("Own", (type(name, (), {"__module__": module}),), {})()
    holder.model = model
    return holder


def test_pipelines_and_trainers_are_known_by_their_names_and_have_their_model_where_it_is_sought(
    minilm, tmp_path
):
    pipe = pipeline("feature-extraction", model=minilm[0], tokenizer=minilm[1])
    assert attnviz.trace(pipe, minilm[1], "time flies").kinds == ("self",)
    named = {(one.__module__.partition(".")[0], one.__name__) for one in Trainer.__mro__}
    assert ("transformers", "Trainer") in named


@pytest.mark.parametrize("holder", HOLDERS)
def test_holders_that_change_no_number_are_opened(bert, holder):
    inputs = tiny_inputs(bert)
    trace = attnviz.trace_inputs(HOLDERS[holder](bert), inputs)
    assert same(trace, attnviz.trace_inputs(bert, inputs))


@pytest.mark.parametrize("compiled", ["encoder", "encoder.layer.0.attention.self", ""])
@pytest.mark.parametrize("in_place", [True, False])
def test_parts_that_are_compiled_are_read_by_their_own_code(compiled, in_place):
    model, plain = tiny_models.build("bert"), tiny_models.build("bert")
    part = model.get_submodule(compiled)
    if in_place:
        part.compile(backend="eager")
    elif compiled:
        model.set_submodule(compiled, torch.compile(part, backend="eager"))
    inputs = tiny_inputs(model)
    assert same(attnviz.trace_inputs(model, inputs), attnviz.trace_inputs(plain, inputs))


def test_heads_are_measured_in_a_holder_too(bert):
    held = nn.DataParallel(bert)
    table = attnviz.heads.induction(held, n_tokens=4)
    assert table.equals(attnviz.heads.induction(bert, n_tokens=4))


def test_a_hint_reaches_the_model_where_it_is():
    model = nn.DataParallel(tiny_models.build("bert").train())
    with pytest.raises(attnviz.UnsupportedModelError, match="training mode") as refused:
        attnviz.trace_inputs(model, tiny_inputs(model.module))
    assert "model.module.eval()" in str(refused.value)


@pytest.mark.parametrize(
    ("held", "way"),
    [
        (lambda model: Holder(bert=model), "model.bert"),
        (lambda model: nn.Sequential(nn.Linear(2, 2), model), "model[1]"),
        (lambda model: Holder(parts=nn.ModuleDict({"a b": Holder(one=model)})), "['a b'].one"),
        (lambda model: Holder(one=model, other=nn.DataParallel(model)), "model.one, model.other."),
    ],
)
def test_a_module_with_a_model_in_it_is_refused_with_the_way_to_it(bert, held, way):
    model = held(bert).eval()
    with pytest.raises(attnviz.UnsupportedModelError, match="holds") as refused:
        attnviz.trace_inputs(model, tiny_inputs(bert))
    said = str(refused.value)
    assert way in said
    inner = said.split("attnviz.trace(")[-1].split(", …)")[0].split("one of ")[-1].split(",")[0]
    assert eval(inner, {"model": model}) is bert


@pytest.mark.process  # it imports what only the rest needs
def test_a_sentence_transformer_says_where_its_model_is(minilm, tmp_path):
    from sentence_transformers import SentenceTransformer

    for part in minilm:
        part.save_pretrained(tmp_path)
    model = SentenceTransformer(str(tmp_path), device="cpu")
    said = r"attnviz.trace\(model\[0\].auto_model"
    with pytest.raises(attnviz.UnsupportedModelError, match=said):
        attnviz.trace(model, minilm[1], "time flies")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("bert-base-uncased", "not its name; received 'bert-base-uncased'"),
        (BertModel, "received the class BertModel"),
        (nn.Linear(2, 2), "received Linear"),
        (None, "received NoneType"),
    ],
)
def test_what_is_no_model_is_named(given, said):
    with pytest.raises(attnviz.UnsupportedModelError, match=said):
        attnviz.trace_inputs(given, {})


def test_a_model_and_its_tokenizer_in_one_or_in_the_other_order(minilm):
    with pytest.raises(attnviz.UnsupportedModelError, match="received a tuple"):
        attnviz.trace(minilm, None, "time flies")
    with pytest.raises(attnviz.UnsupportedModelError, match="a model first and then its tokenizer"):
        attnviz.trace(minilm[1], minilm[0], "time flies")


# PEFT

IN_LAYERS = {
    "LoRA": peft.LoraConfig(target_modules=["q_proj", "o_proj"], init_lora_weights=False),
    "DoRA": peft.LoraConfig(target_modules=["v_proj"], use_dora=True, init_lora_weights=False),
    "IA3": peft.IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj"],
        feedforward_modules=["down_proj"],
        init_ia3_weights=False,
    ),
    "LoHa": peft.LoHaConfig(target_modules=["q_proj", "k_proj"], init_weights=False),
}


def causal(config):
    torch.manual_seed(0)
    own = LlamaConfig(**tiny_models.CONFIGS["llama"])
    model = LlamaForCausalLM._from_config(own, attn_implementation="eager")
    return adapted(tiny_models.sharpen(model), config)


@pytest.mark.parametrize(
    ("adapter", "is_merged"),
    [
        (one, merged)
        for one in IN_LAYERS
        for merged in (False, True)
        if (one, merged) != ("norms", 1)
    ],
)
def test_adapters_in_layers_are_part_of_the_model(adapter, is_merged):
    model = causal(IN_LAYERS[adapter])
    if is_merged:
        model.merge_adapter()
    inputs = tiny_inputs(model.get_base_model())
    with torch.no_grad():
        own = model(**inputs, output_attentions=True).attentions
    trace = attnviz.trace_inputs(model, inputs)
    for head in all_heads(trace):
        torch.testing.assert_close(
            torch.tensor(head.weights), own[head.layer][0, head.head], atol=1e-6, rtol=0
        )
        assert head.is_exact
        projections = {name: f"{name}_proj" for name in head.origins}
        plain = IN_LAYERS[adapter].target_modules
        assert is_merged or not set(projections.values()) & set(plain)
    assert (trace.head(0, 0).output is None) == (adapter == "LoRA" and not is_merged)


LEARNED = {
    "prefix tuning": peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "prompt tuning": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "p tuning": peft.PromptEncoderConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=8
    ),
}


@pytest.mark.parametrize("learned", LEARNED)
def test_a_learned_prompt_is_refused_with_the_line_that_shows_it(learned):
    model, ids = causal(LEARNED[learned]), tiny_models.random_ids(5)
    with pytest.raises(attnviz.UnsupportedModelError, match=rf"\({learned}\) before") as refused:
        attnviz.trace_inputs(model, {"input_ids": ids})
    line = str(refused.value).split("Hint: ")[1]
    trace = eval(line, {"attnviz": attnviz, "model": model, "ids": ids, "torch": torch})
    with torch.no_grad():
        own = model(input_ids=ids, output_attentions=True).attentions
    for head in all_heads(trace):
        assert len(head.key_tokens) == 9  # four of them are the prompt's
        torch.testing.assert_close(
            torch.tensor(head.weights), own[head.layer][0, head.head], atol=1e-6, rtol=0
        )


def test_adapters_that_are_chosen_for_each_text_are_refused():
    config = peft.LoraConfig(
        target_modules=["q_proj"], task_type="CAUSAL_LM", alora_invocation_tokens=[3]
    )
    with pytest.raises(attnviz.UnsupportedModelError, match="chooses its adapters anew"):
        attnviz.trace_inputs(causal(config), {"input_ids": tiny_models.random_ids(5)})
