"""Loading from a Hub, each in a process of its own; the Hub is a small one on loopback."""

import errno
import hashlib
import re
import shutil
import time

import httpx2
import pytest
from huggingface_hub import errors

import attnviz
from attnviz.models import hub, retry
from tests.hub_faults import CASES, hub_with_cases, model_of
from tests.support.hub_processes import Hub, Loader
from tests.support.tiny_models import save_tiny

TOKEN = "hf_notTheRealOneButAsLongAsThose"
NOBODY = "http://127.0.0.1:9"
COMPLETE = {"own code", "no tokenizer"}  # refused for what they are, after downloading all of it


def cached(home, title):
    return home / "hub" / f"models--{model_of(title).replace('/', '--')}"


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """What is said to every fault while it lasts and afterwards, and what is left in between."""
    home = tmp_path_factory.mktemp("home")
    with (
        hub_with_cases(tmp_path_factory.mktemp("models")) as server,
        Loader(server.address, home, HF_TOKEN=TOKEN) as loader,
    ):

        def ask(call):
            answers = loader.ask(*((call, model_of(title), {}) for title in CASES))
            return dict(zip(CASES, answers, strict=True))

        said = ask("load")
        requests = {title: server.requests(model_of(title)) for title in CASES}
        here = ask("here")
        left = {title: list(cached(home, title).rglob("*")) for title in CASES}
        for title in CASES:
            server.control(model_of(title), fault=None)
        yield {
            "home": home,
            "said": said,
            "requests": requests,
            "here": here,
            "left": left,
            "then": ask("load"),
        }


@pytest.mark.parametrize("title", CASES)
def test_every_fault_is_one_sentence_and_a_hint(faults, title):
    said = faults["said"][title]["said"]
    statement, *hint = said.split("\n\nHint: ")
    assert re.fullmatch(CASES[title].says, statement)
    assert len(hint) == (not said.startswith("LOADED"))
    for secret in (str(faults["home"]), TOKEN, "127.0.0.1", "http:", "\n"):
        assert secret not in statement
        assert secret not in "".join(hint)


@pytest.mark.parametrize("title", CASES)
def test_once_the_fault_has_passed_the_same_call_works(faults, title):
    assert re.match(CASES[title].then, faults["then"][title]["said"])


@pytest.mark.parametrize("title", CASES)
def test_what_was_refused_is_not_taken_for_here(faults, title):
    is_loaded = faults["said"][title]["said"].startswith("LOADED")
    assert faults["here"][title]["value"] == (is_loaded or title in COMPLETE)
    assert not [path for path in faults["left"][title] if path.name.endswith(".incomplete")]


@pytest.mark.parametrize(
    "title", ["wrong checksum", "cut off", "stalled in a file", "shorter than listed"]
)
def test_no_damaged_weights_stay_on_the_disk(faults, title):
    assert faults["left"][title]
    assert not [path for path in faults["left"][title] if path.suffix == ".safetensors"]
    assert not [path for path in faults["left"][title] if re.fullmatch("[0-9a-f]{64}", path.name)]


def weights_asked_for(requests):
    return [
        request["range"]
        for request in requests
        if request["method"] == "GET" and request["path"].startswith("/storage/")
    ]


def test_a_truncated_download_is_resumed(faults):
    assert weights_asked_for(faults["requests"]["cut off once"]) == [None, "bytes=16777216-"]


def test_a_busy_hub_is_left_alone(faults):
    assert len(faults["requests"]["busy for an hour"]) == 1
    assert weights_asked_for(faults["requests"]["busy for an hour, files"]) == []


def test_what_cannot_be_loaded_is_not_downloaded(faults):
    for title in ("pickled", "no config", "gated"):
        assert not [asked for asked in faults["requests"][title] if "resolve" in asked["path"]]


