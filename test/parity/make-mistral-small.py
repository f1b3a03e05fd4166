"""Makes a folder for `npm run parity`: a tiny Mistral Small 3.1 with random weights, in the layout of the published
repositories, and what transformers and peft compute with it.

    python3 test/parity/make-mistral-small.py DIR     (torch 2.11, transformers 5.17, peft 0.21; float32 on the CPU)

The checkpoint is sharded, has the older names of tensors, flat `rope_theta`s and no `tie_word_embeddings` in its
config.json, preprocessor_config.json beside processor_config.json, a chat_template.json, and the Mistral-native files
beside all of that. It is read back by transformers before anything is computed.
"""

import copy
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import torch

try:
    import torchvision
except RuntimeError:
    # Compiled for another torch. Nothing here detects objects: a declaration of what fails to register is enough.
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    missing = torch.library.Library("torchvision", "DEF")
    missing.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    missing.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401
import peft
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (Ministral3Config, Mistral3Config, Mistral3ForConditionalGeneration, MistralConfig,
                          PixtralImageProcessor, PixtralProcessor, PixtralVisionConfig, PreTrainedTokenizerFast,
                          Trainer, TrainingArguments, set_seed)
from transformers.generation.logits_process import (MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper,
                                                    TopPLogitsWarper)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

SEED = 23
EDGE = 140
THETA = 1e9
CONTROL = """<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS]
[TOOL_CALLS] [IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] [SYSTEM_PROMPT] [/SYSTEM_PROMPT]
[TOOL_CONTENT]""".split()
IMAGE_TOKEN, PAD_TOKEN = CONTROL.index("[IMG]"), CONTROL.index("<pad>")
SOURCES = Path(__file__).resolve().parents[2] / "src/data"
CLASSES = ["Oak leaf", "Maple leaf", "Birch leaf", "Fern", "Moss on stone", "Lichen"]
PROMPT = "Name the plant in the photograph. Answer with one of these and nothing else:\n" + ", ".join(CLASSES)

out = Path(sys.argv[1])
checkpoint = out / "checkpoint"
(out / "images").mkdir(parents=True, exist_ok=True)
set_seed(SEED)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1))


def save(name, tensors):
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, out / name)


def constant(file, pattern):
    return re.search(pattern, (SOURCES / file).read_text(), re.S).group(1)


# The tokenizer: byte-level BPE with the control tokens of Tekken at their places.
TEMPLATE = constant("chat-template.ts", r"TUTORIAL_TEMPLATE = `(.*?)`;")
WORDS = "".join(re.findall(r"'(.*?)'", constant("tokenizer-files.ts", r"TEKKEN_PATTERN =(.*?);"))).replace("\\\\", "\\")
texts = [PROMPT, *CLASSES * 10, "A fern grows beside moss; the leaf has five lobes.", "Größe: 12,5 cm × 7 cm – мох и папоротник",
         "for leaf in leaves:\n\tprint(leaf)\n\n", "苔とシダ", "UPPER lower CamelCase 1234567890"]
raw = Tokenizer(models.BPE(ignore_merges=True))
raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(WORDS), "isolated"),
                                             pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
raw.decoder = decoders.ByteLevel()
controls = [AddedToken(token, special=True, normalized=False) for token in CONTROL]
raw.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=420, special_tokens=controls, show_progress=False,
                                                   initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
raw.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                                    pad_token="<pad>", padding_side="right")
image_processor = PixtralImageProcessor(patch_size={"height": 14, "width": 14}, size={"longest_edge": EDGE})
processor = PixtralProcessor(image_processor=image_processor, tokenizer=tokenizer, patch_size=14, spatial_merge_size=2)

# The checkpoint.
text = MistralConfig(vocab_size=len(tokenizer), hidden_size=72, intermediate_size=136, num_hidden_layers=3,
                     num_attention_heads=6, num_key_value_heads=2, head_dim=16, max_position_embeddings=512,
                     rms_norm_eps=1e-5, sliding_window=None, initializer_range=0.08,
                     rope_parameters={"rope_type": "default", "rope_theta": THETA})
