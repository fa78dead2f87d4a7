"""How a model's logits came of what its layers added, noted from torch's operations in one pass.

A transformer adds what each layer computes to a stream, norms the stream, and multiplies it by the
vocabulary. Of every operation that only adds, moves or scales it is noted what it was done to, so
that it can be done again; everything else is a source, known by its name and by the modules that
it ran in.
"""

import functools
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attnviz.capture.attention_code import attends
from attnviz.capture.calls import around_attention
from attnviz.capture.compat import is_parameter
from attnviz.capture.modules import modules_of
from attnviz.capture.operations import (
    CASTS,
    COPIES,
    DIVIDES,
    DROPS,
    MOVES,
    MULTIPLIES,
    REPEATS,
    RESHAPES,
    Args,
    Function,
    Kwargs,
    is_in_place,
    name_of,
)
from attnviz.capture.recording import modules_running

ADDS = {"add", "iadd", "radd", "sub", "isub", "rsub"}
SCALES = MULTIPLIES | DIVIDES | {"imul", "itruediv", "rmul", "truediv"}
NORMS = {"layer_norm", "rms_norm"}
SOFTCAP = "tanh"
PROJECTS = "linear"
EMBEDS = "embedding"
UNTOLD = "code that was not followed"
_OF_FIRST = RESHAPES | MOVES | COPIES | CASTS | REPEATS | NORMS | {"getitem", "mean", "neg"}
# They take the shape of what they are given, and no number.
_OF_SHAPE = {
    *("empty_like", "full_like", "ones_like", "zeros_like"),
    *("new_empty", "new_full", "new_ones", "new_zeros"),
}
_WRITES = {"iadd", "isub", "imul", "itruediv"}
_MIXES = "conv1d"
# They give no tensor, and are asked all the time.
_ASKS = {
    *("data_ptr", "dim", "is_contiguous", "is_floating_point", "is_inference", "len", "numel"),
    *("numpy", "size", "storage_offset", "stride", "untyped_storage"),
}


@dataclass(eq=False, slots=True)
class Made:
    """A tensor of the pass: what made it, in which modules, each calling the next."""

    name: str
    modules: tuple[nn.Module, ...]
    is_of_text: bool  # it depends on what the model was given to read
    # Where it is followed further: other tensors that are followed stand as Made in the arguments.
    args: Args | None = None
    kwargs: Kwargs | None = None
    # Of a source that something followed was made of, its numbers; of a soft-cap what it was given.
    value: Tensor | None = None
    number: int = 0  # in the order of the pass

    @property
    def is_source(self) -> bool:
        return self.args is None

    @property
    def parents(self) -> list["Made"]:
        return [one for one in self.args or () if isinstance(one, Made)]


