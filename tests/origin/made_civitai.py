"""CivitAI models that nobody recorded: the shape is that of 2026, the content is made up.

All ids start with 90 000 and all names with "Made:". Keys with a leading underscore steer the
origin and are never sent:
  version `_rules`: login (a token is needed), disabled (no token helps), gone (404)
  version `paidAccess`: "soon" is early access until `Civitai.early_access_ends_at`
  file `_kind`: what the bytes really are; `_size`; `_wrong_hash`; `_body`: "web page"; `_linked`
"""

from __future__ import annotations

from typing import Any

CHECKPOINT, CHECKPOINT_VERSION, CHECKPOINT_FILE = 90001, 900011, 9000111
EARLY_ACCESS_MODEL, EARLY_ACCESS, EARLY_ACCESS_FILE = 90002, 900021, 9000211
VAE_MODEL, VAE_VERSION, VAE_FILE = 90003, 900031, 9000311
TOKEN_LORA_MODEL, TOKEN_LORA, TOKEN_LORA_FILE = 90004, 900041, 9000411
BUNDLE_MODEL, BUNDLE, BUNDLE_FILES = 90005, 900051, (9000511, 9000512, 9000513)
DISABLED_MODEL, DISABLED = 90006, 900061
GONE_MODEL, GONE = 90007, 900071
MALICIOUS_MODEL, MALICIOUS, MALICIOUS_FILE = 90008, 900081, 9000811
WRONG_HASH_MODEL, WRONG_HASH, WRONG_HASH_FILE = 90009, 900091, 9000911
NO_HASH_MODEL, NO_HASH, NO_HASH_FILE = 90010, 900101, 9001011
WEB_PAGE_MODEL, WEB_PAGE, WEB_PAGE_FILE = 90011, 900111, 9001111
DISAGREES_MODEL, DISAGREES, DISAGREES_FILE = 90012, 900121, 9001211
PAID_FOREVER_MODEL, PAID_FOREVER = 90013, 900131
GENERATION_ONLY_MODEL, GENERATION_ONLY = 90014, 900141
LINKED_VAE_MODEL, LINKED_VAE, LINKED_VAE_MAIN_FILE = 90015, 900151, 9001511
LARGE_MODEL, LARGE, LARGE_FILE = 90016, 900161, 9001611
#: One model of each remaining type: 90101, 90102, …; versions 901011, …; files 9010111, …
EACH_TYPE = (
    ("Upscaler", "Other", "made_upscale_x4.pth", "PickleTensor"),
    ("MotionModule", "SD 1.5", "made_motion.safetensors", "SafeTensor"),
    ("Hypernetwork", "SD 1.5", "made_hypernetwork.pt", "PickleTensor"),
    ("Poses", "SD 1.5", "made_poses.zip", "Other"),
    ("Wildcards", "Other", "made_wildcards.txt", "Other"),
    ("Workflows", "Flux.1 D", "made_workflow.json", "Other"),
    ("Detection", "Other", "made_detection.pt", "PickleTensor"),
    ("TextEncoder", "Flux.1 D", "made_text_encoder.safetensors", "SafeTensor"),
    ("CLIPVision", "SDXL 1.0", "made_clip_vision_text_encoder.safetensors", "SafeTensor"),
    ("Checkpoint", "Flux.1 D", "made_flux_Q8_0.gguf", "GGUF"),
    ("DoRA", "Pony", "made_dora.safetensors", "SafeTensor"),
    ("LoCon", "Illustrious", "made_locon.safetensors", "SafeTensor"),
    ("Other", "Other", "made_other.safetensors", "SafeTensor"),
)


def models() -> list[dict[str, Any]]:
    """Every made model, as the origin keeps it (before sizes, hashes and links are patched)."""
    checkpoint = _file(CHECKPOINT_FILE, "madeCheckpoint_v10.safetensors")
    early = _file(EARLY_ACCESS_FILE, "madeEarly_v10.safetensors")
    vae = _file(VAE_FILE, "madeVae.safetensors", type="Model")
    lora = _file(TOKEN_LORA_FILE, "made-lora-sdxl.safetensors")
    bundle = [
        _file(BUNDLE_FILES[0], "madeBundle_v10.safetensors"),
        _extra(BUNDLE_FILES[1], "madeBundle.vae.safetensors", "VAE"),
        _extra(BUNDLE_FILES[2], "madeBundle_v10.yaml", "Config"),
    ]
    single = [
        _model(CHECKPOINT, "Made: checkpoint", "Checkpoint", [checkpoint]),
        _model(
            EARLY_ACCESS_MODEL, "Made: early access", "Checkpoint", [early],
            paidAccess="soon", trainedWords=["made early"],
        ),
        _model(VAE_MODEL, "Made: VAE", "VAE", [vae], trainedWords=[]),
        _model(TOKEN_LORA_MODEL, "Made: LoRA behind a token", "LORA", [lora], _rules=["login"]),
        _model(BUNDLE_MODEL, "Made: checkpoint with VAE and config", "Checkpoint", bundle),
        _model(
            DISABLED_MODEL, "Made: downloads disabled", "Checkpoint",
            [_file(9000611, "madeDisabled.safetensors")], _rules=["disabled"],
        ),
        _model(
            GONE_MODEL, "Made: listed but gone", "LORA",
            [_file(9000711, "made-gone.safetensors")], _rules=["gone"],
        ),
        _model(
            MALICIOUS_MODEL, "Made: pickle that runs a command", "Checkpoint",
            [_file(MALICIOUS_FILE, "made_bad.ckpt", form="PickleTensor", _kind="malicious")],
        ),
        _model(
            WRONG_HASH_MODEL, "Made: published hash is wrong", "LORA",
            [_file(WRONG_HASH_FILE, "made-wrong-hash.safetensors", _wrong_hash=True)],
        ),
        _model(
            NO_HASH_MODEL, "Made: not scanned yet", "LORA",
            [_file(NO_HASH_FILE, "made-no-hash.safetensors", hashes={}, pickleScanResult="Pending")],
        ),
        _model(
            WEB_PAGE_MODEL, "Made: a web page instead of a file", "LORA",
            [_file(WEB_PAGE_FILE, "made-page.safetensors", hashes={}, _body="web page")],
        ),
        _model(
            DISAGREES_MODEL, "Made: said SD 1.5, is SDXL", "Checkpoint",
            [_file(DISAGREES_FILE, "madeDisagrees.safetensors", _kind="checkpoint_sdxl")],
            baseModel="SD 1.5",
        ),
        _model(
            PAID_FOREVER_MODEL, "Made: paid without an end", "LORA",
            [_file(9001311, "made-paid.safetensors")],
            paidAccess={"permanent": True, "endsAt": None},
        ),
        _model(
            GENERATION_ONLY_MODEL, "Made: generation only", "Checkpoint",
            [_file(9001411, "madeGeneration.safetensors")],
            usageControl="Generation", _rules=["disabled"],
        ),
        _model(
            LINKED_VAE_MODEL, "Made: checkpoint with a linked VAE", "Checkpoint",
            [
                _file(LINKED_VAE_MAIN_FILE, "madeLinked.safetensors"),
                _extra(VAE_FILE, "madeVae.safetensors", "VAE", _linked=True, metadata={"format": "SafeTensor"}),
            ],
        ),
        _model(
            LARGE_MODEL, "Made: large checkpoint", "Checkpoint",
            [_file(LARGE_FILE, "madeLarge.safetensors", _size=24 * 1024 * 1024)],
        ),
    ]  # fmt: skip
    return single + [_of_type(90101 + number, *row) for number, row in enumerate(EACH_TYPE)]


