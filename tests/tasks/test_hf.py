"""Language models in the hub's format: a tiny random one, saved and read as any other."""

import json
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from objectives.errors import InputError
from runner.identity import data_files, fingerprint
from tasks.models.hf import hf
from tasks.nlp import logprobs
from tasks.nlp.logprobs import token_logprobs
from tasks.nlp.pair_files import text_pairs
from tasks.nlp.sampling import OPEN, sampled
from tasks.nlp.vocabularies import pretrained_pieces

transformers = pytest.importorskip("transformers")
safetensors_torch = pytest.importorskip("safetensors.torch")
pytest.importorskip("peft")

TEXT = "\n\nHuman: may I ask number {}?\n\nAssistant:"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that holds pairs and models in the hub's format."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    where = tmp_path_factory.mktemp("data")
    prompts = [TEXT.format(number) for number in range(60)]
    rows = [{"chosen": p + " Yes, of course.", "rejected": p + " Certainly not"} for p in prompts]
    (where / "hh-rlhf" / "harmless-base").mkdir(parents=True)
    file = where / "hh-rlhf" / "harmless-base" / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    pieces.train_from_iterator([text for row in rows for text in row.values()], trainer)
    own = transformers.PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token="<end>")
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    size |= {"max_position_embeddings": 64, "vocab_size": len(own)}
    configs = {
        "model": transformers.LlamaConfig(intermediate_size=64, **size),
        "gpt2": transformers.GPT2Config(**size),  # Conv1D, tied weights, dropout
        "capped": transformers.Gemma2Config(intermediate_size=64, head_dim=8, **size),
    }
    for name, config in configs.items():
        torch.manual_seed(0)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(where / name)
        own.save_pretrained(where / name)
    return where


KINDS = pytest.mark.parametrize("kind", ["model", "gpt2"])


def made(folder: Path, kind: str = "model", **settings: Any) -> Any:
    name = str(folder / kind)
    size = settings.pop("num_tokens", 300)
    return hf(size, settings.pop("context", 32), size, True, name, name=name, **settings).eval()


def small(folder: Path, *more: str, kind: str = "model") -> tuple[str, ...]:
    return (
        "hh_rlhf",
        "model=hf",
        f"model.name={folder}/{kind}",
        f"data={folder}",
        "task.data.max_length=48",
        *more,
    )


def tokens_of(rows: int, time: int) -> torch.Tensor:
    return torch.randint(300, (rows, time), generator=torch.Generator().manual_seed(1))


@KINDS
def test_logprobs_are_the_plain_ones(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokens = made(folder, kind), tokens_of(3, 9)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder / kind).eval()
    plain = theirs(tokens).logits[:, :-1].log_softmax(-1).gather(2, tokens[:, 1:, None])[..., 0]
    torch.testing.assert_close(token_logprobs(model, tokens), plain, rtol=0, atol=1e-6)
    monkeypatch.setattr(logprobs, "MOST_SCORES", 1500)  # in parts
    torch.testing.assert_close(token_logprobs(model, tokens), plain, rtol=0, atol=1e-6)


def test_padding_on_the_right_changes_nothing(folder: Path) -> None:
    model, tokens = made(folder), tokens_of(2, 9)
    padded = tokens.clone()
    padded[0, 5:] = 0
    alone = token_logprobs(model, tokens[:1, :5])
    torch.testing.assert_close(token_logprobs(model, padded)[:1, :4], alone)


