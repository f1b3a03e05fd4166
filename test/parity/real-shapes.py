"""Random weights in a real model's layer shapes, and what transformers and peft compute with them in both precisions.

    python3 real-shapes.py DIR [--size 24B|14B|8B|3B|tiny] [--layers 2] [--vision-layers 2] [--cases 3] [--nudges 1]
                               [--seed 1] [--answers-only] [--device cuda|cpu]

Everything is made on one device, without a network; needs torch, transformers, peft and numpy.

DIR/checkpoint/             config and bfloat16 weights, in the published layout
DIR/case-N/adapter/         a PEFT adapter on the seven linears of both towers, r 16, B not zero, no dropout
DIR/case-N/batch.safetensors     four samples, right-padded: pictures of odd sizes, one of the longest edge allowed
DIR/case-N/float32.safetensors   loss, losses and logits of the labelled tokens, gradient of every adapter tensor
DIR/case-N/bfloat16.safetensors  the same as a trainer computes them: base in bfloat16, adapter float32, autocast;
                                 once with SDPA (sdpa/NAME) and once with plain attention (plain/NAME); and
                                 nudged/NAME, the largest relative L2 error of each value when both are run again with
                                 pictures that differ by less than bfloat16 can tell: how much of an error is chance

The float32 values come from plain attention (product, softmax, product) with TF32 off.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch.utils.checkpoint import checkpoint
from transformers import (AttentionInterface, AttentionMaskInterface, Ministral3Config, Mistral3Config,
                          Mistral3ForConditionalGeneration, MistralConfig, PixtralVisionConfig)
from transformers.masking_utils import eager_mask
from transformers.utils import logging

logging.disable_progress_bar()

TEXT = {
    "24B": dict(hidden_size=5120, intermediate_size=32768, theta=1e9, tied=False),  # Mistral Small
    "14B": dict(hidden_size=5120, intermediate_size=16384, theta=1e9, tied=False),
    "8B": dict(hidden_size=4096, intermediate_size=14336, theta=1e6, tied=False),
    "3B": dict(hidden_size=3072, intermediate_size=9216, theta=1e6, tied=True),
    "tiny": dict(hidden_size=96, intermediate_size=160, theta=1e6, tied=False),
}
REAL = dict(vocab=131072, heads=(32, 8, 128), vision=(1024, 4096, 16), edge=1540, words=64)
SMALL = dict(vocab=640, heads=(4, 2, 32), vision=(48, 96, 2), edge=140, words=12)
IMG, PAD, BREAK, END = 10, 11, 12, 13
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def plain_attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **_):
    """Attention as it is written down, a head at a time and recomputed in backward, so that big pictures fit."""
    group = query.shape[1] // key.shape[1]

    def head(q, k, v, mask):
        scores = q @ k.transpose(-1, -2) * scaling + mask
        return torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype) @ v

    mask = attention_mask[:, 0]
    heads = [
        checkpoint(head, query[:, h], key[:, h // group], value[:, h // group], mask, use_reentrant=False)
        for h in range(query.shape[1])
    ]
    return torch.stack(heads, dim=2), None


AttentionInterface.register("plain", plain_attention)
AttentionMaskInterface.register("plain", eager_mask)


def build(size, layers, vision_layers, device):
    shape = TEXT[size]
    dims = SMALL if size == "tiny" else REAL
    heads, kv_heads, head_dim = dims["heads"]
    hidden, inner, vision_heads = dims["vision"]
    common = dict(vocab_size=dims["vocab"], hidden_size=shape["hidden_size"],
                  intermediate_size=shape["intermediate_size"], num_hidden_layers=layers, num_attention_heads=heads,
                  num_key_value_heads=kv_heads, head_dim=head_dim, tie_word_embeddings=shape["tied"])
    if size == "24B":
        rope = dict(rope_type="default", rope_theta=shape["theta"])
        text = MistralConfig(**common, rope_parameters=rope, rms_norm_eps=1e-5, sliding_window=None)
    else:
        rope = dict(rope_type="yarn", rope_theta=shape["theta"], factor=16.0, original_max_position_embeddings=16384,
                    beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.1)
        text = Ministral3Config(**common, rope_parameters=rope)
    vision = PixtralVisionConfig(hidden_size=hidden, intermediate_size=inner, num_hidden_layers=vision_layers,
                                 num_attention_heads=vision_heads, image_size=dims["edge"], patch_size=14,
                                 hidden_act="silu")
    config = Mistral3Config(text_config=text, vision_config=vision, image_token_index=IMG, spatial_merge_size=2,
                            vision_feature_layer=-1, tie_word_embeddings=shape["tied"])
    with torch.device(device):
        model = Mistral3ForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    return model.float().eval(), dims


@torch.no_grad()
def randomize(model):
    """Every linear keeps the size of what comes in; queries and keys are larger, so that attention chooses."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.normal_(1.0, 0.2)
        elif "embed_tokens" in name or "lm_head" in name:
            parameter.normal_(0.0, 2.0 * parameter.shape[1] ** -0.5)
        else:
            gain = 1.5 if "q_proj" in name or "k_proj" in name else 1.0
            parameter.normal_(0.0, gain * parameter[0].numel() ** -0.5)
        parameter.copy_(parameter.bfloat16())


