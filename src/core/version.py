"""The name and the version of the service: `pyproject.toml`, the OpenAPI document and `/version` read them here."""

NAME = "backendapi"
VERSION = "0.1.0"
