"""What OpenTelemetry's exporters send, made by hand: protocol buffers from (number, value) pairs."""
import struct


def varint(value):
    out, value = b"", value & (1 << 64) - 1
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number, value):
    """int: a varint; float: a double; ("fixed64", n), ("fixed32", n); bytes or str."""
    if isinstance(value, bool) or isinstance(value, int):
        return varint(number << 3) + varint(int(value))
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, tuple):
        wire, form = (1, "<Q") if value[0] == "fixed64" else (5, "<I")
        return varint(number << 3 | wire) + struct.pack(form, value[1])
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def message(*fields):
    return b"".join(field(*one) for one in fields)


def any_value(value):
    if value is None:
        return b""
    if isinstance(value, bool):
        return message((2, value))
    if isinstance(value, int):
        return message((3, value))
    if isinstance(value, float):
        return message((4, value))
    if isinstance(value, bytes):
        return message((7, value))
    if isinstance(value, list):
        return message((5, b"".join(field(1, any_value(v)) for v in value)))
    if isinstance(value, dict):
        return message((6, b"".join(field(1, pair(*p)) for p in value.items())))
    return message((1, value))


def pair(key, value):
    return message((1, key), (2, any_value(value)))


def span(trace, id, name, start=1_700_000_000_000_000_000, took=1_000_000, parent=None, attributes=None, status=1, more=b""):
    return message((1, bytes.fromhex(trace)), (2, bytes.fromhex(id)), *([(4, bytes.fromhex(parent))] if parent else []), (5, name), (6, 1),
                   (7, ("fixed64", start)), (8, ("fixed64", start + took)), *[(9, pair(*p)) for p in (attributes or {}).items()],
                   (15, message((3, status)))) + more


def request(*spans, resource=None, scope="hand"):
    scope_spans = message((1, message((1, scope))), *[(2, one) for one in spans])
    resource = message(*[(1, pair(*p)) for p in (resource or {}).items()])
    return message((1, message((1, resource), (2, scope_spans))))