def cast_base(model, dtype):
    """Frozen weights only: the adapter stays float32, as do the buffers of the rotary embeddings."""
    for name, parameter in model.named_parameters():
        if "lora_" not in name:
            parameter.data = parameter.data.to(dtype)


def make_batch(dims, generator, answers_only, device):
    def between(low, high):
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    def words(count):
        return torch.randint(20, dims["vocab"], (count,), generator=generator).tolist()

    largest = dims["edge"] // 28
    part = max(2, largest * 25 // 55)
    grids = [(between(2, part), between(2, part)), (largest, largest), (between(1, 3), between(part, 2 * part)),
             (between(part // 2, part), between(1, part // 2))]
    sequences = []
    for rows, columns in grids:
        image = [token for row in range(rows) for token in [IMG] * columns + [BREAK if row + 1 < rows else END]]
        question, answer = words(dims["words"]), words(between(3, max(4, dims["words"] // 4)))
        ids = [1] + question + image + words(1) + answer + [2]
        learned = [False] * (len(ids) - len(answer) - 1) + [True] * (len(answer) + 1)
        labels = [t if l or (not answers_only and t not in (IMG, BREAK, END)) else -100 for t, l in zip(ids, learned)]
        sequences.append((ids, labels))
    width = max(len(ids) for ids, _ in sequences)
    input_ids = torch.full((len(sequences), width), PAD)
    attention_mask = torch.zeros_like(input_ids)
    labels = torch.full_like(input_ids, -100)
    for b, (ids, learned) in enumerate(sequences):
        input_ids[b, : len(ids)] = torch.tensor(ids)
        attention_mask[b, : len(ids)] = 1
        labels[b, : len(ids)] = torch.tensor(learned)
    sizes = torch.tensor(grids) * 28
    pixels = torch.zeros(len(grids), 3, int(sizes[:, 0].max()), int(sizes[:, 1].max()))
    for n, (h, w) in enumerate(sizes.tolist()):
        pixels[n, :, :h, :w] = torch.randn(3, h, w, generator=generator)
    batch = dict(input_ids=input_ids, attention_mask=attention_mask, labels=labels, pixel_values=pixels,
                 image_sizes=sizes)
    return {name: value if name == "image_sizes" else value.to(device) for name, value in batch.items()}


def compute(model, batch, attention, autocast):
    for module in model.modules():
        if hasattr(getattr(module, "config", None), "_attn_implementation"):
            module.config._attn_implementation = attention
    model.zero_grad(set_to_none=True)
    with torch.autocast(batch["input_ids"].device.type, dtype=torch.bfloat16, enabled=autocast):
        output = model(**batch)
    targets = batch["labels"][:, 1:]
    learned = targets != -100
    logits = output.logits.detach()[:, :-1][learned]
    losses = torch.nn.functional.cross_entropy(logits.float(), targets[learned], reduction="none")
    loss = output.loss.detach().reshape(1)
    output.loss.backward()
    values = {"loss": loss, "token_losses": losses, "logits": logits}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            values[name.replace(".default", "")] = parameter.grad
    return {name: value.detach().cpu().contiguous() for name, value in values.items()}


def nudged_errors(model, batch, generator, nudges):
    errors = {}
    for _ in range(nudges):
        pixels = batch["pixel_values"]
        factor = 1 + 2**-10 * torch.randn(pixels.shape, generator=generator).to(pixels.device)
        other = {**batch, "pixel_values": pixels * factor}
        cast_base(model, torch.float32)
        exact = compute(model, other, "plain", autocast=False)
        cast_base(model, torch.bfloat16)
        for variant in ("sdpa", "plain"):
            for name, value in compute(model, other, variant, autocast=True).items():
                error = float((value.float() - exact[name]).norm() / exact[name].norm())
                errors[name] = max(errors.get(name, 0.0), error)
    return {f"nudged/{name}": torch.tensor([error]) for name, error in errors.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", type=Path)
    parser.add_argument("--size", choices=list(TEXT), default="14B")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--vision-layers", type=int, default=2)
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--nudges", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--answers-only", action="store_true", help="label the answers, not the questions")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(options.seed)
    start = time.time()

    def note(text):
        print(f"{time.time() - start:6.1f} s  {text}", flush=True)

    model, dims = build(options.size, options.layers, options.vision_layers, options.device)
    randomize(model)
    cast_base(model, torch.bfloat16)
    model.config.dtype = torch.bfloat16
    model.save_pretrained(options.dir / "checkpoint", max_shard_size="2GB")
    count = sum(parameter.numel() for parameter in model.parameters())
    note(f"checkpoint of {count / 1e9:.3f} billion weights on {options.device}")
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, lora_dropout=0.0,
                                             bias="none", target_modules=TARGETS))
    for number in range(1, options.cases + 1):
        generator = torch.Generator().manual_seed(1000 * options.seed + number)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_A" in name:
                    bound = parameter.shape[1] ** -0.5
                    parameter.uniform_(-bound, bound)
                elif "lora_B" in name:
                    parameter.normal_(0.0, 0.02)
        folder = options.dir / f"case-{number}"
        model.save_pretrained(folder / "adapter")
        batch = make_batch(dims, generator, options.answers_only, options.device)
        save_file({name: value.cpu() for name, value in batch.items()}, folder / "batch.safetensors")
        cast_base(model, torch.bfloat16)
        variants = {name: compute(model, batch, name, autocast=True) for name in ("sdpa", "plain")}
        cast_base(model, torch.float32)
        values = compute(model, batch, "plain", autocast=False)
        model.zero_grad(set_to_none=True)
        save_file(values, folder / "float32.safetensors")
        stored = {f"{variant}/{name}": value for variant, entries in variants.items()
                  for name, value in entries.items()}
        stored |= nudged_errors(model, batch, generator, options.nudges)
        model.zero_grad(set_to_none=True)
        save_file(stored, folder / "bfloat16.safetensors")
        losses = [f"{name} {entries['loss'].item():.6f}" for name, entries in {"float32": values, **variants}.items()]
        tokens, labels = int(batch["attention_mask"].sum()), values["logits"].shape[0]
        patches = int((batch["image_sizes"] // 14).prod(dim=1).sum())
        peak = f", peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if options.device == "cuda" else ""
        note(f"case {number}: {tokens} tokens, {patches} patches, {labels} labels, losses {', '.join(losses)}{peak}")
    versions = {name: __import__(name).__version__ for name in ("torch", "transformers", "peft")}
    (options.dir / "versions.json").write_text(json.dumps({**versions, "size": options.size, "device": options.device}))


if __name__ == "__main__":
    main()
