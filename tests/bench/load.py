"""A load from this machine: as many requests as come back, over some connections at once."""

import asyncio
import base64
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

CONNECTIONS = 16


@dataclass(frozen=True)
class Result:
    """What one round measured: answers a second, the slowest hundredth in ms, wrong answers."""

    per_second: float
    p99_ms: float
    errors: int


def drive(
    url: str,
    password: str,
    make_body: Callable[[int], bytes],
    seconds: float,
    slow_senders: int = 0,
) -> Result:
    """Post bodies to a URL for some seconds, each on a connection of its own.

    Beside that, slow senders send a byte a second of requests that never end, half of them with
    the password.
    """
    return asyncio.run(_drive(url, password, make_body, seconds, slow_senders))


async def _drive(
    url: str,
    password: str,
    make_body: Callable[[int], bytes],
    seconds: float,
    slow_senders: int,
) -> Result:
    parts = urlsplit(url)
    secret = base64.b64encode(f":{password}".encode()).decode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Basic {secret}\r\n"
        "Content-Type: application/json; charset=utf-8\r\nConnection: close\r\nContent-Length: "
    )
    until = time.perf_counter() + seconds + bool(slow_senders)
    times: list[float] = []
    errors = 0
    numbers = iter(range(10**9))

    async def post_until_the_end() -> None:
        nonlocal errors
        while (start := time.perf_counter()) < until:
            body = make_body(next(numbers))
            try:
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
                writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
                answer = await reader.read()
                writer.close()
            except OSError:
                errors += 1
                continue
            errors += b" 200 " not in answer[:20]
            times.append(time.perf_counter() - start)

    async def send_slowly(number: int) -> None:
        start = f"{head}1000\r\n\r\n" if number % 2 else head[:20]
        while time.perf_counter() < until:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(parts.hostname, parts.port)
                writer.write(start.encode())
                while time.perf_counter() < until:
                    await asyncio.sleep(1)
                    writer.write(b" ")
                    await writer.drain()
                writer.close()

    slow = [asyncio.create_task(send_slowly(number)) for number in range(slow_senders)]
    if slow:  # measured is what it is like once they have come
        await asyncio.sleep(1)
    await asyncio.gather(*(post_until_the_end() for _ in range(CONNECTIONS)), *slow)
    p99 = statistics.quantiles(times, n=100)[98] * 1000
    return Result(len(times) / seconds, p99, errors)
