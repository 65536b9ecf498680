"""Small valid model files of every kind, made from a name: `make("a_lora_sdxl.safetensors")`.

The same name (and size) always gives the same bytes. Keys, shapes and metadata are those by which
ComfyUI and others tell the kinds apart; the numbers in them are noise.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from tests.origin.content import Content, Literal, Noise, literal

DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "U8": 1, "F8_E4M3": 1}
Tensors = Mapping[str, tuple[str, list[int]]]

KOHYA_SDXL = {
    "ss_base_model_version": "sdxl_base_v1-0",
    "ss_network_module": "networks.lora",
    "ss_network_dim": "8",
    "ss_network_alpha": "4.0",
    "ss_output_name": "made_lora",
    "ss_resolution": "(1024, 1024)",
    "ss_sd_model_name": "sd_xl_base_1.0.safetensors",
    "ss_tag_frequency": json.dumps({"10_made style": {"made style": 20, "1girl": 5}}),
    "modelspec.sai_model_spec": "1.0.0",
    "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
    "modelspec.title": "made_lora",
    "modelspec.trigger_phrase": "made style",
}
KOHYA_SD15 = {
    "ss_base_model_version": "sd_v1",
    "ss_network_module": "networks.lora",
    "ss_network_dim": "8",
    "ss_resolution": "(512, 512)",
    "ss_v2": "False",
}

_UNET = "model.diffusion_model."
_FIRST_STAGE: dict[str, tuple[str, list[int]]] = {
    "first_stage_model.encoder.conv_in.weight": ("F16", [128, 3, 3, 3]),
    "first_stage_model.decoder.conv_in.weight": ("F16", [512, 4, 3, 3]),
    "first_stage_model.quant_conv.weight": ("F16", [8, 8, 1, 1]),
}


def _unet(block: str, width: int) -> dict[str, tuple[str, list[int]]]:
    return {
        f"{_UNET}input_blocks.0.0.weight": ("F16", [320, 4, 3, 3]),
        f"{_UNET}{block}.1.transformer_blocks.0.attn2.to_k.weight": ("F16", [16, width]),
        f"{_UNET}{block}.1.transformer_blocks.0.attn2.to_v.weight": ("F16", [16, width]),
        f"{_UNET}out.2.weight": ("F16", [4, 320, 3, 3]),
    }


def _lora(unet_key: str, te_keys: tuple[str, ...], width: int) -> dict[str, tuple[str, list[int]]]:
    tensors: dict[str, tuple[str, list[int]]] = {
        f"{unet_key}.alpha": ("F16", []),
        f"{unet_key}.lora_down.weight": ("F16", [8, width]),
        f"{unet_key}.lora_up.weight": ("F16", [640, 8]),
    }
    for key in te_keys:
        tensors[f"{key}.lora_down.weight"] = ("F16", [8, 768])
        tensors[f"{key}.lora_up.weight"] = ("F16", [768, 8])
    return tensors


_SD15 = (
    _unet("input_blocks.1", 768)
    | _FIRST_STAGE
    | {
        "cond_stage_model.transformer.text_model.embeddings.position_ids": ("I64", [1, 77]),
        "cond_stage_model.transformer.text_model.final_layer_norm.weight": ("F16", [768]),
    }
)
_SD21 = (
    _unet("input_blocks.1", 1024)
    | _FIRST_STAGE
    | {"cond_stage_model.model.ln_final.weight": ("F16", [1024])}
)
_SDXL = (
    _unet("input_blocks.4", 2048)
    | _FIRST_STAGE
    | {
        f"{_UNET}label_emb.0.0.weight": ("F16", [16, 2816]),
        "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": ("F16", [768]),
        "conditioner.embedders.1.model.ln_final.weight": ("F16", [1280]),
    }
)
_FLUX = {
    "double_blocks.0.img_attn.qkv.weight": ("F8_E4M3", [96, 3072]),
    "double_blocks.0.txt_attn.qkv.weight": ("F8_E4M3", [96, 3072]),
    "single_blocks.0.linear1.weight": ("F8_E4M3", [16, 3072]),
    "guidance_in.in_layer.weight": ("BF16", [16, 256]),
    "img_in.weight": ("BF16", [16, 64]),
}
_VAE = {key.removeprefix("first_stage_model."): shape for key, shape in _FIRST_STAGE.items()}

#: kind → (tensors, metadata).
KINDS: dict[str, tuple[Tensors, Mapping[str, str]]] = {
    "checkpoint_sd15": (_SD15, {}),
    "checkpoint_sd21": (_SD21, {}),
    "checkpoint_sdxl": (_SDXL, {"modelspec.architecture": "stable-diffusion-xl-v1-base"}),
    "diffusion_flux": (_FLUX, {}),
    "lora_sd15": (
        _lora(
            "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k",
            ("lora_te_text_model_encoder_layers_0_mlp_fc1",),
            768,
        ),
        KOHYA_SD15,
    ),
    "lora_sdxl": (
        _lora(
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k",
            (
                "lora_te1_text_model_encoder_layers_0_mlp_fc1",
                "lora_te2_text_model_encoder_layers_0_mlp_fc1",
            ),
            2048,
        ),
        KOHYA_SDXL,
    ),
    "lora_flux": (
        {
            "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": ("BF16", [2, 3072]),
            "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": ("BF16", [9216, 2]),
        },
        {"ss_base_model_version": "flux1", "ss_network_module": "networks.lora_flux"},
    ),
    "vae": (_VAE, {}),
    "embedding_sd15": ({"emb_params": ("F32", [8, 768])}, {}),
    "embedding_sdxl": ({"clip_l": ("F32", [8, 768]), "clip_g": ("F32", [8, 1280])}, {}),
    "controlnet": (
        {
            "control_model.input_hint_block.0.weight": ("F16", [16, 3, 3, 3]),
            "control_model.zero_convs.0.0.weight": ("F16", [320, 320, 1, 1]),
            "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (
                "F16",
                [16, 1024],
            ),
        },
        {},
    ),
    "upscaler": (
        {
            "conv_first.weight": ("F32", [64, 3, 3, 3]),
            "body.0.rdb1.conv1.weight": ("F32", [32, 64, 3, 3]),
            "conv_last.weight": ("F32", [3, 64, 3, 3]),
        },
        {},
    ),
    "unet_diffusers": (
        {
            "conv_in.weight": ("F16", [320, 4, 3, 3]),
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (
                "F16",
                [16, 2048],
            ),
            "add_embedding.linear_1.weight": ("F16", [16, 2816]),
        },
        {"format": "pt"},
    ),
    "text_encoder": (
        {
            "text_model.embeddings.token_embedding.weight": ("F16", [64, 768]),
            "text_model.final_layer_norm.weight": ("F16", [768]),
        },
        {"format": "pt"},
    ),
    "language_model": (
        {
            "model.embed_tokens.weight": ("BF16", [16, 4096]),
            "model.layers.0.self_attn.q_proj.weight": ("BF16", [16, 4096]),
        },
        {"format": "pt"},
    ),
    "motion": (
        {
            "down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight": (
                "F16",
                [320, 320],
            )
        },
        {},
    ),
}


def safetensors(
    name: str,
    tensors: Tensors,
    metadata: Mapping[str, str] | None = None,
    size_bytes: int | None = None,
) -> Content:
    """A valid safetensors file; one more tensor fills it up when it is to have a certain size."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for key, (dtype, shape) in tensors.items():
        start, count = end, 1
        for dimension in shape:
            count *= dimension
        end += count * DTYPE_BYTES[dtype]
        entries[key] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    if size_bytes is None:
        header = _padded(json.dumps(entries).encode(), 8)
    else:
        header, end = _with_filler(entries, end, size_bytes)
    parts = (Literal(struct.pack("<Q", len(header)) + header), Noise(name, end))
    return Content(name, parts, data_start=8 + len(header))


