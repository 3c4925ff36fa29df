"""Small random models in the hub's layout: Stable Diffusion, SDXL, a LoRA, and two kinds of safety checker."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tests.small.untrained.generator import tokenizer

CONCEPTS = 17  # of the safety checker of Stable Diffusion
SPECIAL = 3


def build_stable_diffusion(folder: Path, seed: int = 0, variant: str | None = None) -> Path:
    """Stable Diffusion 1.x as the hub has it, its safety checker (which calls everything unsafe) included."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor, CLIPTextModel

    torch.manual_seed(seed)
    checker = StableDiffusionSafetyChecker(_checker_config())
    checker.concept_embeds_weights.data.fill_(-2)
    pipeline: Any = StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text_config()),
        tokenizer=tokenizer(),
        unet=_unet(),
        scheduler=PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1),
        safety_checker=checker,
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    )
    pipeline.save_pretrained(folder, variant=variant)
    return folder


def build_stable_diffusion_xl(folder: Path, seed: int = 0) -> Path:
    """SDXL: two text encoders, sizes as conditions, and a decoder that needs fp32."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    pipeline: Any = StableDiffusionXLPipeline(
        vae=_vae(force_upcast=True, scaling_factor=0.13025),
        text_encoder=CLIPTextModel(_text_config()),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(projection_dim=32)),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=_unet(
            cross_attention_dim=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32,
            use_linear_projection=True,
        ),
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading"),
    )
    pipeline.save_pretrained(folder)
    return folder


def build_lora(folder: Path, model: Path, strength: float = 1.0) -> Path:
    """A LoRA of rank 4 on the attention of `model`, as pytorch_lora_weights.safetensors."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(1)
    unet: Any = UNet2DConditionModel.from_pretrained(model, subfolder="unet")
    unet.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights=False, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    weights = {name: value * strength for name, value in get_peft_model_state_dict(unet).items()}
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=weights)
    return folder


def build_safety_checker(folder: Path, seed: int = 0) -> Path:
    """diffusers' checker with random concepts, with thresholds of which an image exceeds some."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    torch.manual_seed(seed)
    checker: Any = StableDiffusionSafetyChecker(_checker_config())
    checker.concept_embeds.data.normal_()
    checker.special_care_embeds.data.normal_()
    checker.concept_embeds_weights.data.fill_(0.35)
    checker.special_care_embeds_weights.data.fill_(0.1)
    checker.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def build_classifier(folder: Path, seed: int = 0, labels: Sequence[str] = ("normal", "nsfw")) -> Path:
    """An image classifier of these labels; with one it is a regressor."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(seed)
    model: Any = ViTForImageClassification(
        ViTConfig(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            image_size=32,
            patch_size=8,
            id2label=dict(enumerate(labels)),
            label2id={label: number for number, label in enumerate(labels)},
        )
    )
    model.classifier.weight.data.mul_(50)  # so that scores differ between images
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def _vae(**extra: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[4, 8, 8, 8],
        norm_num_groups=4,
        latent_channels=4,
        sample_size=64,
        **extra,
    )


def _unet(**extra: Any) -> Any:
    from diffusers import UNet2DConditionModel

    shape: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": [16, 32],
        "layers_per_block": 1,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "cross_attention_dim": 32,
        "attention_head_dim": 8,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**shape | extra)


def _text_config(**extra: Any) -> Any:
    from transformers import CLIPTextConfig

    tokens = tokenizer()
    return CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
        **extra,
    )


def _checker_config() -> Any:
    from transformers import CLIPConfig

    return CLIPConfig(
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "image_size": 32,
            "patch_size": 8,
        },
        projection_dim=16,
    )


def build_controlnet(folder: Path, model: Path, seed: int = 0) -> Path:
    """A ControlNet for the Stable Diffusion or SDXL of `model`, whose outputs are not zero as they are before a training."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    torch.manual_seed(seed)
    unet: Any = UNet2DConditionModel.from_pretrained(model, subfolder="unet")
    controlnet: Any = ControlNetModel.from_unet(unet)
    for module in (controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block, controlnet.controlnet_cond_embedding.conv_out):
        for parameter in module.parameters():
            parameter.data.normal_(std=0.3)
    controlnet.save_pretrained(folder)
    return folder


def build_t2i_adapter(folder: Path, model: Path, seed: int = 0) -> Path:
    """A T2I-Adapter for the Stable Diffusion of `model`."""
    from diffusers import T2IAdapter, UNet2DConditionModel

    torch.manual_seed(seed)
    unet: Any = UNet2DConditionModel.from_pretrained(model, subfolder="unet")
    channels = list(unet.config.block_out_channels)
    adapter: Any = T2IAdapter(in_channels=3, channels=channels, num_res_blocks=1, downscale_factor=8, adapter_type="full_adapter")
    adapter.save_pretrained(folder)
    return folder


def build_ip_adapter(folder: Path, model: Path, seed: int = 0) -> Path:
    """An IP-Adapter for the Stable Diffusion of `model` in the layout of the hub: its weights, and a folder with the image encoder."""
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(seed)
    unet: Any = UNet2DConditionModel.from_pretrained(model, subfolder="unet")
    width, tokens = unet.config.cross_attention_dim, 4
    weights = {"image_proj.proj.weight": torch.randn(tokens * width, 16), "image_proj.proj.bias": torch.randn(tokens * width)}
    weights |= {"image_proj.norm.weight": torch.ones(width), "image_proj.norm.bias": torch.zeros(width)}
    modules = dict(unet.named_modules())
    for number, name in enumerate(name for name in unet.attn_processors if "attn2" in name):
        size = modules[name.removesuffix(".processor")].to_k.weight.shape
        for part in ("to_k_ip", "to_v_ip"):
            weights[f"ip_adapter.{2 * number + 1}.{part}.weight"] = torch.randn(size)
    folder.mkdir(parents=True)
    save_file(weights, folder / "ip-adapter.safetensors")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "projection_dim": 16}
    encoder: Any = CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=32, patch_size=8, **sizes))
    encoder.save_pretrained(folder / "image_encoder")
    return folder


def build_flux(folder: Path, seed: int = 0, blocks: int = 2) -> Path:
    """FLUX.1 [dev]: a transformer of `blocks` blocks of each of its two kinds, which diffusers can cache, and CLIP and T5 for the text."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel, T5Config, T5EncoderModel

    torch.manual_seed(seed)
    words = _t5_tokenizer()
    pipeline: Any = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=CLIPTextModel(_text_config()),
        tokenizer=tokenizer(),
        text_encoder_2=T5EncoderModel(T5Config(vocab_size=len(words), d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2)),
        tokenizer_2=words,
        transformer=FluxTransformer2DModel(
            in_channels=16,  # 2 x 2 latents of 4 channels
            num_layers=blocks,
            num_single_layers=blocks,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        ),
    )
    pipeline.save_pretrained(folder)
    return folder


def _t5_tokenizer() -> Any:
    """A T5Tokenizer over lower-case letters."""
    from transformers import T5Tokenizer

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return T5Tokenizer(vocab=[*special, *((piece, -3.0) for piece in "\u2581abcdefghijklmnopqrstuvwxyz")], extra_ids=0)