vision = PixtralVisionConfig(hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=3,
                             image_size=EDGE, patch_size=14, hidden_act="silu", initializer_range=0.08)
config = Mistral3Config(text_config=text, vision_config=vision, image_token_index=IMAGE_TOKEN, spatial_merge_size=2,
                        vision_feature_layer=-1, multimodal_projector_bias=False, tie_word_embeddings=False)
made = Mistral3ForConditionalGeneration._from_config(config, attn_implementation="eager").float().eval()
with torch.no_grad():
    for name, parameter in made.named_parameters():
        if parameter.ndim == 1:
            parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
made.save_pretrained(checkpoint, max_shard_size="300KB")
tokenizer.save_pretrained(checkpoint)
published = json.loads((checkpoint / "config.json").read_text())
published["torch_dtype"] = published.pop("dtype", "float32")
published.pop("tie_word_embeddings", None)
for part in ("text_config", "vision_config"):
    rope = published[part].pop("rope_parameters")
    published[part]["rope_theta"] = rope["rope_theta"]
for key in ("bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings"):
    published["text_config"].pop(key, None)
write_json(checkpoint / "config.json", published)
mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
write_json(checkpoint / "preprocessor_config.json", {
    "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": mean,
    "image_processor_type": "PixtralImageProcessor", "image_std": std, "patch_size": {"height": 14, "width": 14},
    "processor_class": "PixtralProcessor", "resample": 3, "rescale_factor": 1 / 255, "size": {"longest_edge": EDGE}})
write_json(checkpoint / "processor_config.json", {
    "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]", "image_token": "[IMG]", "patch_size": 14,
    "processor_class": "PixtralProcessor", "spatial_merge_size": 2})
write_json(checkpoint / "chat_template.json", {"chat_template": TEMPLATE})
write_json(checkpoint / "params.json", {"dim": 72, "n_layers": 3})
write_json(checkpoint / "tekken.json", {"config": {}, "vocab": []})
save_file({"norm.weight": torch.ones(72)}, checkpoint / "consolidated.safetensors")
model = Mistral3ForConditionalGeneration.from_pretrained(checkpoint, attn_implementation="eager",
                                                         dtype=torch.float32).eval()
for (name, ours), (_, theirs) in zip(made.state_dict().items(), model.state_dict().items(), strict=True):
    if not torch.equal(ours, theirs):
        raise SystemExit(f"{name} changed on its way through the checkpoint")
if model.config.text_config.rope_parameters["rope_theta"] != THETA:
    raise SystemExit(f"rope_theta was read as {model.config.text_config.rope_parameters}")

# Images, alone.
generator = np.random.default_rng(SEED)
images, pixels = [], {}
for i, (width, height) in enumerate([(96, 64), (56, 150), (210, 190), (33, 27), (EDGE, EDGE), (84, 56), (75, 75), (28, 28)]):
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 70 * np.sin(x / (4 + i + c)) * np.cos(y / (6 + i - c)) + generator.normal(0, 15, x.shape)
              for c in range(3)]
    levels = np.clip(np.stack(planes, -1), 0, 255).astype("uint8")
    if i % 4 == 3:
        image = Image.fromarray(levels[..., 0])
    elif i % 4 == 2:
        image = Image.fromarray(np.concatenate([levels, np.full_like(levels[..., :1], 255)], -1))
    else:
        image = Image.fromarray(levels)
    image.save(out / "images" / f"{i}.png")
    images.append(image)
    alone = image_processor(images=[image], patch_size={"height": 28, "width": 28}, return_tensors="pt")
    pixels[f"pixel_values.{i}"] = alone["pixel_values"][0].float()
    pixels[f"image_sizes.{i}"] = torch.as_tensor(alone["image_sizes"][0])
save("image_processor.safetensors", pixels)

