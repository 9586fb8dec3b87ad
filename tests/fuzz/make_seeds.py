"""Writes the small models, pictures and arrays that the fuzz targets start from into corpus/.  usage: make_seeds.py"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from onnx import helper, numpy_helper
from PIL import Image

HERE = Path(__file__).parent / "corpus"

# name: inputs, outputs, constants, nodes
MODELS = {
    "conv": (
        "float[1,3,8,8] x", "float[1,4,4,4] y", {"w": (4, 3, 3, 3), "b": (4,), "s": (4,), "m": (4,), "v": (4,), "p": (4, 1, 1), "d": (4, 1, 3, 3)},
        """a = Conv<kernel_shape=[3,3],pads=[1,1,1,1],strides=[2,2]>(x, w, b)  n = BatchNormalization<epsilon=0.001>(a, s, b, m, v)
           r = PRelu(n, p)  y = Conv<pads=[1,1,1,1],group=4>(r, d, b)"""),
    "conv_same": (
        "float[N,2,7] x", "float[N,2,4] y", {"w": (2, 1, 4), "u": (2, 1, 3)},
        """a = Conv<auto_pad="SAME_LOWER",group=2,dilations=[2]>(x, w)  b = ConvTranspose<strides=[2],group=2,output_padding=[1]>(a, u)
           y = MaxPool<kernel_shape=[3],strides=[4],ceil_mode=1,pads=[1,1]>(b)"""),
    "pools": (
        "float[1,2,6,6] x", "float[1,2,1,1] y", {},
        """a = AveragePool<kernel_shape=[2,3],pads=[1,1,0,1],count_include_pad=1>(x)  b, i = MaxPool<kernel_shape=[2,2],strides=[2,2]>(a)
           c = LpPool<kernel_shape=[2,2],p=2>(b)  d = LRN<size=3>(c)  y = GlobalAveragePool(d)"""),
    "resize": (
        "float[1,2,4,4] x", "float[1,2,6,6] y", {"scales": np.array([1, 1, 2, 1.5], np.float32), "sizes": np.array([1, 2, 6, 6])},
        """a = Resize<mode="linear",coordinate_transformation_mode="align_corners">(x, , scales)
           b = Resize<mode="cubic",antialias=1,exclude_outside=1>(a, , , sizes)  y = Resize<mode="nearest",nearest_mode="ceil">(b, , , sizes)"""),
    "attention": (
        "float[B,5,8] x", "float[B,5,8] y", {"w": (8, 24), "b": (24,), "o": (8, 8), "q": np.array([0, 0, 3, 2, 4]), "scale": np.float32(0.5), "z": np.array([0, 0, 8]),
                                              "n": np.array([0]), "g": (8,)},
        """l = LayerNormalization<axis=-1>(x, g, g)  m = MatMul(l, w)  a = Add(m, b)  r = Reshape(a, q)  t = Transpose<perm=[2,0,3,1,4]>(r)
           i0 = Constant<value_int=0>()  i1 = Constant<value_int=1>()  i2 = Constant<value_int=2>()
           qq = Gather(t, i0)  k = Gather(t, i1)  v = Gather(t, i2)  kt = Transpose<perm=[0,1,3,2]>(k)  qk = MatMul(qq, kt)  sc = Mul(qk, scale)
           sm = Softmax<axis=-1>(sc)  av = MatMul(sm, v)  tt = Transpose<perm=[0,2,1,3]>(av)  rr = Reshape(tt, z)  oo = MatMul(rr, o)  y = Add(oo, x)"""),
    "gather": (
        "float[3,4] x, int64[2,2] i", "float[3,4] y, float[2,2,4] g", {"n": np.array([[0], [2]]), "u": (2, 4), "e": np.array([[0, 1, 1, 0]])},
        """g = Gather<axis=0>(x, i)  a = ScatterND<reduction="add">(x, n, u)  b = GatherElements<axis=0>(a, e)
           c = ScatterElements<axis=0,reduction="max">(a, e, b)  d = GatherND(c, n)  f = ScatterND(c, n, d)  y = Identity(f)"""),
    "reductions": (
        "float[2,3,4] x", "float[1] y, int64[2,3,1] k", {"axes": np.array([1, -1])},
        """a = ReduceMean<keepdims=1>(x, axes)  b = ReduceL2<keepdims=0>(a)  c = ReduceMax(x, axes)  d = ReduceSum<noop_with_empty_axes=1>(x)
           e = ReduceLogSumExp<keepdims=0>(d)  k = ArgMax<axis=-1,select_last_index=1>(x)  f = ReduceProd(c)  h = Add(b, e)  o = Mul(f, h)
           one = Constant<value_ints=[1]>()  y = Reshape(o, one)"""),
    "einsum": ("float[2,3,4] x, float[2,4,5] w", "float[2,5,3] y", {}, """a = Einsum<equation="bij,bjk->bki">(x, w)  y = Einsum<equation="...ij->...ij">(a)"""),
    "shapes": (
        "float[N,C,6] x", "float[N,A,M] y", {"one": np.array([1]), "minus": np.array([-1]), "zero": np.array([0]), "two": np.array([2]), "i": np.array(1)},
        """s = Shape(x)  n = Gather<axis=0>(s, zero)  h = Slice(s, one, two)  q = Div(h, two)  r = Mul(q, two)  z = Concat<axis=0>(n, r, minus)
           f = ConstantOfShape(z_)  z_ = Concat<axis=0>(one, two)  e = Expand(x, s)  t = Shape<start=1,end=2>(x)  u = Squeeze(t, zero)
           v = Unsqueeze(u, zero)  w = Concat<axis=0>(n, v, minus)  y = Reshape(e, w)"""),
    "moves": (
        "float[2,4,4] x", "float[2,4,4] y, float[8,4,4] t", {"p": np.array([0, 1, 1, 0, 0, 2]), "s": np.array([0, -1]), "e": np.array([2, -9]), "a": np.array([0, 2]),
                                                            "st": np.array([1, -1]), "n": np.array([4, 1, 1]), "sp": np.array([1, 3])},
        """q = Pad<mode="reflect">(x, p)  r = Slice(q, s, e, a, st)  b, c = Split<axis=1>(x, sp)  d = Concat<axis=1>(c, b)  t = Tile(x, n)
           u = Transpose<perm=[1,2,0]>(d)  f = Flatten<axis=1>(u)  g = Trilu(f)  v = Reshape(g, sh)  sh = Constant<value_ints=[2,4,4]>()  y = Add(v, d)"""),
    "select": (
        "float[6] x", "float[M] y, int64[1,M] z, float[2] t, bool[6] b", {"k": np.array([2]), "zero": np.float32(0), "depth": np.array(3), "v": (2,)},
        """b = Greater(x, zero)  y = Compress(x, b)  z = NonZero(b)  t, i = TopK<largest=0>(x, k)  o = OneHot(i, depth, v)  c = Where(b, x, zero)
           d = CumSum<reverse=1>(c, ax)  ax = Constant<value_int=0>()  e = Clip(d, zero)  f = Mod<fmod=1>(e, x)"""),
    "types": (
        "int32[2,3] x, uint8[2,3] u", "float16[2,3] h, int64[2,3] y, bool[2,3] b", {"t": np.array(3, np.int32)},
        """d = Div(x, t)  m = Mod(x, t)  p = Pow(x, m)  a = Add(d, p)  y = Cast<to=7>(a)  h = Cast<to=10>(x)  c = CastLike(u, x)  s = BitShift<direction="LEFT">(u, u)
           w = BitwiseXor(s, u)  e = Equal(c, x)  b = Not(e)  r = Range(z0, z1, z1)  z0 = Constant<value_int=0>()  z1 = Constant<value_int=1>()"""),
    "norms": (
        "float[2,4,3,3] x", "float[2,4,3,3] y", {"s": (4,), "g": (3,)},
        """a = InstanceNormalization(x, s, s)  b = GroupNormalization<num_groups=2>(a, s, s)  c = LpNormalization<axis=1,p=1>(b)  d = LayerNormalization(c, g)
           e = Gelu<approximate="tanh">(d)  f = Erf(e)  h = LogSoftmax<axis=1>(f)  y = HardSwish(h)"""),
    "gemm": (
        "float[M,4] x", "float[M,2] y", {"w": (3, 4), "c": (3,), "v": (3, 2), "g": (2,)},
        """a = Gemm<transB=1,alpha=0.5,beta=2.0>(x, w, c)  r = LeakyRelu<alpha=0.2>(a)  m = MatMul(r, v)  b = Add(m, g)  s = Sigmoid(b)  y = Mul(b, s)"""),
    "depth": (
        "float[1,4,2,2] x", "float[1,4,2,2] y", {"len": np.array([2])},
        """a = DepthToSpace<blocksize=2,mode="CRD">(x)  b = SpaceToDepth<blocksize=2>(a)  c = ReverseSequence<batch_axis=0,time_axis=1>(b, len)  y = Softsign(c)"""),
    "attention_op": ("float[1,4,16] q", "float[1,4,16] y", {}, "y = Attention<q_num_heads=2,kv_num_heads=2,is_causal=1>(q, q, q)"),
}
OPSETS = {"attention_op": 23, "norms": 21}


def model(name: str) -> onnx.ModelProto:
    inputs, outputs, constants, nodes = MODELS[name]
    graph = onnx.parser.parse_graph(f"{name} ({inputs}) => ({outputs}) {{ {nodes} }}")
    rng = np.random.default_rng(1)
    for key, value in constants.items():
        array = rng.random(value, np.float32) if isinstance(value, tuple) else np.asarray(value)
        graph.initializer.append(numpy_helper.from_array(array, key))
    ready, order, left = {v.name for v in graph.input} | set(constants) | {""}, [], list(graph.node)
    while left:  # the text above need not be in order
        node = next(n for n in left if set(n.input) <= ready)
        left.remove(node)
        order.append(node)
        ready |= set(node.output)
    del graph.node[:]
    graph.node.extend(order)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSETS.get(name, 18))], ir_version=10, producer_name="")


def function() -> onnx.ModelProto:
    return onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 18, "own": 1]> f (float[2,N] x) => (float[2,N] y) { y = own.twice<k: float = 0.5>(x) }
        <domain: "own", opset_import: ["": 18]> twice <k: float = 1.0> (a) => (c) { b = Elu<alpha: float = @k>(a) c = Add(b, a) }""")


