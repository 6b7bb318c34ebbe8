"""Small vision models with random weights, saved as Hugging Face saves them."""

from __future__ import annotations

import json
from pathlib import Path

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def small_clip(folder: Path) -> Path:
    """Save a CLIP of one layer a tower, 8 dimensions, with its tokenizer and preprocessing."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast

    folder.mkdir(parents=True)
    tokens = [*_LETTERS, *[f"{letter}</w>" for letter in _LETTERS], "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    files = (str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer = CLIPTokenizerFast(vocab=files[0], merges=files[1], model_max_length=16)
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1}
    torch.manual_seed(0)
    config = CLIPConfig(
        projection_dim=8,
        text_config={**tower, **ends, "vocab_size": len(tokens), "max_position_embeddings": 16},
        vision_config={**tower, "image_size": 32, "patch_size": 16},
    )
    CLIPModel(config).save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def small_dinov2(folder: Path) -> Path:
    """Save a DINOv2 of one layer, 16 dimensions, with its preprocessing."""
    import torch
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16)
    Dinov2Model(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    BitImageProcessor(size={"shortest_edge": 36}, crop_size=size).save_pretrained(folder)
    return folder
