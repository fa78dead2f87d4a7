"""When the pointer leaves a chart, in Vega's event streams.

Crossing to another mark it only leaves a mark: on a canvas that is a move, in an SVG it arrives
at something in the same drawing.
"""

_TO = "(event.relatedTarget || {})"
LEAVES = (
    f"pointerout[event.type !== 'pointermove' && !{_TO}.ownerSVGElement && {_TO}.tagName !== 'svg']"
)
