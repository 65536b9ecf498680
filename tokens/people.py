"""Users, as the commands make them. The groups and their permissions are in `config.groups`."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import transaction

from ops import audit
from tokens.errors import TokenError


class UserNotUsable(TokenError):
    """A name that no user may have, or a user who may not sign in."""

    code = "user_not_usable"


@transaction.atomic
def ensure_user(*, username: str, admin: bool = False) -> User:
    """The user of that name, made without a password when missing, in the group creator.

    With `admin` also staff, superuser and in the group admin. Raises UserNotUsable.
    """
    model = get_user_model()
    user = model.objects.filter(username=username).first()
    if user is None:
        user = model(username=username)
        user.set_unusable_password()
        try:
            user.full_clean(exclude=["password"])
        except ValidationError as exc:
            raise UserNotUsable(" ".join(exc.messages)) from exc
        user.save()
        audit.record("user.created", target=user, name=username, admin=admin)
    if not user.is_active:
        raise UserNotUsable(f"The user {username} is not active.")
    names = ["creator", "admin"] if admin else ["creator"]
    user.groups.add(*(Group.objects.get_or_create(name=name)[0] for name in names))
    if admin and not (user.is_staff and user.is_superuser):
        user.is_staff = user.is_superuser = True
        user.save(update_fields=["is_staff", "is_superuser"])
        audit.record("user.made_admin", target=user, name=username)
    return user
