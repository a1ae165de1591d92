"""Any ASGI application on the server of this service: `python -m benchmarks.serve module:attribute`.

Its settings come from the environment, as those of `python main.py` do.
"""

import sys

from src.core.config import load_settings
from src.core.logging import configure_logging
from src.serve import supervisor

if __name__ == "__main__":
    settings = load_settings()
    configure_logging(settings)
    sys.exit(supervisor.serve(settings, sys.argv[1]))
