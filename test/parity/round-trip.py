"""A whole sharded checkpoint written by transformers, and what transformers and peft make of what comes back.

    python3 round-trip.py make DIR [--size 8B|3B|14B|tiny] [--seed 1]      DIR/checkpoint, DIR/batch.safetensors
    npm run roundtrip -- DIR [--engine cuda]                               DIR/adapter, DIR/merged, DIR/ours.safetensors
    python3 round-trip.py check DIR                                        compares; ends with `N passed, N failed`

Needs torch, transformers, peft and numpy, and for the check memory for the weights in float32. Nothing is downloaded.
The references are base and adapter in peft: in float32, in bfloat16 under autocast, and merged by torch.
"""

import argparse
import gc
import json
import time
import warnings
from importlib import import_module
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import Mistral3ForConditionalGeneration

shapes = import_module("real-shapes")
LAYERS = {"3B": (26, 24), "8B": (34, 24), "14B": (40, 24), "tiny": (3, 2)}
SHARDS = {"tiny": "300KB"}
start = time.time()
tally = {"passed": 0, "failed": 0}


def note(text):
    print(f"{time.time() - start:6.1f} s  {text}", flush=True)


def check(what, good, figure=""):
    tally["passed" if good else "failed"] += 1
    note(f"{'ok  ' if good else 'FAIL'} {what} {figure}")


def make(folder, size, seed, device):
    torch.manual_seed(seed)
    model, dims = shapes.build(size, *LAYERS[size], device)
    shapes.randomize(model)
    shapes.cast_base(model, torch.bfloat16)
    model.config.dtype = torch.bfloat16
    model.save_pretrained(folder / "checkpoint", max_shard_size=SHARDS.get(size, "5GB"))
    batch = shapes.make_batch(dims, torch.Generator().manual_seed(seed), False, "cpu")
    save_file(batch, folder / "batch.safetensors")
    count = len(list((folder / "checkpoint").glob("*.safetensors")))
    weights = sum(parameter.numel() for parameter in model.parameters())
    note(f"{size}: {weights / 1e9:.3f} billion weights in {count} shards on {device}")


@torch.no_grad()
def logits_of(model, batch, autocast=False):
    with torch.autocast(batch["input_ids"].device.type, dtype=torch.bfloat16, enabled=autocast):
        return model(**batch).logits[:, :-1][batch["labels"][:, 1:] != -100].float().cpu()


def error(actual, expected):
    return float((actual - expected).norm() / expected.norm())


def names_of(folder):
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for key in file.keys():
                view = file.get_slice(key)
                found[key] = (path.name, view.get_dtype(), tuple(view.get_shape()))
    return found


def compare(folder, device):
    base, stored = folder / "checkpoint", load_file(folder / "adapter" / "adapter_model.safetensors")
    ours = load_file(folder / "ours.safetensors")
    batch = {key: value if key == "image_sizes" else value.to(device)
             for key, value in load_file(folder / "batch.safetensors").items()}
    check("names, shapes, dtypes and shards of the merged checkpoint", names_of(base) == names_of(folder / "merged"))

    model = Mistral3ForConditionalGeneration.from_pretrained(base, dtype=torch.bfloat16).to(device).eval()
    plain = logits_of(model, batch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(model, folder / "adapter").eval()
    told = [str(warning.message)[:200] for warning in caught if "key" in str(warning.message)]
    check("peft tells of no missing and no unexpected key", not told, "; ".join(told))
    loaded = {name.replace(".default", ""): value for name, value in model.named_parameters() if "lora_" in name}
    check(f"all {len(stored)} tensors of the adapter are in peft's model, and no others", loaded.keys() == stored.keys())
    check("with the same numbers", all(torch.equal(loaded[name].cpu().float(), value) for name, value in stored.items()))
    rounded = logits_of(model, batch, autocast=True)
    shapes.cast_base(model, torch.float32)
    exact = logits_of(model, batch)
    effect, theirs, own = error(plain, exact), error(rounded, exact), error(ours["logits"], exact)
    check("the adapter does something", effect > 2 * theirs, f"{effect:.2e}")
    # The engine computes in float32, or in bfloat16 as peft under autocast does.
    bound = 1e-4 if bool(ours["float32"]) else 1.5 * theirs
    check("logits here are those of peft", own <= bound, f"{own:.2e}, at most {bound:.2e}; bfloat16 in peft {theirs:.2e}")

    merged = model.merge_and_unload()
    for parameter in merged.parameters():
        parameter.data = parameter.data.bfloat16().float()
    same, count, worst = 0, 0, 0.0
    back, info = Mistral3ForConditionalGeneration.from_pretrained(folder / "merged", dtype=torch.bfloat16,
                                                                  output_loading_info=True)
    faults = {key: sorted(value)[:5] for key, value in info.items() if key.endswith("keys") and value}
    check("transformers loads the merged checkpoint without a missing or unexpected key", not faults, faults or "")
    for (name, mine), (twin, reference) in zip(back.named_parameters(), merged.named_parameters()):
        assert name == twin, (name, twin)
        mine, reference = mine.detach().to(device).float(), reference.detach()
        count += mine.numel()
        same += int((mine == reference).sum())
        worst = max(worst, float(((mine - reference).abs() / reference.abs().clamp_min(1e-30)).max()))
    check("merged weights are torch's, but for the rounding of near ties", same / count > 0.9999,
          f"{count - same} of {count} differ, by at most {worst:.2e}")
    theirs = error(logits_of(merged, batch), exact)
    del model, merged
    gc.collect()
    back = back.to(device).float().eval()
    mine = error(logits_of(back, batch), exact)
    check("logits of the merged checkpoint", mine <= 1.5 * theirs, f"{mine:.2e}; merged by torch {theirs:.2e}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("make", "check"))
    parser.add_argument("dir", type=Path)
    parser.add_argument("--size", choices=list(LAYERS), default="8B")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if options.command == "make":
        options.dir.mkdir(parents=True, exist_ok=True)
        return make(options.dir, options.size, options.seed, options.device)
    compare(options.dir, options.device)
    versions = {name: __import__(name).__version__ for name in ("torch", "transformers", "peft")}
    print(f"RESULT {json.dumps({'test': 'round trip', 'device': options.device, **tally, **versions})}")
    print(f"{tally['passed']} passed, {tally['failed']} failed")
    raise SystemExit(tally["failed"] > 0)


if __name__ == "__main__":
    main()
