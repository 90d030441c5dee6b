"""Signatures: what is the same run and what is another."""

import importlib
import os

import pytest

from runner import identity
from runner.identity import canonical, fingerprint, signature, source_digest

LOSS = '''"""A module."""
from helper import scale

FACTOR = 2

def unrelated():
    return 0

def inner(x):
    return scale(x) * FACTOR

def loss(logits):
    """A loss."""
    return inner(logits)  # a comment
'''
HELPER = "def scale(x):\n    return x\n\ndef other(x):\n    return -x\n"


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Write the two modules with changes, and digest `my_loss.loss`."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def digest(loss: str = LOSS, helper: str = HELPER) -> str:
        (tmp_path / "my_loss.py").write_text(loss)
        (tmp_path / "helper.py").write_text(helper)
        importlib.invalidate_caches()
        identity.locate.cache_clear()
        identity._definitions.cache_clear()
        source_digest.cache_clear()
        return source_digest(("my_loss.loss",))

    return digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another"),
        ('"""A loss."""', '"""Other words."""'),
        ("return 0", "return 1"),
        ("\n\ndef inner", "\n\n\n\ndef inner"),
    ],
)
def test_what_a_loss_does_not_use_does_not_count(sources, old, new):
    assert sources(LOSS.replace(old, new)) == sources(LOSS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("inner(logits)", "-inner(logits)"),
        ("* FACTOR", "+ FACTOR"),
        ("FACTOR = 2", "FACTOR = 3"),
        ("import scale", "import other as scale"),
    ],
)
def test_what_a_loss_uses_counts(sources, old, new):
    assert sources(LOSS.replace(old, new)) != sources(LOSS)


def test_a_helper_in_another_file_counts_where_it_is_used(sources):
    before = sources()
    assert sources(helper=HELPER.replace("return x", "return 2 * x")) != before
    assert sources(helper=HELPER.replace("return -x", "return 3 * x")) == before


def test_which_library_function_is_used_counts(sources):
    with_relu = "from torch.nn.functional import relu as act\n" + LOSS.replace("inner(l", "act(l")
    assert sources(with_relu.replace("relu", "gelu")) != sources(with_relu)
    assert sources(with_relu.replace("relu as", "elu, relu as")) == sources(with_relu)


def test_modules_that_import_each_other_end(sources):
    assert sources("from helper import loss\n", "from my_loss import loss\n")


@pytest.mark.parametrize("folder", ["lib/python3.11/site-packages", "lib/python3/dist-packages"])
def test_libraries_of_another_environment_do_not_count(tmp_path, monkeypatch, folder):
    package = tmp_path / folder
    package.mkdir(parents=True)
    (package / "their_library.py").write_text("def loss(logits):\n    return logits\n")
    monkeypatch.syspath_prepend(str(package))
    assert source_digest(("their_library.loss",)) == source_digest(())


def test_libraries_do_not_count():
    assert source_digest(("torch.optim.Adam",)) == source_digest(())


def test_our_own_objectives_count():
    assert source_digest(("objectives.noise_robust.ldr",)) != source_digest(())
    assert source_digest(("objectives.noise_robust.ldr",)) != source_digest(
        ("objectives.noise_robust.ALDR",)
    )


def test_nothing_is_imported_to_find_out(sources):
    assert sources(LOSS + "\nraise RuntimeError('imported')\n")


def test_numbers_are_compared_by_value_and_meaningless_keys_left_out():
    assert canonical({"tau": 1, "b": True}) == canonical({"tau": 1.0, "b": True})
    assert canonical(True) is True
    assert canonical({"terms": {"a": {"space": {}, "tau": 1}}, "root": "."}) == {
        "terms": {"a": {"tau": 1.0}}
    }


def test_signatures_tell_values_apart(tmp_path):
    config = {"tau": 1, "root": "here", "space": {"tau": [1, 2]}, "files": []}
    same = [config, config | {"root": "there"}, config | {"tau": 1.0}, config | {"space": {}}]
    same.append(config | {"claim": {"seeds": 6}})
    assert len({signature(c, tmp_path) for c in same}) == 1
    assert signature(config | {"tau": 2}, tmp_path) != signature(config, tmp_path)


def test_the_settings_of_a_data_set_count(tmp_path):
    clean = {"task": {"data": {"_target_": "sets.noisy", "data": "<data>", "flip_rate": 0.0}}}
    noisy = {"task": {"data": {**clean["task"]["data"], "flip_rate": 0.5}}}
    assert signature(noisy, tmp_path) != signature(clean, tmp_path)


def test_data_count_by_content_and_hashes_are_kept(tmp_path):
    cache = tmp_path / "cache.json"
    file = tmp_path / "set" / "a.gz"
    file.parent.mkdir()
    file.write_bytes(b"one")
    first = fingerprint(["set/*.gz"], tmp_path, cache)
    assert list(first) == ["set/a.gz"]
    assert fingerprint(["set/*.gz"], tmp_path, cache) == first
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert fingerprint(["set/*.gz"], tmp_path, cache) != first
    file.write_bytes(b"one")
    assert fingerprint(["set/*.gz"], tmp_path, cache) == first


def test_a_folder_elsewhere_counts_too(tmp_path):
    (tmp_path / "a.gz").write_bytes(b"one")
    found = fingerprint([f"{tmp_path}/*", f"{tmp_path}/none/*"], tmp_path / "data")
    assert list(found) == [f"{tmp_path}/a.gz"]


def test_embedded_data_are_found_without_importing_their_package(tmp_path):
    found = fingerprint(["pkg://sklearn/datasets/data/digits.csv.gz"], tmp_path)
    assert len(found["datasets/data/digits.csv.gz"]) == 64
