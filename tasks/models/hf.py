"""Causal language models in the Hugging Face hub's format, from a folder or the hub."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from objectives.domains import checked
from objectives.errors import InputError
from tasks.origin import unreachable


class LanguageModel(nn.Module):
    """A body of the hub and a linear head: tokens [batch, time] to scores [batch, time, ...].

    Sequences are padded on the right, where a causal model does not look: no attention mask, and
    no padding token, is needed. A checkpoint holds the weights that learn, and no others.
    """

    def __init__(self, body: nn.Module, head: nn.Linear):
        super().__init__()
        self.body, self.head = body, head
        self.kept = {name for name, p in self.named_parameters() if p.requires_grad}

    def features(self, tokens: Tensor) -> Tensor:
        return self.body(input_ids=tokens, use_cache=False).last_hidden_state

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
        said = self.body(input_ids=tokens, past_key_values=past[0], use_cache=True)
        return self.head(said.last_hidden_state[:, -1])

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        whole = super().state_dict(*args, **kwargs)
        return {name: value for name, value in whole.items() if name in self.kept}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        rest = {n: v for n, v in super().state_dict().items() if n not in self.kept}
        return super().load_state_dict({**rest, **state_dict}, strict, assign)


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
    lora_rank: int = 0,
    lora_alpha: float = 16.0,
    lora_dropout: float = 0.0,
) -> LanguageModel:
    """The model of that name, all of it or a low-rank adapter (LoRA) learning.

    Args:
        tokenizer: Whose tokens the task's are.
        name: A folder in the hub's format, or a name on the hub.
        revision: Branch, tag or commit on the hub.
        dtype: Of its weights; those of an adapter are float32.
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
            f"this task's tokens are not those of {name}: model=hf needs texts, task=hh_rlhf say."
        )
    made = loaded(
        transformers_library().AutoModelForCausalLM, name, revision, dtype=getattr(torch, dtype)
    )
    head, longest = made.get_output_embeddings(), made.config.max_position_embeddings
    _check(made, head, name)
    if num_tokens > head.out_features:
        raise InputError(
            f"{name} has {head.out_features} tokens, its tokenizer {num_tokens}: they do not "
            "belong together."
        )
    if context > longest:
        raise InputError(
            f"{name} reads {longest} tokens, the task's texts have {context}: "
            f"task.data.max_length={longest}."
        )
    if lora_rank:
        _adapt(made, lora_rank, lora_alpha, lora_dropout)
    if num_outputs != num_tokens:
        head = nn.Linear(head.in_features, num_outputs, dtype=head.weight.dtype)
    return LanguageModel(made.base_model, head)


def loaded(kind: Any, name: str, revision: str | None, **settings: Any) -> Any:
    """What a class of transformers makes of a folder or of a name on the hub.

    Raises:
        InputError: It is not there, or cannot be read.
    """
    reason = ""
    if not Path(name).is_dir():
        reason = unreachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        return kind.from_pretrained(
            name, revision=revision or "main", local_files_only=bool(reason), **settings
        )
    except (OSError, ValueError, KeyError) as error:
        said = reason or str(error).strip().splitlines()[0]
        raise InputError(
            f"model.name={name} is no model in the hub's format, here or on the hub ({said}): "
            "name a folder that holds config.json, weights and tokenizer, or a name on the hub."
        ) from None


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
    try:
        import peft
    except ImportError:
        raise InputError("adapters need peft: pip install 'runner[nlp]'") from None
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
    return transformers
