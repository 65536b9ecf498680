"""Settings of the service; the only reader of the environment. See docs/configuration.md."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from config.env import Settings, read_toml
from config.secrets import load_or_create

BASE_DIR = Path(__file__).resolve().parent.parent

environ.Env.read_env(os.environ.get("MODELYARD_ENV_FILE") or str(BASE_DIR / ".env"))
_read = Settings(os.environ, read_toml(os.environ.get("MODELYARD_CONFIG", "")))

# --- Where things lie ----------------------------------------------------------------------------
DATA_DIR = _read.path("MODELYARD_DATA_DIR", BASE_DIR / "var")
MODELS_DIR = _read.path("MODELYARD_MODELS_DIR", DATA_DIR / "models")

# --- Database: PostgreSQL when named, else SQLite in the data directory --------------------------
EMBEDDED_DATABASE = not _read.has("DATABASE_URL")
if EMBEDDED_DATABASE:
    DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    _database: dict[str, Any] = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(DATA_DIR / "modelyard.sqlite3"),
    }
else:
    _database = {**environ.Env.db_url_config(_read.text("DATABASE_URL", ""))}
if str(_database["ENGINE"]).endswith("sqlite3"):
    _database["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    # A pool, because uvicorn's threads would each keep a connection of their own.
    _database["CONN_HEALTH_CHECKS"] = True
    # What the URL's query says, like sslmode, stays.
    _database.setdefault("OPTIONS", {})["pool"] = {"min_size": 1, "max_size": 8, "timeout": 20}
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Secrets: a deployment names its own; a laptop gets its own at the first start ---------------
if _read.has("SECRET_KEY") and _read.has("ENCRYPTION_KEY"):
    SECRET_KEY = _read.text("SECRET_KEY", "")
    ENCRYPTION_KEYS = _read.keys("ENCRYPTION_KEY")
elif EMBEDDED_DATABASE:
    _own = load_or_create(DATA_DIR)
    SECRET_KEY = _read.text("SECRET_KEY", _own["SECRET_KEY"])
    ENCRYPTION_KEYS = (
        _read.keys("ENCRYPTION_KEY")
        if _read.has("ENCRYPTION_KEY")
        else Settings(_own).keys("ENCRYPTION_KEY")
    )
else:
    raise ImproperlyConfigured(
        "SECRET_KEY and ENCRYPTION_KEY must be set when DATABASE_URL is set. "
        "Make an encryption key with: python -c 'import base64, os; "
        "print(base64.b64encode(os.urandom(32)).decode())'"
    )

# --- Broker and cache: Redis when named, else the one that `manage.py up` starts -----------------
_socket = DATA_DIR / "broker.sock"
if len(str(_socket)) > 100:  # A unix socket's path has room for about 107 bytes.
    _name = hashlib.sha256(str(DATA_DIR).encode()).hexdigest()[:16]
    _socket = Path(tempfile.gettempdir()) / f"modelyard-{os.getuid()}-{_name}" / "broker.sock"
EMBEDDED_BROKER_SOCKET = _socket
EMBEDDED_BROKER = not _read.has("REDIS_URL")
REDIS_URL = _read.text("REDIS_URL", f"unix://{_socket}?db=0")
REDIS_KEY_PREFIX = _read.text("REDIS_KEY_PREFIX", "modelyard:")

CELERY_BROKER_URL = f"redis+socket://{_socket}?virtual_host=0" if EMBEDDED_BROKER else REDIS_URL
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": REDIS_KEY_PREFIX,
    # Longer than any transfer: a message that comes back is a duplicate and finds nothing to claim.
    "visibility_timeout": 24 * 3600,
    # A request or a stage must not wait for a broker that is away: kombu would try for six seconds.
    "max_retries": 1,
    "interval_start": 0.0,
    "interval_step": 0.1,
    "interval_max": 0.1,
    # A broker that hangs holds up a request for this long, and loses nothing.
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 25,
}
# Sending is a hint, so it fails fast: the reconciler sends what was lost.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None  # else beat cleans up results that there never are
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
#: What QUIT leaves to running tasks before their messages go back to the broker.
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 0.5
#: Touched at every turn of beat's loop, for `manage.py up` and health checks.
BEAT_TICK_FILE = DATA_DIR / "beat.tick"
CELERY_TASK_DEFAULT_QUEUE = "general"
DJANGO_STRUCTLOG_CELERY_ENABLED = True
CELERY_TIMEZONE = _read.text("TIME_ZONE", "UTC")
# The registry of jobs fills the schedule; the rows let an admin switch a job off in the console.
CELERY_BEAT_SCHEDULER = "config.beat:Scheduler"
#: Long transfers have a queue of their own, so that quick tasks never wait behind them.
CELERY_TASK_ROUTES = {
    "downloads.tasks.fetch": {"queue": "transfer"},
    "downloads.tasks.verify": {"queue": "transfer"},
    "downloads.tasks.register": {"queue": "transfer"},
}

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": REDIS_KEY_PREFIX + "cache",
        "OPTIONS": {
            "serializer": "config.cache.JsonSerializer",
            "socket_timeout": 2,
            "socket_connect_timeout": 2,
        },
    }
}

# --- Sources and the outside world ---------------------------------------------------------------
CIVITAI_ENDPOINT = _read.text("CIVITAI_ENDPOINT", "https://civitai.com").rstrip("/")
HF_ENDPOINT = _read.text("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
#: What `manage.py pull` sends when its user has saved no token.
PULL_TOKENS = {
    "civitai": _read.text("CIVITAI_TOKEN", ""),
    "huggingface": _read.text("HF_TOKEN", ""),
}
#: Exact host:port pairs of private addresses that may be fetched from.
OUTBOUND_ALLOW = _read.items("OUTBOUND_ALLOW")
RESOLVE_TIMEOUT_SECONDS = 20
RESOLVE_CACHE_SECONDS = 300

# --- Limits --------------------------------------------------------------------------------------
MAX_CONCURRENT_DOWNLOADS = _read.integer("MAX_CONCURRENT_DOWNLOADS", 3, minimum=1, maximum=64)
CONNECTIONS_PER_FILE = _read.integer("CONNECTIONS_PER_FILE", 8, minimum=1, maximum=32)
MAX_BYTES_PER_SECOND = _read.integer("MAX_BYTES_PER_SECOND", 0)
MAX_FILE_BYTES = _read.integer("MAX_FILE_BYTES", 2 * 1024**4, minimum=1)
MINIMUM_BYTES_PER_SECOND = _read.integer("MINIMUM_BYTES_PER_SECOND", 1024)
SLOW_WINDOW_SECONDS = _read.integer("SLOW_WINDOW_SECONDS", 60, minimum=1)
IDLE_TIMEOUT_SECONDS = _read.integer("IDLE_TIMEOUT_SECONDS", 30, minimum=1)
CONNECT_TIMEOUT_SECONDS = _read.integer("CONNECT_TIMEOUT_SECONDS", 10, minimum=1)
USER_MAX_REQUESTS_PER_DAY = _read.integer("USER_MAX_REQUESTS_PER_DAY", 100)
USER_MAX_QUEUE_SIZE = _read.integer("USER_MAX_QUEUE_SIZE", 200)
MAX_BUNDLES_PER_HOUR = _read.integer("MAX_BUNDLES_PER_HOUR", 10)
MAX_BUNDLES_PER_DAY = _read.integer("MAX_BUNDLES_PER_DAY", 60)
MAX_RETRIES = _read.integer("MAX_RETRIES", 5, maximum=100)
INITIAL_BACKOFF_SECS = _read.number("INITIAL_BACKOFF_SECS", 60)
MAX_BACKOFF_SECS = _read.number("MAX_BACKOFF_SECS", 3600)
BACKOFF_MULTIPLIER = _read.number("BACKOFF_MULTIPLIER", 2.0, minimum=1.0)
LEASE_SECONDS = _read.integer("LEASE_SECONDS", 60, minimum=5)
PICKUP_SECONDS = _read.integer("PICKUP_SECONDS", 60, minimum=1)
RECONCILE_SECONDS = _read.integer("RECONCILE_SECONDS", 30, minimum=1)
STALE_IN_PROGRESS_THRESHOLD_SECS = _read.integer("STALE_IN_PROGRESS_THRESHOLD_SECS", 3600)
AUDIT_LOG_RETENTION_DAYS = _read.integer("AUDIT_LOG_RETENTION_DAYS", 90, minimum=1)

# --- Django --------------------------------------------------------------------------------------
DEBUG = False
#: This machine's own names always count: health checks and `manage.py up` use them.
ALLOWED_HOSTS = [*_read.items("ALLOWED_HOSTS"), "localhost", "127.0.0.1", "[::1]"]
CSRF_FAILURE_VIEW = "config.views.csrf_failure"
CSRF_TRUSTED_ORIGINS = list(_read.items("CSRF_TRUSTED_ORIGINS"))
#: Behind a proxy that ends TLS: cookies only over https, and the proxy's word about the scheme.
HTTPS = _read.flag("HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
INSTALLED_APPS = [
    "config.apps.ConfigAppConfig",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "django_filters",
    "django_htmx",
    "django_structlog",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "ops.apps.OpsConfig",
    "tokens.apps.TokensConfig",
    "registry.apps.RegistryConfig",
    "downloads.apps.DownloadsConfig",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.middleware.content_security_policy",
    "config.middleware.refuse_nul",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.context.frame",
            ],
        },
    }
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "downloads:page"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = _read.text("TIME_ZONE", "UTC")
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = _read.path("MODELYARD_STATIC_DIR", DATA_DIR / "static")
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Not whitenoise's compressing one: it needs half a minute at the first start. The container
    # image compresses once, with `python -m whitenoise.compress`; .br and .gz are then served.
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "tokens.authentication.ApiKeyAuthentication",
        "tokens.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["config.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "config.api.CursorPagination",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "config.schema.ModelyardSchema",
    "EXCEPTION_HANDLER": "config.api.exception_handler",
    "DEFAULT_METADATA_CLASS": None,
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Modelyard",
    "DESCRIPTION": "Paste a link, and the model arrives: checked, named, filed, known.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api",
    "COMPONENT_SPLIT_REQUEST": True,
    # Several rows have a status; without names of their own the schema would number them.
    "ENUM_NAME_OVERRIDES": {
        "ModelTypeEnum": "registry.models.MODEL_TYPE_CHOICES",
        "AssetStatusEnum": "registry.models.AssetStatus",
        "PreviewStatusEnum": "registry.models.PreviewStatus",
        "DownloadStatusEnum": "downloads.models.STATUS_CHOICES",
        "PriorityEnum": "downloads.models.Priority",
        "UserPriorityEnum": "downloads.serializers.USER_PRIORITIES",
    },
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
}

LOGGING_CONFIG = "config.logging.configure"
LOGGING = {"level": _read.text("LOG_LEVEL", "INFO")}

#: Misspelled names of the TOML file; a system check reports them. Stays below all readers.
UNKNOWN_TOML_NAMES = _read.not_understood()
