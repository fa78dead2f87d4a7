"""What a deployment sets, what it is by default, and what is said of a setting that is none."""

import tomllib

import pytest
from streamlit import config

from attnviz.models import bundled
from attnviz.page.service import settings
from attnviz.text.errors import ModelLoadError
from tests.support.places import ROOT

NUMBERS = {
    "ATTNVIZ_MAX_TOKENS": (settings.max_tokens, 1),
    "ATTNVIZ_MAX_MODEL_MB": (settings.max_model_bytes, 10**6),
    "ATTNVIZ_MAX_MODELS": (settings.max_models, 1),
    "ATTNVIZ_MODEL_CACHE_MB": (settings.model_cache_bytes, 10**6),
    "ATTNVIZ_TRACE_CACHE_MB": (settings.trace_cache_bytes, 10**6),
}
SWITCHES = {
    "ATTNVIZ_ANY_HUB_MODEL": settings.takes_any_hub_model,
    "ATTNVIZ_ANY_FOLDER": settings.takes_any_folder,
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in (*NUMBERS, *SWITCHES, "ATTNVIZ_MODELS"):
        monkeypatch.delenv(name, raising=False)


def test_the_first_model_of_the_list_is_the_bundled_one():
    assert settings.offers() == settings.OFFERS
    assert settings.OFFERS[0].name == bundled.BUNDLED


def test_another_list_keeps_its_order_and_names_each_once(monkeypatch):
    monkeypatch.setenv("ATTNVIZ_MODELS", " gpt2, a/b ,,gpt2,/data/own ")
    assert [offer.name for offer in settings.offers()] == ["gpt2", "a/b", "/data/own"]
    assert settings.offers()[0].n_bytes == 548 * 10**6


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_read_each_time_and_has_a_default(monkeypatch, name):
    read, unit = NUMBERS[name]
    assert read() > 0
    monkeypatch.setenv(name, " 77 ")
    assert read() == 77 * unit
    monkeypatch.setenv(name, "")
    assert read() > 0


@pytest.mark.parametrize("value", ["many", "-1", "0", "1.5", "1e3", "²", "0x10", "1 2"])
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_one_sentence(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(settings.SettingsError, match=f"The setting {name} must be a whole number"):
        NUMBERS[name][0]()


def test_one_model_may_take_all_that_is_for_models(monkeypatch):
    monkeypatch.setenv("ATTNVIZ_MODEL_CACHE_MB", "300")
    assert settings.max_model_bytes() == 300 * 10**6


@pytest.mark.parametrize("name", SWITCHES)
def test_a_page_is_closed_unless_it_is_opened(monkeypatch, name):
    read = SWITCHES[name]
    assert not read()
    for value, is_open in {"1": True, "true": True, "True": True, "0": False, "": False}.items():
        monkeypatch.setenv(name, value)
        assert read() is is_open
    monkeypatch.setenv(name, "perhaps")
    with pytest.raises(settings.SettingsError, match="must be 0 or 1"):
        read()


def test_what_is_not_on_the_list_is_refused_on_a_closed_page(monkeypatch):
    for name in ("/etc", "../tests", "tests", "someone/else", "gpt2 ", "\x00"):
        with pytest.raises(ModelLoadError, match="does not offer the model"):
            settings.may_be_folder(name)
    assert settings.may_be_folder("gpt2")  # the deployer may mean a folder by it
    monkeypatch.setenv("ATTNVIZ_ANY_HUB_MODEL", "1")
    assert not settings.may_be_folder("tests")
    monkeypatch.setenv("ATTNVIZ_ANY_FOLDER", "1")
    assert settings.may_be_folder("tests")


def test_the_servers_settings_weaken_no_protection():
    server = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["server"]
    weakening = {"enableCORS": True, "enableXsrfProtection": True, "enableStaticServing": False}
    for name, safe in weakening.items():
        assert server.get(name, config.get_option(f"server.{name}")) is safe, name
    assert not server.keys() & {"corsAllowedOrigins", "enableAgentApi", "allowedHosts"}
    assert server["maxUploadSize"] == 8  # a head of 512 tokens; uploads.py bounds the rest
    assert server["maxMessageSize"] <= 20
