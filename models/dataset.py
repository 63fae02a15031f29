"""Procedural image classification data: shapes and textures drawn with numpy.

Two sets, both a pure function of (seed, index):

* ``shapes32(seed, count)``: 32x32 RGB, ten classes (``CLASSES32``), cluttered;
* ``shapes8(seed, count, channels)``: 8x8, one or three channels, four classes
  (``CLASSES8``), nearly clean.

Images are uint8 N x C x H x W, labels int64 N. Image ``i`` of a seed is the same
whatever ``count`` is. Each class is a signed distance function in the shape's own
frame, in which the shape fills about the unit disc; a negative value is inside.
"""

import numpy as np

CLASSES32 = (
    "disc",
    "ring",
    "frame",
    "triangle",
    "cross",
    "star",
    "stripes",
    "checkerboard",
    "crescent",
    "spiral",
)
CLASSES8 = ("disc", "frame", "cross", "stripes")

# Images are drawn in chunks of this many, each from its own random stream.
CHUNK = 500


def shapes32(seed, count):
    """`count` cluttered 32x32 RGB images of the ten classes, and their labels."""
    return _draw_chunks(seed, count, _chunk32)


def shapes8(seed, count, channels):
    """`count` 8x8 images of the four small classes with 1 or 3 channels, and their labels."""
    return _draw_chunks(seed, count, lambda rng: _chunk8(rng, channels))


def normalise(images):
    """uint8 pixels to the float32 input of the networks: (px/255 - MEAN) / STD."""
    return ((images.astype(np.float32) / 255.0) - MEAN) / STD


MEAN = 0.5
STD = 0.25


