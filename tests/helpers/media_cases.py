"""Audio and video files, and small models of audio with random weights, saved as Hugging Face saves them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import wavfile

from tests.helpers.encoder_cases import photo


def write_wav(path: Path, seed: int, *, rate: int = 16_000, seconds: float = 0.5, channels: int = 1) -> Path:
    """Write a chord of random pitches as WAV of 16 bits."""
    random = np.random.default_rng(seed)
    time = np.arange(int(rate * seconds))[:, None] / rate
    tones = np.sin(2 * np.pi * random.uniform(200, 2000, (3, channels)) * time[..., None]).mean(axis=1)
    wavfile.write(path, rate, (tones * 20_000).astype(np.int16).squeeze())
    return path


def write_video(path: Path, seeds: list[int]) -> Path:
    """Write a video of a frame for each seed, without loss."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=4)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        for seed in seeds:
            for packet in stream.encode(av.VideoFrame.from_image(photo(seed, (64, 48)))):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def small_wav2vec2(folder: Path) -> Path:
    """Save a wav2vec 2.0 of one layer, 16 dimensions, with its feature extractor."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        conv_dim=(8, 8),
        conv_stride=(20, 16),
        conv_kernel=(20, 16),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=8_000).save_pretrained(folder)
    return folder


def small_clap(folder: Path) -> Path:
    """Save a CLAP of small towers, 8 dimensions, with its feature extractor."""
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    torch.manual_seed(0)
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    audio = {
        "spec_size": 64,
        "num_mel_bins": 16,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "window_size": 4,
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "hidden_size": 16,
        "num_classes": 2,
        "projection_dim": 8,
        "enable_fusion": False,
    }
    text = {**tower, "vocab_size": 20, "max_position_embeddings": 20, "projection_dim": 8}
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=8)).save_pretrained(folder)
    extractor = ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=8_000,
        hop_length=80,
        max_length_s=1,
        fft_window_size=256,
        truncation="rand_trunc",
    )
    extractor.save_pretrained(folder)
    return folder