class Following(TorchFunctionMode):
    """Notes how each tensor was made while it is entered, as long as the tensor lives.

    What attention does is not noted, unless that `of_all` is asked for: it takes most of the time,
    and what it returns is known by its numbers where it returns what its projection gave.
    """

    def __init__(self, model: nn.Module, of_all: bool = False, keeps: bool = False) -> None:
        super().__init__()
        self.of_all = of_all
        self.kept: list[tuple[Tensor, Made]] | None = [] if keeps else None  # all, of a short text
        self.layers = layers_of(model)
        self.mixing: set[nn.Module] = set()  # modules that mixed tokens by a convolution
        self._fixed = {id(one) for one in model.buffers()}
        self._made: dict[int, tuple[weakref.ref[Tensor], Made]] = {}
        self._n_made = 0
        self._is_left = False

    def __enter__(self) -> "Following":
        self._around = around_attention.set(nullcontext if self.of_all else self._left)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        around_attention.reset(self._around)

    @contextmanager
    def _left(self, module: nn.Module) -> Iterator[None]:
        if self._is_left:  # by an attention around this one
            yield
            return
        super().__exit__(None, None, None)  # type: ignore[no-untyped-call]
        self._is_left = True
        try:
            yield
        finally:
            self._is_left = False
            super().__enter__()  # type: ignore[no-untyped-call]

    def of(self, tensor: Any) -> Made | None:
        """How a tensor was made, where it was made since this was entered."""
        found = self._made.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def forget(self) -> None:
        """Let all go that is held: it would stay for the next garbage collection."""
        self._made.clear()

    def layer_in(self, modules: tuple[nn.Module, ...]) -> nn.Module | None:
        """The layer that one of these modules is."""
        return next((one for one in modules if one in self.layers), None)

    def __torch_function__(
        self, func: Function, types: Any, args: Args = (), kwargs: Kwargs | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name, writes = _known(func)
        if name in _ASKS:
            return func(*args, **kwargs)
        if name == "get":  # mostly a shape or a type, asked for all the time
            result = func(*args, **kwargs)
            if not isinstance(result, Tensor):
                return result
        modules = modules_running()
        if not modules:  # by what comes before the pass
            return func(*args, **kwargs)
        if writes and args:
            self._keep(args[0])
        made = self._followed(name, modules, args, kwargs, writes)
        result = func(*args, **kwargs)
        if name == "setitem":
            self._note(args[0], Made(name, modules, self._is_of_text(name, args, kwargs)))
        elif isinstance(result, Tensor):
            if not writes and any(result is one for one in args):
                return result
            if made is None or type(result) is not Tensor or result.ndim > 3:
                made = Made(name, modules, self._is_of_text(name, args, kwargs))
            self._note(result, made)
            if name == _MIXES:
                self.mixing.update(made.modules)
        elif isinstance(result, tuple | list):
            is_of_text = self._is_of_text(name, args, kwargs)
            for part in result:
                if isinstance(part, Tensor):
                    self._note(part, Made(name, modules, is_of_text))
        return result

    def _note(self, tensor: Tensor, made: Made) -> None:
        place = id(tensor)
        self._n_made += 1
        made.number = self._n_made
        forget = self._made.pop
        ref = weakref.ref(tensor, lambda _: forget(place, None))
        self._made[place] = ref, made
        if self.kept is not None:
            self.kept.append((tensor, made))

    def _keep(self, tensor: Tensor) -> None:
        """Copy the numbers of a source that is about to be written into."""
        made = self.of(tensor)
        if made is not None and made.value is tensor:
            made.value = tensor.clone()

    def _is_of_text(self, name: str, args: Args, kwargs: Kwargs) -> bool:
        if name == EMBEDS or name in _OF_SHAPE:
            return name == EMBEDS
        for one in (*args, *kwargs.values()):
            for tensor in one if isinstance(one, tuple | list) else (one,):
                if isinstance(tensor, Tensor) and self._reads_text(tensor):
                    return True
        return False

    def _reads_text(self, tensor: Tensor) -> bool:
        made = self.of(tensor)
        if made is not None:
            return made.is_of_text
        if id(tensor) in self._fixed or is_parameter(tensor):
            return False
        return tensor.is_floating_point()  # of code that torch does not tell of

    # What is followed further

    def _followed(
        self, name: str, modules: tuple[nn.Module, ...], args: Args, kwargs: Kwargs, writes: bool
    ) -> Made | None:
        """How a result of this operation can be made again of what is followed; None if not."""
        if name in ADDS:
            places = self._places_of_text(args)
        elif name in SCALES:
            places = self._scaled(name, args)
        elif name in _OF_FIRST or name in DROPS or name in (SOFTCAP, PROJECTS):
            args, kwargs = _first_by_place(args, kwargs)
            places = self._places_of_text(args[:1])
        else:
            return None
        if not places or (name in DROPS and _drops(args, kwargs)):
            return None
        if name in (SOFTCAP, PROJECTS) and self.layer_in(modules) is not None:
            return None
        value = args[0] if name == SOFTCAP else None
        put = [
            self._source(one, is_written=writes and place == 0) if place in places else one
            for place, one in enumerate(args)
        ]
        return Made(name, modules, True, tuple(put), kwargs, value)

    def _places_of_text(self, args: Args) -> list[int]:
        return [
            place
            for place, one in enumerate(args)
            if isinstance(one, Tensor) and self._reads_text(one)
        ]

    def _scaled(self, name: str, args: Args) -> list[int]:
        """The one that is scaled, by a number for all of a token's dimensions or by parameters."""
        places = self._places_of_text(args)
        whole = [place for place in places if args[place].ndim and args[place].shape[-1] > 1]
        if len(whole) != 1 or ("div" in name and whole != [0]):
            return []
        return whole

    def _source(self, tensor: Tensor, is_written: bool) -> Made:
        made = self.of(tensor)
        if made is None:
            made = Made(UNTOLD, modules_running(), is_of_text=True)
            self._note(tensor, made)
        if made.is_source and made.value is None:
            made.value = tensor.clone() if is_written else tensor
        return made


@functools.cache
def _known(function: Function) -> tuple[str, bool]:
    """What an operation is called, and whether it writes into the first that it is given."""
    name = name_of(function)
    return name, name in _WRITES or is_in_place(function)


def _first_by_place(args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    if not args and "input" in kwargs:
        return (kwargs["input"],), {name: one for name, one in kwargs.items() if name != "input"}
    return args, kwargs


def _drops(args: Args, kwargs: Kwargs) -> bool:
    training = kwargs.get("training", args[2] if len(args) > 2 else True)
    return bool(training)


def layers_of(model: nn.Module) -> dict[nn.Module, int]:
    """The outermost modules that stand in a list of which some attend, and their places in it."""
    layers: dict[nn.Module, int] = {}
    open_ = [model]
    while open_:
        module = open_.pop()
        if isinstance(module, nn.ModuleList) and holds_attention(module):
            layers |= {layer: place for place, layer in enumerate(module)}
        else:
            open_ += module.children()
    return layers


def holds_attention(module: nn.Module) -> bool:
    """Whether a module, or one in it, has code that attends."""
    return any(map(attends, set(map(type, modules_of(module)))))