def pictures() -> None:
    rng = np.random.default_rng(2)
    rgb = Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8))
    folder = HERE / "picture"
    for mode in ("RGB", "RGBA", "L", "P", "1", "LA", "I;16"):
        image = Image.fromarray(rng.integers(0, 65536, (9, 7), np.uint16)) if mode == "I;16" else rgb.convert(mode)
        image.save(folder / f"seed_{mode.replace(';', '').lower()}{'_bit' if mode == '1' else ''}.png")
    rgb.save(folder / "seed.jpg", quality=30)
    rgb.convert("CMYK").save(folder / "seed_cmyk.jpg", quality=30)
    rgb.save(folder / "seed_progressive.jpg", quality=80, progressive=True, subsampling=0)
    rgb.convert("L").save(folder / "seed_grey.jpg", quality=30)


def arrays() -> None:
    for dtype in ("f4", "f8", "f2", "i8", "u1", "?", "i2"):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        np.save(HERE / "npy" / f"seed_{dtype.replace('?', 'bool')}.npy", array)
        (HERE / "tensor_proto" / f"seed_{dtype.replace('?', 'bool')}.pb").write_bytes(numpy_helper.from_array(array, "x").SerializeToString())
    np.save(HERE / "npy" / "seed_fortran.npy", np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    np.save(HERE / "npy" / "seed_scalar.npy", np.float32(1))
    np.save(HERE / "npy" / "seed_empty.npy", np.zeros((0, 3)))
    typed = helper.make_tensor("x", onnx.TensorProto.FLOAT, [2, 3], [1, 2, 3, 4, 5, 6])
    (HERE / "tensor_proto" / "seed_typed.pb").write_bytes(typed.SerializeToString())
    for kind, data in ((onnx.TensorProto.INT4, [1, -2, 3]), (onnx.TensorProto.FLOAT16, [1.0, 2.0, 3.0]), (onnx.TensorProto.STRING, [b"a", b"", b"c"])):
        (HERE / "tensor_proto" / f"seed_kind{kind}.pb").write_bytes(helper.make_tensor("x", kind, [3], data).SerializeToString())


def main() -> None:
    for name in ("models", "onnx_convert", "plan_open", "npy", "tensor_proto", "picture"):
        (HERE / name).mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        (HERE / "models" / f"{name}.onnx").write_bytes(model(name).SerializeToString())
    (HERE / "models" / "function.onnx").write_bytes(function().SerializeToString())
    pictures()
    arrays()
    assert all(p.stat().st_size <= 4096 for p in HERE.rglob("*") if p.is_file())


if __name__ == "__main__":
    main()
