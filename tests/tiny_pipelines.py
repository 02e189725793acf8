"""A Stable Diffusion of random weights, as diffusers stores it: 1 MB, in a second."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import torch

os.environ.setdefault("DIFFUSERS_DISABLE_REMOTE_CODE", "1")

__all__ = ["WORDS", "write_controlnet", "write_stable_diffusion"]

WORDS = ("a", "photo", "of", "the", "cat", "dog", "bird", "scratch", "red", "blue")
"""What its tokenizer knows as one token each; anything else goes by letters."""

_HIDDEN = 16  # of the text encoder
_LENGTH = 77  # tokens, as of CLIP


def write_stable_diffusion(
    folder: str | Path,
    *,
    size: int = 32,
    seed: int = 0,
    channels: int = 4,
    safety: str | None = None,
    prediction: str = "epsilon",
    licence: str | None = None,
) -> Path:
    """Write a tiny random Stable Diffusion and return its folder.

    Its VAE makes images smaller by 8, as that of Stable Diffusion: sides are multiples
    of 8.

    Args:
        folder: A new one.
        size: Sides of its images where nothing else is asked for, px.
        seed: Of its weights.
        channels: That its UNet takes: 4, or 9 for one made for inpainting.
        safety: None, or a checker that finds nothing (``passes``) or everything
            (``flags``).
        prediction: ``epsilon`` or ``v_prediction``.
        licence: What its model card states.
    """
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = Path(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = _tokenizer(folder)
        # longer than its words: a token that is added has room
        config = CLIPTextConfig(
            vocab_size=len(tokenizer) + 8, hidden_size=_HIDDEN, num_hidden_layers=2,
            intermediate_size=32, num_attention_heads=2, projection_dim=_HIDDEN,
            max_position_embeddings=_LENGTH, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        text = CLIPTextModel(config)
        unet = diffusers.UNet2DConditionModel(
            sample_size=size // 8, in_channels=channels, out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
            cross_attention_dim=_HIDDEN, attention_head_dim=8,
        )  # fmt: skip
        vae = diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(4, 4, 8, 8), layers_per_block=1, norm_num_groups=2,
            latent_channels=4, sample_size=size,
        )  # fmt: skip
        checker, extractor = _checker(safety)
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        clip_sample=False, set_alpha_to_one=False, steps_offset=1,
        prediction_type=prediction,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = diffusers.StableDiffusionPipeline(
            vae=vae.eval(), text_encoder=text.eval(), tokenizer=tokenizer,
            unet=unet.eval(), scheduler=scheduler, safety_checker=checker,
            feature_extractor=extractor,
            requires_safety_checker=checker is not None,
        )  # fmt: skip
        pipeline.save_pretrained(folder, safe_serialization=True)
    if licence is not None:
        card = f"---\nlicense: {licence}\n---\n# Tiny\n"
        (folder / "README.md").write_text(card)
    return folder


def write_controlnet(folder: str | Path, base: str | Path) -> Path:
    """Write a ControlNet of a pipeline's UNet and return its folder.

    Its outputs are not zero, as those of a new one are: it steers.
    """
    import diffusers

    unet = diffusers.UNet2DConditionModel.from_pretrained(
        str(base), subfolder="unet", use_safetensors=True, local_files_only=True
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        # as its VAE: 8 times smaller
        net = diffusers.ControlNetModel.from_unet(
            unet, conditioning_embedding_out_channels=(4, 4, 8, 8)
        )
        for block in (*net.controlnet_down_blocks, net.controlnet_mid_block):
            torch.nn.init.normal_(block.weight, std=0.5)
        torch.nn.init.normal_(net.controlnet_cond_embedding.conv_out.weight, std=0.5)
    net.eval().save_pretrained(folder)
    return Path(folder)


def _tokenizer(folder: Path) -> Any:
    """Return CLIP's tokenizer with letters and a few words."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    vocab = ["<|startoftext|>", "<|endoftext|>", *letters]
    vocab += [f"{letter}</w>" for letter in letters]
    merges: list[str] = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merge = f"{parts[0]} {parts[1]}"
            parts = [parts[0] + parts[1], *parts[2:]]
            merges += [merge] if merge not in merges else []
            vocab += [parts[0]] if parts[0] not in vocab else []
    folder.mkdir(parents=True, exist_ok=True)
    ids = {token: i for i, token in enumerate(vocab)}
    paths = folder / "vocab.json", folder / "merges.txt"
    paths[0].write_text(json.dumps(ids))
    paths[1].write_text("\n".join(["#version: 0.2", *merges]))
    made = CLIPTokenizer(
        vocab=str(paths[0]), merges=str(paths[1]), model_max_length=_LENGTH
    )
    for path in paths:
        path.unlink()
    return made


def _checker(safety: str | None) -> tuple[Any, Any]:
    if safety is None:
        return None, None
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    small: dict[str, Any] = {
        "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 1, "projection_dim": 8,
    }  # fmt: skip
    vision = {**small, "image_size": 32, "patch_size": 16}
    config = CLIPConfig(text_config=small, vision_config=vision, projection_dim=8)
    checker = StableDiffusionSafetyChecker(config).eval()
    limit = -2.0 if safety == "flags" else 2.0  # of a cosine
    checker.concept_embeds_weights.data.fill_(limit)
    checker.special_care_embeds_weights.data.fill_(2.0)
    extractor = CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    return checker, extractor
