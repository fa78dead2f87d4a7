"""The documents do what they say: their commands, Python, links, pictures, map and house rules."""

import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from PIL import Image, ImageDraw, ImageFilter

from attnviz import heads
from attnviz.attention.explained.sentences import headline
from tests import pictures
from tests.support import notebooks, tiny_models
from tests.support.hub import Hub
from tests.support.hub_processes import loading_from
from tests.support.places import ROOT
from tests.support.serving import answer, free_port
from tests.support.showing import run

README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
DOCUMENTS = {
    path: path.read_text()
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
}
CI = (ROOT / ".ci" / "run").read_text().splitlines()
PAGE = "http://localhost:8501/"

# Models that their Python loads from the Hub, and the type of the tiny one in their place.
ON_HUB = {"bert-base-uncased": "bert", "gpt2-xl": "gpt2", "meta-llama/Llama-3.1-70B": "llama"}

# Where there is no GPU, its part is played by the CPU.
ON_CPU = """\
import torch
from attnviz.models import loader
def loading(load):
    def elsewhere(*given, device="cpu", **options):
        return load(*given, device="cpu" if device == "cuda" else device, **options)
    return elsewhere
if not torch.cuda.is_available():
    loader.load = loading(loader.load)
"""


# Its blocks


@dataclass(frozen=True)
class Block:
    """What stands between two fences of a document."""

    mark: str  # the comment above it
    language: str
    content: str

    @property
    def commands(self) -> list[str]:
        lines = [line.partition("  #")[0].rstrip() for line in self.content.splitlines()]
        return [line for line in lines if line]


def blocks_of(document: str) -> list[Block]:
    tokens = MarkdownIt().parse(document)
    return [
        Block(before.content.strip(), token.info, token.content)
        for before, token in pairwise(tokens)
        if token.type in ("fence", "code_block")
    ]


BLOCKS = [block for path in DOCUMENTS for block in blocks_of(DOCUMENTS[path])]
README_FIRST = sorted(DOCUMENTS, key=lambda path: path.name != "README.md")
PYTHON = [
    block
    for path in README_FIRST
    for block in blocks_of(DOCUMENTS[path])
    if block.language == "python"
]
CHARTS = [block for block in BLOCKS if block.language == "mermaid"]
SHELL = [block for block in BLOCKS if not block.language]
COMMANDS = list(dict.fromkeys(command for block in SHELL for command in block.commands))


def test_every_block_is_run_or_read_by_a_test():
    assert [block for block in BLOCKS if block not in [*PYTHON, *CHARTS, *SHELL]] == []
    assert len(BLOCKS) == sum(document.count("\n```") for document in DOCUMENTS.values()) / 2
    assert all(map(bool, (PYTHON, CHARTS, SHELL)))


def test_the_readme_is_short_and_every_link_to_a_file_leads_somewhere():
    assert len(README.splitlines()) <= 150
    for path, document in DOCUMENTS.items():
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document):
            assert (path.parent / link).exists(), (path.name, link)


# Commands


@pytest.fixture
def clone(tmp_path):
    """A folder that holds what a clone of the repository holds, and the environment in use."""
    folder = tmp_path / "attnviz"
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name not in (".venv", ".git", "build"):
            (folder / path.name).symlink_to(path)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def environment(**more):
    return os.environ | {"PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"} | more


def done(command, folder, **more):
    """What a command printed, in a shell as it stands."""
    given = dict(cwd=folder, env=environment(**more), capture_output=True, text=True)
    finished = subprocess.run(["bash", "-c", command], timeout=300, **given)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def is_done_by_ci(command, clone):
    """The commands below a mark are read from here, the others stand there as they stand here."""
    marks = [block.mark for block in SHELL if command in block.commands]
    of_ci = [f"<!-- ci: {line.rstrip(')').split()[-1]} -->" for line in CI if "$(readme_" in line]
    assert marks[0] in of_ci or command in CI


def is_installed_by_ci(command, clone):
    *_, wanted = command.split(" install ")
    words = [word for word in wanted.split() if word[0] not in "-$" and "packages.txt" not in word]
    installing = " ".join(CI)
    assert words
    for word in words:
        assert word.rstrip(")") in installing, word


