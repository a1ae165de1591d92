"""Settings: from the environment, then from `.env`, then the defaults below."""

import re
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

MIN_SECRET_LENGTH = 32
HEAD_SHARE = 0.4
# Parameters of a database URL that are secrets of the driver.
_find_secrets = re.compile(r"((?:^|&)(?:ssl)?password=)[^&]*")
_match_origin = re.compile(r"[a-z][a-z0-9+-]*://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?").fullmatch
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql", "postgres": "postgresql"}


class Settings(BaseSettings):
    """Every setting of the service; `.env.example` explains each one for operators."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", env_ignore_empty=True)

    environment: Literal["development", "test", "production"] = "development"

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    web_concurrency: int | None = Field(default=None, ge=1, le=256)
    allow_unauthenticated: bool = False
    authentication: Literal["auto", "on", "off"] = "auto"
    firebase_project_id: str = Field(default="", pattern="^[a-z0-9.:-]*$")
    firebase_keys_url: str = "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"
    firebase_auth_emulator_host: str = ""
    credentials_cache_s: float = Field(default=10.0, ge=0, le=3600)
    cors_origins: str = ""
    forwarded_allow_ips: str = ""
    receive_timeout_s: float = Field(default=10.0, ge=0.5, le=3600)
    drain_notice_s: float = Field(default=0.0, ge=0, le=600)
    drain_s: float = Field(default=10.0, ge=0, le=3600)

    database_url: str = "sqlite:///data/backend.db"
    pool_size: int = Field(default=10, ge=1, le=1000)
    pool_wait_s: float = Field(default=5.0, gt=0, le=300)
    connect_timeout_s: float = Field(default=3.0, gt=0, le=300)
    statement_timeout_s: float = Field(default=10.0, gt=0, le=3600)
    erasure_timeout_s: float = Field(default=300.0, gt=0, le=3600)
    statement_cache_size: int = Field(default=500, ge=0, le=100_000)
    sqlite_wal_limit_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)

    housekeeping_s: float = Field(default=300.0, ge=0.1, le=86_400)

    tombstone_key: SecretStr = SecretStr("")

    max_exports: int = Field(default=4, ge=1, le=100)
    export_timeout_s: float = Field(default=1800.0, gt=0, le=86_400)
    export_stall_s: float = Field(default=60.0, gt=0, le=3600)
    export_wal_limit_bytes: int = Field(default=1024 * 1024 * 1024, ge=1024 * 1024)

    max_streams: int = Field(default=2000, ge=0, le=100_000)
    stream_retention_h: float = Field(default=168.0, gt=0, le=24 * 3650)

    rate_limit_per_principal: int = Field(default=0, ge=0, le=10_000_000)
    rate_limit_per_address: int = Field(default=0, ge=0, le=10_000_000)
    rate_limit_window_s: int = Field(default=60, ge=1, le=86_400)
    auth_failures_per_address: int = Field(default=30, ge=0, le=10_000_000)
    auth_failures_window_s: int = Field(default=60, ge=1, le=86_400)

    max_body_bytes: int = Field(default=1024 * 1024, ge=1024)
    max_bulk_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)

    metrics_dir: str = ""
    git_commit: str = Field(default="", pattern="^([0-9a-f]{7,64})?$")
    opentelemetry: bool = False

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "text"] = "auto"

    @field_validator("database_url")
    @classmethod
    def _is_a_database_url(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        driver = DRIVERS.get(scheme.partition("+")[0])
        if not separator or driver is None:
            raise ValueError("is no database URL; write sqlite:///path/to/file or postgresql://user:password@host/name")
        if driver == "sqlite" and rest in ("", "/", "/:memory:"):
            raise ValueError("names no file; a database in memory cannot be shared by connections")
        try:
            urlsplit(value).port  # noqa: B018  reading it checks it
        except ValueError:
            raise ValueError("names a port that is no number") from None
        return value

    @field_validator("firebase_keys_url")
    @classmethod
    def _is_a_web_address(cls, value: str) -> str:
        scheme, _, rest = value.partition("://")
        if scheme not in ("http", "https") or not rest.partition("/")[0]:
            raise ValueError("is no address of keys; write https://host/path")
        return value

    @field_validator("tombstone_key")
    @classmethod
    def _is_long_enough(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < MIN_SECRET_LENGTH:
            raise ValueError(f"is too short; take at least {MIN_SECRET_LENGTH} random characters")
        return value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _names_proxies(cls, value: str) -> str:
        for network in _listed(value):
            try:
                is_everybody = network == "*" or ip_network(network).prefixlen == 0
            except ValueError as error:
                raise ValueError(f"lists {network!r}: {error}") from None
            if is_everybody:
                raise ValueError("trusts everybody; name the addresses or networks of your proxies")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _names_origins(cls, value: str) -> str:
        for origin in _listed(value):
            # Browsers send an origin in this form, and it is compared letter by letter.
            if not _match_origin(origin):
                raise ValueError(f"lists {origin!r}; name each origin as browsers send it: https://study.example")
        return value

    @cached_property
    def url(self) -> "URL":
        """The database's address without a driver: the engine chooses its own."""
        # The supervisor reads settings too, and starts a second faster without SQLAlchemy.
        from sqlalchemy.engine import make_url  # noqa: PLC0415

        return make_url(self.database_url).set(drivername=self._driver)

    @property
    def _driver(self) -> str:
        return DRIVERS[self.database_url.partition("://")[0].partition("+")[0]]

    @property
    def safe_url(self) -> str:
        """The database's address for logs, without its password."""
        parts = urlsplit(self.database_url)
        query = _find_secrets.sub(r"\1***", parts.query)
        if parts.password is None and query == parts.query:
            return self.database_url
        netloc = parts.netloc if parts.password is None else f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}"
        return parts._replace(netloc=netloc, query=query).geturl()

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file of this machine."""
        return self._driver == "sqlite"

    @property
    def workers(self) -> int:
        """Worker processes. More than one brings no throughput on SQLite, only longer waits."""
        return self.web_concurrency or (1 if self.is_sqlite else 2)

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Origins whose scripts may call the API; none by default."""
        return _listed(self.cors_origins)

    @property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Where proxies ask from whose word about their clients is believed; nowhere by default."""
        return tuple(ip_network(network) for network in _listed(self.forwarded_allow_ips))

    @property
    def head_timeout_s(self) -> float:
        """How much of the time for a request its head may take; also how long a connection may idle."""
        return self.receive_timeout_s * HEAD_SHARE

    @property
    def body_timeout_s(self) -> float:
        """What is left of that time for the body. The server does not tell how long a head took."""
        return self.receive_timeout_s * (1 - HEAD_SHARE)

    @property
    def is_authenticated(self) -> bool:
        """Whether callers have to say who they are: `auto` asks them once there is a Firebase project."""
        return self.authentication == "on" or (self.authentication == "auto" and bool(self.firebase_project_id))

    @property
    def takes_emulator_tokens(self) -> bool:
        """Whether tokens of Firebase's emulator, which nobody signs, may count; only ever from this machine."""
        return bool(self.firebase_auth_emulator_host) and self.environment == "development" and self.is_loopback

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def _listed(value: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in value.split(",") if item.strip())


def load_settings() -> Settings:
    """Read the settings, or stop the process with one sentence that names the bad one.

    Raises:
        SystemExit: a setting cannot be right.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        reason = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        raise SystemExit(f"Bad setting {name}: {reason}.") from None
    except UnicodeDecodeError as error:
        raise SystemExit(f"Bad settings: .env is no text in UTF-8, from byte {error.start} on.") from None
