"""flowmeter: a small TCP network function.

It measures each flow: every line that comes in is answered with what the function knows about the flow so far. One JSON
object a line, so that people and programs can read it.
"""

import asyncio
import json
import os
import signal
import time

PORT = int(os.environ["PORT"])
IDENTITY = {
    "process": os.environ.get("PAAS_PROCESS", "?"),
    "release": os.environ.get("PAAS_RELEASE", "?"),
}
MAXIMUM_LINE = 64 * 1024


async def flow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    started = time.monotonic()
    seen = {"lines": 0, "bytes": 0}
    try:
        while line := await reader.readline():
            seen["lines"] += 1
            seen["bytes"] += len(line)
            report = IDENTITY | seen | {"seconds": round(time.monotonic() - started, 3)}
            writer.write(json.dumps(report).encode() + b"\n")
            await writer.drain()
        print(f"flow ended: {seen['lines']} lines, {seen['bytes']} bytes", flush=True)
    except (ConnectionError, ValueError) as error:
        print(f"flow cut: {error}", flush=True)
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(flow, host=None, port=PORT, limit=MAXIMUM_LINE, backlog=1024)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print(f"{IDENTITY['process']} measures flows on port {PORT}", flush=True)
    await stop.wait()
    server.close()


asyncio.run(main())