def serves_the_page(command, clone):
    """On a port of its own, until it is asked how it is."""
    port = free_port()
    options = f"--server.headless=true --server.address=127.0.0.1 --server.port={port}"
    with (clone / "log").open("w") as log:
        server = subprocess.Popen(
            ["bash", "-c", f"{command} {options}"],
            **{"cwd": clone, "env": environment(), "stdout": log, "stderr": log},
            start_new_session=True,
        )
    try:
        assert answer(f"http://127.0.0.1:{port}/_stcore/health", server, clone / "log") == b"ok"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def serves_the_page_by_a_word(command, clone):
    """As the command that an installation has."""
    serves_the_page(command.replace("attnviz", "python -m attnviz", 1), clone)


def installs_attnviz(command, clone):
    """Into a folder, and without what it needs, which is here already: no network is needed."""
    target = clone.parent / "installed"
    settings = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    done(command, clone, PIP_TARGET=str(target), **settings)
    code = "import attnviz; print(attnviz.__file__, attnviz.neuron_view.__name__)"
    printed = done(f"python -c '{code}'", clone.parent, PYTHONPATH=str(target))
    assert printed.split() == [str(target / "attnviz" / "__init__.py"), "neuron_view"]


def shows_a_head(command, clone, trace):
    """Each file is there and can be opened; without one there is a summary."""
    printed = done(command, clone)
    words = shlex.split(command)
    files = [clone / file for option, file in pairwise(words) if option == "-o"]
    for file in files:
        OPENED[file.suffix](file, trace)
    assert bool(printed) is not bool(files)
    if not files:
        assert "flies" in printed


def explains_itself(command, clone):
    """What takes long is asked for its help, and must take the options that it is given."""
    printed = done(f"{command} --help", clone)
    assert "usage: " in printed
    for word in shlex.split(command)[3:]:
        assert word in printed


def is_the_page_s_version(command, clone):
    """What is installed by itself is what requirements.txt has."""
    assert command.split()[-1] in (ROOT / "requirements.txt").read_text().split()


def is_a_hook_of_ci(command, clone):
    """What is checked before a commit is what is checked first by CI."""
    hooks = re.findall(r"entry: (.+)", (ROOT / ".pre-commit-config.yaml").read_text())
    checks = [line.replace(" .", "").replace(" --check", "") for line in CI]
    assert {hook.replace(" --fix", "") for hook in hooks} <= {*checks}


DONE = {
    r"(\w+=\S+ )*\.venv/bin/streamlit run streamlit_app\.py": serves_the_page,
    r"attnviz page.*": serves_the_page_by_a_word,
    r'pip install ("\.\[[\w,]+\]"|\.)': installs_attnviz,
    r"pip install --no-deps \S+": is_the_page_s_version,
    r"python -m attnviz .*": shows_a_head,
    r"\.venv/bin/python -m tests\.(hub_faults|load|soak|memory|benchmarks|planted_faults)( .*)?": (
        explains_itself
    ),
    r"python3 -m venv .*|\.venv/bin/(ruff|mypy|lint-imports).*": is_done_by_ci,
    r"\.venv/bin/pip install -r tests/requirements-whole\.txt": is_installed_by_ci,
    r"apt-get install .*": is_installed_by_ci,
    r"\.venv/bin/pre-commit install": is_a_hook_of_ci,
    r"\.venv/bin/python -m tests\.(coverage|pictures|environments)( [a-z ]+)?": is_done_by_ci,
}


@pytest.mark.process
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_does_what_it_says(command, clone, request):
    (doing,) = [act for pattern, act in DONE.items() if re.fullmatch(pattern, command)]
    more = [request.getfixturevalue("sentence_trace")] if doing is shows_a_head else []
    doing(command, clone, *more)


def test_every_program_of_the_tests_that_is_named_is_there():
    named = set(re.findall(r"python -m (tests\.\w+)", "".join(DOCUMENTS.values())))
    assert len(named) > 5
    for name in named:
        assert importlib.util.find_spec(name), name


# Files


