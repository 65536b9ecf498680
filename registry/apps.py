from django.apps import AppConfig
from django.core import checks


class RegistryConfig(AppConfig):
    name = "registry"

    def ready(self) -> None:
        from registry.checks import check_models_directory  # noqa: PLC0415  (needs the models)

        checks.register(check_models_directory)
