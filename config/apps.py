from django.apps import AppConfig, apps
from django.core.checks import register
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class ConfigAppConfig(AppConfig):
    """Loads the Celery application with Django, so that tasks find it; `config/__init__.py` stays
    empty because the agent on a GPU host imports `config.errors` without Django.

    Then fills the registries: every package's `periodic` (jobs), `metrics` (collectors) and
    `health` (checks)."""

    name = "config"

    def ready(self) -> None:
        from config import celery, checks, groups  # noqa: PLC0415  (the settings must be ready)

        celery.app.set_default()
        autodiscover_modules("periodic", "metrics", "health")
        celery.load_schedule()
        register(checks.check_toml_names)
        post_migrate.connect(
            groups.make_groups,
            sender=apps.get_app_config("downloads"),
            dispatch_uid="config.groups",
        )
