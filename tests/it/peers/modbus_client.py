"""A Modbus client of others (pymodbus): reads once and prints what it got as JSON.

Arguments: {"tcp": PORT} or {"serial": PATH, "baud_rate": N}, then UNIT TABLE ADDRESS COUNT.
Prints the registers, the bits as 0 and 1, or {"exception": CODE}.
"""

import json
import sys

from pymodbus import FramerType
from pymodbus.client import ModbusSerialClient, ModbusTcpClient

where, unit, table, address, count = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
if "serial" in where:
    client = ModbusSerialClient(where["serial"], framer=FramerType.RTU, baudrate=where["baud_rate"], timeout=5)
else:
    client = ModbusTcpClient("127.0.0.1", port=where["tcp"], timeout=5)
assert client.connect()
read = {
    "coil": client.read_coils,
    "discrete": client.read_discrete_inputs,
    "input": client.read_input_registers,
    "holding": client.read_holding_registers,
}[table]
answer = read(address, count=count, device_id=unit)
if answer.isError():
    print(json.dumps({"exception": answer.exception_code}))
elif table in ("coil", "discrete"):
    print(json.dumps([int(bit) for bit in answer.bits[:count]]))
else:
    print(json.dumps(answer.registers))
client.close()
