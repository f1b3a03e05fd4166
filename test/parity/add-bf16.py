"""Adds to a folder of reference values what transformers and peft compute in bfloat16, as a yardstick for engines that do.

    python3 add-bf16.py DIR [--out FILE] [--device cuda|cpu]      (default: DIR/bfloat16.safetensors)

DIR is a folder that `npm run parity` takes. Everything is computed twice, with SDPA and with eager attention: both are
transformers' own. The base model is in bfloat16, the adapter in float32 under autocast, as a trainer has them. The
training run is repeated in float32 first and must give the folder's losses.

The error of a loss or of one small gradient is much a matter of chance: between two such runs a factor of 1.5 is usual
in two or three of 84 tensors. So both are run again with pictures that differ from the folder's by less than bfloat16
can tell, each against float32 on the same pictures, and the largest error of each value is kept.

Keys are VARIANT/GROUP/NAME, variant sdpa or eager: forward/{logits, loss, hidden.i, vision_hidden.i, image_features.i},
lora/{logits, loss, gradient names}, greedy/logits, training/{loss, grad_norm, adapter names}. And
nudged/{forward, lora, training}/NAME: the largest error over the runs with nudged pictures, for losses as root mean
square, else as relative L2 distance.
"""

import argparse
import json
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import Mistral3ForConditionalGeneration
from transformers.utils import logging

logging.disable_progress_bar()

PAD = 11
NUDGES = {"forward": 4, "lora": 4, "training": 2}
VARIANTS = ("sdpa", "eager")


def load(folder, dtype, attention, device, adapter=True, trainable=True):
    model = Mistral3ForConditionalGeneration.from_pretrained(folder / "checkpoint", dtype=dtype,
                                                             attn_implementation=attention).to(device).eval()
    return PeftModel.from_pretrained(model, folder / "adapter", is_trainable=trainable) if adapter else model


def plain_names(named):
    return {name.replace(".default", ""): value for name, value in named}