# Tokens and templates.
cases = []
for sample in dict.fromkeys([*texts, "", " ", "\n\n", "  two", "[INST]typed by a user[/INST]", "🌿🍁", "é" * 40]):
    ids = tokenizer(sample, add_special_tokens=False)["input_ids"]
    cases.append({"text": sample, "ids": ids, "with_special": tokenizer(sample)["input_ids"],
                  "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
write_json(out / "tokenizer_cases.json", cases)


def conversation(label, answer=True):
    user = {"role": "user", "content": [{"type": "text", "text": PROMPT}, {"type": "image"}]}
    reply = {"role": "assistant", "content": [{"type": "text", "text": CLASSES[label]}]}
    return [user, reply] if answer else [user]


def render(messages, prompt=False):
    return tokenizer.apply_chat_template(messages, chat_template=TEMPLATE, tokenize=False, add_generation_prompt=prompt)


labels = [i % len(CLASSES) for i in range(len(images))]
conversations = [conversation(label) for label in labels]
question = render(conversation(0, answer=False), prompt=True)
write_json(out / "template_cases.json", {"template": TEMPLATE, "train": [render(each) for each in conversations[:2]],
                                         "generation_prompt": question, "conversations": conversations[:2]})


def collate(indices):
    """As notebooks do it: the processor puts a second BOS before the template's, padding and image tokens are masked."""
    batch = processor(text=[render(conversations[i]) for i in indices],
                      images=[[images[i].convert("RGB")] for i in indices], padding="longest", return_tensors="pt")
    targets = batch["input_ids"].clone()
    targets[(targets == PAD_TOKEN) | (targets == IMAGE_TOKEN)] = -100
    kept = ("input_ids", "attention_mask", "pixel_values", "image_sizes")
    return {**{name: batch[name] for name in kept}, "labels": targets}


alone = [collate([i]) for i in range(len(images))]
write_json(out / "collated.json", [
    {"image": f"{i}.png", "label": labels[i], "input_ids": one["input_ids"][0].tolist(), "labels": one["labels"][0].tolist()}
    for i, one in enumerate(alone)])

# Forward.
batch = collate([0, 1])
with torch.no_grad():
    result = model(**batch, output_hidden_states=True)
    tower = model.model.get_image_features(pixel_values=batch["pixel_values"], image_sizes=batch["image_sizes"],
                                           vision_feature_layer=-1, return_dict=True)
rotary = model.model.language_model.rotary_emb
save("forward.safetensors", {
    **batch, "logits": result.logits, "loss": result.loss.reshape(1), "rope.inv_freq": rotary.inv_freq,
    "rope.attention_scaling": torch.tensor([float(rotary.attention_scaling)]),
    **{f"hidden.{i}": value for i, value in enumerate(result.hidden_states)},
    **{f"vision_hidden.{i}": value for i, value in enumerate(tower.hidden_states)},
    **{f"image_features.{i}": value for i, value in enumerate(tower.pooler_output)}})

# LoRA: gradients, merged weights.
names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
tuned = get_peft_model(copy.deepcopy(model), LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=names))
noise = torch.Generator().manual_seed(SEED + 1)
with torch.no_grad():
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=noise))
tuned.save_pretrained(str(out / "adapter"))
tuned.eval()
adapted = tuned(**batch)
adapted.loss.backward()
gradients = {name.replace(".default", ""): parameter.grad for name, parameter in tuned.named_parameters()
             if parameter.grad is not None}
save("lora_forward_backward.safetensors", {"loss": adapted.loss.reshape(1), "logits": adapted.logits, **gradients})
merged = copy.deepcopy(tuned).merge_and_unload().state_dict()
save("merged_layer0.safetensors",
     {name: value for name, value in merged.items() if "layers.0." in name and "proj" in name})

# Generation.
prompt = processor(text=[question], images=[[images[4].convert("RGB")]], add_special_tokens=False, return_tensors="pt")
prompt.pop("token_type_ids", None)
with torch.no_grad():
    answer = tuned.generate(**prompt, max_new_tokens=24, do_sample=False, return_dict_in_generate=True,
                            output_logits=True, pad_token_id=PAD_TOKEN)
