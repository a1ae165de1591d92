"""Long bodies are read on a thread of their own, so that other requests have their turns meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from src.api.http import Request

Result = TypeVar("Result")

# A body of 8 MiB that is made to be slow takes seconds; a million bytes of honest rows take 20 ms.
LONG_BYTES = 1_000_000
_threads = ThreadPoolExecutor(2, thread_name_prefix="long-body")


async def read_in_turns(request: Request, body: bytes, read: Callable[[bytes], Result]) -> Result:
    """What `read` makes of a body. A part of a batch may run where there is no loop to wait in; it reads by itself."""
    if len(body) < LONG_BYTES or request.transaction:
        return read(body)
    return await asyncio.get_running_loop().run_in_executor(_threads, read, body)