def _padded(data: bytes, step: int) -> bytes:
    return data + b" " * (-len(data) % step)


def _with_filler(entries: dict[str, Any], end: int, size_bytes: int) -> tuple[bytes, int]:
    room = len(_padded(json.dumps(entries).encode() + b" " * 120, 8))
    total = size_bytes - 8 - room
    if total < end:
        raise ValueError(f"These tensors need more than {size_bytes} bytes.")
    filler = {"dtype": "U8", "shape": [total - end], "data_offsets": [end, total]}
    header = json.dumps(entries | {"zz_filler": filler}).encode()
    return header.ljust(room), total


def smallest_safetensors(kind: str) -> int:
    """The size below which `model_file` cannot make that kind."""
    tensors, metadata = KINDS[kind]
    return safetensors("x", tensors, metadata).size_bytes + 200


def model_file(name: str, kind: str, size_bytes: int | None = None) -> Content:
    tensors, metadata = KINDS[kind]
    return safetensors(name, tensors, metadata, size_bytes)


def gguf(name: str, architecture: str = "flux", size_bytes: int = 96 * 1024) -> Content:
    """GGUF version 3 with three metadata keys and one tensor of 8-bit integers."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    pairs = b"".join(
        text(key) + struct.pack("<I", 8) + text(value)
        for key, value in (
            ("general.architecture", architecture),
            ("general.name", name),
        )
    )
    pairs += text("general.alignment") + struct.pack("<II", 4, 32)
    tensor = "double_blocks.0.img_attn.qkv.weight"
    head_size = 24 + len(pairs) + 8 + len(tensor) + 4 + 8 + 4 + 8
    padded = head_size + -head_size % 32
    count = (size_bytes - padded) // 32 * 32
    info = text(tensor) + struct.pack("<IQIQ", 1, count, 24, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 3) + pairs + info
    return Content(name, (Literal(head.ljust(padded, b"\0")), Noise(name, count)))


# --- Pickles, written opcode by opcode: nothing here is ever loaded ------------------------------
def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _torch_state(count: int) -> bytes:
    """`OrderedDict(weight=torch._utils._rebuild_tensor_v2(...))` as torch.save writes it."""
    storage = (
        b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text("0") + _text("cpu")
        + b"J" + struct.pack("<i", count) + b"tQ"
    )  # fmt: skip
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage
        + b"K\x00J" + struct.pack("<i", count) + b"\x85K\x01\x85\x89"
        + b"ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip
    return b"\x80\x02ccollections\nOrderedDict\n)R" + _text("weight") + tensor + b"s."


#: What a scanner must find: `os.system`, with an argument that does nothing even if it ran.
MALICIOUS_PICKLE = b"\x80\x02cos\nsystem\n" + _text("true") + b"\x85R."


def _zip(members: Mapping[str, bytes]) -> bytes:
    """A zip whose bytes do not depend on the clock."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2023, 1, 1, 0, 0, 0)), data)
    return buffer.getvalue()


