"""trl's GRPOTrainer on the puzzles and the model of `task=verify`, for `bench.policies`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tasks.models.transformer import Block, Transformer
from tasks.nlp.pairs import PairSet
from tasks.nlp.puzzles import ALPHABET, END, PAD, Verifier, text

SPECIAL = {PAD: "<pad>", END: "<end>"}
CHARACTERS = [SPECIAL.get(number, character) for number, character in enumerate(ALPHABET)]


def grpo_trainer(
    model: Transformer, data: PairSet, folder: Path, callback: Any, **settings: Any
) -> Any:
    """A trainer of the same model on the same prompts, with the same reward.

    Args:
        model: Ours, whose weights it starts from.
        data: Prompts and their judge.
        folder: Where the model and its tokenizer are written in the hub's format and read from.
        callback: Called at the beginning and the end of each step.
        settings: Of trl's GRPOConfig.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, logging
    from trl import GRPOConfig, GRPOTrainer

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    gpt2(model).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    start = int(data.train.chosen_mask[0].int().argmax())
    prompts = [{"prompt": text(row[:start])} for row in data.train.chosen.tolist()]
    config = GRPOConfig(
        str(folder), use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none",
        save_strategy="no", log_level="error", disable_tqdm=True, logging_steps=10**6, top_k=0,
        max_grad_norm=0.0, lr_scheduler_type="constant", loss_type="grpo",
        max_completion_length=data.train.chosen.shape[1] - start, **settings,
    )  # fmt: skip
    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(folder),
        rightness(data),
        config,
        dataset(prompts),
        processing_class=AutoTokenizer.from_pretrained(folder),
        callbacks=[callback],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def dataset(rows: list[dict[str, str]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(rows)


def rightness(data: PairSet) -> Callable[..., list[float]]:
    """The judge's reward, of the trainer's lists of tokens."""
    assert isinstance(data.judge, Verifier)
    answer = data.judge.puzzle.answer

    def reward(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        said = [text(tokens) for tokens in completion_ids]
        return [
            float(one == answer(prompt) + ALPHABET[END])
            for prompt, one in zip(prompts, said, strict=True)
        ]

    return reward


def tokenizer() -> Any:
    """A token a character, numbered as in the alphabet of the puzzles."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    numbers = {character: number for number, character in enumerate(CHARACTERS)}
    made = Tokenizer(models.WordLevel(numbers, unk_token=SPECIAL[PAD]))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=SPECIAL[PAD], eos_token=SPECIAL[END]
    )


def gpt2(model: Transformer) -> Any:
    """GPT-2 of the same shape, with the same weights; its head has no bias, so neither has ours."""
    from transformers import GPT2Config, GPT2LMHeadModel

    (num_tokens, width), context = model.tokens.weight.shape, len(model.positions.weight)
    first: Any = model.blocks[0]
    config = GPT2Config(
        vocab_size=num_tokens, n_positions=context, n_embd=width, n_layer=len(model.blocks),
        n_head=first.heads, activation_function="gelu", resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, tie_word_embeddings=False, pad_token_id=PAD, bos_token_id=None,
        eos_token_id=END,
    )  # fmt: skip
    other = GPT2LMHeadModel(config)
    nn.init.zeros_(model.head.bias)
    with torch.no_grad():
        for name, tensor in weights(model).items():
            other.get_parameter(name).copy_(tensor)
    return other


def weights(model: Transformer) -> dict[str, Tensor]:
    """Our weights by GPT-2's names."""
    found = {
        "transformer.wte.weight": model.tokens.weight,
        "transformer.wpe.weight": model.positions.weight,
        "lm_head.weight": model.head.weight,
        **of_norm("transformer.ln_f", model.norm),
    }
    for number, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        found |= of_block(f"transformer.h.{number}", block)
    return found


def of_block(name: str, block: Block) -> dict[str, Tensor]:
    layers = {
        "attn.c_attn": block.projection,
        "attn.c_proj": block.output,
        "mlp.c_fc": block.mlp[0],
        "mlp.c_proj": block.mlp[2],
    }
    found = of_norm(f"{name}.ln_1", block.attention_norm) | of_norm(f"{name}.ln_2", block.mlp_norm)
    for place, layer in layers.items():
        assert isinstance(layer, nn.Linear)
        found |= {f"{name}.{place}.weight": layer.weight.T, f"{name}.{place}.bias": layer.bias}
    return found


def of_norm(name: str, norm: nn.LayerNorm) -> dict[str, Tensor]:
    return {f"{name}.weight": norm.weight, f"{name}.bias": norm.bias}