def png_of(program, *arguments):
    """What another program makes of a figure."""
    if not shutil.which(program):
        pytest.skip(f"needs {program}")
    drawn = subprocess.run([program, *arguments], capture_output=True, check=True)
    return Image.open(io.BytesIO(drawn.stdout)).convert("RGB")


def is_drawing(picture):
    return min(picture.size) > 100 and len(picture.getcolors(picture.width * picture.height)) > 20


def assert_is_svg(file, trace):
    assert ElementTree.parse(file).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert is_drawing(png_of("rsvg-convert", str(file)))


def assert_is_pdf(file, trace):
    assert is_drawing(png_of("pdftoppm", "-png", "-singlefile", str(file)))


def assert_is_page(file, trace):
    document = file.read_text()
    assert document.startswith("<!DOCTYPE html>")
    assert document.count("vegaEmbed(") >= 1
    assert "Layer 5, head 11" in document


def assert_is_table(file, trace):
    table = pd.read_parquet(file)
    weights = table[table["step"] == "weights"]["value"].to_numpy()
    assert np.array_equal(weights, trace.head(5, 11).weights.ravel())


def assert_is_of_weights_or_found(file, trace):
    if file.stem == "weights":
        weights = pd.read_csv(file, index_col=0).to_numpy(np.float32)
        np.testing.assert_array_equal(weights, trace.head(5, 11).weights)
    else:
        linking = heads.linking(trace, 2, 5)
        pd.testing.assert_frame_equal(pd.read_csv(file), linking, check_dtype=False)


OPENED = {
    ".csv": assert_is_of_weights_or_found,
    ".svg": assert_is_svg,
    ".pdf": assert_is_pdf,
    ".html": assert_is_page,
    ".parquet": assert_is_table,
}