@KINDS
def test_samples_are_the_same_with_and_without_a_cache(folder: Path, kind: str) -> None:
    model, prompts = made(folder, kind), tokens_of(3, 4)
    tokens = prompts
    for _ in range(6):
        tokens = torch.cat([tokens, model(tokens)[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(
        sampled(model, F.pad(prompts, (0, 6), value=OPEN), None, temperature=0), tokens
    )


@KINDS
def test_an_adapter_learns_alone_and_the_reference_is_the_base(
    built: Any, folder: Path, kind: str
) -> None:
    words = small(folder, "model.lora_rank=4", "initial=null", "lr=0.1", kind=kind)
    learner = built(*words, "objective=dpo").learner
    policy, reference = learner.model, learner.protocol.reference
    base, tokens = made(folder, kind, context=48), tokens_of(2, 9)
    torch.testing.assert_close(policy(tokens), base(tokens))  # an adapter is zero at first
    learner.backward(next(learner.protocol.batches(policy, 0, 0)))
    learned = {name for name, p in policy.named_parameters() if p.grad is not None}
    assert learned == policy.kept
    assert all("lora" in name for name in learned)
    learner.step()
    learner.backward(next(learner.protocol.batches(policy, 0, 1)))
    learner.step()
    assert not torch.allclose(policy(tokens), base(tokens))
    torch.testing.assert_close(reference(tokens), base(tokens))
    assert reference.head.weight is policy.head.weight  # no second copy
    assert policy.state_dict().keys() == learned
    other = made(folder, kind, context=48, lora_rank=4)
    other.load_state_dict(policy.state_dict())
    torch.testing.assert_close(other(tokens), policy.eval()(tokens))
    with pytest.raises(RuntimeError, match="other weights learn: "):
        base.load_state_dict(policy.state_dict())


@KINDS
def test_all_weights_learn_and_tied_ones_stay_tied(built: Any, folder: Path, kind: str) -> None:
    words = small(folder, "initial=null", "lr=0.1", kind=kind)
    learner = built(*words, "objective=dpo").learner
    policy, reference, tokens = learner.model, learner.protocol.reference, tokens_of(2, 9)
    before = policy.eval()(tokens)
    policy.train()
    torch.testing.assert_close(policy(tokens), before)  # whatever dropout its files name
    for step in range(2):
        learner.backward(next(learner.protocol.batches(policy, 0, step)))
        learner.step()
    torch.testing.assert_close(reference(tokens), before)
    assert not torch.allclose(policy(tokens), before)
    other = made(folder, kind, context=48)
    other.load_state_dict(policy.state_dict())
    torch.testing.assert_close(other(tokens), policy(tokens))
    for model in (policy, reference, other):
        embedding = model.body.get_input_embeddings().weight
        assert (embedding is model.head.weight) == (kind == "gpt2")


def test_dropout_is_the_runs(folder: Path) -> None:
    model = made(folder, "gpt2", dropout=0.5).train()
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.5}


@pytest.mark.parametrize("objective", ["sft", "dpo", "bradley_terry"])
def test_a_step_in_bfloat16(built: Any, folder: Path, objective: str) -> None:
    words = small(folder, "model.dtype=bfloat16", "model.lora_rank=2", "initial=null")
    learner = built(*words, f"objective={objective}").learner
    assert learner.model.body.embed_tokens.weight.dtype == torch.bfloat16
    shown = learner.backward(next(learner.protocol.batches(learner.model, 0, 0)))
    learner.step()
    assert shown["loss"].isfinite()


def test_pieces_are_the_tokenizers(folder: Path) -> None:
    name = str(folder / "model")
    data = text_pairs(str(folder), "hh-rlhf/harmless-base", max_length=48, tokenizer=name)
    own = transformers.AutoTokenizer.from_pretrained(name)
    row, mask = data.train.chosen[0], data.train.chosen_mask[0]
    assert own.decode(row[mask]) == " Yes, of course.<end>"
    assert own.decode(row[: int(mask.int().argmax())]).startswith("\n\nHuman: may I ask number ")
    assert (data.num_tokens, data.end) == (len(own), own.eos_token_id)


def test_the_models_files_are_of_a_runs_identity(folder: Path) -> None:
    files = [*data_files({"model": {"name": str(folder / "model")}})]
    before = fingerprint(files, folder)
    assert any(name.endswith("model.safetensors") for name in before)
    assert not [*data_files({"model": {"name": "nobody/nothing"}})]


def test_bad_input(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this task's tokens are not those of"):
        hf(16, 12, 16, True, name=str(folder / "model"))  # task=pairs, of numbers
    with pytest.raises(InputError, match=r"model=hf needs model\.name=PATH"):
        hf(16, 12, 16, True, name="")
    with pytest.raises(InputError, match=r"reads 64 tokens, the task's texts have 80"):
        made(folder, context=80)
    with pytest.raises(InputError, match="has 300 tokens, its tokenizer 301"):
        made(folder, num_tokens=301)
    with pytest.raises(InputError, match=r"bfloat16: model\.lora_rank=16 trains an adapter"):
        made(folder, dtype="bfloat16")
    with pytest.raises(InputError, match="does more to its scores than a linear head"):
        made(folder, "capped")
    with pytest.raises(InputError, match="is no model in the hub's format"):
        hf(8, 8, 8, True, str(tmp_path), name=str(tmp_path))


def copied(folder: Path, where: Path) -> Path:
    return Path(shutil.copytree(folder / "model", where / "copy"))


def test_damaged_files(folder: Path, tmp_path: Path) -> None:
    weights = copied(folder, tmp_path) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(InputError, match="copy is no model in the hub's format"):
        made(tmp_path, "copy")
    tensors = safetensors_torch.load(whole)
    tensors.pop("model.norm.weight")
    safetensors_torch.save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(
        InputError, match=r"1 weights are not in its files, model\.norm\.weight say"
    ):
        made(tmp_path, "copy")
    weights.unlink()
    with pytest.raises(InputError, match="copy is no model in the hub's format"):
        made(tmp_path, "copy")


def test_a_model_without_a_tokenizer(folder: Path, tmp_path: Path) -> None:
    for file in copied(folder, tmp_path).glob("tokenizer*"):
        file.unlink()
    with pytest.raises(InputError, match=r"copy is no model .*config\.json, weights and tokenizer"):
        pretrained_pieces(str(tmp_path / "copy"), None)


@pytest.mark.parametrize("library", ["peft", "transformers"])
def test_a_missing_library_is_named(
    folder: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"need(s)? {library}: pip install 'runner\[nlp\]'"):
        made(folder, lora_rank=2)


TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.mark.parametrize("template", [None, TEMPLATE, "{{ raise_exception('no such role') }}"])
def test_conversations_in_a_models_own_words(
    folder: Path, tmp_path: Path, template: str | None
) -> None:
    from tokenizers import processors

    own = transformers.AutoTokenizer.from_pretrained(folder / "model")
    first = own.convert_tokens_to_ids("!")
    own.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="! $A", special_tokens=[("!", first)]
    )
    own.bos_token, own.chat_template = "!", template
    own.save_pretrained(tmp_path)
    asked = [{"role": "user", "content": "may I?"}]
    yes, no = ([*asked, {"role": "assistant", "content": said}] for said in ("Yes", "no"))
    (tmp_path / "set").mkdir()
    rows = json.dumps({"chosen": yes, "rejected": no}) + "\n"
    (tmp_path / "set" / "train.jsonl").write_text(rows * 20)
    read = partial(text_pairs, str(tmp_path), "set", tokenizer=str(tmp_path))
    if template and template != TEMPLATE:
        with pytest.raises(InputError, match=r"row 1: .* refuses the messages: no such"):
            read()
        return
    pairs = read(max_length=64).train
    said, mask = pairs.chosen[0], pairs.chosen_mask[0]
    start = int(mask.int().argmax())
    known = {None: ("!\n\nHuman: may I?\n\nAssistant:", " Yes<end>")}
    known[TEMPLATE] = ("!user: may I?<end>assistant: ", "Yes<end>")
    assert (own.decode(said[:start]), own.decode(said[mask])) == known[template]
    short = read(max_length=8)
    assert set(short.train.chosen[:, 0].tolist()) == {first}  # of a prompt cut off too


def test_a_tokenizer_without_an_end(folder: Path, tmp_path: Path) -> None:
    file = copied(folder, tmp_path) / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    settings.pop("eos_token")
    file.write_text(json.dumps(settings))
    with pytest.raises(InputError, match="copy has no token that ends a text: name its eos_token"):
        pretrained_pieces(str(tmp_path / "copy"), None)


@pytest.mark.parametrize("name", ["nobody/nothing", "../no/such/folder"])
def test_a_name_that_is_nowhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=f"model.name={name} is no model in the hub's format"):
        hf(8, 8, 8, True, name, name=name)
