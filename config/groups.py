"""The groups of people and what they may do.

| group    | may |
|----------|-----|
| creator  | request downloads |
| operator | also see figures, activity, the audit log and everybody's downloads |
| admin    | everything: rules, assets, jobs, the console's tables |

Made by `migrate`, when a group is missing: from the signal after it, because permissions exist
only then. A group that is there stays as the admins of the place have set it up. Somebody without a
group sees what is their own, and cannot request.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps as installed
from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions

LABELS = ("ops", "tokens", "registry", "downloads")

REQUEST = ("downloads.request_content",)
WATCH = (
    "ops.view_analytics",
    "ops.view_auditevent",
    "downloads.view_download",
    "registry.view_asset",
    "registry.view_root",
    "registry.view_placementrule",
)

#: None: every permission of our packages.
GROUPS: dict[str, tuple[str, ...] | None] = {
    "creator": REQUEST,
    "operator": (*REQUEST, *WATCH),
    "admin": None,
}


def make_groups(sender: Any, using: str, apps: Apps = installed, **_kwargs: Any) -> None:
    """Receiver of `post_migrate` of the topmost package: create what is missing."""
    try:
        group_model: Any = apps.get_model("auth", "Group")
        permission_model: Any = apps.get_model("auth", "Permission")
    except LookupError:  # A partial migration that has not come as far as `auth`.
        return
    for label in LABELS:
        create_permissions(installed.get_app_config(label), verbosity=0, using=using, apps=apps)
    ours = permission_model.objects.using(using).filter(content_type__app_label__in=LABELS)
    by_name = {f"{each.content_type.app_label}.{each.codename}": each for each in ours}
    for name, wanted in GROUPS.items():
        chosen = list(by_name) if wanted is None else list(wanted)
        if not by_name or any(each not in by_name for each in chosen):
            continue
        group, is_new = group_model.objects.using(using).get_or_create(name=name)
        if is_new:
            group.permissions.set([by_name[each] for each in chosen])