class Autocast(torch.autocast):
    def __init__(self, device, dtype):
        super().__init__(torch.device(device).type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def forward(folder, batch, dtype, attention, device):
    model = load(folder, dtype, attention, device, adapter=False)
    layer = model.config.vision_feature_layer
    with torch.no_grad():
        output = model(**batch, output_hidden_states=True)
        images = model.model.get_image_features(pixel_values=batch["pixel_values"], image_sizes=batch["image_sizes"],
                                                vision_feature_layer=layer, output_hidden_states=True,
                                                return_dict=True)
    values = {"logits": output.logits, "loss": output.loss.float().reshape(1)}
    values |= {f"hidden.{i}": value for i, value in enumerate(output.hidden_states)}
    values |= {f"vision_hidden.{i}": value for i, value in enumerate(images.hidden_states)}
    values |= {f"image_features.{i}": value for i, value in enumerate(images.pooler_output)}
    return values


def gradients(folder, batch, dtype, attention, device):
    model = load(folder, dtype, attention, device)
    with Autocast(device, dtype):
        output = model(**batch)
    output.loss.backward()
    named = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    values = {"logits": output.logits, "loss": output.loss.float().reshape(1), **plain_names(named)}
    return values


def greedy(folder, dtype, attention, device):
    """Logits of each step of the folder's own answer, given what comes before it."""
    spec = json.loads((folder / "generate.json").read_text())
    index = int(Path(spec["image"]).stem)
    pixels = load_file(folder / "image_processor.safetensors", device=str(device))
    model = load(folder, dtype, attention, device, trainable=False)
    prompt, answer = spec["prompt_ids"], spec["greedy"]
    with torch.no_grad(), Autocast(device, dtype):
        output = model(input_ids=torch.tensor([prompt + answer[:-1]], device=device),
                       pixel_values=pixels[f"pixel_values.{index}"][None],
                       image_sizes=pixels[f"image_sizes.{index}"][None])
    return {"logits": output.logits[0, len(prompt) - 1 :]}


def collate(samples, pixels, indices, device):
    rows = [samples[i] for i in indices]
    width = max(len(row["input_ids"]) for row in rows)

    def padded(key, fill):
        return torch.tensor([row[key] + [fill] * (width - len(row[key])) for row in rows], device=device)

    ids = padded("input_ids", PAD)
    lengths = torch.tensor([len(row["input_ids"]) for row in rows], device=device)
    sizes = torch.stack([pixels[f"image_sizes.{i}"] for i in indices])
    images = torch.zeros(len(rows), 3, int(sizes[:, 0].max()), int(sizes[:, 1].max()), device=device)
    for n, i in enumerate(indices):
        images[n, :, : sizes[n, 0], : sizes[n, 1]] = pixels[f"pixel_values.{i}"]
    return dict(input_ids=ids, attention_mask=(torch.arange(width, device=device) < lengths[:, None]).long(),
                labels=padded("labels", -100), pixel_values=images, image_sizes=sizes)


def nudge(pixels, generator):
    factor = torch.randn(pixels.shape, generator=generator).to(pixels.device)
    return pixels * (1 + 2**-10 * factor)


def largest_errors(errors, values, exact):
    for name, value in values.items():
        if name not in ("loss", "grad_norm") and "lora_" not in name:
            continue
        difference, norm = (value - exact[name]).detach().double(), exact[name].detach().double().norm()
        error = difference.square().mean().sqrt() if name == "loss" else difference.norm() / norm.clamp_min(1e-30)
        errors[name] = max(errors.get(name, 0.0), float(error))


def train(folder, dtype, attention, device, generator=None):
    """The folder's run of transformers.Trainer, step by step; learning rates are those that it logged."""
    spec = json.loads((folder / "trainer.json").read_text())
    samples = json.loads((folder / "collated.json").read_text())
    pixels = load_file(folder / "image_processor.safetensors", device=str(device))
    if generator:
        pixels = {name: nudge(value, generator) if name.startswith("pixel") else value for name, value in pixels.items()}
    args, order = spec["args"], spec["micro_batches"]
    logs = [entry for entry in spec["log_history"] if "loss" in entry]
    per_epoch = len(order) // int(args["num_train_epochs"])
    windows = []
    for epoch in range(0, len(order), per_epoch):
        for at in range(epoch, epoch + per_epoch, args["gradient_accumulation_steps"]):
            windows.append(order[at : min(at + args["gradient_accumulation_steps"], epoch + per_epoch)])
    model = load(folder, dtype, attention, device)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, betas=(args["adam_beta1"], args["adam_beta2"]),
                                  eps=args["adam_epsilon"], weight_decay=args["weight_decay"])
    losses, norms = [], []
    for window, log in zip(windows, logs, strict=True):
        batches = [collate(samples, pixels, indices, device) for indices in window]
        count = sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batches)
        total = 0.0
        for batch in batches:
            with Autocast(device, dtype):
                output = model(**batch, num_items_in_batch=count)
            output.loss.backward()
            total += output.loss.item()
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, args["max_grad_norm"])))
        for group in optimizer.param_groups:
            group["lr"] = log["learning_rate"]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(total)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return {"loss": torch.tensor(losses), "grad_norm": torch.tensor(norms), **plain_names(named)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    folder, device = options.dir, options.device
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    names = ("input_ids", "attention_mask", "labels", "pixel_values", "image_sizes")
    stored = load_file(folder / "forward.safetensors", device=device)
    batch = {name: stored[name] for name in names}
    adapted = load_file(folder / "lora_forward_backward.safetensors", device=device)
    logs = [entry for entry in json.loads((folder / "trainer.json").read_text())["log_history"] if "loss" in entry]
    trained = train(folder, torch.float32, "eager", device)
    for loss, log in zip(trained["loss"].tolist(), logs, strict=True):
        if abs(loss / log["loss"] - 1) > 1e-4:
            raise SystemExit(f"the training run in float32 gave a loss of {loss}, the folder has {log['loss']}")
    result = {}
    for variant in VARIANTS:
        groups = {
            "forward": forward(folder, batch, torch.bfloat16, variant, device),
            "lora": gradients(folder, batch, torch.bfloat16, variant, device),
            "greedy": greedy(folder, torch.bfloat16, variant, device),
            "training": train(folder, torch.bfloat16, variant, device),
        }
        for group, entries in groups.items():
            result |= {f"{variant}/{group}/{name}": value.detach().float().cpu().contiguous().clone()
                       for name, value in entries.items()}
        print(f"{variant}: loss {groups['forward']['loss'].item():.6f} (float32 {stored['loss'].item():.6f}), with the "
              f"adapter {groups['lora']['loss'].item():.6f} ({adapted['loss'].item():.6f}), training "
              f"{[round(loss, 4) for loss in groups['training']['loss'].tolist()]}", flush=True)
    for group, nudges in NUDGES.items():
        errors = {}
        for number in range(nudges):

            def again(dtype, attention):
                generator = torch.Generator().manual_seed(number)
                if group == "training":
                    return train(folder, dtype, attention, device, generator)
                other = {**batch, "pixel_values": nudge(batch["pixel_values"], generator)}
                return (forward if group == "forward" else gradients)(folder, other, dtype, attention, device)

            exact = again(torch.float32, "eager")
            for variant in VARIANTS:
                largest_errors(errors, again(torch.bfloat16, variant), exact)
        result |= {f"nudged/{group}/{name}": torch.tensor([error]) for name, error in errors.items()}
    out = options.out or folder / "bfloat16.safetensors"
    save_file(result, out)
    print(f"{len(result)} arrays in {out}")


if __name__ == "__main__":
    main()
