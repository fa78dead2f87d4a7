"""Where a model's files are on this machine: the installed package, a folder, the Hub's cache."""

from dataclasses import dataclass
from pathlib import Path

from attnviz.models import bundled
from attnviz.text.errors import ModelLoadError


@dataclass(frozen=True)
class Place:
    """A model's files, what to call the model, and its revision where it has one."""

    folder: Path
    name: str
    revision: str | None

    @property
    def is_folder(self) -> bool:
        """Whether somebody keeps it there, rather than the package or the cache."""
        return self.revision is None


def find(name: str, revision: str | None = None, *, allow_folder: bool = True) -> Place | None:
    """Where this model is; None where it has to be downloaded. Never asks the network.

    Without `allow_folder` no folder of this machine is looked at, so that the answer says nothing
    about which there are. Raises ModelLoadError for a path where there is no folder.
    """
    if name == bundled.BUNDLED and revision is None and (folder := bundled.folder()) is not None:
        return Place(folder, name, f"sha256:{bundled.SHA256[:12]}")
    if allow_folder and (folder := _folder(name)) is not None:
        return Place(folder, folder.resolve().name, None)
    from attnviz.models import hub  # not before: the bundled model and folders need none of it

    snapshot = hub.here(name, revision)
    return None if snapshot is None else Place(snapshot, name, snapshot.name)


def is_path(name: str) -> bool:
    """Whether a name can only be that of a folder."""
    return Path(name).is_absolute() or name.startswith((".", "~"))


def _folder(name: str) -> Path | None:
    """The folder of this path; None where it is no path and may be a name on the Hub."""
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            return path
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, a user who is not there
        return None
    if is_path(name):
        raise ModelLoadError(
            f"Folder not found: {path.name}.\n\nHint: give the folder that "
            "holds config.json and model.safetensors, or the name of a model on the Hub."
        )
    return None
