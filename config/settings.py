"""All settings, driven by the environment; `.env.example` lists every variable."""

from datetime import timedelta
from urllib.parse import urlsplit

import django_stubs_ext
from csp.constants import NONE, SELF

from config import environment
from core.network.ip_addresses import is_loopback

django_stubs_ext.monkeypatch()  # fields and forms may name their types in brackets
BASE_DIR = environment.BASE_DIR
environment.read_env_file(BASE_DIR / ".env")

# What the operator decides
SECRET_KEY = environment.required("SECRET_KEY", "what sessions are signed with")
FIELD_ENCRYPTION_KEY = environment.required(
    "FIELD_ENCRYPTION_KEY", "what stored tokens and passwords are encrypted with"
)
FIELD_ENCRYPTION_OLD_KEY = environment.text("FIELD_ENCRYPTION_OLD_KEY", "")
DEBUG = environment.boolean("DEBUG", default=False)
PORT = environment.port("PORT", 8000)
PUBLIC_URL = environment.base_url(
    "PUBLIC_URL", environment.text("PUBLIC_URL", f"http://127.0.0.1:{PORT}")
)
_public = urlsplit(PUBLIC_URL)
# The host of PUBLIC_URL is always answered: Azure DevOps would lose events over a 400.
ALLOWED_HOSTS = [
    *environment.hosts("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"]),
    f"[{_public.hostname}]" if ":" in str(_public.hostname) else str(_public.hostname),
]
VCS_PROVIDERS = ["vcs_integrations.providers.azure_devops.provider.AzureDevOps"]
AZURE_DEVOPS_SERVERS = environment.base_urls(
    "AZURE_DEVOPS_SERVERS", "https://devops.example.com/tfs"
)
MODULE_NAMESPACE = environment.namespace("MODULE_NAMESPACE", "stackhook")
CACHES = {
    # Each process keeps its own cache of what it read from the provider.
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 2000},
    }
}

DATABASES = {"default": environment.database("DATABASE_URL", "sqlite:///stackhook.sqlite3")}

# Notices go to admins by e-mail where a mail server is named.
_mail = environment.mail_server("EMAIL_URL")
SENDS_EMAIL = bool(_mail.host)
EMAIL_HOST, EMAIL_PORT = _mail.host, _mail.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.user, _mail.password
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail.scheme == "smtp+tls", _mail.scheme == "smtp+ssl"
EMAIL_TIMEOUT = 10  # seconds for each answer of the mail server
DEFAULT_FROM_EMAIL = environment.mail_address(
    "DEFAULT_FROM_EMAIL", f"Stackhook <stackhook@{_public.hostname}>"
)
# Private networks that notifications may be posted to, besides all public addresses.
NOTIFICATION_NETWORKS = environment.networks("NOTIFICATION_NETWORKS")

# A site behind https; each switch can be turned off alone
CSRF_TRUSTED_ORIGINS = environment.origins(
    "CSRF_TRUSTED_ORIGINS", [f"{_public.scheme}://{_public.netloc}"]
)
SECURE_SSL_REDIRECT = environment.boolean("SECURE_SSL_REDIRECT", default=True)
SESSION_ENGINE = "accounts.sessions"
SESSION_COOKIE_SECURE = environment.boolean("SESSION_COOKIE_SECURE", default=True)
CSRF_COOKIE_SECURE = environment.boolean("CSRF_COOKIE_SECURE", default=True)
SECURE_PROXY_SSL_HEADER = environment.proxy_header(
    "SECURE_PROXY_SSL_HEADER", "X-Forwarded-Proto: https"
)
# Whose X-Forwarded-For is believed, besides that of a proxy on this machine. Where the public
# address is one of this machine's own there is none, but runs may reach it, too.
TRUSTED_PROXIES = environment.networks("TRUSTED_PROXIES")
HAS_LOCAL_PROXY = not is_loopback(str(_public.hostname))
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if SECURE_SSL_REDIRECT else 0
# This host alone: other hosts of the domain are not ours to bind.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
# Azure DevOps counts a redirect as a failure, and health checks come from inside.
SECURE_REDIRECT_EXEMPT = [r"^webhooks/", r"^healthz$"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "config.error_pages.csrf_failure"
DEFAULT_EXCEPTION_REPORTER_FILTER = "config.error_pages.HideValues"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

INSTALLED_APPS = [
    "config",
    "accounts",
    "vcs_integrations",
    "stacks",
    "modules",
    "notifications",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django.forms",
    "axes",
    "csp",
    "django_htmx",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.middleware.WebhooksMiddleware",
    # What follows is for browsers only.
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.middleware.NoStoreMiddleware",
    "config.middleware.ToleranceMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "config.middleware.StrangersBodyMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.audit.refusals.RefusalsMiddleware",
    "accounts.roles.SignInRequiredMiddleware",
    "accounts.roles.RoleRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
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
                "accounts.roles.role_of_user",
                "vcs_integrations.notices.attention.banner",
                "stacks.overview.waiting.waiting",
            ],
            "libraries": {"interface": "core.templatetags.interface"},
        },
    }
]
# Fields are rendered by templates/django/forms/field.html.
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