def _of_type(model_id: int, kind: str, base_model: str, name: str, form: str) -> dict[str, Any]:
    file_type = "Archive" if name.endswith(".zip") else "Model"
    item = _file(model_id * 100 + 11, name, type=file_type, form=form)
    return _model(model_id, f"Made: {kind}", kind, [item], baseModel=base_model)


def _file(file_id: int, name: str, *, form: str = "SafeTensor", **more: Any) -> dict[str, Any]:
    item = {
        "id": file_id,
        "sizeKB": 0.0,
        "name": name,
        "type": "Model",
        "pickleScanResult": "Success",
        "pickleScanMessage": "No Pickle imports",
        "virusScanResult": "Success",
        "virusScanMessage": None,
        "scannedAt": "2026-03-01T10:00:00.000Z",
        "metadata": {"format": form, "size": "pruned", "fp": "fp16"},
        "hashes": dict.fromkeys(("AutoV1", "AutoV2", "SHA256", "CRC32"), ""),
        "primary": True,
    }
    if name.endswith(".safetensors"):
        item["hashes"]["AutoV3"] = "0" * 12  # type: ignore[index]
    return item | more


def _extra(file_id: int, name: str, file_type: str, **more: Any) -> dict[str, Any]:
    form = "SafeTensor" if name.endswith(".safetensors") else "Other"
    item = _file(file_id, name, form=form, type=file_type, **more)
    del item["primary"]
    item["metadata"]["isRequired"] = True
    return item


def _model(
    model_id: int, name: str, kind: str, items: list[dict[str, Any]], **version: Any
) -> dict[str, Any]:
    version_id = model_id * 10 + 1
    download = f"https://civitai.com/api/download/models/{version_id}"
    for item in items:
        # Links with and without `fileId` both occur, since the parameter was added in 2026.
        item["downloadUrl"] = download + (f"?fileId={item['id']}" if item["id"] % 2 else "")
    picture = f"https://image.civitai.com/made/{model_id}/original=true/{version_id}.jpeg"
    return {
        "id": model_id,
        "name": name,
        "description": "<p>Made for the tests, <strong>nobody</strong> trained it.</p>",
        "allowNoCredit": True,
        "allowCommercialUse": ["Image", "RentCivit"],
        "allowDerivatives": True,
        "allowDifferentLicense": False,
        "type": kind,
        "minor": False,
        "sfwOnly": False,
        "poi": False,
        "nsfw": False,
        "nsfwLevel": 1,
        "availability": "Public",
        "stats": {"downloadCount": 10, "thumbsUpCount": 5, "commentCount": 0},
        "creator": {"username": "made_creator", "image": "https://image.civitai.com/made/c.jpeg"},
        "tags": ["made", "style"],
        "modelVersions": [
            {
                "id": version_id,
                "index": 0,
                "name": "v1.0",
                "baseModel": "SDXL 1.0",
                "baseModelType": "Standard",
                "createdAt": "2026-03-01T09:00:00.000Z",
                "publishedAt": "2026-03-01T09:30:00.000Z",
                "status": "Published",
                "availability": "Public",
                "nsfwLevel": 1,
                "description": "<p>First version.</p>",
                "trainedWords": ["made style"],
                "stats": {"downloadCount": 10, "thumbsUpCount": 5},
                "earlyAccessDeadline": None,
                "paidAccess": None,
                "files": items,
                "images": [
                    {
                        "url": picture,
                        "nsfwLevel": 1,
                        "width": 64,
                        "height": 96,
                        "hash": "U5IiO6s-4Vn+0~EO^5xa00VsL#IU_O?E7yWC",
                        "type": "image",
                        "hasMeta": False,
                    }
                ],
                "downloadUrl": download,
            }
            | version
        ],
    }
