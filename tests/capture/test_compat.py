"""What torch, transformers and accelerate do not promise is still as capture needs it.

Where one of these fails after an upgrade, attnviz/capture/compat.py is the place to mend.
"""

import copy
import pickle

import peft
import pytest
import torch
from accelerate.hooks import AlignDevicesHook, SequentialHook, add_hook_to_module
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers.models.bert import modeling_bert
from transformers.models.llama import modeling_llama

from attnviz.capture import compat
from tests.support import tiny_models

# torch


class Told(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_disable_torch_function_keeps_modes_from_being_told():
    with Told() as told:
        torch.ones(1)
        with compat.UntoldToModes():
            torch.zeros(1)
    assert told.names == ["ones"]


def test_disable_torch_function_subclass_keeps_subclasses_from_being_told_but_not_modes():
    class Subclass(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            raise AssertionError(func)

    one = torch.ones(1).as_subclass(Subclass)
    with Told() as told, compat.UntoldToSubclasses():
        assert torch.neg(one) == -1
    assert "neg" in told.names


def test_compiled_call_impl_is_called_instead_of_a_module_and_is_not_copied():
    module = nn.Linear(2, 2)
    assert getattr(nn.Module, compat.CALLED_INSTEAD) is None
    vars(module)[compat.CALLED_INSTEAD] = lambda x, y=0: x + y
    assert module(1, y=2) == 3
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert compat.CALLED_INSTEAD not in vars(other)
    module.compile(backend="eager")
    assert callable(vars(module)[compat.CALLED_INSTEAD])


def test_call_impl_calls_the_module_and_its_hooks_whatever_is_called_instead():
    module, x = nn.Identity(), torch.ones(1)
    vars(module)[compat.CALLED_INSTEAD] = None.__class__
    module.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    module.register_forward_hook(lambda module, args, output: output * 10)
    assert compat.call(module, x) == 20


def test_modules_are_the_submodules_by_name():
    module = nn.Sequential(one := nn.ReLU(), one)
    module.register_module("none", None)
    assert list(compat.submodules(module).items()) == [("0", one), ("1", one), ("none", None)]


def test_version_counts_how_often_memory_was_written_into():
    tensor = torch.zeros(3)
    before = compat.times_written(tensor)
    tensor[1:].add_(1)
    assert compat.times_written(tensor) == before + 1
    with torch.inference_mode():
        assert compat.times_written(torch.zeros(3)) is None


def test_base_tells_a_view_of_a_parameter():
    weight = nn.Linear(2, 3).weight
    assert compat.is_parameter(weight)
    assert compat.is_parameter(weight.T)
    assert not compat.is_parameter(weight.T.clone())


def test_orig_mod_is_what_a_module_was_compiled_of():
    module = nn.Linear(2, 2)
    assert compat.submodules(torch.compile(module, backend="eager"))[compat.ORIGINAL] is module
    assert compat.ORIGINAL not in compat.submodules(module)


def test_forward_hooks_and_forward_pre_hooks_are_known():
    module = nn.Linear(2, 2)
    assert not compat.has_hooks(module)
    for register in (module.register_forward_hook, module.register_forward_pre_hook):
        handle = register(lambda *given: None)
        assert compat.has_hooks(module)
        handle.remove()
        assert not compat.has_hooks(module)


def test_has_any_global_hook_is_told_of_hooks_on_all_modules():
    assert not compat.has_hooks_of_all()
    handle = nn.modules.module.register_module_forward_hook(lambda *given: None)
    assert compat.has_hooks_of_all()
    handle.remove()
    assert not compat.has_hooks_of_all()


def test_hooks_of_transformers_only_collect():
    model = tiny_models.build("bert")
    model(tiny_models.random_ids(), output_attentions=True)
    hooked = [part for part in model.modules() if part._forward_hooks]
    assert hooked
    assert not any(map(compat.has_hooks, hooked))


def test_buffers_are_those_right_in_a_module():
    module = nn.BatchNorm1d(2)
    assert [id(one) for one in compat.buffers(module)] == [id(one) for one in module.buffers()]
    assert not list(compat.buffers(nn.Sequential(module)))


# transformers


def test_eager_attention_forward_and_apply_rotary_are_what_modeling_files_look_up():
    for source, names in ((modeling_bert, set()), (modeling_llama, {"apply_rotary_pos_emb"})):
        assert {name for name in vars(source) if compat.turns(name)} == names
        assert {name for name in vars(source) if compat.is_eager(name)} == {
            "eager_attention_forward"
        }


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attn_implementation_is_how_a_model_computes_attention(attention):
    model = tiny_models.build("bert", attention=attention)
    assert compat.attention_implementation(model) == attention
    model.set_attn_implementation("eager")
    assert compat.attention_implementation(model) == "eager"


def test_commit_hash_is_the_revision_and_is_not_saved(minilm):
    model = tiny_models.build("bert")
    assert compat.revision(model) is None
    model.config._commit_hash = "abc"
    assert compat.revision(model) == "abc"
    assert "_commit_hash" not in model.config.to_dict()
    assert compat.revision(minilm[0]).startswith("sha256:")


def test_layer_idx_is_the_number_of_a_layer():
    layers = tiny_models.build("llama").layers
    assert [compat.layer_number(layer.self_attn) for layer in layers] == [0, 1, 2]
    assert compat.layer_number(nn.ReLU()) is None


# peft


@pytest.mark.parametrize(
    ("config", "needs"),
    [
        (peft.LoraConfig(), False),
        (peft.LoraConfig(task_type="CAUSAL_LM", alora_invocation_tokens=[1]), True),
        (peft.XLoraConfig(hidden_size=32, adapters={"one": "."}), True),
    ],
)
def test_alora_and_xlora_work_only_where_peft_calls_the_model(config, needs):
    assert compat.needs_its_wrapper(config) == needs


# accelerate


def test_hf_hook_says_where_a_module_runs_and_where_its_weights_are():
    plain, stored = nn.Linear(2, 2), {"weight": torch.ones(2, 2)}
    here = add_hook_to_module(nn.Linear(2, 2), AlignDevicesHook("cpu"))
    away = add_hook_to_module(
        nn.Linear(2, 2, bias=False),
        AlignDevicesHook("cpu", offload=True, weights_map=stored),
    )
    several = add_hook_to_module(nn.Linear(2, 2, bias=False), SequentialHook(away._hf_hook))
    modules = (plain, here, away, several)
    assert compat.hooked(modules) == [here, away, several]
    assert [compat.execution_device(module) for module in modules] == [None, "cpu", "cpu", None]
    assert [compat.stored_weights(module) for module in modules] == [None, None, stored, stored]
    assert torch.equal(away(torch.ones(1, 2)), torch.full((1, 2), 2.0))
