"""The rules of a new installation: the base-model folders that were asked for, ComfyUI's folders.

ComfyUI's own names are in its `folder_paths.py`; `animatediff_models` and `ultralytics` are those
of the custom nodes that read motion modules and detectors.
"""

from django.db import migrations

RULES = (
    ("checkpoint", None, "/models/checkpoints/", 0),
    ("checkpoint", "SDXL", "/models/checkpoints/sdxl/", 10),
    ("checkpoint", "SD 1.5", "/models/checkpoints/sd15/", 10),
    ("checkpoint", "Flux", "/models/checkpoints/flux/", 10),
    ("lora", None, "/models/loras/", 0),
    ("lora", "SDXL", "/models/loras/sdxl/", 10),
    ("lora", "SD 1.5", "/models/loras/sd15/", 10),
    ("lora", "Flux", "/models/loras/flux/", 10),
    ("embedding", None, "/models/embeddings/", 0),
    ("vae", None, "/models/vae/", 0),
    ("controlnet", None, "/models/controlnet/", 0),
    ("diffusion_model", None, "/models/diffusion_models/", 0),
    ("upscaler", None, "/models/upscale_models/", 0),
    ("text_encoder", None, "/models/text_encoders/", 0),
    ("clip_vision", None, "/models/clip_vision/", 0),
    ("hypernetwork", None, "/models/hypernetworks/", 0),
    ("motion_module", None, "/models/animatediff_models/", 0),
    ("poses", None, "/models/poses/", 0),
    ("wildcards", None, "/models/wildcards/", 0),
    ("workflow", None, "/models/workflows/", 0),
    ("detection", None, "/models/ultralytics/", 0),
    ("other", None, "/models/other/", 0),
)


def add_rules(apps, schema_editor):
    rule = apps.get_model("registry", "PlacementRule")
    rule.objects.bulk_create(
        rule(model_type=model_type, base_model=base_model, target_directory=target, priority=priority)
        for model_type, base_model, target, priority in RULES
    )


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_initial")]

    # Going back leaves the rules to the people who may have changed them.
    operations = [migrations.RunPython(add_rules, migrations.RunPython.noop)]
