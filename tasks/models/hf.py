"""Causal language models in the Hugging Face hub's format, from a folder or the hub."""

import inspect
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from objectives.domains import Share, checked
from objectives.errors import InputError
from tasks.origin import unreachable, use_downloads_only

HUB_NAME = r"\w[\w.-]*(/\w[\w.-]*)?"


class LanguageModel(nn.Module):
    """A body of the hub and a linear head: tokens [batch, time] to scores [batch, time, ...].

    Sequences are padded on the right, where a causal model does not look: no attention mask, and
    no padding token, is needed. A checkpoint holds the weights that learn, and no others.
    """

    def __init__(self, body: nn.Module, head: nn.Linear):
        super().__init__()
        self.body, self.head = body, head
        self.kept = {name for name, p in self.named_parameters() if p.requires_grad}
        known = inspect.signature(body.forward).parameters
        self.cache = "cache" if "cache" in known else "past_key_values"  # as older ones call it

    def features(self, tokens: Tensor) -> Tensor:
        return self._read(tokens, use_cache=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.features(tokens))

    def following(self, tokens: Tensor, past: list[Any]) -> Tensor:
        """Scores of the token after the last one: [batch, ...].

        Args:
            tokens: All tokens at first, then one at a time: [batch, time].
            past: What was computed before, at first an empty list; it grows.
        """
        if not past:
            past.append(transformers_library().DynamicCache(config=self.body.config))
        return self.head(self._read(tokens, use_cache=True, **{self.cache: past[0]})[:, -1])

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        whole = super().state_dict(*args, **kwargs)
        return {name: value for name, value in whole.items() if name in self.kept}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        if strict and state_dict.keys() != self.kept:
            raise RuntimeError(
                "other weights learn: model.name and model.lora_rank must be as there"
            )
        rest = {n: v for n, v in super().state_dict().items() if n not in self.kept}
        return super().load_state_dict({**rest, **state_dict}, strict, assign)

    def _read(self, tokens: Tensor, **how: Any) -> Tensor:
        return self.body(input_ids=tokens, **how).last_hidden_state.to(self.head.weight.dtype)


@checked
def hf(
    num_tokens: int,
    context: int,
    num_outputs: int,
    causal: bool,
    tokenizer: str = "",
    *,
    name: str,
    revision: str | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    dropout: Share = 0.0,
    lora_rank: Annotated[int, Ge(0)] = 0,
    lora_alpha: Annotated[float, Gt(0)] = 16.0,
    lora_dropout: Share = 0.0,
) -> LanguageModel:
    """The model of that name, all of it or a low-rank adapter (LoRA) learning.

    Args:
        tokenizer: Whose tokens the task's are.
        name: A folder in the hub's format, or a name on the hub.
        revision: Branch, tag or commit on the hub.
        dtype: Of the weights that do not learn; those that do are float32.
        dropout: Of the model's own layers, whatever its files say: at 0 a policy's probabilities
            in training are those of its samples, and of its reference at first.
        lora_rank: Rank of the adapter of each linear layer but the head; 0 trains all weights.
        lora_alpha: The adapter's contribution is multiplied by lora_alpha / lora_rank.
        lora_dropout: Of the adapter's input.

    Raises:
        InputError: The model is not there, is no such model, or does not fit the task.

    Source:
        Hu et al. 2021, arXiv:2106.09685.
    """
    if not name:
        raise InputError("model=hf needs model.name=PATH, or a name on the hub.")
    if tokenizer != name or not causal:
        raise InputError(
            f"this task's tokens are not those of {name}: model=hf needs texts, task=hh_rlhf or "
            "task=gsm8k, and one model.name."
        )
    if dtype == "bfloat16" and not lora_rank:
        raise InputError(
            "steps of training are lost in weights of bfloat16: model.lora_rank=16 trains an "
            "adapter beside them; precision=bfloat16 trains float32 weights, computing in bfloat16."
        )
    if lora_rank:
        peft_library()
    config = loaded(transformers_library().AutoConfig, name, revision)
    _fit(config.get_text_config(), name, num_tokens, context)
    _drop(config.get_text_config(), dropout)
    made = _with_weights(name, revision, config=config, dtype=getattr(torch, dtype))
    head = made.get_output_embeddings()
    _check(made, head, name)
    if lora_rank:
        _adapt(made, lora_rank, lora_alpha, lora_dropout)
    if num_outputs != num_tokens:
        head = nn.Linear(head.in_features, num_outputs)
    return LanguageModel(made.base_model, head)


