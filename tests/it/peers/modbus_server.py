"""A Modbus server of others (pymodbus) for the tests. Talks JSON lines: what it is told on stdin, what it says on stdout.

First line: {"tcp": PORT} (0: any; with "framer": "rtu" for RTU frames) or {"serial": PATH, "baud_rate": N}, and "units": {"1": {TABLE: {ADDRESS: [VALUE, ...]}}}.
Beside the tables a unit may have "holes": {TABLE: [ADDRESS, ...]}, places that it refuses. Answer: {"port": N} once it serves. Later lines: {"unit": 1, "table": TABLE, "address": N, "values": [VALUE, ...]}, answered by {}.

TABLE is coil, discrete, input or holding. A VALUE is a number (a register, or a bit), or {"type", "order", "value"}: packed here by
Python's struct, so that nothing is checked against itself. Each table has 1000 places, zero where nothing is said.
"""

import asyncio
import json
import logging
import struct
import sys

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

PLACES = 1000
TABLES = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
PACKED = {"u16": ">H", "i16": ">h", "u32": ">I", "i32": ">i", "u64": ">Q", "i64": ">q", "f32": ">f", "f64": ">d"}


def packed(value):
    """The registers of a value, big-endian."""
    kind, number = value["type"], value["value"]
    if kind in PACKED:
        return struct.pack(PACKED[kind], number)
    if kind in ("bcd16", "bcd32"):
        return bytes.fromhex(str(number).rjust(4 if kind == "bcd16" else 8, "0"))
    if kind == "sm16":
        return struct.pack(">H", abs(number) | (0x8000 if number < 0 else 0))
    if kind == "mod10-32":
        sign = -1 if number < 0 else 1
        high, low = divmod(abs(number), 10000)
        return struct.pack(">hh", sign * high, sign * low)
    if kind == "string":
        data = number.encode()
        return data + bytes(len(data) % 2)
    if kind == "raw":
        return bytes.fromhex(number)
    raise ValueError(kind)


def registers(values):
    """Values of both forms as plain numbers."""
    out = []
    for value in values:
        if not isinstance(value, dict):
            out.append(value)
            continue
        data = packed(value)
        words = [data[i : i + 2] for i in range(0, len(data), 2)]
        order = value.get("order", "ABCD")
        if order in ("BADC", "DCBA"):
            words = [word[::-1] for word in words]
        if order in ("CDAB", "DCBA"):
            words.reverse()
        out.extend(int.from_bytes(word, "big") for word in words)
    return out


def runs(holes):
    """What is left of the places around the holes."""
    first = 0
    for hole in [*sorted(holes), PLACES]:
        if hole > first:
            yield first, hole
        first = hole + 1


def device(unit, tables):
    """A device with all its places."""
    blocks = []
    for table in ("coil", "discrete", "holding", "input"):
        places = [0] * PLACES
        for address, values in tables.get(table, {}).items():
            values = registers(values)
            places[int(address) : int(address) + len(values)] = values
        bits = table in ("coil", "discrete")
        kind = DataType.BITS if bits else DataType.REGISTERS
        places = [bool(p) for p in places] if bits else places
        holes = tables.get("holes", {}).get(table, [])
        blocks.append([SimData(first, values=places[first:end], datatype=kind) for first, end in runs(holes)])
    return SimDevice(int(unit), simdata=tuple(blocks))


async def main():
    """Serves until stdin ends."""
    logging.disable(logging.CRITICAL)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    start = json.loads(await lines.readline())
    context = [device(unit, tables) for unit, tables in start["units"].items()]
    if "serial" in start:
        server = ModbusSerialServer(
            context, framer=FramerType.RTU, port=start["serial"], baudrate=start["baud_rate"], ignore_missing_devices=True
        )
    else:
        framer = FramerType.RTU if start.get("framer") == "rtu" else FramerType.SOCKET
        server = ModbusTcpServer(context, framer=framer, address=("127.0.0.1", start["tcp"]), ignore_missing_devices=True)
    await server.serve_forever(background=True)
    port = 0
    if "tcp" in start:
        port = server.transport.sockets[0].getsockname()[1]
    print(json.dumps({"port": port}), flush=True)
    while line := await lines.readline():
        told = json.loads(line)
        values = registers(told["values"])
        if told["table"] in ("coil", "discrete"):
            values = [bool(value) for value in values]
        await server.async_setValues(told["unit"], TABLES[told["table"]], told["address"], values)
        print("{}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
