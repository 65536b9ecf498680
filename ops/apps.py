from django.apps import AppConfig


class OpsConfig(AppConfig):
    name = "ops"

    def ready(self) -> None:
        from ops import console  # noqa: PLC0415  (needs the loaded models)

        console.audit_everything()