def loaded(kind: Any, name: str, revision: str | None, **settings: Any) -> Any:
    """What a class of transformers makes of a folder or of a name on the hub.

    Raises:
        InputError: It is not there, or cannot be read.
    """
    reason = "" if Path(name).is_dir() else _absent(name)
    try:
        return kind.from_pretrained(
            name,
            revision=revision or "main",
            local_files_only=bool(reason),
            trust_remote_code=False,
            **settings,
        )
    except Exception as error:
        said = str(error).strip().partition("\n")[0].rstrip().removesuffix(" from one of:")
        raise _no_model(name, reason or said) from None


def _no_model(name: str, reason: str) -> InputError:
    return InputError(
        f"model.name={name} is no model in the hub's format, here or on the hub ({reason}): "
        "name a folder that holds config.json, weights and tokenizer, or a name on the hub."
    )


def _absent(name: str) -> str:
    """Why what is no folder can be only what was downloaded before; "" where the hub can say."""
    unknown = "" if re.fullmatch(HUB_NAME, name) else "no folder has this name"
    return unknown or hub_unreachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))


@cache
def hub_unreachable(url: str) -> str:
    """Why the hub cannot be reached, or ""; its library does not try where it cannot."""
    reason = unreachable(url)
    if reason:
        use_downloads_only()
    return reason


def _fit(config: Any, name: str, num_tokens: int, context: int) -> None:
    """That a model can read the task's tokens.

    Raises:
        InputError: They are too many, or the texts are too long.
    """
    longest = getattr(config, "max_position_embeddings", context)
    if num_tokens > config.vocab_size:
        raise InputError(
            f"{name} has {config.vocab_size} tokens, its tokenizer {num_tokens}: they do not "
            "belong together."
        )
    if context > longest:
        raise InputError(
            f"{name} reads {longest} tokens, the task's texts have {context}: "
            f"task.data.max_length={longest}."
        )


def _drop(config: Any, dropout: float) -> None:
    """Give every dropout of a model one rate."""
    for key, value in config.to_dict().items():
        if key.endswith(("dropout", "pdrop", "dropout_prob")) and isinstance(value, int | float):
            setattr(config, key, dropout)


def _with_weights(name: str, revision: str | None, **settings: Any) -> Any:
    """The model with the weights of its files.

    Raises:
        InputError: They cannot be read, are of another shape, or some are not there.
    """
    made, report = loaded(
        transformers_library().AutoModelForCausalLM,
        name,
        revision,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **settings,
    )
    lacking = sorted([*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])])
    if lacking:
        raise _no_model(name, f"{len(lacking)} weights are not in its files, {lacking[0]} say")
    return made


def _check(made: Any, head: Any, name: str) -> None:
    """That the scores are the head's word on the features and nothing else.

    Raises:
        InputError: They are not.
    """
    probe = torch.arange(2)[None]
    made.eval()
    with torch.no_grad():
        plain = isinstance(head, nn.Linear) and torch.equal(
            made(input_ids=probe).logits,
            head(made.base_model(input_ids=probe).last_hidden_state),
        )
    if not plain:
        raise InputError(
            f"{name} does more to its scores than a linear head (it caps or scales them): "
            "take another model."
        )


def _adapt(made: Any, rank: int, alpha: float, dropout: float) -> None:
    """Put an adapter, zero at first, into a model, of which nothing else learns."""
    peft = peft_library()
    conv = transformers_library().pytorch_utils.Conv1D
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules="all-linear",
        fan_in_fan_out=any(isinstance(module, conv) for module in made.modules()),
    )
    peft.inject_adapter_in_model(config, made)
    for weight in made.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def transformers_library() -> Any:
    try:
        import transformers
    except ImportError:
        raise InputError("model=hf needs transformers: pip install 'runner[nlp]'") from None
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return transformers


def peft_library() -> Any:
    try:
        import peft
    except ImportError:
        raise InputError("adapters need peft: pip install 'runner[nlp]'") from None
    return peft
