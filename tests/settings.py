"""Settings of the suite: only what differs. Real PostgreSQL and Redis, a data directory of its own.

`MODELYARD_TEST_DATABASE=sqlite` runs on SQLite instead, as `make up` does.
"""

from __future__ import annotations

import atexit
import base64
import os
import shutil
import tempfile

from tests import servers

#: Names what this run makes: databases, keys, folders. The workers of xdist inherit it.
RUN = os.environ.setdefault("MODELYARD_TEST_RUN", f"t{os.getpid()}")
_data = tempfile.mkdtemp(prefix=f"modelyard-{RUN}-")
atexit.register(shutil.rmtree, _data, ignore_errors=True)

os.environ["MODELYARD_ENV_FILE"] = os.devnull
os.environ.pop("MODELYARD_CONFIG", None)
os.environ["MODELYARD_DATA_DIR"] = _data
os.environ["SECRET_KEY"] = "only-for-tests-" + "x" * 40
os.environ["ENCRYPTION_KEY"] = base64.b64encode(b"k" * 32).decode()
os.environ["REDIS_KEY_PREFIX"] = f"modelyard-{RUN}-{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}:"
servers.provide(os.environ)

from config.settings import *  # noqa: E402, F403
from config.settings import DATABASES, STATIC_ROOT, STORAGES  # noqa: E402

# `collectstatic` makes it in a deployment; whitenoise warns when it is not there.
STATIC_ROOT.mkdir(parents=True, exist_ok=True)

# A database per run, so that two suites on one server do not meet.
DATABASES["default"]["TEST"] = {"NAME": f"modelyard_{RUN}"}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": f"{_data}/test.sqlite3"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
ALLOWED_HOSTS = ["*"]
