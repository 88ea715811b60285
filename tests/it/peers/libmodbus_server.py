"""Another Modbus server of others (libmodbus, by ctypes) for the tests; told the same as modbus_server.py, in the same words."""

import ctypes
import json
import os
import socket
import sys
import threading

from modbus_server import PLACES, registers

# One request at a time, or one change of the places: libmodbus has no lock of its own.
LOCK = threading.Lock()


class Mapping(ctypes.Structure):
    """modbus_mapping_t."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("nb_bits", "start_bits", "nb_input_bits", "start_input_bits")),
        *((name, ctypes.c_int) for name in ("nb_input", "start_input", "nb_holding", "start_holding")),
        ("coil", ctypes.POINTER(ctypes.c_uint8)),
        ("discrete", ctypes.POINTER(ctypes.c_uint8)),
        ("input", ctypes.POINTER(ctypes.c_uint16)),
        ("holding", ctypes.POINTER(ctypes.c_uint16)),
    ]


LIB = ctypes.CDLL("libmodbus.so.5", use_errno=True)
LIB.modbus_new_tcp.restype = ctypes.c_void_p
LIB.modbus_new_rtu.restype = ctypes.c_void_p
LIB.modbus_new_rtu.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_char, ctypes.c_int, ctypes.c_int]
LIB.modbus_mapping_new.restype = ctypes.POINTER(Mapping)
for name, kinds in {
    "modbus_tcp_listen": [ctypes.c_void_p, ctypes.c_int],
    "modbus_tcp_accept": [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)],
    "modbus_set_slave": [ctypes.c_void_p, ctypes.c_int],
    "modbus_connect": [ctypes.c_void_p],
    "modbus_receive": [ctypes.c_void_p, ctypes.c_char_p],
    "modbus_reply": [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(Mapping)],
}.items():
    getattr(LIB, name).argtypes = kinds


def fill(mapping, table, address, values):
    """Sets places."""
    with LOCK:
        for place, value in enumerate(registers(values), int(address)):
            getattr(mapping.contents, table)[place] = value


def serve(context, mapping, accept):
    """Answers requests; when the other side has gone, waits for the next with `accept`."""
    query = ctypes.create_string_buffer(260)
    while True:
        length = LIB.modbus_receive(context, query)
        if length > 0:
            with LOCK:
                LIB.modbus_reply(context, query, length, mapping)
        elif length < 0 and accept:
            accept()


def main():
    """Serves until stdin ends."""
    start = json.loads(sys.stdin.readline())
    mapping = LIB.modbus_mapping_new(PLACES, PLACES, PLACES, PLACES)
    [(unit, tables)] = start["units"].items()
    for table, places in tables.items():
        for address, values in places.items():
            fill(mapping, table, address, values)
    port, accept = 0, None
    if "serial" in start:
        context = LIB.modbus_new_rtu(start["serial"].encode(), start["baud_rate"], b"N", 8, 1)
        LIB.modbus_set_slave(context, int(unit))
        if LIB.modbus_connect(context) != 0:
            sys.exit("cannot open the port")
    else:
        context = LIB.modbus_new_tcp(b"127.0.0.1", start["tcp"])
        listener = ctypes.c_int(LIB.modbus_tcp_listen(context, 1))
        port = local_port(listener.value)

        def accept():
            LIB.modbus_tcp_accept(context, ctypes.byref(listener))

    print(json.dumps({"port": port}), flush=True)

    def run():
        if accept:
            accept()
        serve(context, mapping, accept)

    threading.Thread(target=run, daemon=True).start()
    while line := sys.stdin.readline():
        told = json.loads(line)
        fill(mapping, told["table"], told["address"], told["values"])
        print("{}", flush=True)


def local_port(descriptor):
    """The port that a listening socket was given."""
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        return listener.getsockname()[1]


main()
