# SPDX-License-Identifier: Apache-2.0
"""Two plain plots as SVG: bars in groups, and lines over a few numbers."""
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 60, 170, 40, 40
# Told apart by people who see colours otherwise too (Okabe and Ito).
COLOURS = ["#999999", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2",
           "#F0E442", "#D55E00", "#000000"]


def ticks(top):
    """Round numbers from 0 to at least @top, some five of them."""
    step = 1.0
    while step * 5 < top:
        step *= 10
    while step * 5 > top * 2 and step * 2.5 > top:
        step /= 10
    for f in (1, 2, 2.5, 5, 10):
        if step * f * 5 >= top:
            step *= f
            break
    n = 0
    while n * step < top:
        n += 1
    return [i * step for i in range(n + 1)]


def number(x):
    return f"{x:g}" if abs(x) < 10000 else f"{x / 1000:g}k"


class Svg:
    def __init__(self, title, unit, top):
        self.parts = []
        self.ticks = ticks(top)
        self.rect(0, 0, WIDTH, HEIGHT, "#ffffff")
        self.text(LEFT, 20, title, 15, weight="bold")
        self.text(LEFT, TOP - 6, unit, 11)
        for t in self.ticks:
            y = self.y(t)
            self.line(LEFT, y, WIDTH - RIGHT, y, "#dddddd")
            self.text(LEFT - 6, y + 4, number(t), 11, "end")

    def y(self, value):
        room = HEIGHT - TOP - BOTTOM
        return HEIGHT - BOTTOM - room * value / self.ticks[-1]

    def rect(self, x, y, w, h, colour, title=""):
        hint = f"<title>{escape(title)}</title>" if title else ""
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" '
                          f'height="{h:.1f}" fill="{colour}">{hint}</rect>')

    def line(self, x1, y1, x2, y2, colour, width=1):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" '
                          f'y2="{y2:.1f}" stroke="{colour}" '
                          f'stroke-width="{width}"/>')

    def text(self, x, y, what, size, anchor="start", weight="normal"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" '
                          f'text-anchor="{anchor}" font-weight="{weight}">'
                          f'{escape(what)}</text>')

    def key(self, names):
        for i, name in enumerate(names):
            y = TOP + 18 * i
            self.rect(WIDTH - RIGHT + 14, y, 12, 12, colour(i))
            self.text(WIDTH - RIGHT + 32, y + 10, name, 12)

    def save(self, path):
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
            f'height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif">\n' + "\n".join(self.parts) +
            "\n</svg>\n")


def colour(i):
    return COLOURS[i % len(COLOURS)]


def bars(path, title, unit, groups, names, values, base=0):
    """values[group, name], where there is one; a dotted height at @base."""
    svg = Svg(title, unit, max(values.values()) * 1.02)
    room = (WIDTH - LEFT - RIGHT) / len(groups)
    width = room * 0.86 / len(names)
    for g, group in enumerate(groups):
        x = LEFT + room * (g + 0.07)
        for i, name in enumerate(names):
            v = values.get((group, name))
            if v is not None:
                svg.rect(x + i * width, svg.y(v), width * 0.92,
                         svg.y(0) - svg.y(v), colour(i),
                         f"{group}, {name}: {v:g} {unit}")
        svg.text(x + room * 0.43, HEIGHT - BOTTOM + 18, group, 12, "middle")
    if base:
        svg.line(LEFT, svg.y(base), WIDTH - RIGHT, svg.y(base), "#000000")
    svg.key(names)
    svg.save(path)


def lines(path, title, unit, points, names, values):
    """values[point, name]; the points stand at equal distances."""
    svg = Svg(title, unit, max(values.values()) * 1.02)
    room = (WIDTH - LEFT - RIGHT) / max(len(points) - 1, 1)
    for p, point in enumerate(points):
        svg.text(LEFT + room * p, HEIGHT - BOTTOM + 18, str(point), 12,
                 "middle")
    for i, name in enumerate(names):
        last = None
        for p, point in enumerate(points):
            v = values.get((point, name))
            if v is None:
                last = None
                continue
            x, y = LEFT + room * p, svg.y(v)
            if last:
                svg.line(*last, x, y, colour(i), 2)
            svg.rect(x - 3, y - 3, 6, 6, colour(i), f"{name}: {v:g} {unit}")
            last = x, y
    svg.key(names)
    svg.save(path)
