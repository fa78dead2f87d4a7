"""What a process shares with everybody in it: what torch, transformers and others hold for all."""

import gc
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import warnings
from xml.etree import ElementTree

import altair
import huggingface_hub
import numpy as np
import pandas as pd
import torch
import transformers
from torch import nn
from transformers.models.bert import modeling_bert
from transformers.models.bloom import modeling_bloom
from transformers.models.llama import modeling_llama

# Whose functions, methods and tables are to be the same objects, and their sizes the same.
_NAMESPACES = {
    "torch.nn.Module": nn.Module,
    "torch.nn.Linear": nn.Linear,
    "torch.nn.LayerNorm": nn.LayerNorm,
    "torch.nn.modules.module": nn.modules.module,  # with the hooks of all modules
    "torch.nn.functional": nn.functional,
    "torch.Tensor": torch.Tensor,
    "torch": torch,
    "transformers.PreTrainedModel": transformers.PreTrainedModel,
    "modeling_bert": modeling_bert,
    "BertSelfAttention": modeling_bert.BertSelfAttention,
    "modeling_bloom": modeling_bloom,
    "modeling_llama": modeling_llama,
    "huggingface_hub.constants": huggingface_hub.constants,
    "huggingface_hub.file_download": huggingface_hub.file_download,
    "xml.etree.ElementTree": ElementTree,
    "logging": logging,
    "warnings": warnings,
}


def state() -> dict[str, object]:
    """All of it by name, each to be compared with what it is later."""
    found: dict[str, object] = {}
    for name, namespace in _NAMESPACES.items():
        for attribute, value in vars(namespace).items():
            if not (attribute.startswith("__") and attribute != "__call__"):
                found[f"{name}.{attribute}"] = _what(value)
    return found | _of_torch() | _of_libraries() | _of_python()


def _what(value: object) -> object:
    """A value that can be compared later: itself, where it is one, else which object it is."""
    if isinstance(value, str | bytes | int | float | bool | None):
        return repr(value)
    size = len(value) if isinstance(value, dict | list | set) else ""
    return f"{type(value).__name__} {id(value)} {size}"


def _of_torch() -> dict[str, object]:
    overrides, dispatch = torch.overrides, torch.utils._python_dispatch
    return {
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "anomaly mode": torch.is_anomaly_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "TorchFunctionMode stack": list(overrides._get_current_function_mode_stack()),
        "TorchDispatchMode stack": list(dispatch._get_current_dispatch_mode_stack()),
        "torch's random numbers": torch.get_rng_state().tolist(),
    }


def _of_libraries() -> dict[str, object]:
    transformers_logging = transformers.utils.logging
    return {
        "transformers' verbosity": transformers_logging.get_verbosity(),
        "transformers' progress bars": transformers_logging.is_progress_bar_enabled(),
        "attention functions": dict(transformers.AttentionInterface._global_mapping),
        "mask functions": dict(transformers.masking_utils.AttentionMaskInterface._global_mapping),
        "the Hub's progress bars": huggingface_hub.utils.are_progress_bars_disabled(),
        "the Hub's verbosity": huggingface_hub.utils.logging.get_verbosity(),
        "XML namespaces": dict(ElementTree._namespace_map),
        "Altair's theme": (altair.theme.active, altair.theme.options, altair.theme.names()),
        "Altair's data": (altair.data_transformers.active, altair.data_transformers.options),
        "Altair's renderer": (altair.renderers.active, altair.renderers.options),
        "NumPy's errors": np.geterr(),
        "NumPy's printing": np.get_printoptions(),
        "NumPy's random numbers": np.random.get_state()[1].tolist(),
        "Pandas' options": str(pd._config.config._global_config),
    }


def _of_python() -> dict[str, object]:
    loggers = [logging.root, *map(logging.getLogger, sorted(logging.root.manager.loggerDict))]
    return {f"logger {one.name}": _of_logger(one) for one in loggers} | {
        "warnings filters": list(map(str, warnings.filters)),
        "environment": dict(os.environ),
        "locale": locale.setlocale(locale.LC_ALL),
        "working directory": os.getcwd(),
        "search path": sys.path[:],
        "import hooks": (sys.meta_path[:], sys.path_hooks[:]),
        "excepthooks": (sys.excepthook, threading.excepthook),
        "streams": (sys.stdout, sys.stderr),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "socket timeout": socket.getdefaulttimeout(),
        "threads to wait for": [one.name for one in threading.enumerate() if not one.daemon],
        "garbage collection": (gc.isenabled(), gc.get_threshold()),
        "recursion limit": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "random numbers": random.getstate(),
    }


def _of_logger(one: logging.Logger) -> tuple[object, ...]:
    return one.level, one.propagate, one.disabled, one.handlers[:], one.filters[:]
