"""Many matrices of weights as one small picture: a sheet of thumbnails.

A browser draws one picture at once, where a mark for each cell of 144 heads would take seconds.
"""

import base64
import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

COLOUR = "#2f7de1"  # of a weight of 1; readable on both backgrounds, and 0 is transparent
LEVELS = 64


def most_cells(size: int) -> int:
    """How many rows and columns a thumbnail of so many pixels shows: two pixels each."""
    return size // 2


def thumbnail(
    weights: Float[np.ndarray, "query_pos key_pos"], size: int, width: int | None = None
) -> UInt8[np.ndarray, "row column"]:
    """A matrix in `size` × `width` pixels (default: a square), each a level, 0 to 63.

    A level is the square root of the weight, so that small ones can be seen. Of a larger matrix
    each cell is the largest weight of a block.
    """
    small = weights
    sizes = (size, size if width is None else width)
    for axis, n in enumerate(weights.shape):
        edges = np.linspace(0, n, min(n, most_cells(sizes[axis])) + 1).astype(int)[:-1]
        small = np.maximum.reduceat(small, edges, axis=axis)
    rows, columns = (np.arange(to) * n // to for to, n in zip(sizes, small.shape, strict=True))
    array: UInt8[np.ndarray, "row column"] = np.rint(
        np.sqrt(small)[rows][:, columns] * (LEVELS - 1)
    ).astype(np.uint8)
    return array


def beside_sink(
    weights: Float[np.ndarray, "query_pos key_pos"],
    sink: Float[np.ndarray, " query_pos"],
    size: int,
) -> UInt8[np.ndarray, "row column"]:
    """The same with what each query gives to the sink in a strip on the right, set apart."""
    strip, gap = max(2, size // 8), max(1, size // 20)
    picture = np.zeros((size, size), np.uint8)
    width = size - strip - gap
    picture[:, :width] = thumbnail(weights, size, width)
    picture[:, -strip:] = thumbnail(sink[:, None], size, strip)
    return picture


def sheet(levels: UInt8[np.ndarray, "row column"]) -> str:
    """The picture as a data URL."""
    image = Image.fromarray(levels, mode="P")
    red, green, blue = (int(COLOUR[place : place + 2], 16) for place in (1, 3, 5))
    image.putpalette([red, green, blue] * LEVELS)
    opacities = bytes(round(255 * level / (LEVELS - 1)) for level in range(LEVELS))
    file = io.BytesIO()
    image.save(file, "PNG", transparency=opacities, optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
