"""Where a model's files are on this machine: a package, a folder, a GGUF file, the Hub's cache."""

from dataclasses import dataclass
from pathlib import Path

from attnviz.models import bundled, gguf, weights
from attnviz.text.errors import ModelLoadError


@dataclass(frozen=True)
class Place:
    """A model's files, what to call the model, and its revision where it has one."""

    folder: Path
    name: str
    revision: str | None
    gguf: Path | None = None  # the file in the folder that the model is read from
    sha256: str | None = None  # which that file must have

    @property
    def is_folder(self) -> bool:
        """Whether somebody keeps it there, rather than a package or the cache."""
        return self.revision is None

    def n_bytes(self, dtype: str) -> int | None:
        """What the weights take once loaded, in bytes; None where that cannot be read.

        Raises ModelLoadError for a GGUF file that cannot be read.
        """
        if self.gguf is not None:
            return gguf.n_bytes(self.gguf, dtype)
        return weights.n_bytes(self.folder, dtype)


def find(name: str, revision: str | None = None, *, allow_folder: bool = True) -> Place | None:
    """Where this model is; None where it has to be downloaded. Never asks the network.

    Without `allow_folder` no folder of this machine is looked at, so that the answer says nothing
    about which there are. Raises ModelLoadError for a path where there is no model's folder or
    file, and for an installed model that is not installed.
    """
    if name == bundled.BUNDLED and revision is None and (folder := bundled.folder()) is not None:
        return Place(folder, name, f"sha256:{bundled.SHA256[:12]}")
    if name == bundled.DECODER and revision is None:
        return _decoder()
    if allow_folder and (place := _folder_or_file(name)) is not None:
        return place
    from attnviz.models import hub  # not before: the bundled model and folders need none of it

    snapshot = hub.here(name, revision)
    return None if snapshot is None else Place(snapshot, name, snapshot.name)


def is_path(name: str) -> bool:
    """Whether a name can only be that of a folder or a file."""
    return Path(name).is_absolute() or name.startswith((".", "~")) or is_file(name)


def is_file(name: str) -> bool:
    """Whether a name can only be that of a file."""
    return name.endswith(gguf.ENDING)


def _decoder() -> Place:
    file = bundled.decoder()
    if file is None:
        raise bundled.no_decoder()
    known = bundled.DECODER_SHA256
    return Place(file.parent, bundled.DECODER, f"sha256:{known[:12]}", file, known)


def _folder_or_file(name: str) -> Place | None:
    """What lies at this path; None where it is no path and may be a name on the Hub."""
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            return _folder(path)
        if is_file(name) and path.is_file():
            return _file(path)
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, a user who is not there
        return None
    if is_file(name):
        raise ModelLoadError(
            f"File not found: {path.name}.\n\nHint: give a file that ends in .gguf, a folder that "
            "holds one, or the name of a model on the Hub."
        )
    if is_path(name):
        raise ModelLoadError(
            f"Folder not found: {path.name}.\n\nHint: give the folder that "
            "holds config.json and model.safetensors, or the name of a model on the Hub."
        )
    return None


def _file(path: Path) -> Place:
    return Place(path.parent, path.name.removesuffix(gguf.ENDING), None, path)


def _folder(path: Path) -> Place:
    """A folder with safetensors, or else with one GGUF file."""
    files = sorted(path.glob(f"*{gguf.ENDING}"))
    if not files or any(path.glob("*.safetensors")):
        return Place(path, path.resolve().name, None)
    if len(files) > 1:
        named = ", ".join(file.name for file in files[:3])
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        raise ModelLoadError(
            f"The folder {path.resolve().name} holds {len(files)} GGUF files: {named}{more}."
            "\n\nHint: give the path of one of them."
        )
    return _file(files[0])