# One good model


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Hub with three good models, the second sent at 20 MB a second, the third of no owner."""
    root = tmp_path_factory.mktemp("models")
    save_tiny(root / "someone" / "tiny")
    save_tiny(root / "someone" / "larger", hidden_size=384)
    save_tiny(root / "alone")
    with Hub(root) as hub:
        hub.control("someone/larger", bytes_per_second=20e6)
        yield hub


def test_a_warm_cache_asks_nothing_of_the_network(server, tmp_path):
    with Loader(server.address, tmp_path) as loader:
        (first,) = loader.ask(("download", "someone/tiny", {}))
        asked = server.requests("someone/tiny")
        (second,) = loader.ask(("download", "someone/tiny", {}))
        assert first["said"] == second["said"] == "DOWNLOADED"
        assert first["value"] == second["value"]
        assert asked
        assert server.requests("someone/tiny") == asked
    with Loader(NOBODY, tmp_path) as loader:
        said = loader.load("someone/tiny")
        assert said == "LOADED someone/tiny 0123456789abcdef0123456789abcdef01234567 True"


def test_what_the_hub_has_is_told_before_the_download_and_how_far_it_is(server, tmp_path):
    with Loader(server.address, tmp_path) as loader:
        (seen,) = loader.ask(("look", "someone/larger", {}))
        remote = seen["value"]
        assert remote["revision"] == "0123456789abcdef0123456789abcdef01234567"
        assert 4 * remote["n_parameters"] < remote["n_bytes_of_weights"] < remote["n_bytes"]
        assert not weights_asked_for(server.requests("someone/larger"))
        (done,) = loader.ask(("download", "someone/larger", {}))
        so_far, total = zip(*done["progress"], strict=True)
        assert set(total) == {remote["n_bytes"]}
        assert list(so_far) == sorted(so_far)
        assert so_far[0] == 0
        assert so_far[-1] == remote["n_bytes"]
        assert len(set(so_far)) > 40  # files, and a megabyte of the largest at a time
        (seen,) = loader.ask(("look", "someone/larger", {}))
        assert seen["value"] == remote | {"n_bytes": 0}


def test_a_name_without_an_owner_is_a_name_too(server, tmp_path):
    with Loader(server.address, tmp_path) as loader:
        assert loader.load("alone").startswith("LOADED alone ")
        assert loader.load("nobody") == (
            "The Hub has no public model called 'nobody'.\n\nHint: check the spelling; for a "
            "private model HF_TOKEN must hold a token that may read it, where attnviz runs."
        )


def test_what_others_left_out_of_the_cache_is_not_missed(server, tmp_path):
    with Loader(server.address, tmp_path) as loader:
        loader.ask(("download", "someone/tiny", {}))
        (snapshot,) = tmp_path.glob("hub/models--someone--tiny/snapshots/*")
        (snapshot / "tokenizer_config.json").unlink()  # as if transformers had not asked for it
        assert loader.ask(("here", "someone/tiny", {}))[0]["value"] is True
        (snapshot / "tokenizer.json").unlink()
        assert loader.ask(("here", "someone/tiny", {}))[0]["value"] is False


def test_many_who_ask_at_once_share_one_download(server, tmp_path):
    asked = len(weights_asked_for(server.requests("someone/larger")))
    with Loader(server.address, tmp_path) as one, Loader(server.address, tmp_path) as other:
        for loader in (one, other):
            loader.send(*[("download", "someone/larger", {})] * 2)
        said = [answer["said"] for loader in (one, other) for answer in loader.receive(2)]
    assert said == ["DOWNLOADED"] * 4
    assert len(weights_asked_for(server.requests("someone/larger"))) == asked + 1


def test_a_download_that_was_killed_is_not_taken_for_here(server, tmp_path):
    with Loader(server.address, tmp_path) as loader:
        asked = len(weights_asked_for(server.requests("someone/larger")))
        loader.send(("download", "someone/larger", {}))
        while len(weights_asked_for(server.requests("someone/larger"))) == asked:
            time.sleep(0.05)
    with Loader(server.address, tmp_path) as loader:
        assert loader.ask(("here", "someone/larger", {}))[0]["value"] is False
        assert loader.ask(("download", "someone/larger", {}))[0]["said"] == "DOWNLOADED"
        assert loader.ask(("here", "someone/larger", {}))[0]["value"] is True


def test_an_incomplete_cache_is_completed_and_an_unchecked_one_checked(server, tmp_path):
    storage = tmp_path / "hub" / "models--someone--tiny"

    def file(name):
        return next(storage.glob(f"snapshots/*/{name}"))

    with Loader(server.address, tmp_path) as loader:

        def ask(call):
            (answer,) = loader.ask((call, "someone/tiny", {}))
            return answer["value"] if call == "here" else answer["said"]

        assert ask("download") == "DOWNLOADED"
        for name in ("tokenizer.json", "config.json", "model.safetensors"):
            file(name).unlink()
            assert ask("here") is False
            assert ask("download") == "DOWNLOADED"
        shutil.rmtree(storage / "blobs")
        assert ask("here") is False
        assert ask("download") == "DOWNLOADED"

        mark = hub._mark("someone/tiny", file("config.json").parent.name).name
        (storage / mark).touch()
        assert ask("here") is False
        with file("config.json").open("a") as config:
            config.write(" ")
        assert "config.json of someone/tiny arrived damaged" in ask("download")
        assert ask("here") is False
        assert ask("download") == "DOWNLOADED"
        assert ask("here") is True
        assert not (storage / mark).exists()
        right = hashlib.sha256(file("model.safetensors").read_bytes()).hexdigest()
        assert file("model.safetensors").resolve().name == right


def test_a_revision_that_is_not_there_is_refused(server, tmp_path):
    with Loader(server.address, tmp_path) as loader:
        for revision in ("v2", "../../up", "/etc/passwd", "a b", "x" * 500):
            (answer,) = loader.ask(("download", "someone/tiny", {"revision": revision}))
            assert answer["said"].startswith("someone/tiny has no revision '")
        for revision in ("main", "0123456789abcdef0123456789abcdef01234567"):
            (answer,) = loader.ask(("download", "someone/tiny", {"revision": revision}))
            assert answer["said"] == "DOWNLOADED"


def test_an_unreachable_hub_is_said_soon(tmp_path):
    with Loader(NOBODY, tmp_path) as loader:
        (answer,) = loader.ask(("look", "someone/tiny", {}))
    assert "is not on this machine, and the Hub cannot be reached" in answer["said"]
    assert answer["seconds"] < 2


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
REQUEST = httpx2.Request("GET", "https://hub/x")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left", SECRET), "disk is full"),
        (OSError(errno.EACCES, "Permission denied", SECRET), r"disk \(Permission denied\)"),
        (OSError(SECRET), "is not what the Hub lists"),
        (ValueError(SECRET), "is not what the Hub lists"),
        (RuntimeError(SECRET), "is not what the Hub lists"),
        (errors.FileMetadataError(SECRET), "is not what the Hub lists"),
        (errors.LocalEntryNotFoundError(SECRET), "cannot be reached"),
        (errors.OfflineModeIsEnabled(SECRET), "cannot be reached"),
        (httpx2.ConnectTimeout(SECRET), "cannot be reached"),
        (httpx2.ProxyError(SECRET), "cannot be reached"),
        (httpx2.UnsupportedProtocol(SECRET), "cannot be reached"),
        (httpx2.ReadError(SECRET), "broke off"),
        (httpx2.TooManyRedirects(SECRET), "is not what the Hub lists"),
        (httpx2.InvalidURL(SECRET), "is not what the Hub lists"),
        (errors.HfHubHTTPError(SECRET, response=httpx2.Response(418, request=REQUEST)), "HTTP 418"),
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
