"""Two kinds of secrets: tokens of other services (encrypted, to be used again) and our own API keys
(hashed, only to be recognised). Beside them, the wrong passwords of the last minutes."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Service(models.TextChoices):
    CIVITAI = "civitai", "CivitAI"
    HUGGINGFACE = "huggingface", "HuggingFace"


class Validity(models.TextChoices):
    VALID = "valid", "valid"
    INVALID = "invalid", "invalid"
    UNCHECKED = "unchecked", "unchecked"
    UNREADABLE = "unreadable", "unreadable"


class ApiTokenManager(models.Manager["ApiToken"]):
    def get_queryset(self) -> models.QuerySet[ApiToken]:
        """Rows without the encrypted text, so that a list never carries it by accident."""
        return super().get_queryset().defer("encrypted_token")


class ApiToken(models.Model):
    """One user's token of one service. Its text is only read by `services.credential_for`."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    service_name = models.CharField(max_length=32, choices=Service.choices)
    #: As `tokens.crypto` lays it out; user and service are bound in.
    encrypted_token = models.BinaryField()
    key_id = models.CharField(max_length=16, db_index=True)
    token_hint = models.CharField(max_length=8, default="")
    is_valid = models.BooleanField(default=True)
    validity = models.CharField(max_length=16, choices=Validity.choices, default=Validity.UNCHECKED)
    account = models.CharField(max_length=200, default="", blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ApiTokenManager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("user", "service_name"), name="one_token_per_user_service"
            ),
            models.CheckConstraint(
                condition=models.Q(service_name__in=[*Service]), name="token_service_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_service_name_display()} token of {self.user}"

    @property
    def context(self) -> str:
        """What the ciphertext is bound to."""
        return f"api-token:{self.user_id}:{self.service_name}"


class ApiKey(models.Model):
    """A key of our own API: `my_<prefix>_<secret>`, of which only the SHA-256 is kept."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys"
    )
    name = models.CharField(max_length=100, default="", blank=True)
    prefix = models.CharField(max_length=16, unique=True)
    key_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"API key {self.prefix}… of {self.user}"


class LoginFailure(models.Model):
    """A password that was wrong, or is being tried. Kept for minutes; names are hashed."""

    user_hash = models.CharField(max_length=64)
    address = models.CharField(max_length=64)
    at = models.DateTimeField(db_index=True)

    class Meta:
        indexes = (models.Index(fields=("address", "user_hash")),)

    def __str__(self) -> str:
        return f"failed login from {self.address}"