# Accounts
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "accounts.backends.PeopleBackend",
]
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "accounts:sign_in"
LOGIN_REDIRECT_URL = "dashboard:home"
LOGOUT_REDIRECT_URL = "accounts:sign_in"
AXES_HANDLER = "accounts.throttling.Throttle"
AXES_CLIENT_IP_CALLABLE = "accounts.client_address.throttled_address"
AXES_FAILURE_LIMIT = 1  # of the limits in accounts/throttling.py
AXES_COOLOFF_TIME = timedelta(minutes=5)
# What the right password forgets: not what was tried at other names, or from elsewhere.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "accounts/slowed_down.html"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# Data
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Azure DevOps sends at most 2 MB; twice that leaves room, more is refused unread.
WEBHOOK_BODY_LIMIT = 4 * 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = WEBHOOK_BODY_LIMIT
# How long deliveries and decisions can be looked up.
DELIVERY_RETENTION_DAYS = environment.count("DELIVERY_RETENTION_DAYS", 90)
# Executing runs: the programs (else those of the system's own path), and what a job may take.
TERRAFORM_BIN = environment.program("TERRAFORM_BIN")
TOFU_BIN = environment.program("TOFU_BIN")
TOOLS_FOLDER = environment.folder("TOOLS_FOLDER")
TOOLS_DOWNLOAD = environment.boolean("TOOLS_DOWNLOAD", default=False)
environment.require_with("TOOLS_DOWNLOAD", TOOLS_DOWNLOAD, "TOOLS_FOLDER", TOOLS_FOLDER)
TERRAFORM_MIRROR = environment.mirror("TERRAFORM_MIRROR")
TOFU_MIRROR = environment.mirror("TOFU_MIRROR")
TERRAFORM_KEY = environment.key_file("TERRAFORM_KEY")
TOFU_KEY = environment.key_file("TOFU_KEY")
RUN_ISOLATION = environment.choice("RUN_ISOLATION", ["bubblewrap", "none"])
RUN_NETWORK = environment.choice("RUN_NETWORK", ["auto", "isolated", "shared"])
RUN_NETWORK_ALLOWED = environment.destinations("RUN_NETWORK_ALLOWED")
RUN_FOLDER = environment.text("RUN_FOLDER", "")
RUN_PLAN_MINUTES = environment.count("RUN_PLAN_MINUTES", 60)
RUN_APPLY_MINUTES = environment.count("RUN_APPLY_MINUTES", 240)
RUN_MEMORY_MB = environment.megabytes("RUN_MEMORY_MB", 4096)
RUN_DISK_MB = environment.megabytes("RUN_DISK_MB", 4096)
RUN_PROCESSES = environment.count("RUN_PROCESSES", 512)
RUN_LOG_MB = environment.count("RUN_LOG_MB", 10)
RUN_VARIABLE_PREFIXES = environment.prefixes("RUN_VARIABLE_PREFIXES")
IMPACT_STACKS = environment.count("IMPACT_STACKS", 20)
IMPACT_RUNS_AT_ONCE = environment.count("IMPACT_RUNS_AT_ONCE", 5)
# The one form that takes a file has its own handler; with one here a stranger could fill the disk.
FILE_UPLOAD_HANDLERS: list[str] = []

# Words and files
LANGUAGE_CODE = "en-us"
# In English only; the catalog of that language has Django's own sentences in our words.
USE_I18N = True
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        # Addresses that strangers ask for are of no interest; answers below 500 stay quiet.
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # A token must not reach a log by way of a library's debug output.
        "urllib3": {"level": "WARNING"},
        # The audit log has wrong passwords, with the name and address that these lines would mask.
        "axes": {"level": "ERROR"},
    },
}
