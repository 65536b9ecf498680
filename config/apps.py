from django.apps import AppConfig


class ConfigAppConfig(AppConfig):
    """Loads the Celery application with Django, so that tasks find it; `config/__init__.py` stays
    empty because the agent on a GPU host imports `config.errors` without Django."""

    name = "config"

    def ready(self) -> None:
        from config.celery import app  # noqa: PLC0415  (the settings must be ready)

        app.set_default()
