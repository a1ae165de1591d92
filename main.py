"""The production server: `python main.py`. Its settings come from the environment and from `.env`."""

import sys

from src.core.config import load_settings
from src.core.logging import configure_logging
from src.serve import supervisor

EXIT_REFUSED = 2
REFUSAL = (
    "HOST={host} would let other machines in, and nothing says how the service is to know its callers: whoever reaches "
    "it could read and change every row. Set FIREBASE_PROJECT_ID, or AUTHENTICATION=on for API keys alone; or listen "
    "on 127.0.0.1; or, where something in front of it checks callers, set ALLOW_UNAUTHENTICATED=1."
)


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; the exit code."""
    settings = load_settings()
    configure_logging(settings)
    if not (settings.is_loopback or settings.is_authenticated or settings.allow_unauthenticated):
        print(REFUSAL.format(host=settings.host), file=sys.stderr)
        return EXIT_REFUSED
    return supervisor.serve(settings)


if __name__ == "__main__":
    sys.exit(main())
