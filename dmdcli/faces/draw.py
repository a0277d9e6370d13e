"""Pictures that show what was found: landmarks and boxes drawn on a crop, and sheets of many crops."""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dmdcli.errors import ShapeError
from dmdcli.faces.face import Confidence, VerdictName
from dmdcli.shapes import COMPONENTS, CROP, ComponentBoxes, Pixels, Points, check_shape

Colour = tuple[int, int, int]
COMPONENT_COLOURS: tuple[Colour, ...] = ((90, 200, 255), (255, 200, 60), (255, 120, 200))
"""RGB of the boxes of left eye, right eye and mouth: three hues that also differ in lightness."""
VERDICT_COLOURS: dict[VerdictName, Colour] = {
    "good": (70, 200, 90),
    "doubtful": (255, 190, 40),
    "unusable": (255, 90, 80),
}
"""RGB of the strip behind the verdict."""
POINT_COLOUR: Colour = (255, 255, 255)
"""RGB of the landmarks and the lines joining them."""
DARK: Colour = (0, 0, 0)
"""RGB drawn under every line and point, so that it shows on light skin and in shadow alike."""
LINES = (
    (0, 17, False),
    (17, 22, False),
    (22, 27, False),
    (27, 31, False),
    (31, 36, False),
    (36, 42, True),
    (42, 48, True),
    (48, 60, True),
    (60, 68, True),
)
"""The parts of the 68 points: first, end (excluded), whether the line closes."""
STRIP = 26
"""Height in pixels of the strip a label is written on."""
TEXT_SIZE = 15
"""Height in pixels of written letters."""
FONTS = ("NotoSans-Regular.ttf", "DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf")
"""Fonts looked for to write labels in, those that know most letters first."""
PAPER: Colour = (255, 255, 255)
"""RGB behind the labels of `picture_rows`."""
NOTHING = 128
"""Grey that stands where there is no picture."""
DASHES = (np.add.outer(np.arange(CROP), np.arange(CROP)) // 8) % 2 == 0
"""(512, 512) bool: the gaps of dashed lines."""
SHARP = 16
"""Parts of a pixel to which points are drawn."""


def draw_face(
    crop: Pixels,
    points: Points,
    boxes: ComponentBoxes,
    verdict: VerdictName | None = None,
    reasons: Sequence[str] = (),
    confidence: Confidence | None = None,
) -> Pixels:
    """A copy of a crop (512, 512, 3) uint8 RGB with its 68 points and three boxes; with a verdict, a strip above says
    it.

    points: (68, 2) float32, boxes: (3, 4) int64, both in crop pixels. The strip adds to the height. confidence: stands
    beside the boxes; those whose points are unsure are dashed.
    """
    check_shape("crop", crop, (CROP, CROP, 3), np.uint8)
    check_shape("points", points, (68, 2), np.float32)
    check_shape("boxes", boxes, (3, 4), np.int64)
    drawn: Pixels = crop.copy()
    unsure = () if confidence is None else confidence.unsure_components()
    for name, (x1, y1, x2, y2), colour in zip(COMPONENTS, boxes.tolist(), COMPONENT_COLOURS, strict=True):
        box = drawn.copy()
        for width, shade in ((4, DARK), (2, colour)):
            cv2.rectangle(box, (x1, y1), (x2 - 1, y2 - 1), shade, width)
        if name in unsure:
            box[DASHES] = drawn[DASHES]
        drawn = box
    placed = np.rint(points * SHARP).astype(np.int32)
    bits = int(math.log2(SHARP))
    for first, end, closed in LINES:
        for width, shade in ((3, DARK), (1, POINT_COLOUR)):
            cv2.polylines(drawn, [placed[first:end]], closed, shade, width, cv2.LINE_AA, bits)
    for x, y in placed.tolist():
        cv2.circle(drawn, (x, y), 3 * SHARP, DARK, cv2.FILLED, cv2.LINE_AA, bits)
        cv2.circle(drawn, (x, y), 2 * SHARP, POINT_COLOUR, cv2.FILLED, cv2.LINE_AA, bits)
    if confidence is not None:
        for name, sure, (x1, _, _, y2) in zip(COMPONENTS, confidence.components, boxes.tolist(), strict=True):
            _write_in(drawn, f"{sure:.0%}", (x1, y2), COMPONENT_COLOURS[COMPONENTS.index(name)])
    if verdict is None:
        return drawn
    title = verdict if confidence is None else f"{verdict}, {confidence.text}"
    lines = [f"{title}: {reasons[0]}", *reasons[1:]] if reasons else [title]
    labelled: Pixels = np.concatenate([*(_strip(line, CROP, VERDICT_COLOURS[verdict]) for line in lines), drawn])
    return labelled


def contact_sheet(
    pictures: Sequence[Pixels],
    labels: Sequence[str],
    verdicts: Sequence[VerdictName],
    width: int = 1600,
    columns: int = 6,
) -> Pixels:
    """Many pictures on one sheet, (H, width, 3) uint8 RGB, in rows of `columns`, each with its label below.

    pictures: (H, W, 3) uint8 RGB of any size. labels, verdicts: one each; the verdict colours the label.
    Raises ShapeError without pictures or where their numbers differ.
    """
    if not pictures or not len(pictures) == len(labels) == len(verdicts):
        raise ShapeError(f"contact sheet: {len(pictures)} pictures, {len(labels)} labels, {len(verdicts)} verdicts")
    columns = min(columns, len(pictures))
    side = width // columns
    colours = [VERDICT_COLOURS[verdict] for verdict in verdicts]
    cells = [_cell(*parts, side) for parts in zip(pictures, labels, colours, strict=True)]
    height = max(cell.shape[0] for cell in cells)
    sheet = np.full((math.ceil(len(cells) / columns) * height, width, 3), 255, dtype=np.uint8)
    for place, cell in enumerate(cells):
        top, left = place // columns * height, place % columns * side
        sheet[top : top + cell.shape[0], left : left + side] = cell
    return sheet


def picture_rows(
    rows: Sequence[Sequence[Pixels | None]], labels: Sequence[Sequence[Sequence[str]]], side: int
) -> Pixels:
    """Rows of square pictures, one row under the other: (H, side x columns, 3) uint8 RGB.

    rows: pictures (S, S, 3) uint8 RGB, reduced to `side` where they are larger; None leaves a grey square. labels: for
    each row the lines above each of its pictures, equally many; for a row without labels an empty sequence.
    """
    parts: list[Pixels] = []
    for pictures, lines in zip(rows, labels, strict=True):
        parts += [np.hstack([_strip(line, side, PAPER) for line in together]) for together in zip(*lines, strict=True)]
        parts.append(np.hstack([_square(picture, side) for picture in pictures]))
    return np.concatenate(parts)


def _square(picture: Pixels | None, side: int) -> Pixels:
    if picture is None:
        return np.full((side, side, 3), NOTHING, dtype=np.uint8)
    if len(picture) == side:
        return picture
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _cell(picture: Pixels, label: str, colour: Colour, side: int) -> Pixels:
    inner = side - 8
    scale = inner / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    cell = np.full((inner + STRIP + 8, side, 3), 255, dtype=np.uint8)
    left, top = (side - size[0]) // 2, 4 + inner - size[1]
    cell[top : top + size[1], left : left + size[0]] = small
    cell[4 + inner : 4 + inner + STRIP, 4:-4] = _strip(label, inner, colour)
    return cell


def _write_in(picture: Pixels, text: str, place: tuple[int, int], colour: Colour) -> None:
    """Write a few dark letters on a patch of colour whose upper left corner is at `place`, in the picture itself."""
    font = _font()
    width = min(math.ceil(font.getlength(text)) + 14, picture.shape[1])
    left, top = min(place[0], picture.shape[1] - width), min(place[1], picture.shape[0] - STRIP)
    picture[top : top + STRIP, left : left + width] = _strip(text, width, colour)


def _strip(text: str, width: int, colour: Colour) -> Pixels:
    """`text` in dark letters on a strip (STRIP, width, 3), cut with an ellipsis where it does not fit."""
    strip = Image.new("RGB", (width, STRIP), colour)
    pen = ImageDraw.Draw(strip)
    font = _font()
    text = " ".join(unicodedata.normalize("NFC", text).split())
    if pen.textlength(text, font) > width - 12:
        while text and pen.textlength(f"{text}…", font) > width - 12:
            text = text[:-1]
        text = f"{text}…"
    pen.text((6, STRIP / 2), text, fill=DARK, font=font, anchor="lm")
    return np.asarray(strip, dtype=np.uint8)


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The first of FONTS that is on this machine; without any, Pillow's own, which knows little beyond English."""
    for name in FONTS:
        try:
            return ImageFont.truetype(name, TEXT_SIZE)
        except OSError:
            continue
    return ImageFont.load_default(TEXT_SIZE)