def zip_pickle(name: str, *, malicious: bool = False, size_bytes: int = 96 * 1024) -> Content:
    """What `torch.save` writes since 2020: a zip with `data.pkl` and one storage."""
    count = max(1, (size_bytes - 1024) // 4)
    members = {
        "archive/data.pkl": MALICIOUS_PICKLE if malicious else _torch_state(count),
        "archive/byteorder": b"little",
        "archive/data/0": b"".join(Noise(name, count * 4).read(0, count * 4)),
        "archive/version": b"3\n",
    }
    return literal(name, _zip(members))


def plain_pickle(name: str, *, malicious: bool = False) -> Content:
    if malicious:
        return literal(name, MALICIOUS_PICKLE)
    value = OrderedDict(name=name, step=1000, vectors=[[0.25] * 768] * 2)
    return literal(name, pickle.dumps(value, protocol=2))


# --- Everything that is not weights --------------------------------------------------------------
def picture(name: str, width: int = 64, height: int = 96) -> Content:
    """A gradient whose colour follows from the name; PNG, WebP or JPEG by its ending."""
    number = zlib.crc32(name.encode())
    hue = number % 255
    image = Image.linear_gradient("L").rotate(number // 255 % 360).resize((width, height))
    flat = Image.new("L", (width, height), hue)
    colour = Image.merge("RGB", (image, flat, Image.new("L", (width, height), 255 - hue)))
    form = {"png": "PNG", "webp": "WEBP"}.get(name.rsplit(".", 1)[-1].lower(), "JPEG")
    buffer = io.BytesIO()
    colour.save(buffer, form)
    return literal(name, buffer.getvalue(), f"image/{form.lower()}")


def video(name: str) -> Content:
    head = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"isom", 512, b"isom", b"mp42")
    return Content(name, (Literal(head), Noise(name, 4096)), "video/mp4")


def web_page(name: str, title: str = "Sign in") -> Content:
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><title>{title}</title></head>'
        f"<body><h1>{title}</h1><form><input name=email></form></body></html>\n"
    )
    return literal(name, page.encode(), "text/html; charset=utf-8")


def json_file(name: str, value: Any) -> Content:
    return literal(name, json.dumps(value, indent=2).encode(), "application/json")


