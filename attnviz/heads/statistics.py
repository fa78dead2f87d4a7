"""What is known of many texts: numbers that take no more room however many there are.

Statistics of two parts of a corpus are merged into those of the whole, in double precision.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from attnviz.attention import npz
from attnviz.attention.file_schema import NotAsAnnotated, array_as, json_in, values_as
from attnviz.heads.definitions import MEASURED
from attnviz.text.characters import quoted
from attnviz.text.errors import InputError

Head = tuple[str, int, int]  # kind, layer, head


@dataclass(frozen=True, eq=False)
class Statistics:
    """Running statistics of numbers that stand in one array for each text; all float64.

    Where there was no number, `n` is 0, `mean` and `squares` are 0 and the other two infinite.
    """

    n: np.ndarray  # how many texts have this number
    mean: np.ndarray
    squares: np.ndarray  # the sum of squared deviations from the mean
    smallest: np.ndarray
    largest: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Statistics":
        """Those of the rows of an array, (text, ...); NaN is no number."""
        values = values.astype(np.float64)
        is_number = ~np.isnan(values)
        n = is_number.sum(axis=0).astype(np.float64)
        mean = np.where(is_number, values, 0).sum(axis=0) / np.maximum(n, 1)
        deviations = np.where(is_number, values - mean, 0)
        return cls(
            n,
            mean,
            (deviations**2).sum(axis=0),
            np.where(is_number, values, np.inf).min(axis=0, initial=np.inf),
            np.where(is_number, values, -np.inf).max(axis=0, initial=-np.inf),
        )

    def __add__(self, other: "Statistics") -> "Statistics":
        """Those of both together (Chan, Golub & LeVeque 1983)."""
        n = self.n + other.n
        share = other.n / np.maximum(n, 1)
        difference = other.mean - self.mean
        return Statistics(
            n,
            self.mean + difference * share,
            self.squares + other.squares + difference**2 * self.n * share,
            np.minimum(self.smallest, other.smallest),
            np.maximum(self.largest, other.largest),
        )

    def at(self, places: Sequence[int], n_rows: int) -> "Statistics":
        """The same, with its rows at these places among so many; there is no number elsewhere."""
        spread = vars(Statistics.of(np.empty((0, n_rows, *self.n.shape[1:]))))
        for name, array in spread.items():
            array[list(places)] = getattr(self, name)
        return Statistics(**spread)


_ARRAYS = tuple(one.name for one in fields(Statistics))


@dataclass(frozen=True)
class Surveyed:
    """What texts are surveyed with; only surveys with the same can be merged."""

    model_name: str
    revision: str | None
    dtype: str
    weights: str  # a digest, which tells a model from itself before training
    max_tokens: int | None  # longer texts are skipped
    measures: tuple[str, ...] = MEASURED


@dataclass(frozen=True, eq=False)
class Survey:
    """Statistics of what every head does in many texts; parts are merged by `+`.

    Made by `attnviz.heads.survey`. `skipped` says how many texts were left out, by the reason.
    """

    of: Surveyed
    heads: tuple[Head, ...] = ()
    statistics: Statistics = field(
        default_factory=lambda: Statistics.of(np.empty((0, 0, len(MEASURED))))
    )  # (head, measure)
    n_texts: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_skipped(self) -> int:
        return sum(self.skipped.values())

    @property
    def n_seen(self) -> int:
        """Texts that were measured or skipped."""
        return self.n_texts + self.n_skipped

    def table(self) -> pd.DataFrame:
        """A row for each head and measure: its statistics over the texts.

        `kind`, `layer`, `head`, `measure`, `n` (texts in which the head has this measure), `mean`,
        `std` (dividing by n), `min` and `max`, in the measure's unit; NaN where n is 0.
        """
        names = pd.MultiIndex.from_product([range(len(self.heads)), self.of.measures])
        rows = names.get_level_values(0).to_numpy(int)
        kinds, layers, heads = zip(*self.heads, strict=True) if self.heads else ((), (), ())
        known = self.statistics
        is_known = known.n > 0
        columns = {
            "mean": known.mean,
            "std": np.sqrt(known.squares / np.maximum(known.n, 1)),
            "min": known.smallest,
            "max": known.largest,
        }
        return pd.DataFrame(
            {
                "kind": np.array(kinds, dtype=object)[rows],
                "layer": np.array(layers, dtype=int)[rows],
                "head": np.array(heads, dtype=int)[rows],
                "measure": names.get_level_values(1),
                "n": known.n.astype(int).ravel(),
            }
            | {name: np.where(is_known, of, np.nan).ravel() for name, of in columns.items()}
        )

    def merge(self, other: "Survey") -> "Survey":
        """The survey of the texts of both. Raises InputError for one of something else."""
        self.check_same(other.of, "Surveys of two parts of a corpus are merged")
        heads = tuple(dict.fromkeys((*self.heads, *other.heads)))
        place = {head: number for number, head in enumerate(heads)}
        parts = [
            one.statistics
            if one.heads == heads
            else one.statistics.at([place[head] for head in one.heads], len(heads))
            for one in (self, other)
        ]
        return Survey(
            self.of,
            heads,
            parts[0] + parts[1],
            self.n_texts + other.n_texts,
            dict(Counter(self.skipped) + Counter(other.skipped)),
        )

    def __add__(self, other: "Survey") -> "Survey":
        return self.merge(other) if isinstance(other, Survey) else NotImplemented

    def check_same(self, of: Surveyed, what: str) -> None:
        """Raise InputError unless this survey is of the same; `what` says what that is for."""
        for one in fields(Surveyed):
            mine, others = (getattr(surveyed, one.name) for surveyed in (self.of, of))
            if mine != others:
                raise InputError(
                    f"{what} where both are of the same model, measures and settings; their "
                    f"{one.name} are {quoted(str(mine))} and {quoted(str(others))}."
                    "\n\nHint: survey both with the same model and arguments."
                )

    def save(self, file: npz.File) -> None:
        """Write the survey to a file; raises InputError where that is not possible."""
        of = asdict(self.of)
        about = {"of": of, "heads": self.heads, "n_texts": self.n_texts, "skipped": self.skipped}
        npz.write(file, {"about": np.array(json.dumps(about)), **vars(self.statistics)})

    @classmethod
    def read(cls, file: npz.File) -> "Survey":
        """The survey in a file. Raises InputError for a file that holds none."""
        try:
            return _survey(npz.read(file, ("about", *_ARRAYS)))
        except InputError as error:
            fact = str(error).partition("\n\nHint: ")[0]
            raise InputError(f"{fact}{_HINT}") from error
        except NotAsAnnotated as why:
            raise InputError(f"The file holds no survey of attnviz: {why}.{_HINT}") from None


# What is read

_HINT = "\n\nHint: name a file that was written by survey.save(file)."
_ABOUT: dict[str, Any] = {
    "of": Surveyed,
    "heads": tuple[Head, ...],
    "n_texts": int,
    "skipped": Mapping[str, int],
}


def _survey(arrays: Mapping[str, np.ndarray]) -> Survey:
    about = values_as(_ABOUT, json_in(arrays, "about"), "about")
    sizes = {"head": len(about["heads"]), "measure": len(about["of"].measures)}
    array, infinite = Float64[np.ndarray, "head measure"], (np.inf, -np.inf)  # where n is 0
    known = {name: array_as(array, arrays, name, sizes, infinite=infinite) for name in _ARRAYS}
    survey = Survey(statistics=Statistics(**known), **about)
    _check(len(set(survey.heads)) == len(survey.heads), "it has a head twice")
    _check(len(set(survey.of.measures)) == len(survey.of.measures), "it has a measure twice")
    _check_statistics(survey)
    return survey


def _check(is_so: Any, otherwise: str) -> None:
    if not is_so:
        raise NotAsAnnotated(otherwise)


def _check_statistics(survey: Survey) -> None:
    known = survey.statistics
    n, is_known = known.n, known.n > 0
    _check(
        ((n >= 0) & (n <= survey.n_texts) & (n == np.floor(n))).all(),
        "its counts are not counts of texts",
    )
    of_known = {name: array[is_known] for name, array in vars(known).items()}
    _check(all(np.isfinite(array).all() for array in of_known.values()), "not all are numbers")
    spread = 1e-9 + 1e-6 * abs(of_known["mean"])
    _check(
        (of_known["smallest"] <= of_known["mean"] + spread).all()
        and (of_known["mean"] <= of_known["largest"] + spread).all()
        and (of_known["squares"] >= 0).all(),
        "its numbers do not follow from each other",
    )
    of_none = vars(Statistics.of(np.empty((0, int((~is_known).sum())))))
    is_none = (np.array_equal(vars(known)[name][~is_known], of_none[name]) for name in _ARRAYS)
    _check(all(is_none), "it has numbers without a text")