def _draw_chunks(seed, count, draw):
    chunks = [draw(np.random.default_rng([seed, k])) for k in range(-(-count // CHUNK))]
    images = np.concatenate([c[0] for c in chunks])[:count]
    labels = np.concatenate([c[1] for c in chunks])[:count]
    return images, labels


def _chunk32(rng):
    n, size = CHUNK, 32
    labels = rng.integers(0, len(CLASSES32), n)
    pixel_x, pixel_y = _grid(size)
    radius = rng.uniform(7.5, 14.5, n)
    u, v = _local_frame(rng, pixel_x, pixel_y, radius, reach=4.5, angles=2 * np.pi)

    distance = np.empty((n, size, size))
    for index, name in enumerate(CLASSES32):
        chosen = labels == index
        distance[chosen] = SHAPES[name](rng, u[chosen], v[chosen])
    mask = _coverage(distance * _column(radius))

    paper, ink = _two_colours(rng, n, 3, contrast=(0.30, 0.75))
    background = _shaded(rng, paper, size, strength=0.25)
    foreground = _shaded(rng, ink, size, strength=0.20)
    for _ in range(2):
        _stroke(rng, background, pixel_x, pixel_y, probability=0.6)
    image = background + mask[:, None] * (foreground - background)
    _stroke(rng, image, pixel_x, pixel_y, probability=0.6)
    _patch(rng, image, pixel_x, pixel_y, probability=0.6)

    image = _blurred(image, rng.uniform(0.0, 0.8, n) * (rng.random(n) < 0.5))
    image += rng.standard_normal(image.shape) * rng.uniform(0.0, 0.09, (n, 1, 1, 1))
    return _to_bytes(image), labels


def _chunk8(rng, channels):
    n, size = CHUNK, 8
    labels = rng.integers(0, len(CLASSES8), n)
    pixel_x, pixel_y = _grid(size)
    radius = rng.uniform(3.6, 4.4, n)
    u, v = _local_frame(rng, pixel_x, pixel_y, radius, reach=0.5, angles=0.35)

    distance = np.empty((n, size, size))
    for index, name in enumerate(CLASSES8):
        chosen = labels == index
        distance[chosen] = SHAPES[name](rng, u[chosen], v[chosen])
    mask = _coverage(distance * _column(radius))

    paper, ink = _two_colours(rng, n, channels, contrast=(0.45, 0.85))
    image = paper[:, :, None, None] + mask[:, None] * (ink - paper)[:, :, None, None]
    image += rng.standard_normal(image.shape) * 0.04
    return _to_bytes(image), labels


def _grid(size):
    """Pixel centres with the origin in the middle of the image, as 1 x size x size."""
    at = np.arange(size) - (size - 1) / 2
    return at[None, None, :] * np.ones((1, size, 1)), at[None, :, None] * np.ones((1, 1, size))


def _local_frame(rng, x, y, radius, reach, angles):
    """Pixel grid in each shape's frame: moved by up to `reach`, turned, scaled by `radius`."""
    n = len(radius)
    centre_x, centre_y = _column(rng.uniform(-reach, reach, n)), _column(rng.uniform(-reach, reach, n))
    angle = _column(rng.uniform(-angles / 2, angles / 2, n))
    dx, dy = (x - centre_x) / _column(radius), (y - centre_y) / _column(radius)
    return np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx


def _coverage(distance_in_pixels):
    """Fraction of a pixel that lies inside, from its signed distance to the edge."""
    return np.clip(0.5 - distance_in_pixels, 0.0, 1.0)


def _column(values):
    return values[:, None, None]


def _between(rng, low, high, like):
    return _column(rng.uniform(low, high, len(like)))


def _disc(rng, u, v):
    return np.hypot(u, v * _between(rng, 1.0, 1.25, u)) - 0.85


def _ring(rng, u, v):
    return np.abs(np.hypot(u, v) - 0.7) - _between(rng, 0.11, 0.2, u)


def _frame(rng, u, v):
    return np.abs(np.maximum(np.abs(u), np.abs(v)) - 0.66) - _between(rng, 0.11, 0.19, u)


def _triangle(rng, u, v):
    half = np.sqrt(0.75)
    return np.maximum(np.maximum(half * u - 0.5 * v, -half * u - 0.5 * v), v) - 0.47


def _cross(rng, u, v):
    width = _between(rng, 0.15, 0.28, u)
    bar_x = np.maximum(np.abs(u) - 0.9, np.abs(v) - width)
    bar_y = np.maximum(np.abs(v) - 0.9, np.abs(u) - width)
    return np.minimum(bar_x, bar_y)


def _star(rng, u, v):
    # Fold the plane into one half-point of the star, bounded by one straight edge
    # from the tip (1, 0) to the notch at angle pi/5.
    angle = np.mod(np.arctan2(v, u), 2 * np.pi / 5)
    angle = np.minimum(angle, 2 * np.pi / 5 - angle)
    r = np.hypot(u, v)
    notch = _between(rng, 0.36, 0.46, u)
    edge_u, edge_v = notch * np.cos(np.pi / 5) - 1.0, notch * np.sin(np.pi / 5)
    length = np.hypot(edge_u, edge_v)
    return ((r * np.cos(angle) - 1.0) * edge_v - r * np.sin(angle) * edge_u) / length


def _window(rng, u, v):
    """A disc or a square, so that a texture's outline does not tell its class."""
    square = _column(rng.random(len(u)) < 0.5)
    return np.where(square, np.maximum(np.abs(u), np.abs(v)) - 0.8, np.hypot(u, v) - 0.92)


def _stripes(rng, u, v):
    wave = 2 * np.pi / _between(rng, 0.42, 0.62, u)
    phase = _between(rng, 0.0, 2 * np.pi, u)
    return np.maximum(_window(rng, u, v), np.sin(wave * u + phase) / wave)


def _checkerboard(rng, u, v):
    wave = np.pi / _between(rng, 0.34, 0.5, u)
    phase_u, phase_v = _between(rng, 0.0, np.pi, u), _between(rng, 0.0, np.pi, u)
    return np.maximum(_window(rng, u, v), np.sin(wave * u + phase_u) * np.sin(wave * v + phase_v) / wave)


def _crescent(rng, u, v):
    bite = np.hypot(u - _between(rng, 0.38, 0.52, u), v) - _between(rng, 0.62, 0.72, u)
    return np.maximum(np.hypot(u, v) - 0.88, -bite)


def _spiral(rng, u, v):
    pitch = _between(rng, 0.46, 0.58, u)
    hand = _column(np.where(rng.random(len(u)) < 0.5, 1.0, -1.0))
    r = np.hypot(u, v)
    turn = r - pitch * hand * np.arctan2(v, u) / (2 * np.pi)
    arm = np.abs(np.mod(turn + pitch / 2, pitch) - pitch / 2) - 0.11
    return np.maximum(r - 0.95, arm)


SHAPES = {
    "disc": _disc,
    "ring": _ring,
    "frame": _frame,
    "triangle": _triangle,
    "cross": _cross,
    "star": _star,
    "stripes": _stripes,
    "checkerboard": _checkerboard,
    "crescent": _crescent,
    "spiral": _spiral,
}


def _two_colours(rng, n, channels, contrast):
    """A background and a foreground colour, either the lighter, at a distance drawn from `contrast`."""
    direction = rng.standard_normal((n, channels))
    direction /= np.max(np.abs(direction), axis=1, keepdims=True)
    step = direction * rng.uniform(*contrast, (n, 1))
    middle = np.abs(step) / 2 + rng.random((n, channels)) * (1.0 - np.abs(step))
    return middle - step / 2, middle + step / 2


def _shaded(rng, colour, size, strength):
    """A plain colour with a linear gradient and a coarse random texture, n x C x H x W."""
    n, channels = colour.shape
    x, y = _grid(size)
    angle = _column(rng.uniform(0, 2 * np.pi, n))
    ramp = (np.cos(angle) * x + np.sin(angle) * y) / size
    tint = rng.uniform(-strength, strength, (n, channels, 1, 1))
    knots = rng.standard_normal((n, channels, 5, 5)) * rng.uniform(0, 0.3 * strength, (n, 1, 1, 1))
    hat = np.maximum(0.0, 1.0 - np.abs(np.linspace(0, 4, size)[:, None] - np.arange(5)))
    texture = np.einsum("yi,ncij,xj->ncyx", hat, knots, hat)
    return colour[:, :, None, None] + tint * ramp[:, None] + texture


def _stroke(rng, image, x, y, probability):
    """Draws a thin straight line piece across some of the images, in place."""
    n = len(image)
    centre_x, centre_y = _column(rng.uniform(-14, 14, n)), _column(rng.uniform(-14, 14, n))
    angle = _column(rng.uniform(0, np.pi, n))
    along = np.cos(angle) * (x - centre_x) + np.sin(angle) * (y - centre_y)
    across = np.cos(angle) * (y - centre_y) - np.sin(angle) * (x - centre_x)
    width, length = _column(rng.uniform(0.3, 0.9, n)), _column(rng.uniform(3.0, 10.0, n))
    _paint(rng, image, np.maximum(np.abs(along) - length, np.abs(across) - width), probability)


def _patch(rng, image, x, y, probability):
    """Covers a small disc or square of some of the images, in place."""
    n = len(image)
    dx, dy = x - _column(rng.uniform(-13, 13, n)), y - _column(rng.uniform(-13, 13, n))
    square = _column(rng.random(n) < 0.5)
    extent = np.where(square, np.maximum(np.abs(dx), np.abs(dy)), np.hypot(dx, dy))
    _paint(rng, image, extent - _column(rng.uniform(1.2, 3.2, n)), probability)


def _paint(rng, image, distance, probability):
    n, channels = image.shape[:2]
    mask = _coverage(distance) * _column(rng.random(n) < probability)
    colour = rng.random((n, channels, 1, 1))
    image += mask[:, None] * (colour - image)


def _blurred(image, amount):
    """Blends each image with its 3x3 binomial blur by `amount` in [0, 1]."""
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]) / 4
    soft = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    return image + amount[:, None, None, None] * (soft - image)


def _to_bytes(image):
    return np.clip(np.rint(image * 255.0), 0, 255).astype(np.uint8)