scores = 4 * torch.randn(1, 64, generator=noise)
warpers = {"temperature1.5_min_p0.1": [TemperatureLogitsWarper(1.5), MinPLogitsWarper(0.1)],
           "temperature0.7_top_k10_top_p0.8": [TemperatureLogitsWarper(0.7), TopKLogitsWarper(10), TopPLogitsWarper(0.8)]}
chances = {}
for name, steps in warpers.items():
    warped = scores.clone()
    for step in steps:
        warped = step(None, warped)
    chances[name] = torch.softmax(warped, -1)[0].tolist()
prompt_ids = prompt["input_ids"][0].tolist()
greedy = answer.sequences[0, len(prompt_ids):].tolist()
write_json(out / "generate.json", {"image": "4.png", "prompt_ids": prompt_ids, "greedy": greedy,
                                   "sampling_logits": scores[0].tolist(), "sampling_probs": chances})
save("generate_logits.safetensors", {"logits": torch.stack(answer.logits, 1)[0]})


# Six steps of transformers.Trainer from that adapter.
class Samples(torch.utils.data.Dataset):
    def __len__(self):
        return 7

    def __getitem__(self, index):
        return index


order = []


def collate_and_note(indices):
    order.append(list(indices))
    return collate(indices)


trained = PeftModel.from_pretrained(copy.deepcopy(model), str(out / "adapter"), is_trainable=True)
arguments = TrainingArguments(
    output_dir=str(out / ".trainer"), num_train_epochs=3, per_device_train_batch_size=2, gradient_accumulation_steps=2,
    learning_rate=2e-3, weight_decay=0.01, max_grad_norm=0.3, warmup_steps=2, lr_scheduler_type="linear", logging_steps=1,
    save_strategy="no", report_to="none", remove_unused_columns=False, label_names=["labels"], use_cpu=True, seed=SEED,
    dataloader_pin_memory=False, optim="adamw_torch")
trainer = Trainer(model=trained, args=arguments, train_dataset=Samples(), data_collator=collate_and_note)
trainer.train()
shutil.rmtree(out / ".trainer", ignore_errors=True)
kept = ("num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "weight_decay",
        "max_grad_norm", "warmup_steps", "adam_beta1", "adam_beta2", "adam_epsilon", "logging_steps", "seed")
write_json(out / "trainer.json", {"args": {name: getattr(arguments, name) for name in kept}, "micro_batches": order,
                                  "log_history": trainer.state.log_history, "max_steps": trainer.state.max_steps})
trained.save_pretrained(str(out / "adapter_after_training"))

# Frequencies of the published sizes.
frequencies = {}
for name, theta in (("theta1e6", 1e6), ("theta1e9", 1e9)):
    real = Ministral3Config(head_dim=128)
    real.rope_parameters.update(rope_theta=theta, rope_type="yarn")
    values, scaling = ROPE_INIT_FUNCTIONS["yarn"](real, torch.device("cpu"))
    frequencies[name] = {"inv_freq": values.tolist(), "attention_scaling": float(scaling)}
small = MistralConfig(hidden_size=5120, num_attention_heads=32, head_dim=128,
                      rope_parameters={"rope_type": "default", "rope_theta": 1e9})
values, scaling = type(rotary).compute_default_rope_parameters(small, torch.device("cpu"))
frequencies["plain1e9"] = {"inv_freq": values.tolist(), "attention_scaling": float(scaling)}
write_json(out / "rope_real.json", frequencies)
write_json(out / "versions.json", {"torch": torch.__version__, "transformers": transformers.__version__,
                                   "peft": peft.__version__, "params": {"seed": SEED, "edge": EDGE, "theta": THETA},
                                   "classes": CLASSES, "prompt": PROMPT})
losses = [round(entry["loss"], 4) for entry in trainer.state.log_history if "loss" in entry]
print("loss", result.loss.item(), "adapted", adapted.loss.item(), "training", losses, "greedy", greedy)
