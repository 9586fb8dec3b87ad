"""Writes picture_fixtures.h: tiny pictures, and what Pillow makes of them. Run by hand when a case is added; needs Pillow and numpy.

usage: make_picture_fixtures.py > picture_fixtures.h
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIZES = [(5, 4), (9, 13)]


def scene(width, height, channels):
    """Gradients, an edge and some noise."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * 11 + y * 3 + 40 * c) % 256 for c in range(channels)]
    picture = np.stack(planes, -1).astype(np.int64)
    picture[:, width // 2 :] = 255 - picture[:, width // 2 :]
    return (picture + np.random.default_rng(7).integers(0, 9, picture.shape)).clip(0, 255).astype(np.uint8)


def saved(image, form, **options):
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


def png(width, height, depth, color, rows, interlace=0, chunks=()):
    """A PNG file by hand, for what Pillow does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    body = b"".join(chunk(kind, data) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def packed(values, depth):
    """Rows of samples of fewer than 8 bits, or of 16, each after filter byte 0."""
    out = b""
    for row in values:
        if depth == 16:
            out += b"\0" + row.astype(">u2").tobytes()
        elif depth == 8:
            out += b"\0" + row.astype(np.uint8).tobytes()
        else:
            bits = "".join(format(int(v), f"0{depth}b") for v in row.ravel())
            bits += "0" * (-len(bits) % 8)
            out += b"\0" + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    return out


def interlaced(picture):
    """Adam7 over an RGB picture."""
    out = b""
    for y0, x0, dy, dx in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]:
        part = picture[y0::dy, x0::dx]
        if part.size:
            out += packed(part, 8)
    return out


def cases():
    rgb = scene(11, 9, 3)
    palette = b"".join(bytes([i * 17, 255 - i * 17, i * 7]) for i in range(16))
    indices = (scene(11, 9, 1)[..., 0] // 16).astype(np.int64)
    wide = rgb.astype(np.int64) * 257 + np.random.default_rng(3).integers(-90, 90, rgb.shape)
    wide = wide.clip(0, 65535)
    yield "jpeg_420", saved(Image.fromarray(scene(23, 17, 3)), "JPEG", quality=75)
    yield "jpeg_444", saved(Image.fromarray(scene(7, 19, 3)), "JPEG", quality=90, subsampling=0)
    yield "jpeg_progressive", saved(Image.fromarray(scene(17, 16, 3)), "JPEG", quality=80, progressive=True)
    yield "jpeg_grey", saved(Image.fromarray(scene(13, 10, 1)[..., 0]), "JPEG", quality=85)
    yield "png_rgb", saved(Image.fromarray(rgb), "PNG")
    yield "png_rgba", saved(Image.fromarray(scene(11, 9, 4)), "PNG")
    yield "png_grey", saved(Image.fromarray(rgb[..., 0]), "PNG")
    yield "png_grey_alpha", saved(Image.fromarray(scene(11, 9, 2)), "PNG")
    yield "png_palette", png(11, 9, 4, 3, packed(indices, 4), chunks=[(b"PLTE", palette), (b"tRNS", bytes(range(0, 160, 10)))])
    yield "png_grey_1", png(11, 9, 1, 0, packed(indices // 8, 1))
    yield "png_grey_2", png(11, 9, 2, 0, packed(indices // 4, 2))
    yield "png_grey_4", png(11, 9, 4, 0, packed(indices, 4), chunks=[(b"gAMA", struct.pack(">I", 45455))])
    yield "png_rgb_16", png(11, 9, 16, 2, packed(wide.reshape(9, 33), 16))
    yield "png_interlaced", png(11, 9, 8, 2, interlaced(rgb), interlace=1)
    yield "png_one_pixel", saved(Image.fromarray(rgb[:1, :1]), "PNG")
    yield "png_one_row", saved(Image.fromarray(scene(200, 1, 3)), "PNG")


def array(name, data):
    lines = [", ".join(str(b) for b in data[i : i + 32]) for i in range(0, len(data), 32)]
    return f"static const unsigned char {name}[] = {{\n    " + ",\n    ".join(lines) + "};\n"


def main():
    print("/* Written by make_picture_fixtures.py: pictures, and their RGB pixels as Pillow resizes them (BILINEAR). */")
    print("/* clang-format off */")
    rows = []
    for name, data in cases():
        print(array(f"{name}_file", data))
        for width, height in SIZES:
            with Image.open(io.BytesIO(data)) as image:
                pixels = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
            print(array(f"{name}_{width}x{height}", pixels.tobytes()))
            rows.append(f'    {{"{name}", {name}_file, sizeof {name}_file, {width}, {height}, {name}_{width}x{height}}},')
    cmyk = saved(Image.new("CMYK", (9, 9), (9, 99, 199, 20)), "JPEG")
    print(array("jpeg_cmyk_file", cmyk))
    print("static const struct fixture {\n  const char *name;\n  const unsigned char *file;\n  size_t size;\n"
          "  int width, height;\n  const unsigned char *pixels;\n} fixtures[] = {")
    print("\n".join(rows))
    print("};")


if __name__ == "__main__":
    main()
