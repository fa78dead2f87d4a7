"""What the table says that torch's operations do to numbers is what they do."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from attnviz.capture import operations
from attnviz.capture.operations import (
    CASTS,
    CHANGES,
    COPIES,
    DIVIDES,
    DROPS,
    KEEPS_ORDER,
    LOOKS_AT_SECOND,
    MATRIX_PRODUCTS,
    MOVES,
    MULTIPLIES,
    REPEATS,
    RESHAPES,
    is_in_place,
    name_of,
)

X = torch.arange(1.0, 7.0).reshape(1, 2, 3)
ARGUMENTS = {
    "flatten": (1,),
    "reshape": (6,),
    "unsqueeze": (0,),
    "view": (3, 2),
    "permute": (0, 2, 1),
    "swapaxes": (1, 2),
    "transpose": (1, 2),
    "expand": (4, 2, 3),
    "to": (torch.float64,),
    "type": (torch.float64,),
    "type_as": (torch.ones(1).double(),),
    "masked_fill": (X == 1, -1.0),
    "where": (X > 1, -1.0),
    "max": (torch.full((1, 2, 3), 2.5),),
    "maximum": (torch.full((1, 2, 3), 2.5),),
    "clamp": (2.5,),
    **dict.fromkeys(MULTIPLIES | DIVIDES | {"add", "rsub", "sub"}, (2.0,)),
}


def done(name, x=X):
    if name == "rsub":
        return torch.rsub(x, *ARGUMENTS[name])
    return getattr(x, name)(*ARGUMENTS.get(name, ()))


@pytest.mark.parametrize("name", sorted(KEEPS_ORDER))
def test_the_order_of_numbers_stays(name):
    result = done(name).flatten().float()
    assert torch.equal(result, X.flatten().repeat(len(result) // 6))
    assert (len(result) > 6) == (name in REPEATS)
    assert (done(name).shape == X.shape) or name in RESHAPES | REPEATS
    assert (done(name).dtype == X.dtype) or name in CASTS


@pytest.mark.parametrize("name", sorted(MOVES))
def test_whole_axes_are_moved(name):
    assert torch.equal(done(name), X.mT)


@pytest.mark.parametrize("name", sorted(MULTIPLIES | DIVIDES))
def test_every_number_is_scaled(name):
    assert torch.equal(done(name), X * 2 if name in MULTIPLIES else X / 2)


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_every_number_is_changed_in_its_own_cell(name):
    one = X.clone()
    one[0, 1, 1] = 100.0
    is_other = done(name, one) != done(name)
    assert not torch.equal(done(name), X)
    assert is_other.nonzero().tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("name", sorted(LOOKS_AT_SECOND))
def test_only_the_shape_or_the_type_of_the_second_is_looked_at(name):
    looked_at = torch.full((1, 2, 3), torch.nan)
    assert torch.equal(getattr(X, name)(looked_at), X)


def test_dropout_is_nothing_outside_training():
    (name,) = DROPS
    assert torch.equal(getattr(functional, name)(X, 0.5, training=False), X)


@pytest.mark.parametrize("name", sorted(MATRIX_PRODUCTS))
def test_matrix_products_are_torchs(name):
    assert callable(getattr(torch, name))


def test_each_operation_is_in_one_set():
    one_effect = (RESHAPES, MOVES, COPIES, CASTS, REPEATS, MULTIPLIES, DIVIDES, CHANGES, DROPS)
    sets = (*one_effect, MATRIX_PRODUCTS)
    assert sum(map(len, sets)) == len(set().union(*sets))
    every = {
        name for names in vars(operations).values() if isinstance(names, set) for name in names
    }
    assert every == set().union(*sets, LOOKS_AT_SECOND)


@pytest.mark.parametrize(
    ("function", "name", "writes"),
    [
        (Tensor.mul, "mul", False),
        (Tensor.mul_, "mul", True),
        (Tensor.__rsub__, "rsub", False),
        (Tensor.__setitem__, "setitem", True),
        (torch.masked_fill, "masked_fill", False),
    ],
)
def test_names_have_no_underscores(function, name, writes):
    assert (name_of(function), is_in_place(function)) == (name, writes)