# Python


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub with a tiny model for each large one, asked for by whatever is started."""
    root = tmp_path / "models"
    for name, model_type in ON_HUB.items():
        heads = dict(num_attention_heads=12, hidden_size=96) if model_type == "bert" else {}
        tiny_models.save_tiny(root / name, model_type, **heads)
    with Hub(root) as hub:
        for name, value in loading_from(hub.address, tmp_path / "cache").items():
            monkeypatch.setenv(name, value)
        yield hub


@pytest.mark.process
def test_their_python_runs_from_top_to_bottom_in_a_notebook(tmp_path, hub, sentence_trace):
    blocks = [block.content for block in PYTHON]
    asked = "[attnviz.trace(model, tokenizer, 'hello').head(0, 0).is_exact, str(model.dtype)]"
    named = "__import__('json').dumps([model.config.name_or_path, *" + asked + "])"
    _, *shown, last = notebooks.results(tmp_path, ON_CPU, *blocks, named)
    for one in shown[:2]:  # of the Hub, and installed
        assert "<iframe" in one["text/html"]
        assert "layer 0, head 8" in one["text/plain"]
    head = sentence_trace.head(0, 8)
    assert float(shown[2]["text/plain"]) == head.max_error
    assert "HeadTrace" in shown[3]["text/plain"]  # of its own arrays, once it has saved others
    with np.load(tmp_path / "head.npz") as kept:
        assert np.array_equal(kept["weights"], head.weights)
    assert_is_pdf(tmp_path / "neurons.pdf", sentence_trace)
    assert json.loads(eval(last["text/plain"])) == [list(ON_HUB)[-1], True, "torch.bfloat16"]
    for name in ON_HUB:
        assert any("safetensors" in each["path"] for each in hub.requests(name)), name


@pytest.mark.parametrize("block", PYTHON, ids=range(len(PYTHON)))
def test_their_python_loads_nothing_that_no_test_serves(block):
    from attnviz.models.bundled import BUNDLED

    named = re.findall(r'attnviz\.load\("([^"]+)"', block.content)
    assert set(named) <= {BUNDLED, *ON_HUB}


# Links

EMBEDDED = "&embed=true"  # behind any link
LINKS = {
    "?layer=5&head=11&view=Neurons&query=2+flies&key=5+arrow": "gives *arrow* **58.1",
    "?view=Find&query=2+flies&key=5+arrow": "**layer 5, head 11** gives the largest weight",
    "?step=softmax": "(softmax)",
    "?talk=softmax": headline("3c"),
    "?step=softmax&embed=true": "(softmax)",
}


def test_every_link_is_opened_by_a_test():
    found = {
        query
        for document in DOCUMENTS.values()
        for query in re.findall(rf"{re.escape(PAGE)}(\?[^\s)`]+)", document)
    }
    assert found == {*LINKS}
    assert f"`{EMBEDDED}`" in README
    assert next(link for link in LINKS if EMBEDDED in link)


@pytest.mark.parametrize("query", LINKS)
def test_a_link_opens_the_page_at_what_it_says(page, query):
    for name, value in parse_qsl(query[1:]):
        page.query_params[name] = value
    run(page)
    said = [element.value for kind in ("markdown", "subheader") for element in page.get(kind)]
    said += [element.label for element in page.expander]
    assert any(LINKS[query] in each.replace("\u00a0", " ") for each in said), said
    assert [note.value for note in page.warning] == []


# Pictures


def test_the_pictures_are_those_that_the_program_makes_and_small():
    named = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert [ROOT / path for path in named] == [pictures.FOLDER / p.name for p in pictures.PICTURES]
    assert sorted(pictures.FOLDER.iterdir()) == sorted(ROOT / path for path in named)
    for picture in pictures.PICTURES:
        png = (pictures.FOLDER / picture.name).read_bytes()
        assert len(png) <= pictures.MAX_BYTES
        assert Image.open(io.BytesIO(png)).size == (pictures.WIDTH, picture.height)


@pytest.mark.parametrize("picture", pictures.PICTURES, ids=lambda picture: picture.name)
def test_a_kept_picture_is_told_from_one_that_shows_something_else(picture):
    kept = (pictures.FOLDER / picture.name).read_bytes()
    drawn = Image.open(io.BytesIO(kept)).convert("RGB")
    assert pictures.difference(kept, kept) is None
    assert pictures.difference(kept, as_png(drawn.filter(ImageFilter.GaussianBlur(0.4)))) is None
    without = drawn.copy()
    left, top, right, bottom = 460, 100, 1200, 640  # where its charts are
    ImageDraw.Draw(without).rectangle((left, top, right, bottom), drawn.getpixel((1270, 5)))
    assert "of 255 away" in pictures.difference(kept, as_png(without))
    assert "pixels" in pictures.difference(kept, as_png(drawn.crop((0, 0, 1280, 600))))


def as_png(picture):
    png = io.BytesIO()
    picture.save(png, "PNG")
    return png.getvalue()


# How it works

NODE = r'(\w+)(?:\["[^"\n]+"\])?'


def test_the_chart_leads_from_a_text_to_each_way_of_showing_it():
    (chart,) = CHARTS
    kind, *lines = chart.content.splitlines()
    assert kind == "flowchart LR"
    ways = [re.fullmatch(rf"    {NODE} --> {NODE}", line) for line in lines]
    assert None not in ways
    reached = {"text"}
    for way in ways:  # they stand in the order in which the data goes
        reached |= {way[2]} if way[1] in reached else set()
    assert reached >= {"page", "notebook", "shell", "files"}
    assert "end" not in {name for way in ways for name in way.groups()}  # a word of Mermaid


# The house

HOUSE = CONTRIBUTING[CONTRIBUTING.index("## The way through the house") :]


def test_the_way_through_the_house_names_every_room_in_the_order_of_the_imports():
    rooms = re.findall(r"^\| `(\w+)/` \|", HOUSE, re.MULTILINE)
    there = {path.parent.name for path in (ROOT / "attnviz").glob("*/__init__.py")}
    assert {*rooms} == there
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    order = [room.strip() for layer in reversed(layers) for room in reversed(layer.split("|"))]
    assert rooms == [room for room in order if room in there]


def test_the_way_through_the_house_says_where_what_is_new_goes():
    table = HOUSE[HOUSE.index("| new | first | then |") :]
    for new in ("step", "view", "measure", "model family", "export format", "filter", "option"):
        assert re.search(rf"^\| {new}", table, re.MULTILINE), new
    for path in re.findall(r"`(\w+/[\w/]*(?:\.py)?)`", HOUSE):
        bases = (ROOT / "attnviz", ROOT)
        assert any((base / path).exists() for base in bases), path