def workflow(name: str) -> Content:
    nodes = [
        {"id": 0, "type": "Note", "widgets_values": [name]},
        {"id": 1, "type": "CheckpointLoaderSimple", "widgets_values": ["made.safetensors"]},
        {"id": 2, "type": "KSampler", "inputs": [{"name": "model", "link": 1}]},
    ]
    return json_file(
        name,
        {"last_node_id": 2, "last_link_id": 1, "nodes": nodes, "links": [], "version": 0.4},
    )


def wildcards(name: str) -> Content:
    lines = [f"# {name}"] + [f"{colour} hair" for colour in ("red", "blue", "green", "silver")]
    return literal(name, "\n".join([*lines, ""]).encode(), "text/plain; charset=utf-8")


def archive(name: str) -> Content:
    """A zip of pictures and texts, as poses, wildcards and training data come."""
    members = {
        "pose_01.png": picture("pose_01.png").read(),
        "pose_02.png": picture("pose_02.png").read(),
        "README.txt": f"Made for {name}.\n".encode(),
    }
    return literal(name, _zip(members), "application/zip")


def shard_index(shards: list[Content]) -> dict[str, Any]:
    """The value of `model.safetensors.index.json` for files made by `model_file`."""
    weight_map = {f"model.layers.{i}.weight": shard.name for i, shard in enumerate(shards)}
    total = sum(shard.size_bytes - shard.data_start for shard in shards)
    return {"metadata": {"total_size": total}, "weight_map": weight_map}


#: Words in a name that say what kind of safetensors it is; the first that occurs wins.
_WORDS = (
    (("text_encoder",), "text_encoder"),
    (("vae",), "vae"),
    (("unet/", "diffusion_pytorch"), "unet_diffusers"),
    (("controlnet",), "controlnet"),
    (("embedding", "learned_embeds"), "embedding_sd15"),
    (("upscale", "esrgan"), "upscaler"),
    (("motion",), "motion"),
)
_FAMILIES = (
    ("sdxl", "sdxl"),
    ("sd_xl", "sdxl"),
    ("flux", "flux"),
    ("sd21", "sd21"),
    ("v2-1", "sd21"),
)


def kind_of_name(name: str) -> str:
    lowered = name.lower()
    for words, kind in _WORDS:
        if any(word in lowered for word in words):
            return kind
    family = next((family for word, family in _FAMILIES if word in lowered), "sd15")
    if "lora" in lowered:
        return f"lora_{family if family != 'sd21' else 'sd15'}"
    if family == "flux":
        return "diffusion_flux"
    if "-of-" in lowered:
        return "language_model"
    return f"checkpoint_{family}"


def make(name: str, *, kind: str | None = None, size_bytes: int | None = None) -> Content:
    """The file of that name: its ending says the format, its words the kind.

    "malicious" in the name of a pickle makes it one that a scanner must refuse. `size_bytes` is
    exact for safetensors and for endings that are unknown, and about right for the others.
    """
    ending = name.rsplit(".", 1)[-1].lower()
    if ending in {"safetensors", "sft"}:
        return model_file(name, kind or kind_of_name(name), size_bytes)
    if ending in {"ckpt", "pt", "pth", "bin", "pkl"}:
        malicious = "malicious" in name or kind == "malicious"
        if ending == "pkl":
            return plain_pickle(name, malicious=malicious)
        return zip_pickle(name, malicious=malicious, size_bytes=size_bytes or 96 * 1024)
    if ending == "gguf":
        return gguf(name, size_bytes=size_bytes or 96 * 1024)
    by_ending = _MAKERS.get(ending)
    if by_ending is not None:
        return by_ending(name)
    return Content(name, (Noise(name, size_bytes or 8 * 1024),))


def _plain_text(name: str) -> Content:
    return literal(name, f"# {name}\nMade for the tests.\n".encode(), "text/plain; charset=utf-8")


def _json_by_name(name: str) -> Content:
    return workflow(name) if "workflow" in name else json_file(name, {"made_for": name})


_MAKERS: dict[str, Callable[[str], Content]] = {
    "png": picture, "jpg": picture, "jpeg": picture, "webp": picture, "mp4": video,
    "zip": archive, "json": _json_by_name, "html": web_page,
    "txt": wildcards, "yaml": _plain_text, "yml": _plain_text, "md": _plain_text,
    "gitattributes": _plain_text,
}  # fmt: skip
