"""Draws lines of text, every other one upside down, as inputs of a network that tells text direction.

    python3 -m venv VENV && VENV/bin/pip install pillow==13.0.0 numpy==2.4.6 onnxruntime==1.32.0
    VENV/bin/python tests/recipes/textline_images.py OUT.npy [COUNT [FIRST]]
    VENV/bin/python tests/recipes/textline_images.py --compare MODEL.onnx OUT.npy ANSWERS.npy

writes float32 values of shape COUNT x 3 x 48 x 192, `(px/255 - 0.5)/0.5`, as PaddleOCR's models of
text lines take them. Line number i, from FIRST on, is always the same: i chooses words, size,
colours and place, and odd lines are turned by 180 degrees. `--compare` runs ONNX Runtime on the
lines and says on how many its best class is that of the answers that `chiffre decrypt` wrote.
"""

import sys

import numpy as np

WORDS = (
    "orange harbour invoice 2024 Total 17.50 street Meridian quarterly north window Paper 38 "
    "express ticket Garden platform valley Number Hotel receipt lantern EXIT 9:45 copper"
).split()
HEIGHT, WIDTH = 48, 192


def line(number):
    """One line of text, 48 x 192 x 3 bytes."""
    from PIL import Image, ImageDraw, ImageFont

    rng = np.random.default_rng(number)
    paper = rng.integers(200, 256, 3)
    ink = rng.integers(0, 90, 3)
    image = Image.new("RGB", (WIDTH, HEIGHT), tuple(int(c) for c in paper))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=int(rng.integers(24, 33)))
    text = " ".join(rng.choice(WORDS, 4))
    # As many characters as fit, as a crop of a longer line has them.
    while draw.textlength(text, font=font) > WIDTH - 8:
        text = text[:-1]
    left, top, right, bottom = draw.textbbox((0, 0), text.strip(), font=font)
    x = int(rng.integers(2, max(3, WIDTH - (right - left) - 2)))
    draw.text((x - left, (HEIGHT - (bottom - top)) // 2 - top), text.strip(), font=font, fill=tuple(int(c) for c in ink))
    return image.rotate(180) if number % 2 else image


def inputs(count, first):
    """The lines as the network takes them."""
    pixels = np.stack([np.asarray(line(first + i), dtype=np.float32) for i in range(count)])
    return np.ascontiguousarray(((pixels / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2), dtype=np.float32)


def compare(model, lines, answers):
    """Prints the agreement of decrypted answers with ONNX Runtime's."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    clear = session.run(None, {session.get_inputs()[0].name: np.load(lines)})[0]
    ours = np.load(answers)
    same = clear.argmax(1) == ours.argmax(1)
    print(f"the same class on {same.sum()} of {len(same)} lines, largest difference {np.abs(clear - ours).max():.4f}")


if __name__ == "__main__":
    if sys.argv[1] == "--compare":
        compare(*sys.argv[2:5])
    else:
        count, first = (int(sys.argv[i]) if len(sys.argv) > i else d for i, d in ((2, 16), (3, 0)))
        np.save(sys.argv[1], inputs(count, first))
