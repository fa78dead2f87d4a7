"""Models load with the head that they name, unless it would be a random one."""

import json

import attnviz
from attnviz import effect
from tests.support.saying import saying, tokenizer
from tests.support.tiny_models import save_tiny


def saved(folder, family):
    saying(family).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def test_a_loaded_model_says_what_it_was_trained_to_say(tmp_path):
    for family, name in (
        ("gpt2", "GPT2LMHeadModel"),
        ("bert", "BertForMaskedLM"),
        ("bert, classes", "BertForSequenceClassification"),
    ):
        model, reader = attnviz.load(saved(tmp_path / name, family))
        assert type(model).__name__ == name
        said = effect.prediction(model, reader, "time [MASK] like an arrow")
        own = effect.prediction(saying(family), reader, "time [MASK] like an arrow")
        assert said.equals(own)


def test_a_head_that_the_file_lacks_is_not_made_up(tmp_path):
    folder = save_tiny(tmp_path, "bert")
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertForMaskedLM"]
    (folder / "config.json").write_text(json.dumps(config))
    model, _ = attnviz.load(str(folder))
    assert type(model).__name__ == "BertModel"


def test_another_class_than_one_that_says_something_is_not_taken(tmp_path):
    folder = save_tiny(tmp_path, "bert")
    config = json.loads((folder / "config.json").read_text())
    for named in (["BertForMultipleChoice"], ["AutoTokenizer"], None):
        config["architectures"] = named
        (folder / "config.json").write_text(json.dumps(config))
        assert type(attnviz.load(str(folder))[0]).__name__ == "BertModel"
