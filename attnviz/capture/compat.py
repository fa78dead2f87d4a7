"""What torch, transformers and accelerate do not promise to keep, each name in one place.

tests/capture/test_compat.py names them all and says what each is needed for.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

# What a torch function mode, and a subclass of Tensor, are not told of while it is entered.
from torch._C import DisableTorchFunction as UntoldToModes
from torch._C import DisableTorchFunctionSubclass as UntoldToSubclasses
from torch.nn.modules.module import _has_any_global_hook

__all__ = ["UntoldToModes", "UntoldToSubclasses"]

# torch

# Where a module looks, whenever it is called, for what to call instead of its own code; it is
# left out where a module is copied or saved. `nn.Module.compile` puts its result there.
CALLED_INSTEAD = "_compiled_call_impl"


# What calls a module, hooks and all, whatever should be called instead of it.
call: Callable[..., Any] = nn.Module._call_impl


# Under which name a compiled module holds the one that it was compiled of.
ORIGINAL = "_orig_mod"


def submodules(module: nn.Module) -> Mapping[str, nn.Module | None]:
    """The modules right below a module, by name; twice where one is there twice."""
    return module._modules


def times_written(tensor: Tensor) -> int | None:
    """How often a tensor's memory was written into; None where nobody counts that."""
    return None if tensor.is_inference() else tensor._version


def is_parameter(tensor: Tensor) -> bool:
    """Whether a tensor is a model's parameter or a view of one."""
    return isinstance(tensor, nn.Parameter) or isinstance(tensor._base, nn.Parameter)


def buffers(module: nn.Module) -> Iterable[Tensor | None]:
    """The tensors right in a module that are no parameters."""
    return module._buffers.values()


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody's own functions run before or after this module's code.

    Those of transformers only collect what a model is asked to return.
    """
    if not (module._forward_hooks or module._forward_pre_hooks):
        return False
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    names = (str(getattr(hook, "__module__", "")) for hook in hooks)
    return not all(name.startswith("transformers.") for name in names)


def has_hooks_of_all() -> bool:
    """Whether such functions run before or after any module's code."""
    return bool(_has_any_global_hook())  # type: ignore[no-untyped-call]


# transformers


def is_eager(name: str) -> bool:
    """Whether a modeling file's function of this name computes eager attention."""
    return name.endswith("eager_attention_forward")


def turns(name: str) -> bool:
    """Whether a modeling file's function of this name applies a rotary embedding."""
    return "apply_" in name and ("rotary" in name or "rope" in name)


def attention_implementation(model: Any) -> str:
    """How a model computes attention: "eager", "sdpa" …"""
    return str(model.config._attn_implementation)


def revision(model: Any) -> str | None:
    """The commit of the Hub, or another name of the very weights, that a model was loaded with."""
    return getattr(model.config, "_commit_hash", None)


def layer_number(module: nn.Module) -> int | None:
    """The number that an attention module was given among its model's layers, if any."""
    number = getattr(module, "layer_idx", None)
    return number if isinstance(number, int) else None


# peft


def needs_its_wrapper(config: Any) -> bool:
    """Whether adapters of this configuration work only where the model is called through peft."""
    is_activated = getattr(config, "alora_invocation_tokens", None) is not None
    return is_activated or config.peft_type.value == "XLORA"


# accelerate


def hooked(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Those that accelerate does something for before and after they run."""
    return [module for module in modules if "_hf_hook" in vars(module)]


def execution_device(module: Any) -> Any:
    """Where accelerate runs a module; None where it does not say."""
    return getattr(vars(module).get("_hf_hook"), "execution_device", None)


def stored_weights(module: nn.Module) -> Mapping[str, Tensor] | None:
    """The weights of a module that has them only while it runs; None where they are its own."""
    hook = vars(module).get("_hf_hook")
    if hook is None:
        return None
    for one in getattr(hook, "hooks", (hook,)):  # one or several
        if getattr(one, "offload", False):
            weights: Mapping[str, Tensor] = one.weights_map
            return weights
    return None
