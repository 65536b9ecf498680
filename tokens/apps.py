from django.apps import AppConfig
from django.core.checks import Tags, register


class TokensConfig(AppConfig):
    name = "tokens"

    def ready(self) -> None:
        from tokens import checks, crypto, receivers  # noqa: F401, PLC0415  (needs loaded models)

        crypto.register_column(
            "tokens.ApiToken",
            "encrypted_token",
            context=lambda row: str(row.context),
            key_id_field="key_id",
        )
        register(checks.check_keys, Tags.database)
        register(checks.check_outbound)
