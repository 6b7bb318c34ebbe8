"""Audio and video: the rows of the bare library calls, and files that cannot be read."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from pipelines.errors import InputError
from pipelines.features.audio_files import AudioError, audio_problem, load_audio
from pipelines.features.hub_audio import HubAudioEncoder
from pipelines.features.video import FRAMES, VideoEncoder, load_frames, video_problem
from pipelines.io import circumstances
from pipelines.prepared import read_prepared
from tests.conftest import Answer
from tests.helpers.encoder_cases import photo
from tests.helpers.media_cases import small_clap, small_wav2vec2, write_video, write_wav
from tests.helpers.vision_cases import small_clip

Cli = Callable[..., Answer]


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_wav2vec2(tmp_path_factory.mktemp("wav2vec2"))


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_clap(tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_clip(tmp_path_factory.mktemp("clip") / "model")


def test_wav2vec2_gives_the_rows_of_transformers(wav2vec2: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoFeatureExtractor, AutoModel

    paths = [write_wav(tmp_path / f"{n}.wav", n, rate=8_000, seconds=0.5 + 0.25 * (n % 2)) for n in range(5)]
    extractor, model = AutoFeatureExtractor.from_pretrained(wav2vec2), AutoModel.from_pretrained(wav2vec2)
    expected = []
    for path in paths:
        inputs = extractor(wavfile.read(path)[1] / 2**15, sampling_rate=8_000, return_tensors="pt")
        with torch.inference_mode():
            expected.append(model(**inputs).last_hidden_state.mean(dim=1)[0].numpy())
    values, present = HubAudioEncoder(str(wav2vec2), device="cpu", batch_size=2).encode([*paths, None])
    assert present.tolist() == [True] * 5 + [False]
    assert np.ptp(expected, axis=0).min() > 0
    np.testing.assert_allclose(values[:-1], expected, rtol=1e-4, atol=1e-5)


def test_a_clip_too_short_for_a_network_is_filled_with_silence(wav2vec2: Path, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "short.wav", 3, rate=8_000, seconds=0.02)
    rate, samples = wavfile.read(path)
    wavfile.write(tmp_path / "filled.wav", rate, np.pad(samples, (0, 800 - len(samples))))
    encoder = HubAudioEncoder(str(wav2vec2), device="cpu", batch_size=2)
    values, present = encoder.encode([path, tmp_path / "filled.wav"])
    assert present.all()
    np.testing.assert_array_equal(values[0], values[1])


def test_clap_gives_the_rows_of_transformers(clap: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoFeatureExtractor, AutoModel

    paths = [write_wav(tmp_path / f"{n}.wav", n, rate=8_000, seconds=0.6 + n, channels=1 + n % 2) for n in range(3)]
    extractor, model = AutoFeatureExtractor.from_pretrained(clap), AutoModel.from_pretrained(clap)
    clips = [wavfile.read(path)[1].astype(float).reshape(-1, 1 + n % 2) / 2**15 for n, path in enumerate(paths)]
    heard = [clip.mean(axis=1)[:8_000] for clip in clips]  # a longer one would be cut at random
    inputs = [extractor(clip, sampling_rate=8_000, return_tensors="pt") for clip in heard]
    with torch.inference_mode():
        expected = [model.get_audio_features(**each).pooler_output[0].numpy() for each in inputs]
    encoder = HubAudioEncoder(str(clap), device="cpu")
    values, present = encoder.encode(paths)
    assert present.all() and np.ptp(expected, axis=0).min() > 0
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    assert (encoder.identity()["dim"], encoder.identity()["rate"], encoder.identity()["seconds"]) == (8, 8_000, 1.0)
    assert encoder.identity()["loader"] == circumstances.AUDIO


def test_a_video_has_the_mean_of_its_frames(clip: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    seeds = list(range(3 * FRAMES))
    path, short = write_video(tmp_path / "long.mkv", seeds), write_video(tmp_path / "short.mkv", [7])
    middles = [photo(seed, (64, 48)) for seed in seeds[1::3]]
    for frame, middle in zip(load_frames(path), middles, strict=True):
        np.testing.assert_array_equal(np.asarray(frame), np.asarray(middle))
    bare = SentenceTransformer(str(clip), device="cpu")
    expected = [np.asarray(bare.encode(frames)).mean(axis=0) for frames in (middles, [photo(7, (64, 48))])]
    values, present = VideoEncoder(str(clip), device="cpu").encode([path, None, short])
    assert present.tolist() == [True, False, True]
    np.testing.assert_allclose(values[present], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bits", [np.uint8, np.int16, np.int32, np.float32])
def test_wav_of_any_width_is_the_same_sound(tmp_path: Path, bits: type) -> None:
    tone = np.sin(np.arange(4_000) / 9)
    scaled = {np.uint8: tone * 127 + 128, np.int16: tone * (2**15 - 1), np.int32: tone * (2**31 - 1)}
    wavfile.write(tmp_path / "tone.wav", 8_000, scaled.get(bits, tone).astype(bits))
    np.testing.assert_allclose(load_audio(tmp_path / "tone.wav", 8_000, 9.0), tone, atol=0.02)
    assert len(load_audio(tmp_path / "tone.wav", 16_000, 0.25)) == 4_000


def test_wav_of_24_bits_and_of_no_samples(tmp_path: Path) -> None:
    tone = np.sin(np.arange(4_000) / 9)
    for name, samples in (("tone", tone), ("empty", tone[:0])):
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setparams((1, 3, 8_000, 0, "NONE", ""))
            file.writeframes(b"".join(int(value * (2**23 - 1)).to_bytes(3, "little", signed=True) for value in samples))
    np.testing.assert_allclose(load_audio(tmp_path / "tone.wav", 8_000, 9.0), tone, atol=1e-5)
    assert audio_problem(tmp_path / "empty.wav") == "it has no samples"
    for channels in (1, 2):
        with wave.open(str(tmp_path / "none.wav"), "wb") as file:
            file.setparams((channels, 2, 8_000, 0, "NONE", ""))
        assert audio_problem(tmp_path / "none.wav") == "it has no samples"


def test_other_formats_are_read_by_soundfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile = pytest.importorskip("soundfile")
    tone = np.sin(np.arange(4_000) / 9).astype(np.float32)
    soundfile.write(tmp_path / "tone.flac", np.stack([tone, tone], axis=1), 8_000)
    np.testing.assert_allclose(load_audio(tmp_path / "tone.flac", 8_000, 9.0), tone, atol=1e-3)
    monkeypatch.setattr("pipelines.features.audio_files.find_spec", lambda _: None)
    assert audio_problem(tmp_path / "tone.flac") == (
        "it is no WAV, and others are read by soundfile: pip install 'mmssl[audio]'"
    )


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    whole = write_wav(tmp_path / "whole.wav", 0).read_bytes()
    for cut in (0, 3, 20, 40):
        (tmp_path / "cut.wav").write_bytes(whole[:cut])
        with pytest.raises(AudioError):
            load_audio(tmp_path / "cut.wav", 16_000, 1.0)
    assert audio_problem(tmp_path / "none.wav") == "there is no such file"
    assert video_problem(tmp_path / "none.mkv") == "there is no such file"
    (tmp_path / "page.mkv").write_text("<!doctype html>")
    assert "it is damaged" in str(video_problem(tmp_path / "page.mkv"))
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n")
    assert video_problem(tmp_path / "list.m3u8") is not None


def test_columns_of_audio_and_video(cli: Cli, tmp_path: Path, wav2vec2: Path, clip: Path) -> None:
    rows = [f"{user},i{item}" for user in range(6) for item in range(5)]
    (tmp_path / "clicks.csv").write_text("\n".join(["user,item", *rows]))
    for item in range(4):
        write_wav(tmp_path / f"{item}.wav", item)
        write_video(tmp_path / f"{item}.mkv", [item, item + 1])
    lines = [f"i{item},{item}.wav,{item}.mkv" for item in range(5)]
    (tmp_path / "items.csv").write_text("\n".join(["item,sound,film", *lines]))
    command = ("prep", "shop", "--interactions", "clicks.csv", "--items", "items.csv", "--audio-column", "sound")
    encoders = ("--audio-encoder", wav2vec2, "--video-column", "film", "--video-encoder", clip, "--offline")
    answer = cli(*command, *encoders)
    assert answer.code == 0, answer.words
    features = read_prepared(tmp_path / "data" / "shop").features
    assert {name: each.values.shape[1] for name, each in features.items()} == {"acoustic": 16, "video": 8}
    assert all(each.present.tolist() == [True] * 4 + [False] for each in features.values())
    assert features["video"].encoder["name"] == "hub-video"
    assert "unchanged" in cli(*command, *encoders).out
    for flags, code, sentence in (
        (("--audio-encoder", clip), 1, "has no feature extractor of audio; give a model such as CLAP"),
        (("--audio-encoder", "./nowhere"), 1, "There is no model folder ./nowhere"),
        (
            ("--video-encoder", clip),
            2,
            "--video-encoder has nothing to encode: name the videos of the items with --v",
        ),
    ):
        wrong = cli(*command, *flags, "--offline")
        assert wrong.code == code and sentence in wrong.words, wrong.words
    (tmp_path / "items.csv").write_text("item,sound\ni0,http://127.0.0.1/x.wav\n")
    assert "audio is not fetched" in cli(*command, "--audio-encoder", wav2vec2, "--offline").words


def test_without_a_decoder_videos_are_refused(
    cli: Cli, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clicks.csv").write_text("user,item\na,x\n")
    (tmp_path / "items.csv").write_text("item,film\nx,x.mkv\n")
    monkeypatch.setattr("pipelines.features.media_rows.find_spec", lambda _: None)
    command = ("prep", "shop", "--interactions", "clicks.csv", "--items", "items.csv", "--video-column", "film")
    answer = cli(*command, "--video-encoder", clip)
    assert answer.code == 2 and "pip install 'mmssl[video]'" in answer.words


def test_texts_and_pictures_of_one_model_are_told_apart(cli: Cli, tmp_path: Path, clip: Path) -> None:
    rows = [f"{user},i{item}" for user in range(6) for item in range(5)]
    (tmp_path / "clicks.csv").write_text("\n".join(["user,item", *rows]))
    (tmp_path / "items.csv").write_text("\n".join(["item,title", *(f"i{item},red lamp {item}" for item in range(5))]))
    (tmp_path / "photos").mkdir()
    for item in range(5):
        Image.Image.save(photo(item), tmp_path / "photos" / f"i{item}.png")
    tables = ("--interactions", "clicks.csv", "--items", "items.csv", "--text", "title", "--images", "photos")
    assert cli("prep", "shop", *tables, "--text-encoder", clip, "--image-encoder", clip, "--offline").code == 0
    features = read_prepared(tmp_path / "data" / "shop").features
    names = {name: each.encoder["name"] for name, each in features.items()}
    assert names == {"visual": "hub-image", "textual": "sentence-bert"}


def test_a_model_of_pictures_takes_no_audio(clip: Path) -> None:
    with pytest.raises(InputError, match="no feature extractor of audio"):
        HubAudioEncoder(str(clip))
